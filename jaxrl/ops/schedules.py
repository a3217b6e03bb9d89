"""Schedules in environment steps, with every argument traced."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl.types import Array


def linear_schedule(env_steps: ArrayLike, start: ArrayLike, end: ArrayLike, duration: ArrayLike) -> Array:
    """`start` at 0, a straight line to `end` at `duration` environment steps, and `end` from there on."""
    start, end = jnp.asarray(start), jnp.asarray(end)
    fraction = jnp.clip(env_steps / jnp.maximum(duration, 1.0), 0.0, 1.0)
    return start + fraction * (end - start)


def linear_decay(env_steps: ArrayLike, duration: ArrayLike) -> Array:
    """1 at 0, a straight line to 0 at `duration` environment steps, and 0 from there on; always 1 if that is 0."""
    return jnp.where(jnp.asarray(duration) > 0, linear_schedule(env_steps, 1.0, 0.0, duration), 1.0)
