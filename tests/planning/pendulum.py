"""The pendulum of gymnax and gymnasium, written anew, and its value by a dense dynamic program."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LIMIT = 200
"""Steps of an episode."""


def step(state: jax.Array, action: jax.Array, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """`(next state, reward)` of states (angle, speed) `[..., 2]` and actions `[..., 1]`: a model of the pendulum."""
    del key
    angle, speed = state[..., 0], state[..., 1]
    torque = jnp.clip(action[..., 0], -2, 2)
    upright = (angle + jnp.pi) % (2 * jnp.pi) - jnp.pi
    reward = -(upright**2 + 0.1 * speed**2 + 0.001 * torque**2)
    speed = jnp.clip(speed + (15 * jnp.sin(angle) + 3 * torque) * 0.05, -8, 8)
    return jnp.stack([angle + speed * 0.05, speed], -1), reward


def starts(key: jax.Array, number: int) -> jax.Array:
    """First states, `[number, 2]`."""
    return jax.random.uniform(key, (number, 2), minval=-1.0) * jnp.array([jnp.pi, 1.0])


class Grid(NamedTuple):
    """Values at angles that cover the circle and speeds from -8 to 8, `[angles, speeds]`, for each step to go."""

    values: jax.Array

    def at(self, state: jax.Array) -> jax.Array:
        """Interpolated between the four nearest points, `[...]`, of states `[..., 2]`."""
        angles, speeds = self.values.shape
        x = (state[..., 0] / (2 * jnp.pi) % 1.0) * angles
        y = (state[..., 1] + 8) / 16 * (speeds - 1)
        i, j = jnp.floor(x).astype(int), jnp.clip(jnp.floor(y).astype(int), 0, speeds - 2)
        x, y, up = x - i, y - j, (i + 1) % angles
        i = i % angles
        below = (1 - y) * self.values[i, j] + y * self.values[i, j + 1]
        above = (1 - y) * self.values[up, j] + y * self.values[up, j + 1]
        return (1 - x) * below + x * above


@partial(jax.jit, static_argnums=(0, 1, 2))
def solve(angles: int, speeds: int, torques: int) -> jax.Array:
    """The optimal values with 0 to 200 steps to go, `[201, angles, speeds]`."""
    angle, speed = jnp.meshgrid(
        jnp.arange(angles) * (2 * jnp.pi / angles), jnp.linspace(-8.0, 8.0, speeds), indexing="ij"
    )
    state = jnp.stack([angle, speed], -1)

    def backup(values: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        def best(found: jax.Array, torque: jax.Array) -> tuple[jax.Array, None]:
            following, reward = step(state, jnp.broadcast_to(torque, (*state.shape[:-1], 1)))
            return jnp.maximum(found, reward + Grid(values).at(following)), None

        values, _ = jax.lax.scan(best, jnp.full_like(values, -jnp.inf), jnp.linspace(-2.0, 2.0, torques))
        return values, values

    first = jnp.zeros((angles, speeds))
    return jnp.concatenate([first[None], jax.lax.scan(backup, first, length=LIMIT)[1]])


@partial(jax.jit, static_argnums=(2,))
def follow(values: jax.Array, first: jax.Array, torques: int) -> jax.Array:
    """The true returns of the greedy policy from states `[N, 2]`: `[N]`."""
    choices = jnp.linspace(-2.0, 2.0, torques)

    def act(state: jax.Array, values: jax.Array) -> tuple[jax.Array, jax.Array]:
        following, reward = step(state[:, None], jnp.broadcast_to(choices[:, None], (len(state), torques, 1)))
        best = (reward + Grid(values).at(following)).argmax(1)
        return step(state, choices[best][:, None])

    return jax.lax.scan(act, first, values[LIMIT - 1 :: -1])[1].sum(0)


def control(planner, first: jax.Array, key: jax.Array, horizon: int, batch: int) -> np.ndarray:
    """The true returns of planning again at each step, from states `[N, 2]`: `[N]`.

    Args:
        planner: `(state, key, actions [H, 1]) -> ActionPlan`.
        first: where each episode begins.
        key: a random key.
        horizon: H.
        batch: episodes side by side.
    """
    from jaxrl.planning import shift

    def episode(state: jax.Array, key: jax.Array) -> jax.Array:
        def body(loop: tuple, key: jax.Array) -> tuple:
            state, actions = loop
            plan = planner(state, key, actions)
            state, reward = step(state, plan.actions[0])
            return (state, shift(plan.actions)), reward

        begin = state, jnp.zeros((horizon, 1))
        return jax.lax.scan(body, begin, jax.random.split(key, LIMIT))[1].sum()

    keys = jax.random.split(key, len(first))
    return np.asarray(jax.jit(lambda *x: jax.lax.map(lambda x: episode(*x), x, batch_size=batch))(first, keys))
