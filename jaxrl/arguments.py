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


def check_kind(name: str, value: Any, kind: type, hint: str = "") -> None:
    """Refuses an argument of another kind.

    Args:
        name: the argument's.
        value: what was given for it.
        kind: what it must be an instance of.
        hint: where such a thing comes from, after a comma.

    Raises:
        ArgumentError: it is something else.
    """
    if not isinstance(value, kind):
        given = f"the class {value.__name__} itself" if isinstance(value, type) else type(value).__name__
        raise ArgumentError(f"{name} must be of the kind {kind.__name__}{hint}, got {given}")


def check_is_no_class(name: str, value: Any) -> None:
    """Refuses a class where an instance of it is meant.

    Raises:
        ArgumentError: it is a class.
    """
    if isinstance(value, type):
        raise ArgumentError(f"{name} must be an instance, {value.__name__}(), got the class {value.__name__} itself")


def is_record(value: Any) -> bool:
    """Whether it is an instance of a dataclass or of a `NamedTuple`."""
    return not isinstance(value, type) and (dataclasses.is_dataclass(value) or hasattr(value, "_fields"))


def annotations(kind: type, include_extras: bool = False) -> dict[str, Any]:
    """How the fields of a class are annotated, with bounds or without; none if that cannot be read."""
    try:
        return get_type_hints(kind, include_extras=include_extras)
    except NameError:  # text that names something which only its author's function knows
        return {}


def check(record: Any, prefix: str = "") -> None:
    """Checks every field of a record, and of records in it, against what its annotation allows.

    Args:
        record: a dataclass or a `NamedTuple`. Fields may be annotated with bounds, as in `Annotated[float, Gt(0)]`, or
            be a `Literal`. Any other pytree declares nothing, and passes.
        prefix: what to put before the names of its fields.

    Raises:
        ArgumentError: a value is not allowed, or the record is a class.
    """
    check_is_no_class(prefix.rstrip(".") or "config", record)
    if not is_record(record):
        return
    hints = annotations(type(record), include_extras=True)
    names = [field.name for field in dataclasses.fields(record)] if dataclasses.is_dataclass(record) else record._fields
    for field in names:
        value, hint, name = getattr(record, field), hints.get(field), prefix + field
        if is_record(value):
            check(value, name + ".")
        elif get_origin(hint) is Literal and value not in get_args(hint):
            raise ArgumentError(f"{name} must be one of {', '.join(get_args(hint))}, got {value}")
        elif hint is bool and not isinstance(value, Number | np.bool_ | np.ndarray | jax.Array):
            raise ArgumentError(f"{name} must be true or false, got {value!r}")
        elif isinstance(value, tuple):
            for x in value:
                _check_bounds(name, x, next(iter(get_args(hint)), None))
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
