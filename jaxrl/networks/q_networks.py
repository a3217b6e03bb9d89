"""Action-value networks: from a batch of observations to Q(s, ·) of every action at once."""

from collections.abc import Sequence
from typing import Any, Protocol

import jax.numpy as jnp
from flax import linen as nn

from jaxrl.types import Array, PyTree


class Network(Protocol):
    """What an agent needs of a network; every flax linen module is one."""

    def init(self, key: Array, observations: PyTree, /) -> PyTree:
        """Parameters, from example observations `[N, *observation]`."""

    def apply(self, params: PyTree, observations: PyTree, /) -> Any:
        """Outputs `[N, ...]` of observations `[N, *observation]`."""


class BoardConv(nn.Module):
    """A 3 × 3 convolution without padding, as nine shifted slices and one matrix product.

    `lax.conv` is several times slower on boards this small, and a population would turn it into a grouped convolution,
    where this stays a batched matrix product. `[N, H, W, C]` to `[N, H - 2, W - 2, features]`.
    """

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        height, width = x.shape[1] - 2, x.shape[2] - 2
        shifted = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        return nn.Dense(self.features)(jnp.concatenate(shifted, axis=-1))


class MLP(nn.Module):
    """Dense layers with ReLU after each: `[N, ...]` to `[N, hidden_sizes[-1]]`."""

    hidden_sizes: Sequence[int]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = x.reshape(x.shape[0], -1)
        for size in self.hidden_sizes:
            x = nn.relu(nn.Dense(size)(x))
        return x


class QNetwork(nn.Module):
    """Q(s, ·), `[N, num_actions]`.

    Boards `[N, H, W, C]` of 3 × 3 cells or more pass a convolution of `conv_features` and then the dense layers, as in
    the MinAtar paper (Young & Tian 2019); all other observations are flattened into the dense layers.
    """

    num_actions: int
    hidden_sizes: Sequence[int]
    conv_features: int = 16

    @nn.compact
    def __call__(self, observations: Array) -> Array:
        x = observations.astype(jnp.float32)
        if x.ndim == 4 and min(x.shape[1:3]) >= 3:
            x = nn.relu(BoardConv(self.conv_features)(x))
        return nn.Dense(self.num_actions)(MLP(self.hidden_sizes)(x))


def q_network(observation: PyTree, num_actions: int, hidden_sizes: Sequence[int] = (128,)) -> QNetwork:
    """The usual network for an observation, given as an array or a `jax.ShapeDtypeStruct` without batch axis.

    Raises:
        ValueError: the observation is not one array.
    """
    if not hasattr(observation, "shape"):
        raise ValueError(f"no default network for observations that are a {type(observation).__name__}; pass your own")
    return QNetwork(num_actions, tuple(hidden_sizes))
