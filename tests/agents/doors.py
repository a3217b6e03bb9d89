"""An environment with another number of legal actions in each state, and a table that prefers illegal ones."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.distributions import Categorical
from jaxrl.envs import Environment

LEGAL = np.array([[0, 0, 1, 0], [1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
"""Which doors are open in each room, `[room, door]`. In the last one the episode ends, and none is."""
ENDS = len(LEGAL) - 1
ILLEGAL = -1000.0
"""The reward of a closed door, which ends the episode at once."""


class Params(NamedTuple):
    max_steps_in_episode: int = 3


class State(NamedTuple):
    room: jax.Array
    time: jax.Array


class Doors(Environment):
    """Leads one or two rooms on, through an open door, whose number is the reward. Observations are one-hot."""

    random_words, num_actions, name = 1, 4, "Doors"
    default_params: Any = Params()

    def describe_rules(self, params):
        return "doors"

    def initial(self, bits, params):
        room = (bits[0] % ENDS).astype(jnp.int32)
        return State(room, jnp.zeros_like(room))

    def transition(self, state, action, bits, params):
        legal = jnp.asarray(LEGAL)[state.room, action]
        onward = jnp.minimum(state.room + 1 + (bits[0] >> 31).astype(jnp.int32), ENDS)
        room = jnp.where(legal, onward, ENDS)
        return State(room, state.time + 1), jnp.where(legal, action, ILLEGAL).astype(jnp.float32), room == ENDS

    def legal_actions(self, state, params):
        return jnp.moveaxis(jnp.asarray(LEGAL)[state.room], -1, 0)

    def encode(self, state):
        return state.room[None].astype(jnp.uint32)

    def decode(self, words):
        return jax.nn.one_hot(words[..., 0], len(LEGAL))


class Table:
    """A network whose parameters are its outputs in each room, `[room, door, ...]`."""

    def __init__(self, outputs: Any) -> None:
        self.outputs = jnp.asarray(outputs, jnp.float32)

    def init(self, key, observations):
        return self.outputs

    def apply(self, params, observations, *, rngs=None):
        return params[observations.argmax(-1)]


class PolicyTable(Table):
    """Logits and values."""

    def init(self, key, observations):
        return self.outputs, jnp.arange(len(LEGAL), dtype=jnp.float32)

    def apply(self, params, observations, *, rngs=None):
        room = observations.argmax(-1)
        return Categorical(params[0][room]), params[1][room]
