"""Schedules in environment steps, with every argument traced."""

import jax.numpy as jnp

from jaxrl.types import Array


def linear_schedule(env_steps: Array, start: Array, end: Array, duration: Array) -> Array:
    """`start` at 0, a straight line to `end` at `duration` environment steps, and `end` from there on."""
    fraction = jnp.clip(env_steps / jnp.maximum(duration, 1.0), 0.0, 1.0)
    return start + fraction * (end - start)
