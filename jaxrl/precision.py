"""The dtypes of jaxrl, with and without `jax_enable_x64`.

- Random keys are threefry's, and random words are uint32, so both modes draw the same words.
- jaxrl's environments, replay buffers, networks, optimizers and clocks are float32, int32 and uint32 in both modes. So
  are the observations, rewards and actions of any environment, whatever it computes with. A run saved in one mode is
  the same run in the other.
- `jaxrl.ops` follow the dtypes of their arguments.
- Planning follows the mode: under x64, the tables of a Grid World, and everything planned from them, are float64.
"""

import jax
import jax.numpy as jnp

from jaxrl.types import PyTree

SINGLE = {"float64": jnp.float32, "int64": jnp.int32, "uint64": jnp.uint32, "complex128": jnp.complex64}


def single(tree: PyTree) -> PyTree:
    """Converts 64-bit arrays to 32-bit ones. Python numbers stay, since they adopt the dtype of any array."""

    def narrow(x: PyTree) -> PyTree:
        dtype = SINGLE.get(str(getattr(x, "dtype", "")))
        return x if dtype is None else jnp.asarray(x, dtype)

    return jax.tree.map(narrow, tree)
