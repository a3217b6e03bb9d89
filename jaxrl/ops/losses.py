"""Losses of one error."""

import jax.numpy as jnp

from jaxrl.types import Array


def l2_loss(error: Array) -> Array:
    """½ error², elementwise: its gradient is the error itself."""
    return 0.5 * jnp.square(error)


def huber_loss(error: Array, delta: float = 1.0) -> Array:
    """½ error² up to |error| = delta, linear beyond, elementwise (Huber 1964): its gradient is the clipped error.

    This is what Mnih et al. 2015 (Methods) call clipping the error term to [-1, 1].
    """
    size = jnp.abs(error)
    quadratic = jnp.minimum(size, delta)
    return 0.5 * jnp.square(quadratic) + delta * (size - quadratic)
