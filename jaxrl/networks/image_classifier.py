"""Convolutions with strides, and a network that sees a whole image, to compare with those that see parts of it."""

from collections.abc import Sequence

import jax.numpy as jnp
from flax import linen as nn

from jaxrl.distributions import Categorical
from jaxrl.networks.actor_critic import weights
from jaxrl.networks.network import as_features
from jaxrl.types import Array


class StridedConv(nn.Module):
    """A 3 × 3 convolution with stride 2: `[N, H, W, C]` to `[N, H / 2, W / 2, features]`, rounded up.

    As flax's `Conv(features, (3, 3), (2, 2))`, as nine slices and one matrix product. In a loop, where training takes
    place, XLA's CPU compiler makes of `lax.conv` something ten times slower.
    """

    features: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        height, width, channels = x.shape[1:]
        kernel = self.param("kernel", weights(2**0.5), (9 * channels, self.features), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        padded = jnp.pad(x, ((0, 0), (height % 2, 1), (width % 2, 1), (0, 0)))
        shifted = [padded[:, i : i + height : 2, j : j + width : 2] for i in range(3) for j in range(3)]
        return jnp.concatenate(shifted, axis=-1) @ kernel + bias


class ImageClassifier(nn.Module):
    """3 × 3 convolutions with stride 2, and a dense layer: images `[N, H, W, C]` to a `Categorical`."""

    num_actions: int
    conv_features: Sequence[int] = (12, 24, 32)
    hidden_size: int = 120

    @nn.compact
    def __call__(self, observations: Array) -> Categorical:
        x = as_features(observations, 0)
        for features in self.conv_features:
            x = nn.relu(StridedConv(features)(x))
        x = nn.relu(nn.Dense(self.hidden_size, kernel_init=weights(2**0.5))(x.reshape(len(x), -1)))
        return Categorical(nn.Dense(self.num_actions, kernel_init=weights(0.1))(x))
