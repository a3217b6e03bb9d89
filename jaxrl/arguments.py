"""Checks of arguments. Fields declare their bounds in their annotations."""

import contextlib
import dataclasses
import difflib
import itertools
import math
import operator
import sys
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.types import Box

BOUNDS = {"gt": (">", operator.gt), "ge": (">=", operator.ge), "lt": ("<", operator.lt), "le": ("<=", operator.le)}
"""The attributes of `annotated_types.Gt`, `Interval` and so on."""
NUMBERS = ((bool, np.bool_), (int, np.integer), (float, np.floating))
"""Python's types of numbers, and NumPy's."""
ConfigT = TypeVar("ConfigT")


class ArgumentError(ValueError):
    """An argument that cannot be used. Reads "NAME RULE, got VALUE".

    A caller that passes its own argument on renames the error: see `renaming`.

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
    """Adds to an `ArgumentError` the file that gives the argument."""
    try:
        yield
    except ArgumentError as error:
        error.source = error.source or source
        raise


@contextlib.contextmanager
def renaming(**names: str) -> Iterator[None]:
    """Renames the argument of an `ArgumentError`: `renaming(num_envs="config.num_envs")`."""
    try:
        yield
    except ArgumentError as error:
        error.name = names.get(error.name, error.name)
        raise


def check_kind(name: str, value: Any, kind: type, hint: str = "") -> None:
    """Raises an `ArgumentError` if an argument is not of a type. `hint` says how to make one, after a comma."""
    if not isinstance(value, kind):
        got = f"the class {value.__name__} itself" if isinstance(value, type) else type(value).__name__
        raise ArgumentError(name, f"must be of the kind {kind.__name__}{hint}", value, got)


def check_count(name: str, number: Any) -> int:
    """Returns a whole number of at least 1; raises an `ArgumentError` for anything else."""
    if not isinstance(number, Integral) or isinstance(number, bool) or number < 1:
        raise ArgumentError(name, "must be a whole number >= 1", number)
    return int(number)


def check_box(name: str, box: Any) -> None:
    """Raises an `ArgumentError` if an argument is no `Box` of finite bounds with low < high. Traced bounds pass."""
    check_kind(name, box, Box)
    if not all(hasattr(x, "dtype") for x in box):
        raise ArgumentError(name, "must have arrays as bounds, [D]", box)
    if any(isinstance(x, jax.core.Tracer) for x in box):
        return
    low, high = (np.asarray(x, np.float32) for x in box)
    with np.errstate(over="ignore", invalid="ignore"):
        fine = low.shape == high.shape and low.ndim == 1 and (np.isfinite(high - low) & (low < high)).all()
    if not fine:
        raise ArgumentError(name, "must have two finite bounds [D] with low < high", box)


def check_known(options: Mapping[str, Any], known: Collection[str], owner: str) -> None:
    """Raises an `ArgumentError` if one of the options is not among the known ones, those of their owner."""
    for name, value in options.items():
        if name not in known:
            raise ArgumentError(name, f"is not an option of {owner}, which has {', '.join(known) or 'none'}", value)


def check_is_no_class(name: str, value: Any) -> None:
    """Raises an `ArgumentError` if an argument is a class in place of an instance."""
    if isinstance(value, type):
        kind = value.__name__
        raise ArgumentError(name, f"must be an instance, {kind}()", value, f"the class {kind} itself")


def annotations(kind: type, include_extras: bool = False) -> dict[str, Any]:
    """The annotations of a class's fields, with or without bounds; empty if they cannot be evaluated."""
    try:
        return get_type_hints(kind, include_extras=include_extras)
    except NameError:  # an annotation as text, with a name that is local to a function
        return {}


def check(record: Any, prefix: str = "", without_prefix: Collection[str] = ()) -> None:
    """Checks every field of a record, and of the records in it, against its annotation.

    A field annotated as a number must hold a number of that type, or an array of them. A float may be given as an int.

    Args:
        record: a dataclass or a `NamedTuple`. Annotations may have bounds, as in `Annotated[float, Gt(0)]`, or be a
            `Literal`. Other pytrees pass unchecked. In a record that is a pytree, floats must satisfy their bounds as
            float32 too.
        prefix: what precedes the names of its fields.
        without_prefix: fields that are records whose own fields are named as if they stood in this one.

    Raises:
        ArgumentError: a value is not allowed, or the record is a class.
    """
    check_is_no_class(prefix.rstrip(".") or "config", record)
    if not _is_record(record):
        return
    hints, is_pytree = annotations(type(record), include_extras=True), not jax.tree_util.all_leaves([record])
    names = [field.name for field in dataclasses.fields(record)] if dataclasses.is_dataclass(record) else record._fields
    for field in names:
        value, hint, name = getattr(record, field), hints.get(field), prefix + field
        if _is_record(value):
            check(value, prefix if field in without_prefix else f"{name}.")
        else:
            check_value(name, value, hint, is_pytree)


def check_config(config: Any, kind: type[ConfigT]) -> ConfigT:
    """Returns a configuration whose fields satisfy their annotations.

    Raises:
        ArgumentError: they do not, or it is of another kind.
    """
    check_kind("config", config, kind)
    check(config)
    checked: ConfigT = config
    return checked


def _is_record(value: Any) -> bool:
    return not isinstance(value, type) and (dataclasses.is_dataclass(value) or hasattr(value, "_fields"))


def check_value(name: str, x: Any, hint: Any, float32: bool = False) -> None:
    """Checks a value against an annotation. Traced arrays pass, because their values are not known yet.

    Args:
        name: the argument.
        x: its value.
        hint: its type, which may have bounds or allow None.
        float32: whether a float must satisfy its bounds as float32 too.

    Raises:
        ArgumentError: the value is not allowed.
    """
    kind = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(kind) in (Union, types.UnionType):
        kinds = [other for other in get_args(kind) if other is not type(None)]
        if x is None and len(kinds) < len(get_args(kind)):
            return
        kind = next((other for other in kinds if _holds(x, other)), kinds[0])
        check_value(name, x, kind, float32)
    elif get_origin(kind) is Literal and x not in get_args(kind):
        raise ArgumentError(name, f"must be one of {', '.join(map(str, get_args(kind)))}", x)
    elif get_origin(kind) is tuple:
        if not isinstance(x, tuple | list):
            raise ArgumentError(name, "must be a tuple", x)
        least = max((getattr(item, "min_length", 0) for item in getattr(hint, "__metadata__", ())), default=0)
        if len(x) < least:
            raise ArgumentError(name, f"must have at least {least} item{'s' * (least > 1)}", x)
        items = get_args(kind)
        for item, own in zip(x, itertools.repeat(items[0]) if items[-1] is ... else items, strict=False):
            check_value(name, item, own, float32)
    if kind not in (int, float, bool) or isinstance(x, jax.core.Tracer):
        return
    if x is None:
        raise ArgumentError(name, "must have a value", x)
    given = _kind(x)
    if kind is bool:
        if given is None or not np.isin(np.asarray(x), (0, 1)).all():
            raise ArgumentError(name, "must be true or false", x)
    elif given not in (int, float):
        raise ArgumentError(name, "must be a whole number" if kind is int else "must be a number", x)
    elif kind is int and given is float:
        numbers = np.ravel(x)
        raise ArgumentError(name, "must be a whole number", [*numbers[numbers % 1 != 0], *numbers][0])
    _check_bounds(name, x, hint, float32 and kind is float)


def _holds(x: Any, hint: Any) -> bool:
    """Whether a value satisfies an annotation."""
    try:
        check_value("", x, hint)
    except ArgumentError:
        return False
    return True


def _kind(x: Any) -> type | None:
    """The type of a number, or of the numbers in an array: bool, int or float; None for anything else."""
    for kind, abstract in NUMBERS:
        if isinstance(x, kind) or (hasattr(x, "dtype") and jnp.issubdtype(x.dtype, abstract)):
            return kind
    return None


def _check_bounds(name: str, x: Any, hint: Any, float32: bool) -> None:
    """Checks numbers against the bounds in an annotation. NaN satisfies none."""
    numbers = np.asarray(x)
    bounds = [
        (symbol, getattr(item, attribute), holds)
        for item in getattr(hint, "__metadata__", ())
        for attribute, (symbol, holds) in BOUNDS.items()
        if getattr(item, attribute, None) is not None
    ]
    rules = [(f"{symbol} {limit}", holds(numbers, limit)) for symbol, limit, holds in bounds]
    if float32:
        rounded = _as_float32(x)
        rules += [(f"{symbol} {y} in float32", holds(rounded, _as_float32(y))) for symbol, y, holds in bounds]
        rules += [("finite in float32", np.isfinite(rounded) | (numbers == rounded))]
    for rule, satisfied in rules:
        if not np.all(satisfied):
            raise ArgumentError(name, f"must be {rule}", numbers[~np.asarray(satisfied)][0] if numbers.ndim else x)


def _as_float32(x: Any) -> np.ndarray:
    """A number rounded to float32, with subnormal ones as zero, as in XLA."""
    if isinstance(x, int) and abs(x) > sys.float_info.max:
        x = math.inf if x > 0 else -math.inf
    with np.errstate(over="ignore"):
        rounded = np.asarray(x).astype(np.float32)
    return np.where(abs(rounded) < np.finfo(np.float32).tiny, np.float32(0), rounded)


def whole_number(text: str) -> int:
    """The whole number in a text such as 1000000, 1_000_000, 1e6 or 2.5e5; a `ValueError` for other texts."""
    with contextlib.suppress(ValueError):
        return int(text)
    with contextlib.suppress(ValueError):
        if float(text).is_integer():
            return int(float(text))
    raise ValueError(f"must be a whole number, such as 1000000 or 1e6, got {text!r}")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known path whose last name is nearest to `name`, or has it as its initials; None if none is near."""
    paths = {path.rpartition(".")[2]: path for path in known}
    initials = [last for last in paths if "".join(word[:1] for word in last.replace("-", "_").split("_")) == name]
    near = difflib.get_close_matches(name, paths, n=1) or initials
    return paths[near[0]] if near else None


def suggest(name: Any, known: Iterable[str], prefix: str = "") -> str:
    """What to try in place of an unknown name: "the nearest is x", or else "one of x, y, z".

    Args:
        name: the unknown name or path, or whatever was given in place of one.
        known: the known ones. Of paths, those in the same group as `name` are listed.
        prefix: precedes each of them, such as "--".
    """
    known, (group, _, last) = list(known), str(name).rpartition(".")
    if (near := nearest(last, known)) is not None:
        return f"the nearest is {prefix}{near}"
    same = [path for path in known if path.rpartition(".")[0] == group] or known
    return f"one of {', '.join(prefix + path for path in same)}"


def first_line(error: BaseException) -> str:
    """An error in one line."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0][:200]}" if text else type(error).__name__
