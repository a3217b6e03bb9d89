"""What the tests of agents learn, and how: tiny environments whose values are known exactly.

All of them are one environment with traced parameters, so that one program learns them all.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces

from jaxrl.agents import (
    A2CHparams,
    MinibatchConfig,
    PPOHparams,
    ReinforceConfig,
    ReinforceHparams,
    a2c,
    ppo,
    reinforce,
)
from jaxrl.envs import Environment
from jaxrl.types import Agent
from tests.compiling import quick_jit

DISCOUNT = 0.5
FOREVER = 2**31 - 1
"""A time limit that is never reached."""


class ProbeParams(NamedTuple):
    """What happens at each of two places.

    Attributes:
        reward: of each action, `[place, cue, action]`.
        leads_to: the place that follows, int32 `[place]`.
        ends: whether the episode is over after it, bool `[place]`.
        max_steps_in_episode: where the episode is truncated.
    """

    reward: jax.Array
    leads_to: jax.Array
    ends: jax.Array
    max_steps_in_episode: jax.Array


class ProbeState(NamedTuple):
    cue: jax.Array
    place: jax.Array
    time: jax.Array


class Probe(Environment):
    """An observation of (cue, place) and two actions; rewards, ways and ends are parameters."""

    random_words, num_actions, name = 1, 2, "Probe"
    default_params: Any = None  # no probe is the default

    def describe_rules(self, params):
        return "probe"

    def initial(self, bits, params):
        cue = (bits[0] & 1).astype(jnp.int32)
        return ProbeState(cue, jnp.zeros_like(cue), jnp.zeros_like(cue))

    def encode(self, state):
        return jnp.stack([state.cue, state.place]).astype(jnp.uint32)

    def decode(self, words):
        return words.astype(jnp.float32)

    def transition(self, state, action, bits, params):
        reward = jnp.asarray(params.reward)[state.place, state.cue, action]
        after = ProbeState(state.cue, jnp.asarray(params.leads_to)[state.place], state.time + 1)
        return after, reward, jnp.asarray(params.ends)[state.place]


def probe_params(reward=0.0, then=None, max_steps: int = FOREVER, goes_on: bool = False) -> ProbeParams:
    """`reward` (to be broadcast to `[cue, action]`) at place 0; `then` the one at place 1, if it leads there."""
    rewards = np.stack([np.broadcast_to(x, (2, 2)) for x in (reward, 0.0 if then is None else then)])
    moves = then is not None
    ends = np.array([not moves and not goes_on, True])
    return ProbeParams(rewards.astype(np.float32), np.array([moves, 1], np.int32), ends, np.int32(max_steps))


BY_ACTION, BY_CUE = np.array([[-1, 1]], np.float32), np.array([[-1], [1]], np.float32)

PROBES = {
    "constant": probe_params(1.0),
    "cue": probe_params(BY_CUE),
    "delayed": probe_params(0.0, then=1.0),
    "action": probe_params(BY_ACTION),
    "cue and action": probe_params(BY_CUE * BY_ACTION),
    "action, then cue and action": probe_params(BY_ACTION, then=BY_CUE * BY_ACTION),
    "truncated": probe_params(1.0, max_steps=1, goes_on=True),
}
"""What each reward depends on, and when it comes. The last environment truncates each step of an endless episode."""

STACKED = jax.tree.map(lambda *leaves: np.stack(leaves), *PROBES.values())

PLACES = np.array([[[0, 0], [1, 0]], [[0, 1], [1, 1]]], np.float32)
"""The observations, `[place, cue, 2]`."""


def exact_q(params: ProbeParams, discount: float = DISCOUNT) -> np.ndarray:
    """Q*(place, cue, action), by iterating its Bellman equation; truncation does not change it."""
    q = np.zeros((2, 2, 2))
    for _ in range(100):
        follows = q.max(-1)[params.leads_to]
        q = np.asarray(params.reward + discount * np.where(params.ends[:, None], 0.0, follows)[..., None])
    return q


def is_visited(params: ProbeParams) -> np.ndarray:
    """Whether an agent reaches each place, bool `[place]`."""
    return np.array([True, params.leads_to[0] == 1])


class Aim:
    """One step, a number in [-1, 1] as action, and reward -(action - target)²; the observation says the target.

    With gymnax's interface, as every environment with continuous actions is.
    """

    name = "Aim"

    def observation(self, target):
        return target[None]

    def reset(self, key, params=None):
        target = jax.random.choice(key, TARGETS)
        return self.observation(target), target

    def step(self, key, target, action, params=None):
        observation, state = self.reset(key)
        reward = -jnp.square(action[0] - target)
        end = {"final_observation": self.observation(target)}
        return observation, state, reward, jnp.bool(True), jnp.bool(False), end

    def action_space(self, params=None):
        return spaces.Box(-1.0, 1.0, (1,), jnp.float32)


TARGETS = np.array([-0.5, 0.25], np.float32)


ON_POLICY_AGENTS: dict[str, tuple[Callable[..., Agent], Callable[..., Any]]] = {
    "a2c": (a2c, A2CHparams),
    "ppo": (partial(ppo, config=MinibatchConfig(num_epochs=2, num_minibatches=2)), PPOHparams),
} | {
    weight: (partial(reinforce, config=ReinforceConfig(weight)), ReinforceHparams)
    for weight in ("trajectory", "reward_to_go", "baseline")
}
"""Each agent's constructor from a network, and its hyperparameters."""


def trained(make_trainer, params, iterations: int):
    """The agent's state after training in each of the environments that `params` stacks, in one program."""

    @quick_jit
    @jax.vmap
    def train(params):
        trainer, hparams = make_trainer(params)
        state = trainer.init(jax.random.key(0), hparams)
        return jax.lax.fori_loop(0, iterations, lambda _, state: trainer.step(state)[0], state).agent

    return train(params)
