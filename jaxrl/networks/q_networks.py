"""Action-value networks: from a batch of observations to Q(s, ·) of every action at once."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxrl.arguments import ArgumentError
from jaxrl.networks.layers import BoardConv, Dense, LayerNorm, NoisyDense, is_board
from jaxrl.networks.network import as_features, check_one_array, num_states_of
from jaxrl.types import Array, PyTree


class QNetwork(nn.Module):
    """Q(s, ·): observations `[N, ...]` to `[N, num_actions]`, or to `[N, num_actions, *outputs]`.

    Boards `[N, H, W, C]` of 3 × 3 cells or more pass a convolution of `conv_features` and then the dense layers, as in
    the MinAtar paper (Young & Tian 2019); all other observations are flattened into the dense layers. ReLU between.
    Images of bytes (uint8) are divided by 255.

    Attributes:
        num_actions: of the environment.
        hidden_sizes: units of each dense layer.
        conv_features: of the convolution.
        outputs: shape of what is said of one action: `()` for Q(s, a) itself, `(K,)` for a distribution of returns.
        layer_norm: a `LayerNorm` before each ReLU, as PQN needs.
        dueling: two streams from the last dense layer on, Q = V + A − mean_a A (Wang et al. 2016,
            https://arxiv.org/abs/1511.06581, equation 9). The gradient that they send into the layers before is their
            sum, which the paper multiplies by 1 / √2.
        dense: the kind of dense layers: `Dense` or `NoisyDense`.
        num_states: if it is not 0, observations `[N]` are numbers of so many states, and become one-hot.
    """

    num_actions: int
    hidden_sizes: Sequence[int]
    conv_features: int = 16
    outputs: tuple[int, ...] = ()
    layer_norm: bool = False
    dueling: bool = False
    dense: type[Dense] | type[NoisyDense] = Dense
    num_states: int = 0

    @nn.compact
    def __call__(self, observations: Array) -> Array:
        observations = as_features(observations, self.num_states)
        x = jnp.moveaxis(observations, 0, -1)
        if is_board(observations.shape[1:]):
            x = self.activate(BoardConv(self.conv_features)(x))
        x = x.reshape(-1, observations.shape[0])
        if not self.dueling:
            return jnp.moveaxis(self.stream(x, self.hidden_sizes, self.num_actions), -1, 0)
        for size in self.hidden_sizes[:-1]:
            x = self.activate(self.dense(size)(x))
        value, advantage = (self.stream(x, self.hidden_sizes[-1:], rows) for rows in (1, self.num_actions))
        return jnp.moveaxis(value + advantage - advantage.mean(0), -1, 0)

    def activate(self, x: Array) -> Array:
        return nn.relu(LayerNorm()(x) if self.layer_norm else x)

    def stream(self, x: Array, hidden_sizes: Sequence[int], rows: int) -> Array:
        """Dense layers `[inputs, N]` to `[rows, *outputs, N]`."""
        for size in hidden_sizes:
            x = self.activate(self.dense(size)(x))
        return self.dense(rows * math.prod(self.outputs))(x).reshape(rows, *self.outputs, -1)


def q_network(observation: PyTree, num_actions: int, hidden_sizes: Sequence[int] = (128,), **options: Any) -> QNetwork:
    """The usual network for an observation, given as an array or a `jax.ShapeDtypeStruct` without batch axis.

    Where an environment numbers its states, pass its `observation_space(params)`, a `Discrete(n)`: they become one-hot.

    `options` are those of `QNetwork`.

    Raises:
        ArgumentError: the observation is not one array, or `conv_features` are given though it is no board.
    """
    check_one_array(observation)
    if "conv_features" in options and not is_board(observation.shape):
        features, shape = options["conv_features"], list(observation.shape)
        raise ArgumentError("conv_features", f"must not be given for observations {shape}, no boards", features)
    return QNetwork(num_actions, tuple(hidden_sizes), num_states=num_states_of(observation), **options)
