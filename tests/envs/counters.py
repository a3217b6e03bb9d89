"""A tiny deterministic environment, written as a pure function of arrays and as one of gymnasium's."""

from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs import Environment, from_gymnasium

CAP = 5


class Params(NamedTuple):
    max_steps_in_episode: int = CAP


class State(NamedTuple):
    position: jax.Array
    time: jax.Array


class Corridor(Environment):
    """Action 1 moves right and pays the new position, action 0 moves left; beyond 3 or -1 an episode terminates.

    It is truncated after five steps. Action 0 is illegal at 2 if `masked`.
    """

    random_words, num_actions, name = 1, 2, "Corridor"
    default_params: Any = Params()

    def __init__(self, masked: bool = False) -> None:
        self.masked = masked

    def initial(self, bits, params):
        return State(jnp.zeros(bits.shape[1:], jnp.int32), jnp.zeros(bits.shape[1:], jnp.int32))

    def transition(self, state, action, bits, params):
        position = state.position + jnp.where(action == 1, 1, -1)
        reward = jnp.where(action == 1, position.astype(jnp.float32), -0.25)
        return State(position, state.time + 1), reward, (position > 3) | (position < -1)

    def legal_actions(self, state, params):
        if not self.masked:
            return None
        return jnp.stack([state.position != 2, jnp.ones_like(state.position, bool)])

    def encode(self, state):
        return jnp.stack([state.position + 8, state.time]).astype(jnp.uint32)

    def decode(self, words):
        return words.astype(jnp.float32) - jnp.array([8.0, 0.0])


class HostCorridor(gymnasium.Env):
    """`Corridor` on the host."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(-9, 9, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, masked: bool = False, cap: int = CAP, render_mode: str | None = None) -> None:
        self.masked, self.cap, self.render_mode = masked, cap, render_mode

    def seen(self):
        info = {"action_mask": np.array([self.position != 2, True])} if self.masked else {}
        return np.array([self.position, self.time], np.float32), info

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.position = self.time = 0
        return self.seen()

    def step(self, action):
        self.position += 1 if action == 1 else -1
        self.time += 1
        reward = float(self.position) if action == 1 else -0.25
        observation, info = self.seen()
        return observation, reward, not -1 <= self.position <= 3, self.time >= self.cap, info

    def render(self):
        return np.full((4, 6, 3), 40 * (self.position + 2), np.uint8)


def host_corridor(masked: bool = False):
    """`HostCorridor` as the trainers take it."""
    return from_gymnasium(lambda mode: HostCorridor(masked, render_mode=mode), "Corridor")
