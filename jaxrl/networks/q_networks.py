"""Action-value networks: from a batch of observations to Q(s, ·) of every action at once."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxrl.networks.network import check_one_array
from jaxrl.types import Array, PyTree


class Dense(nn.Module):
    """A dense layer with the batch last: `[inputs, N]` to `[features, N]`."""

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[0], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return kernel.T @ x.astype(kernel.dtype) + bias[:, None]


class BoardConv(nn.Module):
    """A 3 × 3 convolution without padding, the batch last: `[H, W, C, N]` to `[features, H - 2, W - 2, N]`.

    Nine shifted slices and one matrix product. `lax.conv` is several times slower on boards this small, and a
    population would turn it into a grouped convolution, where this stays a batched matrix product. With the batch last
    every slice is a copy of long rows; that makes a gradient step a quarter faster than with the batch first.
    """

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        height, width, channels, n = x.shape[0] - 2, x.shape[1] - 2, *x.shape[2:]
        x = jnp.moveaxis(x, 2, 0)
        shifted = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        patches = jnp.concatenate(shifted).reshape(9 * channels, height * width * n)
        return Dense(self.features)(patches).reshape(self.features, height, width, n)


class QNetwork(nn.Module):
    """Q(s, ·): observations `[N, ...]` to `[N, num_actions]`.

    Boards `[N, H, W, C]` of 3 × 3 cells or more pass a convolution of `conv_features` and then the dense layers, as in
    the MinAtar paper (Young & Tian 2019); all other observations are flattened into the dense layers. ReLU between.
    """

    num_actions: int
    hidden_sizes: Sequence[int]
    conv_features: int = 16

    @nn.compact
    def __call__(self, observations: Array) -> Array:
        x = jnp.moveaxis(observations, 0, -1)
        if x.ndim == 4 and min(x.shape[:2]) >= 3:
            x = nn.relu(BoardConv(self.conv_features)(x))
        x = x.reshape(-1, observations.shape[0])
        for size in self.hidden_sizes:
            x = nn.relu(Dense(size)(x))
        return Dense(self.num_actions)(x).T


def q_network(observation: PyTree, num_actions: int, hidden_sizes: Sequence[int] = (128,)) -> QNetwork:
    """The usual network for an observation, given as an array or a `jax.ShapeDtypeStruct` without batch axis.

    Raises:
        ArgumentError: the observation is not one array.
    """
    check_one_array(observation)
    return QNetwork(num_actions, tuple(hidden_sizes))
