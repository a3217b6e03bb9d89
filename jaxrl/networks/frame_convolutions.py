"""The convolutions of deep Q-learning on Atari's frames: those of 2013, and those of 2015."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.arguments import ArgumentError
from jaxrl.networks.layers import Dense, is_stack
from jaxrl.types import Array, PyTree


class FrameConvolution(NamedTuple):
    """A convolution without padding of `size` × `size` pixels, a multiple of its `stride`, to `features` channels."""

    features: int
    size: int
    stride: int


class FrameLayers(NamedTuple):
    """The layers of a network for stacks of frames: convolutions, and a dense layer of `hidden_size` units."""

    convolutions: tuple[FrameConvolution, ...]
    hidden_size: int


LECTURE = FrameLayers((FrameConvolution(16, 8, 4), FrameConvolution(32, 4, 2)), 256)
"""The network of Mnih et al. 2013 (https://arxiv.org/abs/1312.5602)."""
NATURE = FrameLayers((FrameConvolution(32, 8, 4), FrameConvolution(64, 4, 2), FrameConvolution(64, 3, 1)), 512)
"""The network of Mnih et al. 2015 (https://doi.org/10.1038/nature14236)."""
FRAME_LAYERS = {"lecture": LECTURE, "nature": NATURE}
"""By the names that commands give them."""


def has_stacks(observation: PyTree) -> bool:
    """Whether an observation, without a batch axis, is a stack of frames or contains one."""
    return any(is_stack(getattr(x, "shape", ())) for x in jax.tree.leaves(observation))


class StackConv(nn.Module):
    """A `FrameConvolution`: `[C, H, W, N]` to `[features, H', W', N]`, H' = (H − size) / stride + 1, rounded down.

    Raises an `ArgumentError` if its size is no multiple of its stride, or larger than what it is applied to.

    Squares of stride × stride pixels become channels of one pixel; then shifted slices and one matrix product, as in
    `BoardConv`. The rows of the kernel are ordered by (square, square, channel, pixel, pixel), where each pair is
    vertical, horizontal. With 84 × 84 frames and batches of 32 and 128, a gradient step in a loop takes about a
    thirtieth of the CPU time that it takes with `lax.conv`.
    """

    features: int
    size: int
    stride: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        channels, height, width, n = x.shape
        if self.stride < 1 or self.size < 1 or self.size % self.stride:
            rule = "must have sizes that are multiples of their strides"
            raise ArgumentError("convolutions", rule, got=f"size {self.size} with stride {self.stride}")
        if min(height, width) < self.size:
            got = f"size {self.size} for {height} × {width} pixels"
            raise ArgumentError("convolutions", "must fit into what they are applied to", got=got)
        squares, stride = self.size // self.stride, self.stride
        height, width = (height - self.size) // stride + 1, (width - self.size) // stride + 1
        rows, columns = height + squares - 1, width + squares - 1
        x = x[:, : rows * stride, : columns * stride].reshape(channels, rows, stride, columns, stride, n)
        x = x.transpose(0, 2, 4, 1, 3, 5).reshape(channels * stride**2, rows, columns, n)
        shifted = [x[:, i : i + height, j : j + width] for i in range(squares) for j in range(squares)]
        patches = jnp.concatenate(shifted).reshape(self.size**2 * channels, height * width * n)
        return Dense(self.features)(patches).reshape(self.features, height, width, n)


def stack_features(x: Array, convolutions: Sequence[FrameConvolution]) -> Array:
    """Convolutions and ReLU: stacks `[N, k, H, W]` to `[N, features]`. The module that calls it has their weights."""
    x = jnp.moveaxis(x, 0, -1)
    for convolution in convolutions:
        x = nn.relu(StackConv(*convolution)(x))
    return x.reshape(-1, x.shape[-1]).T
