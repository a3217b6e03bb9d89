"""Which numbers jaxrl computes with, under `jax_enable_x64` and without it.

- Random keys are threefry's, and random words are uint32: both modes draw the same ones.
- jaxrl's environments, replay buffers, networks, optimizers and clocks are float32, int32 and uint32 in both modes, and
  so are the observations, rewards and actions of any environment, whatever it computes with itself. A run that was
  saved in one mode is the same run in the other.
- `jaxrl.ops` follow the dtypes of their arguments.
- Planning follows the mode: the tables of a Grid World are float64 under x64, and so is what is planned from them.
"""

import jax
import jax.numpy as jnp

from jaxrl.types import PyTree

SINGLE = {"float64": jnp.float32, "int64": jnp.int32, "uint64": jnp.uint32, "complex128": jnp.complex64}


def single(tree: PyTree) -> PyTree:
    """The tree with its 64-bit arrays as 32-bit ones. Python's numbers stay, as they take any array's dtype."""

    def narrow(x: PyTree) -> PyTree:
        dtype = SINGLE.get(str(getattr(x, "dtype", "")))
        return x if dtype is None else jnp.asarray(x, dtype)

    return jax.tree.map(narrow, tree)
