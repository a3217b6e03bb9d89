"""Schedules in environment steps. All arguments may be traced, unlike those of optax's schedules."""

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl.types import Array


def linear_annealing(env_steps: ArrayLike, start: ArrayLike, end: ArrayLike, duration: ArrayLike) -> Array:
    """Goes linearly from `start` at 0 to `end` at `duration` environment steps, and stays there."""
    start, end = jnp.asarray(start), jnp.asarray(end)
    fraction = jnp.clip(env_steps / jnp.maximum(duration, 1.0), 0.0, 1.0)
    return start + fraction * (end - start)


def linear_decay(env_steps: ArrayLike, duration: ArrayLike) -> Array:
    """Falls linearly from 1 at 0 to 0 at `duration` environment steps, and stays there; always 1 if `duration` is 0."""
    return jnp.where(jnp.asarray(duration) > 0, linear_annealing(env_steps, 1.0, 0.0, duration), 1.0)
