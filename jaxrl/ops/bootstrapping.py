"""What follows a transition, and what follows none: the product of a discount with a value."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl.types import Array


def ignore_after_end(value: Array, discount_t: ArrayLike) -> Array:
    """The value, with 0 for what is NaN or infinite in it where the discount is 0.

    Nothing follows the end of an episode, and so the last observation may be anything: environments that end because
    their physics explodes give NaN.
    """
    after_end = jnp.asarray(discount_t) == 0
    return jnp.where(after_end & ~jnp.isfinite(value), jnp.zeros_like(value), value)


def discounted(discount_t: ArrayLike, value: Array) -> Array:
    """`discount_t * value`, elementwise, which is 0 where the discount is 0, whatever the value."""
    return jnp.asarray(discount_t) * ignore_after_end(value, discount_t)
