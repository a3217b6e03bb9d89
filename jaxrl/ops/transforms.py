"""Scales of values, and numbers as categories, for networks that predict returns of any size.

As in MuZero (Schrittwieser et al. 2020, appendix F): a return x is squashed by h, and h(x) is a distribution over atoms
at equal distances, of which the two nearest share the mass. The network learns it by cross-entropy. Its prediction is
the inverse of h at the mean.
"""

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxrl.types import Array


def signed_hyperbolic(x: ArrayLike, eps: float = 1e-3) -> Array:
    """h(x) = sign(x) (√(|x| + 1) − 1) + εx, elementwise.

    Pohlen et al. 2018 (https://arxiv.org/abs/1805.11593), proposition A.2. `signed_parabolic` is its inverse.
    """
    x = jnp.asarray(x)
    return x / (jnp.sqrt(jnp.abs(x) + 1) + 1) + eps * x  # so written, small x keep all their digits


def signed_parabolic(x: ArrayLike, eps: float = 1e-3) -> Array:
    """The inverse of `signed_hyperbolic`, sign(x) (((√(1 + 4ε (|x| + 1 + ε)) − 1) / 2ε)² − 1), elementwise."""
    x = jnp.asarray(x)
    size = jnp.abs(x)
    # What is squared, minus 1, so written that small x keep all their digits.
    above = 2 * size / (jnp.sqrt(1 + 4 * eps * (size + 1 + eps)) + 1 + 2 * eps)
    return jnp.sign(x) * above * (above + 2)


def transform_to_2hot(scalar: ArrayLike, min_value: float, max_value: float, num_bins: int) -> Array:
    """Numbers `[...]` as probabilities `[..., num_bins]` of equally distant atoms, of which they are the mean.

    The two atoms next to a number share the mass. Numbers beyond the ends are clipped to them.

    Args:
        scalar: the numbers.
        min_value, max_value: the first and the last atom.
        num_bins: how many there are, at least 2.
    """
    place = (jnp.clip(scalar, min_value, max_value) - min_value) / (max_value - min_value) * (num_bins - 1)
    return jnp.maximum(1 - jnp.abs(place[..., None] - jnp.arange(num_bins)), 0)


def transform_from_2hot(probs: Array, min_value: float, max_value: float, num_bins: int) -> Array:
    """The mean `[...]` of probabilities `[..., num_bins]`: the inverse of `transform_to_2hot`."""
    return (probs * np.linspace(min_value, max_value, num_bins, dtype=np.float32)).sum(-1)
