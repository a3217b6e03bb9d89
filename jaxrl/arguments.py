"""Arguments that can be used and arguments that cannot: fields declare their bounds in their annotation."""

import dataclasses
import operator
from numbers import Number
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jax
import numpy as np
from annotated_types import Ge, Gt, Interval, Le, Lt

BOUNDS: tuple[tuple[Any, str, str, Any], ...] = (
    (Gt, "gt", ">", operator.gt),
    (Ge, "ge", ">=", operator.ge),
    (Lt, "lt", "<", operator.lt),
    (Le, "le", "<=", operator.le),
)


class ArgumentError(ValueError):
    """An argument that cannot be used. The message begins with its name and ends with its value."""


def check(record: Any, prefix: str = "") -> None:
    """Checks every field of a dataclass, and of dataclasses in it, against what its annotation allows.

    Args:
        record: the dataclass. Fields may be annotated with bounds, as in `Annotated[float, Gt(0)]`, or be a `Literal`.
        prefix: what to put before the names of its fields.

    Raises:
        ArgumentError: a value is not allowed.
    """
    hints = get_type_hints(type(record), include_extras=True)
    for field in dataclasses.fields(record):
        value, hint, name = getattr(record, field.name), hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(value):
            check(value, name + ".")
        elif get_origin(hint) is Literal and value not in get_args(hint):
            raise ArgumentError(f"{name} must be one of {', '.join(get_args(hint))}, got {value}")
        elif hint is bool and not isinstance(value, Number | np.bool_ | np.ndarray | jax.Array):
            raise ArgumentError(f"{name} must be true or false, got {value!r}")
        elif isinstance(value, tuple):
            for x in value:
                _check_bounds(name, x, get_args(hint)[0])
        elif value is not None:
            _check_bounds(name, value, hint)
        elif _bounds(hint) and type(None) not in get_args(get_args(hint)[0]):
            raise ArgumentError(f"{name} must have a value, got None")


def _bounds(hint: Any) -> list[Any]:
    """The bounds that an annotation declares."""
    items = getattr(hint, "__metadata__", ())
    flat = [bound for item in items for bound in (item if isinstance(item, Interval) else (item,))]
    return [bound for bound in flat if isinstance(bound, tuple(kind for kind, *_ in BOUNDS))]


def _check_bounds(name: str, x: Any, hint: Any) -> None:
    """A NaN is within no bounds. The values of traced arrays are not known yet, and pass."""
    bounds = _bounds(hint)
    if not bounds or isinstance(x, jax.core.Tracer):
        return
    if not isinstance(x, Number | np.ndarray | jax.Array):
        raise ArgumentError(f"{name} must be a number, got {x!r}")
    for bound in bounds:
        for kind, limit_name, symbol, holds in BOUNDS:
            if isinstance(bound, kind) and not np.all(holds(x, limit := getattr(bound, limit_name))):
                raise ArgumentError(f"{name} must be {symbol} {limit}, got {x}")
