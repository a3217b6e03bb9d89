"""Recurrent networks: from a sequence of observations to a policy and values, or to action values."""

from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.arguments import ArgumentError, check_is_no_class
from jaxrl.distributions import Distribution
from jaxrl.networks.actor_critic import MLP, num_outputs, policy_of, weights
from jaxrl.networks.network import as_features, check_has_no_state
from jaxrl.precision import single
from jaxrl.types import Array, Box, Discrete, PyTree


class RecurrentNetwork(Protocol):
    """A function of sequences with parameters and a memory, such as `RecurrentActorCritic`."""

    def init(self, key: Array, memory: PyTree, observations: PyTree, starts: Array, /) -> PyTree:
        """Parameters, from examples of the other arguments of `apply`."""

    def apply(self, params: PyTree, memory: PyTree, observations: PyTree, starts: Array, /) -> tuple[Any, PyTree]:
        """Outputs of `L * B` rows from observations `[L, B, ...]`, and the memory after each of them, `[L, B, ...]`.

        The outputs are a policy and values, or action values. `memory` is that before the first, `[B, ...]`. Where
        `starts`, bool `[L, B]`, is True, an episode starts, and the memory becomes the initial one before.
        """

    def memory(self, num_envs: int) -> PyTree:
        """The memory at the start of an episode, `[num_envs, ...]`."""


def check_recurrent_network(network: Any) -> None:
    """Raises `ArgumentError` if an argument is not a `RecurrentNetwork`."""
    check_is_no_class("network", network)
    if not all(callable(getattr(network, name, None)) for name in ("init", "apply", "memory")):
        rule = "must have init, apply and memory, as jaxrl.networks.recurrent.RecurrentNetwork has"
        raise ArgumentError("network", rule, network, got=type(network).__name__)


def initial_recurrent_params(network: RecurrentNetwork, key: Array, observation: PyTree) -> PyTree:
    """As `initial_params`, of a recurrent network."""
    one = jax.tree.map(lambda x: x[None, None], observation)
    params = network.init(key, network.memory(1), one, jnp.zeros((1, 1), bool))
    check_has_no_state(params)
    return single(params)


class GRU(nn.Module):
    """A gated recurrent unit (Cho et al. 2014, https://arxiv.org/abs/1406.1078), with one bias for each gate.

    The products with its inputs are computed for the whole sequence at once, outside the loop over time.
    """

    features: int

    @nn.compact
    def __call__(self, memory: Array, inputs: Array, starts: Array) -> Array:
        """The memory after each of the inputs `[L, B, ...]`, `[L, B, features]`, from that before, `[B, features]`."""
        size = self.features
        given = nn.Dense(3 * size, kernel_init=weights(1.0))(inputs)
        recurrent = self.param("recurrent", weights(1.0), (size, 3 * size), jnp.float32)

        def step(h: Array, x: tuple[Array, Array]) -> tuple[Array, Array]:
            given, start = x
            h = jnp.where(start[:, None], 0.0, h)
            gates = jax.nn.sigmoid(given[:, : 2 * size] + h @ recurrent[:, : 2 * size])
            reset, update = gates[:, :size], gates[:, size:]
            candidate = jnp.tanh(given[:, 2 * size :] + (reset * h) @ recurrent[:, 2 * size :])
            h = (1 - update) * candidate + update * h
            return h, h

        return jax.lax.scan(step, memory, (given, starts))[1]


class RecurrentActorCritic(nn.Module):
    """π(· | s_0 … s_t) and V, from one GRU behind a dense layer, with one dense layer of their own each.

    `apply` takes observations `[L, B, ...]` and returns a `Distribution` and values of `L * B` rows, in that order.
    Observations are preprocessed, and those of several leaves joined, as in `ActorCritic`.
    """

    action_space: Discrete | Box
    hidden_size: int = 64
    memory_size: int = 64
    num_states: int | Sequence[int] = 0

    @nn.compact
    def __call__(self, memory: Array, observations: PyTree, starts: Array) -> tuple[tuple[Distribution, Array], Array]:
        memory = remember(self, memory, observations, starts)
        x = memory.reshape(-1, self.memory_size)
        actor = MLP((self.hidden_size,), num_outputs(self.action_space), 0.01, name="actor")(x)
        value = MLP((self.hidden_size,), 1, 1.0, name="critic")(x)[:, 0]
        return (policy_of(self, self.action_space, actor), value), memory

    def memory(self, num_envs: int) -> Array:
        """The memory at the start of an episode, zeros `[num_envs, memory_size]`."""
        return jnp.zeros((num_envs, self.memory_size), jnp.float32)


class RecurrentQNetwork(nn.Module):
    """Q(s_0 … s_t, ·) from one GRU behind a dense layer, with one dense layer and ReLU after it.

    `apply` takes observations `[L, B, ...]` and returns action values `[L * B, num_actions]`.
    Observations are preprocessed, and those of several leaves joined, as in `ActorCritic`.
    """

    num_actions: int
    hidden_size: int = 64
    memory_size: int = 64
    num_states: int | Sequence[int] = 0

    @nn.compact
    def __call__(self, memory: Array, observations: PyTree, starts: Array) -> tuple[Array, Array]:
        memory = remember(self, memory, observations, starts)
        x = memory.reshape(-1, self.memory_size)
        return MLP((self.hidden_size,), self.num_actions, 1.0, "relu", name="head")(x), memory

    def memory(self, num_envs: int) -> Array:
        """The memory at the start of an episode, zeros `[num_envs, memory_size]`."""
        return jnp.zeros((num_envs, self.memory_size), jnp.float32)


def remember(module: Any, memory: Array, observations: PyTree, starts: Array) -> Array:
    """The memory after each observation, `[L, B, memory_size]`: a dense layer and a GRU of a module."""
    x = as_features(observations, module.num_states, batch_axes=2).reshape(*starts.shape, -1).astype(jnp.float32)
    x = jnp.tanh(nn.Dense(module.hidden_size, kernel_init=weights(2**0.5))(x))
    return GRU(module.memory_size)(memory, x, starts)


def one_step(network: RecurrentNetwork, params: PyTree, memory: PyTree, observations: PyTree) -> tuple[Any, PyTree]:
    """The outputs and the next memory `[B, ...]` of one observation each, from memory `[B, ...]`."""
    sequence = jax.tree.map(lambda x: x[None], observations)
    no_start = jnp.zeros((1, len(jax.tree.leaves(observations)[0])), bool)
    outputs, memory = network.apply(params, memory, sequence, no_start)
    return outputs, jax.tree.map(lambda x: x[0], memory)


def first_step(network: RecurrentNetwork, params: PyTree, observations: PyTree) -> Any:
    """The outputs of one observation each, the first of an episode."""
    memory = network.memory(len(jax.tree.leaves(observations)[0]))
    return one_step(network, params, memory, observations)[0]
