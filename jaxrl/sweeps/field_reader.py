"""Reading the values of the fields in the specification of a sweep."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check_value, suggest
from jaxrl.runs.options import Execution, Options, Task, annotations_of, check_options, with_values

Distribution = Literal["uniform", "log_uniform", "integer", "choice"]
TABLES = ("hparams", "config")
OF_A_TASK = tuple(field.name for field in dataclasses.fields(Task))
OF_A_SPEC = ("experiment", "search", "configurations", "seeds", "variants")
KINDS: dict[Any, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    str: (str, "text"),
}
"""What TOML may hold for each type, and what to call it."""


class FieldReader:
    """Reads values of the fields that a sweep can set; `hints` are their annotations, by path."""

    def __init__(self, defaults: Options) -> None:
        execution = {field.name for field in dataclasses.fields(Execution)} - {"keep_best"}
        self.defaults, not_ours = defaults, execution | {"num_seeds"}
        self.hints = {path: hint for path, hint in annotations_of(defaults).items() if path not in not_ours}

    def flatten(self, table: Any, name: str = "", prefix: str = "") -> dict[str, Any]:
        """The fields in nested tables by their paths, and before those of its tables a table's own.

        Args:
            table: what is read.
            name: what errors call it, and a dot.
            prefix: the path of the table, and a dot.
        """
        if not isinstance(table, Mapping):
            raise ArgumentError(name.rstrip(".") or "fields", "must be a table", table)
        parts = [x for x in table if prefix + x in TABLES or any(y.startswith(f"{prefix}{x}.") for y in self.hints)]
        fields = {prefix + x: value for x, value in table.items() if x not in parts}
        for x in parts:
            more = self.flatten(table[x], f"{name}{x}.", f"{prefix}{x}.")
            for path in fields.keys() & more.keys():
                raise ArgumentError(path, "must be given once", more[path])
            fields |= more
        return fields

    def read_field(self, path: str, value: Any) -> Any:
        """Reads the value of a fixed field, or the table of a swept one."""
        if isinstance(value, Mapping) and path in self.hints and ("." in path or path in OF_A_TASK):
            return self._read_table(path, value)
        return self.read(path, value, path)

    def read(self, name: str, value: Any, path: str) -> Any:
        """Reads a value of the field at `path`, which errors call `name`."""
        if path not in self.hints:
            if path in (field.name for field in dataclasses.fields(Execution)):
                raise ArgumentError(name, "is an option of the command, not of the file", value)
            raise unknown_field(name, value, [*OF_A_SPEC * (name == path), *self.hints, *TABLES], path)
        if path != name and "." not in path and path not in OF_A_TASK:
            rule = "must be set for all variants at once; a variant changes only"
            raise ArgumentError(name, f"{rule} {', '.join(OF_A_TASK)} and the fields of hparams and config", value)
        several = "; to try several, say {values = [...]}" * (name == path)
        if "." not in path and path not in OF_A_TASK:
            several = f"; only {', '.join(OF_A_TASK)} and the fields of hparams and config can have several"
        value = convert(name, value, self.hints[path], several)
        try:
            check_options(with_values(self.defaults, {path: value}))
        except ArgumentError as error:
            error.name = name
            raise
        return value

    def _read_table(self, path: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """Reads the table of a swept field, and names its distribution."""

        def refuse(key: str, rule: str, value: Any = None, got: str | None = None) -> None:
            raise ArgumentError(f"{path}.{key}", rule, value, got)

        keys = ("distribution", "low", "high", "values")
        for key, value in table.items():
            if key not in keys:
                raise unknown_field(f"{path}.{key}", value, [f"{path}.{known}" for known in keys])
        if not {"distribution", "values"} & table.keys():
            raise ArgumentError(path, "must have values, or a distribution with low and high", table)
        distribution = convert(f"{path}.distribution", table.get("distribution", "choice"), Distribution)
        kind = kind_of(self.hints[path])
        if kind is int and distribution in ("uniform", "log_uniform"):
            refuse("distribution", 'must be "integer" or "choice" for a whole number', distribution)
        if kind not in (int, float) and distribution != "choice":
            refuse("distribution", 'must be "choice" for a field that is not a number', distribution)
        needed = ("values",) if distribution == "choice" else ("low", "high")
        for key in keys[1:]:
            if key in table and key not in needed:
                refuse(key, f"does not go with {distribution}", table[key])
            if key in needed and key not in table:
                refuse(key, f"must be set for {distribution}", got="")
        if distribution == "choice":
            return {"distribution": distribution, "values": self._read_values(path, table["values"])}
        low, high = (self.read(f"{path}.{key}", table[key], path) for key in needed)
        for key, limit in (("low", low), ("high", high)):
            if not math.isfinite(limit):
                refuse(key, "must be finite", limit)
            if distribution == "integer" and limit % 1:
                refuse(key, "must be a whole number for integer", limit)
            if distribution == "log_uniform" and limit <= 0:
                refuse(key, "must be > 0 for log_uniform", limit)
        if low > high or (low == high and distribution != "integer"):
            refuse("low", f"must be {'<=' if distribution == 'integer' else '<'} high = {high}", low)
        return {"distribution": distribution, "low": low, "high": high}

    def _read_values(self, path: str, values: Any) -> tuple[Any, ...]:
        """Reads the values of a choice."""
        name = f"{path}.values"
        if not isinstance(values, list | tuple) or not values:
            raise ArgumentError(name, "must be an array of one value or more", values)
        if get_origin(kind_of(self.hints[path])) is tuple and not all(isinstance(x, list | tuple) for x in values):
            arrays = [x if isinstance(x, list | tuple) else [x] for x in values]
            raise ArgumentError(
                name, f"must be an array of arrays, as in {to_toml_value(arrays)}", values, got=to_toml_value(values)
            )
        read = tuple(self.read(name, value, path) for value in values)
        if len(set(read)) < len(read):
            raise ArgumentError(name, "must be different", values)
        return read


def read_count(name: str, value: Any) -> int:
    """Reads a number of seeds or configurations, at most a million: a sweep lists each of its agents."""
    several = "; seeds is how many there are, and seed the first of them" * (name == "seeds")
    check_value(name, convert(name, value, int, several), Annotated[int, Interval(gt=0, le=1_000_000)])
    return int(value)


def convert(name: str, value: Any, hint: Any, several: str = "") -> Any:
    """Converts TOML's value to the annotated type: an int to a float, 1e6 to an int, an array to a tuple.

    `several` says how to give several values.
    """
    kind, is_several = kind_of(hint), isinstance(value, list | tuple | dict)
    if value is None and kind != hint:
        return None
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if get_origin(kind) is Literal:
        if is_several or value not in get_args(kind):
            raise ArgumentError(name, f"must be one of {', '.join(get_args(kind))}{several * is_several}", value)
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise ArgumentError(
                name, f"must be an array{several if is_several else f', as in {to_toml_value([value])}'}", value
            )
        return tuple(convert(name, item, get_args(kind)[0]) for item in value)
    allowed, what = KINDS[kind]
    if not isinstance(value, allowed) or (kind is not bool and isinstance(value, bool)) or value != value:
        raise ArgumentError(name, f"must be {what}{several * is_several}", value)
    if isinstance(value, int) and abs(value) >= 2**63:  # beyond TOML, and perhaps beyond a float
        raise ArgumentError(name, "must fit into 64 bits", value)
    return kind(value)


def kind_of(hint: Any) -> Any:
    """The annotation without its bounds and without None, which TOML lacks."""
    if get_origin(hint) is Annotated or type(None) in get_args(hint):
        return kind_of(get_args(hint)[0])
    return hint


def to_toml_value(value: Any) -> str:
    """A value as TOML writes it."""
    return json.dumps(value, default=str, ensure_ascii=False).replace("Infinity", "inf")


def unknown_field(name: str, value: Any, known: Iterable[str], path: str = "") -> ArgumentError:
    """The error for a field that does not exist. `path` is its path where that is not its name."""
    shown = repr(name)[1:-1]  # TOML's names may hold line breaks
    return ArgumentError(shown, f"is not known ({suggest(path or name, known)})", value)
