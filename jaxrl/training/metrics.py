"""Metrics as sums and counts: adding them up is always right."""

import jax
import jax.numpy as jnp

from jaxrl.types import Mean, Metrics, PyTree


def total(metrics: Metrics) -> Metrics:
    """Metrics with a leading axis, summed over it."""
    return jax.tree.map(lambda x: x.sum(0), metrics)


def add(a: PyTree, b: PyTree) -> PyTree:
    """Two sets of the same metrics together."""
    return jax.tree.map(jnp.add, a, b)


def value(mean: Mean) -> PyTree:
    """The mean itself, NaN where nothing was counted; works on NumPy and JAX arrays."""
    return jnp.where(mean.count > 0, mean.sum / jnp.maximum(mean.count, 1), jnp.nan)
