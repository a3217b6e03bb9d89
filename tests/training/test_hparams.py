"""Hyperparameters in any kind of record become arrays."""

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from annotated_types import Gt
from flax import struct

from jaxrl import DQNHparams, QLearningHparams, repeat
from jaxrl.arguments import ArgumentError, check
from jaxrl.training import as_arrays


class Named(NamedTuple):
    rate: Annotated[float, Gt(0)] = 1
    size: int = 2
    on: bool = True
    any: Any = 0.5


@struct.dataclass
class Struct:
    rate: float = 1
    name: str = struct.field(pytree_node=False, default="static")


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Nested:
    inner: Named
    maybe: float | None = None
    rates: tuple = (1, 0.5)


class Plain:
    """Not a pytree."""


@pytest.mark.parametrize(
    ("hparams", "dtypes"),
    [
        ((), []),
        ({"rate": 0.5, "size": 2, "on": True}, ["bool", "float32", "int32"]),  # dicts are sorted
        ({"rate": np.float64(1), "size": np.int64(3), "array": jnp.ones(3)}, ["float32", "float32", "int32"]),
        (Named(), ["float32", "int32", "bool", "float32"]),
        (Struct(), ["float32"]),
        (Nested(Named()), ["float32", "int32", "bool", "float32", "int32", "float32"]),
        ([Named(1), {"a": Struct(1)}], ["float32", "int32", "bool", "float32", "float32"]),
        (3, ["int32"]),
        (QLearningHparams(learning_rate=1), ["float32"] * 5),
    ],
)
def test_every_leaf_is_of_its_kind(hparams, dtypes: list[str]) -> None:
    """By its annotation, or else by its value."""
    arrays = as_arrays(hparams)
    structure: Any = jax.tree.structure(hparams)
    assert jax.tree.structure(arrays) == structure
    assert [str(x.dtype) for x in jax.tree.leaves(arrays)] == dtypes
    assert not any(x.aval.weak_type for x in jax.tree.leaves(arrays))  # a weak type would mean another program
    for x, many in zip(jax.tree.leaves(arrays), jax.tree.leaves(as_arrays(repeat(hparams, 3))), strict=True):
        np.testing.assert_array_equal(many, np.stack([x] * 3))
    check(hparams)


@pytest.mark.parametrize(
    ("hparams", "message"),
    [
        (DQNHparams, r"hparams must be an instance, DQNHparams.., got the class DQNHparams itself"),
        ({"rate": "1e-3"}, r"hparams\['rate'\] must be a number, got '1e-3'"),
        (Named(size=2**31), r"hparams.size must be a number of 32 bits, got 2147483648"),
        ({"size": 2**31}, r"hparams\['size'\] must be a number of 32 bits, got 2147483648"),
        (Plain(), "hparams must be a number in a .*register_dataclass, got .*Plain"),
    ],
)
def test_what_is_no_tree_of_numbers(hparams, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        as_arrays(hparams)


def test_bounds_of_records_in_records() -> None:
    with pytest.raises(ArgumentError, match=r"hparams.inner.rate must be > 0, got -1"):
        check(Nested(Named(-1)), "hparams.")
    with pytest.raises(ArgumentError, match=r"hparams must be an instance, Named.., got the class Named itself"):
        check(Named, "hparams.")
