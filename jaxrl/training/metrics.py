"""Metrics as sums and counts, which add up exactly."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.types import Mean, Metrics, PyTree


def total(metrics: Metrics) -> Metrics:
    """Sums metrics over their leading axis."""
    return jax.tree.map(lambda x: x.sum(0, dtype=x.dtype), metrics)


def add(a: PyTree, b: PyTree) -> PyTree:
    """Adds two sets of the same metrics."""
    return jax.tree.map(jnp.add, a, b)


def value(mean: Mean) -> np.ndarray:
    """The mean on the host: NaN where nothing was counted."""
    sums, counts = np.asarray(mean.sum), np.asarray(mean.count)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
