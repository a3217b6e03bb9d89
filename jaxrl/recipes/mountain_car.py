"""The recipe of inverse reinforcement learning in MountainCar, whose states are continuous (Ng & Russell 2000).

A reward is for a position: that of the car after a step, and of the goal for ever once it is there. Planning knows the
dynamics, and interpolates the values between the points of a grid.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.ndimage import map_coordinates

from jaxrl.arguments import ArgumentError
from jaxrl.envs import rollout
from jaxrl.types import Array, Input, Transition

POINTS = (128, 64)
"""Positions and velocities of the grid."""
MOST_STEPS = 1000
"""Steps after which an episode is cut. With γ = 0.99, what follows counts little."""
NUM_BUMPS = 26
"""As in the paper's section 6.2."""

Features = Callable[[Any], Any]
"""Positions `[...]` to features `[..., F]`."""


class Car(NamedTuple):
    """The environment, and with which discount γ to plan in it."""

    env: Any
    params: Any
    discount: float


class Plan(NamedTuple):
    """A reward `features(position) @ weights`, and the optimal values for it at the points of the grid."""

    weights: Array
    values: Array


def bumps(positions: Any) -> Array:
    """Gaussian bumps at equal distances from the left end to the right, `[..., 26]`."""
    centres = jnp.linspace(-1.2, 0.6, NUM_BUMPS)
    return jnp.exp(-0.5 * jnp.square((jnp.asarray(positions)[..., None] - centres) / (centres[1] - centres[0])))


def not_at_goal(positions: Any) -> Array:
    """Whether the car has not reached the goal, `[..., 1]`. With the weight -1 it is the true reward."""
    return (jnp.asarray(positions)[..., None] < 0.5).astype(jnp.float32)


def follow(car: Car, observations: Array) -> tuple[Array, Array]:
    """The observations after each action, `[..., A, 2]`, and whether the episode ends with it, `[..., A]`."""
    _, state = car.env.reset(jax.random.key(0), car.params)

    def move(observation: Array, action: Array) -> tuple[Array, Array]:
        before = state.replace(position=observation[0], velocity=observation[1], time=0)
        after, _, _, ended, _ = car.env.step_env(jax.random.key(0), before, action, car.params)
        return after, ended

    each = jnp.vectorize(move, signature="(f),()->(f),()")
    return each(observations[..., None, :], jnp.arange(car.env.num_actions))


def look_ahead(car: Car, features: Features, plan: Plan, observations: Array) -> Array:
    """`Q(s, a)` of one step and the values after it, `[..., A]`."""
    after, ended = follow(car, observations)
    reward = features(after[..., 0]) @ plan.weights
    low, high = (jnp.array(x) for x in ((-1.2, -0.07), (0.6, 0.07)))
    places = (after - low) / (high - low) * (jnp.array(POINTS) - 1)
    values = map_coordinates(plan.values, [places[..., 0], places[..., 1]], order=1, mode="nearest")
    return reward + car.discount * jnp.where(ended, reward / (1 - car.discount), values)


@partial(jax.jit, static_argnums=(0, 1))
def _plan(car: Car, features: Features, weights: Array) -> Plan:
    grid = jnp.meshgrid(jnp.linspace(-1.2, 0.6, POINTS[0]), jnp.linspace(-0.07, 0.07, POINTS[1]), indexing="ij")
    states = jnp.stack(grid, axis=-1)

    def sweep(_: Array, values: Array) -> Array:
        return look_ahead(car, features, Plan(weights, values), states).max(-1)

    return Plan(weights, jax.lax.fori_loop(0, MOST_STEPS, sweep, jnp.zeros(POINTS)))


def plan_for(car: Car, features: Features, weights: Any) -> Plan:
    """Value iteration on the grid."""
    return _plan(car, features, jnp.asarray(weights, jnp.float32))


@partial(jax.jit, static_argnums=(0, 1, 4))
def play(car: Car, features: Features, plan: Plan | None, key: Array, episodes: int) -> Transition:
    """Steps `[T, N]` of the policy that looks one step ahead, or of the random one."""

    def act(given: Input, key: Array) -> Array:
        if plan is None:
            return jax.random.randint(key, (episodes,), 0, car.env.num_actions)
        return look_ahead(car, features, plan, given.observation).argmax(-1)

    params = car.params.replace(max_steps_in_episode=MOST_STEPS)
    return rollout(car.env, act, key, MOST_STEPS, episodes, params)


def first_episodes(steps: Transition) -> tuple[np.ndarray, np.ndarray]:
    """The positions after each step of the first episode of each environment, of the last one for ever; its returns.

    Args:
        steps: `[T, N]`.

    Returns:
        Positions `[T, N]` and undiscounted returns `[N]`.
    """
    positions, ends = np.asarray(steps.next_observation[..., 0]), np.asarray(steps.terminated | steps.truncated)
    last = np.where(ends.any(0), ends.argmax(0), len(ends) - 1)
    rows = np.minimum(np.arange(len(ends))[:, None], last)
    played = np.arange(len(ends))[:, None] <= last
    return np.take_along_axis(positions, rows, axis=0), (np.asarray(steps.reward) * played).sum(0)


def recorded_episodes(transitions: Transition) -> tuple[np.ndarray, np.ndarray]:
    """The same from recorded transitions `[M]`: of the episodes that reach the goal.

    Raises:
        ArgumentError: none does.
    """
    ends = np.flatnonzero(transitions.terminated | transitions.truncated)
    begins = np.append(0, ends[:-1] + 1)
    spans = [slice(a, b + 1) for a, b in zip(begins, ends, strict=True) if transitions.terminated[b]]
    if not spans:
        raise ArgumentError("dataset", "must have an episode that reaches the goal", got="none")
    longest = max(MOST_STEPS, *(span.stop - span.start for span in spans))
    rows = [transitions.next_observation[span, 0] for span in spans]
    positions = np.stack([np.pad(row, (0, longest - len(row)), mode="edge") for row in rows], axis=1)
    return positions, np.array([transitions.reward[span].sum() for span in spans])


def expected_features(features: Features, positions: np.ndarray, discount: float) -> np.ndarray:
    """The mean over episodes of `Σ_t γ^t φ(s_t)`, `[F]`, from positions `[T, N]`, the last of which stay for ever."""
    seen = np.asarray(features(positions), np.float64).mean(1)
    weights = discount ** np.arange(len(seen))
    weights[-1] /= 1 - discount
    return weights @ seen
