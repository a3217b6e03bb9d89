"""Hyperparameters as traced arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import DictKey, GetAttrKey, SequenceKey

from jaxrl.arguments import ArgumentError, annotations, check_is_no_class
from jaxrl.types import Hparams

DTYPES = {float: jnp.float32, int: jnp.int32, bool: jnp.bool_}


def as_arrays(hparams: Hparams) -> Hparams:
    """Converts every leaf to an array of its declared type: float32, int32 or bool.

    `1` and `1.0`, and any other value, therefore mean the same program.

    Args:
        hparams: a pytree of numbers, such as a dataclass registered with jax, a `NamedTuple`, a dict or `()`. The type
            of a leaf is its annotation if that is float, int or bool, and otherwise that of its value.

    Raises:
        ArgumentError: it is a class, or not a pytree of numbers.
    """
    check_is_no_class("hparams", hparams)
    return jax.tree_util.tree_map_with_path(lambda path, x: _array(hparams, path, x), hparams)


def _array(hparams: Hparams, path: tuple[Any, ...], x: Any) -> jax.Array:
    """The leaf `x` at `path` as an array."""
    name = "hparams" + jax.tree_util.keystr(path)
    if not isinstance(x, jax.Array | np.ndarray | np.generic | bool | int | float):
        hint = " in a dataclass registered with jax.tree_util.register_dataclass" if hasattr(x, "__dict__") else ""
        raise ArgumentError(name, f"must be a number{hint}", x)
    dtype = DTYPES.get(_annotation(hparams, path))
    if dtype is None:
        by_value = ((jnp.floating, jnp.float32), (jnp.signedinteger, jnp.int32), (jnp.bool_, jnp.bool_))
        dtype = next((to for of, to in by_value if jnp.issubdtype(getattr(x, "dtype", type(x)), of)), None)
    try:
        return jnp.asarray(x, dtype)
    except OverflowError:
        raise ArgumentError(name, "must be a number of 32 bits", x) from None


def _annotation(hparams: Hparams, path: tuple[Any, ...]) -> Any:
    """The annotation of a leaf in the record that holds it, or None."""
    record = hparams
    for key in path[:-1]:
        match key:
            case GetAttrKey():
                record = getattr(record, key.name, None)
            case DictKey():
                record = record[key.key]
            case SequenceKey():
                record = record[key.idx]
            case _:  # inside a custom pytree node
                return None
    return annotations(type(record)).get(getattr(path[-1], "name", "")) if path else None


def repeat(hparams: Hparams, agents: int) -> Hparams:
    """The same hyperparameters for each of `agents` agents: leaves `[A, ...]`.

    Raises:
        ArgumentError: `hparams` is a class.
    """
    check_is_no_class("hparams", hparams)
    return jax.tree.map(lambda x: np.repeat(np.asarray(x)[None], agents, axis=0), hparams)
