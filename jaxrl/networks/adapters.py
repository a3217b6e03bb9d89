"""Adapters that turn modules of flax nnx and equinox into networks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError
from jaxrl.types import Array, PyTree

if TYPE_CHECKING:
    from flax import nnx


class Functions(NamedTuple):
    """A `Network` made of two functions."""

    init: Callable[..., PyTree]
    apply: Callable[..., Any]


def from_nnx(make: "Callable[[nnx.Rngs], nnx.Module]") -> Functions:
    """Turns a flax nnx module into a network.

        network = from_nnx(lambda rngs: nnx.Linear(4, 2, rngs=rngs))

    Args:
        make: `(rngs) -> module`, called once for each agent. The module is called with observations
            `[N, *observation]`.

    Raises:
        ArgumentError: `make` is a module itself, or its modules have variables that are not parameters, such as the
            state of a BatchNorm or of a Dropout.
    """
    from flax import nnx  # here, because linen modules do not need it

    if isinstance(make, nnx.Module) or not callable(make):
        raise ArgumentError("make", "must be a function (rngs) -> module", make, got=type(make).__name__)
    graph, params, *rest = nnx.split(nnx.eval_shape(lambda: make(nnx.Rngs(0))), nnx.Param, ...)
    if names := [_name(path) for path, _ in jax.tree.leaves_with_path(rest[0])]:
        raise ArgumentError(
            "make", "must return a module whose only variables are parameters", names[0], got=f"one with {names[0]}"
        )

    def init(key: Array, observations: PyTree) -> dict[str, Array]:
        del observations
        return _by_name(nnx.state(make(nnx.Rngs(key)), nnx.Param))

    def apply(params_by_name: dict[str, Array], observations: PyTree, *, rngs: Any = None) -> Any:
        del rngs
        return nnx.merge(graph, _with_values(params, params_by_name))(observations)

    return Functions(init, apply)


def from_equinox(make: Callable[[Array], Callable[[PyTree], Any]]) -> Functions:
    """Turns an equinox module, or any other callable pytree, into a network.

        network = from_equinox(lambda key: eqx.nn.MLP(4, 2, 64, 2, key=key))

    Args:
        make: `(key) -> module`, called once for each agent. The module is called with one observation at a time, under
            `vmap`. Its parameters are all its arrays of floating-point numbers.

    Raises:
        ArgumentError: `make` cannot be called with a key, or does not return a callable.
    """
    if not callable(make):
        raise ArgumentError("make", "must be a function (key) -> module", make, got=type(make).__name__)
    module = make(jax.random.key(0))
    if not callable(module):
        raise ArgumentError("make", "must return a callable module", module, got=type(module).__name__)

    def init(key: Array, observations: PyTree) -> dict[str, Array]:
        del observations
        return {name: x for name, x in _by_name(make(key)).items() if _is_parameter(x)}

    def apply(params_by_name: dict[str, Array], observations: PyTree, *, rngs: Any = None) -> Any:
        del rngs
        return jax.vmap(_with_values(module, params_by_name))(observations)

    return Functions(init, apply)


def _name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _by_name(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree by names such as `layers/0/weight`: every checkpoint can hold a dict of arrays."""
    return {_name(path): leaf for path, leaf in jax.tree.leaves_with_path(tree)}


def _with_values(tree: PyTree, values: dict[str, Any]) -> PyTree:
    """Replaces leaves of the tree by name."""
    return jax.tree.map_with_path(lambda path, leaf: values.get(_name(path), leaf), tree)


def _is_parameter(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)
