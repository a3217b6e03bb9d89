"""Demonstrations in an MDP given as tables: sampling them, and counting what they do."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError, check_count
from jaxrl.inverse.soft_planning import check_policy
from jaxrl.types import MDP, Array


class Trajectories(NamedTuple):
    """`N` demonstrations of `T` steps. After the end of an episode, its terminal state repeats.

    Attributes:
        states: `s_t`, int32 `[N, T]`.
        actions: `a_t`, int32 `[N, T]`.
    """

    states: Array
    actions: Array


def sample_trajectories(mdp: MDP, policy: Array, key: Array, num_trajectories: int, horizon: int) -> Trajectories:
    """Samples demonstrations of a policy.

    Args:
        mdp: the problem.
        policy: `π(a | s)`, `[S, A]`, or `π_t(a | s)`, `[T, S, A]`.
        key: a random key.
        num_trajectories: `N`.
        horizon: `T`, the number of steps.

    Raises:
        ArgumentError: a shape does not fit, or a number is not a whole one of at least 1.
    """
    check_count("num_trajectories", num_trajectories)
    check_count("horizon", horizon)
    check_policy(mdp, policy, horizon)
    return _sample(mdp, jnp.asarray(policy), key, num_trajectories, horizon)


@partial(jax.jit, static_argnums=(3, 4))
def _sample(mdp: MDP, policy: Array, key: Array, num_trajectories: int, horizon: int) -> Trajectories:
    def draw(key: Array, probabilities: Array) -> Array:
        return jax.random.categorical(key, jnp.log(probabilities)).astype(jnp.int32)

    def step(state: Array, given: tuple[Array, Array]) -> tuple[Array, tuple[Array, Array]]:
        key, policy = given
        act, move = jax.random.split(key)
        action = draw(act, policy[state])
        return draw(move, mdp.transition[state, action]), (state, action)

    def one(key: Array) -> Trajectories:
        first, later = jax.random.split(key)
        keys = jax.random.split(later, horizon)
        policies = jnp.broadcast_to(policy, (horizon, *mdp.reward.shape))
        return Trajectories(*jax.lax.scan(step, draw(first, mdp.initial), (keys, policies))[1])

    return jax.vmap(one)(jax.random.split(key, num_trajectories))


def trajectory_occupancy(mdp: MDP, trajectories: Trajectories) -> Array:
    """The mean of `Σ_t γ^t [s_t = s, a_t = a]` over demonstrations, `[S, A]`; zero in terminal states.

    Args:
        mdp: the problem.
        trajectories: the demonstrations, `[N, T]`.

    Raises:
        ArgumentError: there are none, their shapes differ, or a state or an action is not one of the problem.
    """
    check_trajectories(mdp, trajectories)
    number, horizon = np.shape(trajectories.states)
    weights = jnp.asarray(mdp.discount) ** jnp.arange(horizon) / number
    weights = jnp.where(mdp.terminal[trajectories.states], 0, weights)
    return jnp.zeros(mdp.reward.shape, weights.dtype).at[trajectories.states, trajectories.actions].add(weights)


def check_trajectories(mdp: MDP, trajectories: Trajectories) -> None:
    """Checks demonstrations. Traced arrays pass if their shapes do."""
    shape = np.shape(trajectories.states)
    if len(shape) != 2 or 0 in shape:
        raise ArgumentError("trajectories.states", "must be of shape [N, T] with N and T >= 1", shape)
    if np.shape(trajectories.actions) != shape:
        raise ArgumentError("trajectories.actions", f"must be of shape [N, T], here {shape}", np.shape(trajectories[1]))
    for name, x, size in zip(Trajectories._fields, trajectories, mdp.reward.shape, strict=True):
        if not jnp.issubdtype(x.dtype, jnp.integer):
            raise ArgumentError(f"trajectories.{name}", "must be whole numbers", x.dtype)
        if not isinstance(x, jax.core.Tracer) and not ((x >= 0) & (x < size)).all():
            raise ArgumentError(f"trajectories.{name}", f"must be >= 0 and < {size}", np.asarray(x).max())
