"""Networks for agents that learn continuous actions from a replay buffer: policies, and critics of single actions."""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

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
        x, (low, high) = inputs_of(observations, self.num_states, 0), map(jnp.asarray, self.action_space)
        size = len(self.action_space.low)
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
        x, (low, high) = inputs_of(observations, self.num_states, 0), map(np.asarray, self.action_space)
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
        observations, actions = pairs
        low, high = map(np.asarray, self.action_space)
        actions = (actions - (high + low) / 2) / ((high - low) / 2)
        x = jnp.concatenate([inputs_of(observations, self.num_states, 0), actions], axis=-1)
        return MLP(self.hidden_sizes, 1, 1.0, self.activation)(x)[:, 0]
