"""Networks for agents that learn continuous actions from a replay buffer: policies, and critics of single actions."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrl.arguments import ArgumentError, check_box
from jaxrl.distributions import SquashedNormal
from jaxrl.networks.actor_critic import MLP, inputs_of
from jaxrl.types import Array, Box, PyTree

LEAST_STD = 1e-3
"""The smallest standard deviation of a `SquashedPolicy`, before tanh."""


class SquashedPolicy(nn.Module):
    """π(· | s) inside a box, as in SAC: observations `[N, ...]` to a `SquashedNormal`.

    Mean and standard deviation, softplus of an output, both depend on the observation. Observations are prepared as in
    `ActorCritic`.
    """

    action_space: Box
    hidden_sizes: Sequence[int] = (256, 256)
    activation: Literal["tanh", "relu"] = "relu"
    num_states: int | Sequence[int] = 0

    @nn.compact
    def __call__(self, observations: PyTree) -> SquashedNormal:
        x, (low, high) = inputs_of(observations, self.num_states, 0), map(jnp.asarray, bounds_of(self.action_space))
        size = len(low)
        mean, scale = jnp.split(MLP(self.hidden_sizes, 2 * size, 0.01, self.activation)(x), 2, axis=-1)
        log_std = jnp.log(jax.nn.softplus(scale) + LEAST_STD)
        return SquashedNormal(mean, log_std, low, high)


class DeterministicPolicy(nn.Module):
    """One action inside a box for each observation, as in TD3: observations `[N, ...]` to actions `[N, D]`."""

    action_space: Box
    hidden_sizes: Sequence[int] = (256, 256)
    activation: Literal["tanh", "relu"] = "relu"
    num_states: int | Sequence[int] = 0

    @nn.compact
    def __call__(self, observations: PyTree) -> Array:
        x, (low, high) = inputs_of(observations, self.num_states, 0), bounds_of(self.action_space)
        actor = MLP(self.hidden_sizes, len(low), 0.01, self.activation)(x)
        return (high + low) / 2 + (high - low) / 2 * jnp.tanh(actor)


class Critic(nn.Module):
    """Q(s, a): a pair of observations `[N, ...]` and actions `[N, D]` to values `[N]`.

    Actions are scaled to [-1, 1]. Observations are prepared as in `ActorCritic`.
    """

    action_space: Box
    hidden_sizes: Sequence[int] = (256, 256)
    activation: Literal["tanh", "relu"] = "relu"
    num_states: int | Sequence[int] = 0

    @nn.compact
    def __call__(self, pairs: tuple[PyTree, Array]) -> Array:
        if not (isinstance(pairs, tuple) and len(pairs) == 2):
            rule = "must be a pair of observations and actions, which a critic values; a policy is given observations"
            raise ArgumentError("pairs", rule, pairs, got=type(pairs).__name__)
        observations, actions = pairs
        low, high = bounds_of(self.action_space)
        actions = (actions - (high + low) / 2) / ((high - low) / 2)
        x = jnp.concatenate([inputs_of(observations, self.num_states, 0), actions], axis=-1)
        return MLP(self.hidden_sizes, 1, 1.0, self.activation)(x)[:, 0]


def bounds_of(space: Any) -> tuple[np.ndarray, np.ndarray]:
    """The bounds of a box of actions, float32 `[D]`. Raises an `ArgumentError` if it is none."""
    check_box("action_space", space)
    return np.asarray(space.low, np.float32), np.asarray(space.high, np.float32)
