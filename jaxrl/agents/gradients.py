"""What a clip of gradients hides."""

import jax.numpy as jnp
import optax

from jaxrl.types import Array, PyTree


def nan_if_too_large(x: Array, grads: PyTree) -> Array:
    """A metric, or NaN where the gradients' global norm is more than float32 can hold, from about 2e19.

    `optax.clip_by_global_norm` makes zeros of such gradients: nothing would be learned, and nothing would say so.
    """
    return jnp.where(jnp.isfinite(optax.tree.norm(grads)), x, jnp.nan)  # XLA takes the norm once for both
