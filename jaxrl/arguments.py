"""Arguments that can be used and arguments that cannot: fields declare their bounds in their annotation."""

import contextlib
import dataclasses
import difflib
import math
import operator
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Ge, Gt, Interval, Le, Lt

BOUNDS: tuple[tuple[Any, str, str, Any], ...] = (
    (Gt, "gt", ">", operator.gt),
    (Ge, "ge", ">=", operator.ge),
    (Lt, "lt", "<", operator.lt),
    (Le, "le", "<=", operator.le),
)
NUMBERS: tuple[tuple[type, Any], ...] = ((bool, np.bool_), (int, np.integer), (float, np.floating))
"""Python's kinds of numbers, and NumPy's."""


class ArgumentError(ValueError):
    """An argument that cannot be used. Reads "NAME RULE, got VALUE".

    A caller that passes its own argument on renames the error: `error.name = "config.num_envs"`.

    Args:
        name: the argument, or the path of an option, such as `hparams.learning_rate`.
        rule: what it must be, such as "must be > 0".
        value: what was given.
        got: how to show the value (default: as itself); "" leaves it out.
        source: the file or the experiment that gives the argument; None for an argument of a call or of a command.
    """

    def __init__(
        self, name: str, rule: str, value: Any = None, got: str | None = None, source: Path | str | None = None
    ) -> None:
        super().__init__(name, rule, value, got, source)
        self.name, self.rule, self.value, self.source = name, rule, value, source
        self.got = got if got is not None else repr(value) if isinstance(value, str) else str(value)

    def __str__(self) -> str:
        return (f"in {self.source}, " if self.source else "") + self.line(self.name)

    def line(self, name: str) -> str:
        """The message, with another name for the argument."""
        return f"{name} {self.rule}" + (f", got {self.got}" if self.got else "")


@contextlib.contextmanager
def errors_in(source: Path | str) -> Iterator[None]:
    """Adds the file that gives the arguments to an `ArgumentError` about one of them."""
    try:
        yield
    except ArgumentError as error:
        error.source = error.source or source
        raise


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
        raise ArgumentError(name, f"must be of the kind {kind.__name__}{hint}", value, got=given)


def check_is_no_class(name: str, value: Any) -> None:
    """Refuses a class where an instance of it is meant.

    Raises:
        ArgumentError: it is a class.
    """
    if isinstance(value, type):
        raise ArgumentError(
            name, f"must be an instance, {value.__name__}()", value.__name__, got=f"the class {value.__name__} itself"
        )


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

    Fields that are annotated as numbers must be numbers of that kind, or arrays of them; an int may be a float.

    Args:
        record: a dataclass or a `NamedTuple`. Fields may be annotated with bounds, as in `Annotated[float, Gt(0)]`, or
            be a `Literal`. Any other pytree declares nothing, and passes. The floats of a record that jax knows as a
            pytree become float32, and must be within bounds as such.
        prefix: what to put before the names of its fields.

    Raises:
        ArgumentError: a value is not allowed, or the record is a class.
    """
    check_is_no_class(prefix.rstrip(".") or "config", record)
    if not is_record(record):
        return
    hints = annotations(type(record), include_extras=True)
    traced = not jax.tree_util.all_leaves([record])
    names = [field.name for field in dataclasses.fields(record)] if dataclasses.is_dataclass(record) else record._fields
    for field in names:
        value, hint, name = getattr(record, field), hints.get(field), prefix + field
        if is_record(value):
            check(value, name + ".")
        elif get_origin(hint) is Literal:
            if value not in get_args(hint):
                raise ArgumentError(name, f"must be one of {', '.join(get_args(hint))}", value)
        elif get_origin(hint) is tuple:
            if not isinstance(value, tuple | list):
                raise ArgumentError(name, "must be a tuple", value)
            for x in value:
                check_value(name, x, next(iter(get_args(hint)), None), traced)
        else:
            check_value(name, value, hint, traced)


def check_value(name: str, x: Any, hint: Any, traced: bool = False) -> None:
    """Checks a value against an annotation. The values of traced arrays are not known yet, and pass.

    Args:
        name: what to call it.
        x: the value.
        hint: a type, perhaps with bounds or with None.
        traced: whether a float becomes float32.

    Raises:
        ArgumentError: it is not allowed.
    """
    kind, optional, bounds = _read(hint)
    if kind not in (int, float, bool) or isinstance(x, jax.core.Tracer) or (x is None and optional):
        return
    if x is None:
        raise ArgumentError(name, "must have a value", None, got="None")
    given = _kind(x)
    if kind is bool:
        if given is None:
            raise ArgumentError(name, "must be true or false", x)
    elif given not in (int, float):
        raise ArgumentError(name, "must be a number", x)
    elif kind is int and given is float:
        numbers = np.ravel(x)
        raise ArgumentError(name, "must be a whole number", [*numbers[numbers % 1 != 0], *numbers][0])
    _check_bounds(name, x, bounds, traced and kind is float)


def _read(hint: Any) -> tuple[Any, bool, list[Any]]:
    """The type in an annotation, whether it may be None, and its bounds."""
    items = getattr(hint, "__metadata__", ())
    flat = [bound for item in items for bound in (item if isinstance(item, Interval) else (item,))]
    bounds = [bound for bound in flat if isinstance(bound, tuple(kind for kind, *_ in BOUNDS))]
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    others = [kind for kind in get_args(bare) if kind is not type(None)]
    optional = type(None) in get_args(bare)
    return (others[0] if optional and len(others) == 1 else bare), optional, bounds


def _kind(x: Any) -> type | None:
    """What a number is, or the numbers in an array: bool, int or float; None if it is something else."""
    for kind, abstract in NUMBERS:
        if isinstance(x, kind) or (hasattr(x, "dtype") and jnp.issubdtype(x.dtype, abstract)):
            return kind
    return None


def _check_bounds(name: str, x: Any, bounds: list[Any], float32: bool) -> None:
    """A NaN is within no bounds."""
    numbers = np.asarray(x)

    def refuse(allowed: Any, must: str) -> None:
        if not np.all(allowed):
            first = numbers[~np.asarray(allowed)][0] if numbers.ndim else x
            raise ArgumentError(name, f"must be {must}", first)

    exact = [
        (symbol, limit, holds)
        for bound in bounds
        for kind, limit_name, symbol, holds in BOUNDS
        if isinstance(bound, kind)
        for limit in [getattr(bound, limit_name)]
    ]
    for symbol, limit, holds in exact:
        refuse(holds(numbers, limit), f"{symbol} {limit}")
    if float32:
        rounded = _as_float32(x)
        for symbol, limit, holds in exact:
            refuse(holds(rounded, _as_float32(limit)), f"{symbol} {limit} in float32")
        refuse(np.isfinite(rounded) | (numbers == rounded), "finite in float32")


def _as_float32(x: Any) -> np.ndarray:
    """What becomes of a number as float32: XLA takes those below the least normal one for zero."""
    if isinstance(x, int) and abs(x) > sys.float_info.max:
        x = math.inf if x > 0 else -math.inf
    with np.errstate(over="ignore"):
        rounded = np.asarray(x).astype(np.float32)
    return np.where(abs(rounded) < np.finfo(np.float32).tiny, np.float32(0), rounded)


DIGITS = 100
"""Longer numbers than this are refused unread: 1e999999999 would take all memory."""


def whole_number(text: str) -> int:
    """The whole number that a text writes, such as 1000000, 1_000_000, 1e6 or 2.5e5.

    Raises:
        ValueError: it writes none, or one of more than `DIGITS` digits.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite() or value.adjusted() >= DIGITS or value != value.to_integral_value():
        raise ValueError(f"must be a whole number, such as 1000000 or 1e6, got {text!r}")
    return int(value)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known path whose last name is nearest to the name, or has it as its initials; None if none is near."""
    paths = {path.rpartition(".")[2]: path for path in known}
    initials = [last for last in paths if "".join(word[:1] for word in last.replace("-", "_").split("_")) == name]
    near = difflib.get_close_matches(name, paths, n=1) or initials
    return paths[near[0]] if near else None
