"""An environment of tiny random frames whose observations are stacks of them, as arrays and on the host."""

import dataclasses
from typing import Any, NamedTuple

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnax.environments import spaces

from jaxrl.envs import from_gymnasium

STACK, SHAPE = 3, (2, 2)


class State(NamedTuple):
    stack: jax.Array
    time: jax.Array


class RandomFrames:
    """Each frame is random. An episode is truncated after 9 steps; in each step it terminates with probability 1/8."""

    name, default_params, frame_stack = "RandomFrames", (), STACK

    def reset(self, key, params=None):
        frame = jax.random.bits(key, SHAPE, jnp.uint8)
        stack = jnp.broadcast_to(frame, (STACK, *SHAPE))
        return stack, State(stack, jnp.int32(0))

    def step(self, key, state, action, params=None):
        frame_key, end_key, reset_key = jax.random.split(key, 3)
        stack = jnp.concatenate([state.stack[1:], jax.random.bits(frame_key, (1, *SHAPE), jnp.uint8)])
        terminated = jax.random.bernoulli(end_key, 1 / 8)
        truncated = ~terminated & (state.time >= 8)
        after, fresh = State(stack, state.time + 1), self.reset(reset_key)[1]
        following = jax.tree.map(lambda x, y: jnp.where(terminated | truncated, x, y), fresh, after)
        reward = stack[-1].mean() / 255
        return following.stack, following, reward, terminated, truncated, {"final_observation": stack}

    def action_space(self, params=None):
        return spaces.Discrete(2)


class CountedFrames(gymnasium.Env):
    """On the host: all pixels of a frame are the steps of the environment so far, over all episodes."""

    metadata: Any = {"render_modes": []}  # noqa: RUF012
    observation_space = gymnasium.spaces.Box(0, 255, (STACK, *SHAPE), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)
    steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps += 1
        self.time, self.stack = 0, np.full((STACK, *SHAPE), self.steps, np.uint8)
        return self.stack, {}

    def step(self, action):
        self.steps, self.time = self.steps + 1, self.time + 1
        self.stack = np.concatenate([self.stack[1:], np.full((1, *SHAPE), self.steps, np.uint8)])
        return self.stack, 1.0, self.time % 7 == 0, False, {}


def counted_frames():
    """`CountedFrames` as the trainers take it."""
    env = from_gymnasium(lambda mode: CountedFrames(), "CountedFrames")
    return dataclasses.replace(env, frame_stack=STACK)
