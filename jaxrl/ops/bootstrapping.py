"""The product of a discount and a bootstrapped value, which is 0 after the end of an episode."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl.types import Array


def ignore_after_end(value: Array, discount_t: ArrayLike) -> Array:
    """Replaces NaN and infinite values by 0 where the discount is 0, elementwise.

    The last observation of an episode may be anything: environments whose physics explode return NaN.
    """
    after_end = jnp.asarray(discount_t) == 0
    return jnp.where(after_end & ~jnp.isfinite(value), jnp.zeros_like(value), value)


def discounted(discount_t: ArrayLike, value: Array) -> Array:
    """`discount_t * value`, elementwise; 0 where the discount is 0, whatever the value."""
    return jnp.asarray(discount_t) * ignore_after_end(value, discount_t)
