"""Metrics as sums and counts: adding them up is always right."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.types import Mean, Metrics, PyTree


def total(metrics: Metrics) -> Metrics:
    """Metrics with a leading axis, summed over it."""
    return jax.tree.map(lambda x: x.sum(0, dtype=x.dtype), metrics)


def add(a: PyTree, b: PyTree) -> PyTree:
    """Two sets of the same metrics together."""
    return jax.tree.map(jnp.add, a, b)


def value(mean: Mean) -> np.ndarray:
    """The mean itself, on the host: NaN where nothing was counted."""
    sums, counts = np.asarray(mean.sum), np.asarray(mean.count)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
