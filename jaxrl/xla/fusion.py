"""Telling XLA what to work out once."""

import jax
from jax.experimental.xla_metadata import set_xla_metadata

from jaxrl.types import PyTree


@jax.jit
def _identity(tree: PyTree) -> PyTree:
    return tree


def no_fuse(tree: PyTree) -> PyTree:
    """The same arrays, worked out once and kept, whatever is computed from them.

    XLA's CPU compiler makes one loop of each result and repeats in it everything that the result depends on: without
    this, each of the words of an observation would play the whole step again, which made Asterix four times as slow.
    Other compilers make one kernel of many results by themselves.
    """
    if jax.default_backend() != "cpu":
        return tree
    with set_xla_metadata(inlineable="false"):
        return _identity(tree)
