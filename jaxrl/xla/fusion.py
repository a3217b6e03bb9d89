"""Limits to XLA's fusion."""

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from jaxrl.types import PyTree


@jax.jit
def _identity(tree: PyTree) -> PyTree:
    return tree


def no_fuse(tree: PyTree) -> PyTree:
    """Returns the same arrays, computed once for all their uses.

    XLA's CPU compiler makes a loop of each result, and repeats in it everything that the result depends on. Without
    this, each word of an observation would repeat the whole step of the environment, which made Asterix four times as
    slow. On other platforms, one kernel computes many results, and this does nothing.
    """
    return jax.lax.platform_dependent(tree, cpu=_not_inlined, default=lambda tree: tree)


def _not_inlined(tree: PyTree) -> PyTree:
    with set_xla_metadata(inlineable="false"):
        return _identity(tree)
