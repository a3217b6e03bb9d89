"""Layers with the batch in the last axis, `[..., N]`, the fastest layout on a CPU."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import ArrayLike

from jaxrl.arguments import ArgumentError
from jaxrl.types import Array, PyTree
from jaxrl.xla.fusion import no_fuse


class Dense(nn.Module):
    """A dense layer: `[inputs, N]` to `[features, N]`."""

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[0], self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        return kernel.T @ x.astype(kernel.dtype) + bias[:, None]


class NoisyDense(nn.Module):
    """A dense layer of random weights with learned means and deviations: `[inputs, N]` to `[features, N]`.

    Factorised noise (Fortunato et al. 2018, https://arxiv.org/abs/1706.10295, equations 9 to 11): that of a weight is
    f(ε_input) f(ε_output), f(x) = sign(x) √|x|. The random stream "noise" gives one sample for the whole batch, so that
    all environments of one step explore with the same noise. Without that stream, as in
    `network.apply(params, observations)`, the weights are their means.
    """

    features: int
    initial_deviation: float = 0.5
    """σ_0, √inputs times the initial deviation of every weight."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        inputs = x.shape[0]

        def first(key: Array, shape: tuple[int, ...], dtype: Any) -> Array:
            return jax.random.uniform(key, shape, dtype, minval=-1) / inputs**0.5

        kernel = self.param("kernel", first, (inputs, self.features), jnp.float32)
        bias = self.param("bias", first, (self.features,), jnp.float32)
        begin = nn.initializers.constant(self.initial_deviation / inputs**0.5)
        kernel_deviation = self.param("kernel_deviation", begin, kernel.shape, jnp.float32)
        bias_deviation = self.param("bias_deviation", begin, bias.shape, jnp.float32)
        if self.has_rng("noise"):
            noise = jax.random.normal(self.make_rng("noise"), (inputs + self.features,), jnp.float32)
            noise = no_fuse(jnp.sign(noise) * jnp.sqrt(jnp.abs(noise)))  # once, not for each weight
            kernel = kernel + kernel_deviation * jnp.outer(noise[:inputs], noise[inputs:])
            bias = bias + bias_deviation * noise[inputs:]
        return kernel.T @ x.astype(kernel.dtype) + bias[:, None]


class LayerNorm(nn.Module):
    """Normalises the features at each position, then scales and shifts them: `[features, ..., N]` to the same shape.

    Ba et al. 2016 (https://arxiv.org/abs/1607.06450). After a convolution, each cell of the board is normalised alone.

    Sums over features and broadcasts to them are matrix products with ones, and so are their gradients. XLA's reduction
    of a leading axis strides through memory and takes 3 to 18 times as long.
    """

    @nn.compact
    def __call__(self, x: Array) -> Array:
        features = x.shape[0]
        scale = self.param("scale", nn.initializers.ones, (features,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
        average, copies = np.full((1, features), 1 / features, np.float32), np.ones((features, 1), np.float32)

        def product(a: ArrayLike, b: Array) -> Array:
            return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)

        columns = x.reshape(features, -1)
        centered = columns - product(copies, product(average, columns))
        deviation_inverse = jax.lax.rsqrt(product(average, jnp.square(centered)) + 1e-6)
        normal = centered * product(scale[:, None], deviation_inverse) + bias[:, None]
        return normal.reshape(x.shape)


class BoardConv(nn.Module):
    """A 3 × 3 convolution without padding: `[H, W, C, N]` to `[features, H - 2, W - 2, N]`.

    Nine shifted slices and one matrix product. `lax.conv` is several times slower on small boards, and becomes a
    grouped convolution in a population, where this stays a batched matrix product. With the batch last, every slice
    copies long rows, which makes a gradient step a quarter faster than with the batch first.
    """

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        height, width, channels, n = x.shape[0] - 2, x.shape[1] - 2, *x.shape[2:]
        x = jnp.moveaxis(x, 2, 0)
        shifted = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        patches = jnp.concatenate(shifted).reshape(9 * channels, height * width * n)
        return Dense(self.features)(patches).reshape(self.features, height, width, n)


def is_board(shape: tuple[int, ...]) -> bool:
    """Whether observations of this shape are boards `[H, W, C]` that fit a `BoardConv`."""
    return len(shape) == 3 and min(shape[:2]) >= 3 and not is_stack(shape)


def is_stack(shape: tuple[int, ...]) -> bool:
    """Whether observations of this shape are stacks `[k, H, W]` of a few frames, each of at least 36 × 36 pixels."""
    return len(shape) == 3 and shape[0] <= 16 and min(shape[1:]) >= 36


def has_board(observation: PyTree) -> bool:
    """Whether an observation, without a batch axis, is a board or contains one."""
    return any(is_board(getattr(x, "shape", ())) for x in jax.tree.leaves(observation))


def check_conv_features(conv_features: int, observation: PyTree) -> None:
    """Raises `ArgumentError` if there are features of a convolution but no board for it."""
    if conv_features and not has_board(observation):
        shapes = jax.tree.map(lambda x: list(x.shape), observation)
        raise ArgumentError("conv_features", f"must not be given for observations {shapes}, no boards", conv_features)
