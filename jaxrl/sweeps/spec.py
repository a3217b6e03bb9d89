"""The specification of a sweep: what is fixed and what is swept, from a TOML file or from Python."""

import dataclasses
import json
import math
import textwrap
import tomllib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from annotated_types import Interval
from flax import traverse_util

from jaxrl.arguments import ArgumentError, check_value, errors_in, nearest, suggest
from jaxrl.runs.experiment import Experiment, find_experiment
from jaxrl.runs.options import Execution, Options, Task, annotations_of, check_options, flatten, with_values
from jaxrl.runs.task import with_map
from jaxrl.sweeps.draws import draw_configurations

Search = Literal["grid", "random", "sobol", "list"]
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
EXAMPLE = """\
experiment = "dqn_cartpole"    # any training experiment
search = "random"              # or grid, sobol, list
configurations = 64            # how many to draw; a grid takes all
seeds = 3                      # of each configuration: 192 agents
total_steps = 2e5              # the same for all agents
[hparams.learning_rate]
distribution = "log_uniform"   # or uniform, integer
low = 1e-4
high = 1e-2
[config.batch_size]
values = [64, 128]             # a choice
"""
FORMAT = f"""The file, in TOML:
{textwrap.indent(EXAMPLE, "  ")}
A sweep can vary env, rules, env_options, and what the experiment's --help lists under hparams and config, written with
"_" for "-". It can fix these fields, and total_steps, seed, log_every, eval_episodes, and eval_max_steps, which are the
same for all agents. The search "list" trains variants, each of which changes some of the fields that a sweep can vary,
as in variants.double.config.double = true."""
"""What the help of a sweep says of its file."""


@dataclasses.dataclass(frozen=True)
class SweepSpec:
    """What a sweep trains.

    A value in `fields` fixes a field. A table, in Python a dict, sweeps it: `{"values": [64, 128]}` is a choice, and
    `{"distribution": "log_uniform", "low": 1e-4, "high": 1e-2}` a range ("uniform", "log_uniform" or "integer").

    Raises:
        ArgumentError: a value cannot be used. The error names the field as a TOML file does.
    """

    experiment: Experiment
    """A training experiment, or its name."""
    search: Search
    """Where configurations come from: "grid" takes all combinations of values, "random" and "sobol" draw them, and
    "list" takes the `variants`."""
    configurations: int | None = None
    """How many to draw. None for a grid and a list, which take all."""
    seeds: int = 1
    """Agents of each configuration. Their seeds are `seed`, `seed + 1`, …"""
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Fixed and swept fields by path, such as "total_steps" or "hparams.learning_rate". Defaults are filled in."""
    variants: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """The configurations of a list by name: the values in which each differs, by path."""
    toml: str = dataclasses.field(default="", init=False, compare=False, repr=False)
    """The text of the file that it was read from. `dataclasses.replace` leaves it out."""
    source: str = dataclasses.field(default="", init=False, compare=False, repr=False)
    """The path of that file."""

    def __post_init__(self) -> None:
        experiment, given = self.experiment, self.fields
        if not isinstance(experiment, Experiment):
            experiment = find_experiment(_convert("experiment", experiment, str))
        reader = _Reader(with_values(experiment.defaults, {"num_seeds": 1}))
        usual = {path: x for path, x in flatten(reader.defaults).items() if path in reader.hints and path not in given}
        read = {
            "experiment": experiment,
            "search": _convert("search", self.search, Search),
            "configurations": None if self.configurations is None else _count("configurations", self.configurations),
            "seeds": _count("seeds", self.seeds),
            "fields": {path: _convert(path, x, reader.hints[path]) for path, x in usual.items()}
            | {path: reader.read_field(path, value) for path, value in given.items()},
            "variants": {
                name: {path: reader.read(f"variants.{name}.{path}", x, path) for path, x in values.items()}
                for name, values in self.variants.items()
            },
        }
        for name, value in read.items():
            object.__setattr__(self, name, value)
        _check_search(self)

    @cached_property
    def swept(self) -> dict[str, dict[str, Any]]:
        """The tables of swept fields, by path. Each has a distribution, and low and high, or the values of a choice."""
        return {path: value for path, value in self.fields.items() if isinstance(value, dict)}

    @cached_property
    def options(self) -> Options:
        """The experiment's options with every fixed field, for the first seed."""
        fixed = {path: value for path, value in self.fields.items() if path not in self.swept}
        return with_values(self.experiment.defaults, fixed | {"num_seeds": 1})

    @cached_property
    def draws(self) -> list[dict[str, Any]]:
        """The values of every configuration, by path.

        Those of a list are its variants; for others, see `draw_configurations`.
        """
        if self.search == "list":
            return [dict(values) for values in self.variants.values()]
        return draw_configurations(self.search, self.swept, self.configurations or 1, self.options.budget.seed)

    @cached_property
    def has_one_task(self) -> bool:
        """Whether all configurations learn in the same environment, so that their returns can be compared."""
        return len({with_values(self.options, values).task for values in self.draws}) == 1

    def configuration(self, number: int, **values: Any) -> Options:
        """The options of a configuration, with other values in some top-level fields."""
        return with_values(self.options, self.draws[number] | values)

    def record(self) -> dict[str, Any]:
        """The specification in JSON's types; `SweepSpec(**record)` makes it again."""
        record = {name: getattr(self, name) for name in ("search", "configurations", "seeds", "fields", "variants")}
        return json.loads(json.dumps({"experiment": self.experiment.name, **record}))

    def with_maps(self) -> "SweepSpec":
        """Replaces the file of a GridWorld's map by its text, because the file may change later."""
        env, options = self.fields["env"], self.fields["env_options"]
        if "GridWorld" not in (env["values"] if isinstance(env, dict) else [env]):
            return self
        several = isinstance(options, dict)
        texts = [
            with_map(Task("GridWorld", None, x)).env_options for x in (options["values"] if several else [options])
        ]
        fields = {**self.fields, "env_options": {"values": texts} if several else texts[0]}
        return _of_file(dataclasses.replace(self, fields=fields), self.toml, self.source)


def read_spec(path: Path) -> SweepSpec:
    """Reads the TOML file of a sweep.

    Raises:
        ArgumentError: the file cannot be read, or a field cannot be used.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows begin a file with a mark
        table = tomllib.loads(text)
    except OSError as error:
        raise ArgumentError("SPEC", f"must be a file that can be read ({error.strerror})", path) from error
    except (ValueError, RecursionError) as error:  # not UTF-8, or not TOML
        raise ArgumentError("SPEC", f"must be a TOML file ({error})", path) from error
    with errors_in(path):
        own = {name: table.pop(name) for name in OF_A_SPEC if name in table}
        for name, example in (("experiment", "dqn_cartpole"), ("search", "random")):
            if name not in own:
                if misspelt := nearest(name, table):
                    raise _unknown(misspelt, table[misspelt], OF_A_SPEC)
                raise ArgumentError(name, f'must be set, as in {name} = "{example}"', got="")
        if not isinstance(variants := own.pop("variants", {}), dict):
            raise ArgumentError("variants", "must be a table of tables", variants)
        variants = {name: _flatten(values, f"variants.{name}.") for name, values in variants.items()}
        return _of_file(SweepSpec(**own, fields=_flatten(table), variants=variants), text, str(path))


def _of_file(spec: SweepSpec, toml: str, source: str) -> SweepSpec:
    """Notes in a new specification which file it was read from."""
    object.__setattr__(spec, "toml", toml)
    object.__setattr__(spec, "source", source)
    return spec


def flatten_record(record: dict[str, Any]) -> dict[str, Any]:
    """A `SweepSpec.record` as `{"seeds": 3, "hparams.learning_rate.low": 0.0001, …}`."""
    top = {name: value for name, value in record.items() if name != "fields"}
    flat = traverse_util.flatten_dict(top | record["fields"], keep_empty_nodes=True, sep=".")
    return {path: {} if value is traverse_util.empty_node else value for path, value in flat.items()}


def to_toml(spec: SweepSpec) -> str:
    """The file that a specification was read from, or one with a line for each of its values."""
    record = spec.record()
    record["variants"] = {_toml(name): values for name, values in record["variants"].items()}
    lines = (f"{name} = {_toml(value)}\n" for name, value in flatten_record(record).items() if value is not None)
    return spec.toml or "".join(lines)


def _flatten(table: Any, prefix: str = "") -> dict[str, Any]:
    """The fields in a TOML table by their paths; `TABLES` hold fields too."""
    if not isinstance(table, dict):
        raise ArgumentError(prefix.rstrip("."), "must be a table", table)
    fields = {name: value for name, value in table.items() if name not in TABLES}
    for part in (name for name in table if name in TABLES):
        fields |= {f"{part}.{name}": value for name, value in _flatten(table[part], f"{prefix}{part}.").items()}
    return fields


def _check_search(spec: SweepSpec) -> None:
    """Checks that the search fits the fields."""
    number, takes_all = spec.configurations, spec.search in ("grid", "list")
    if takes_all and number is not None:
        raise ArgumentError("configurations", f"must not be set: a {spec.search} takes all", number)
    if not takes_all and number is None:
        raise ArgumentError("configurations", f'must be set for search = "{spec.search}"', got="")
    if number is not None and number > 1 and not spec.swept:
        raise ArgumentError("configurations", "must be 1 where no field is swept", number)
    if bool(spec.variants) != (spec.search == "list"):
        rule = "must name a configuration or more" if spec.search == "list" else 'need search = "list"'
        raise ArgumentError("variants", rule, got=", ".join(spec.variants) or "none")
    for path, table in spec.swept.items():
        if spec.search == "list":
            raise ArgumentError(path, "must have one value: the variants of a list give others", table)
        if spec.search == "grid" and table["distribution"] != "choice":
            raise ArgumentError(f"{path}.distribution", "must be choice in a grid", table["distribution"])


class _Reader:
    """Reads values of the fields that a sweep can set; `hints` are their annotations, by path."""

    def __init__(self, defaults: Options) -> None:
        self.defaults, not_ours = defaults, {field.name for field in dataclasses.fields(Execution)} | {"num_seeds"}
        self.hints = {path: hint for path, hint in annotations_of(defaults).items() if path not in not_ours}

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
            raise _unknown(name, value, [*OF_A_SPEC, *self.hints, *TABLES])
        if path != name and "." not in path and path not in OF_A_TASK:
            rule = "must be set for all variants at once; a variant changes only"
            raise ArgumentError(name, f"{rule} {', '.join(OF_A_TASK)} and the fields of hparams and config", value)
        several = "; to try several, say {values = [...]}" * (name == path)
        if "." not in path and path not in OF_A_TASK:
            several = f"; only {', '.join(OF_A_TASK)} and the fields of hparams and config can have several"
        value = _convert(name, value, self.hints[path], several)
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
                raise _unknown(f"{path}.{key}", value, [f"{path}.{known}" for known in keys])
        if not {"distribution", "values"} & table.keys():
            raise ArgumentError(path, "must have values, or a distribution with low and high", table)
        distribution = _convert(f"{path}.distribution", table.get("distribution", "choice"), Distribution)
        kind = _kind(self.hints[path])
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
        if get_origin(_kind(self.hints[path])) is tuple and not all(isinstance(x, list | tuple) for x in values):
            arrays = [x if isinstance(x, list | tuple) else [x] for x in values]
            raise ArgumentError(name, f"must be an array of arrays, as in {_toml(arrays)}", values, got=_toml(values))
        read = tuple(self.read(name, value, path) for value in values)
        if len(set(read)) < len(read):
            raise ArgumentError(name, "must be different", values)
        return read


def _count(name: str, value: Any) -> int:
    """Reads a number of seeds or configurations."""
    several = "; seeds is how many there are, and seed the first of them" * (name == "seeds")
    check_value(name, _convert(name, value, int, several), Annotated[int, Interval(gt=0, lt=2**31)])
    return int(value)


def _convert(name: str, value: Any, hint: Any, several: str = "") -> Any:
    """Converts TOML's value to the annotated type: an int to a float, 1e6 to an int, an array to a tuple.

    `several` says how to give several values.
    """
    kind, is_several = _kind(hint), isinstance(value, list | tuple | dict)
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
                name, f"must be an array{several if is_several else f', as in {_toml([value])}'}", value
            )
        return tuple(_convert(name, item, get_args(kind)[0]) for item in value)
    allowed, what = KINDS[kind]
    if not isinstance(value, allowed) or (kind is not bool and isinstance(value, bool)) or value != value:
        raise ArgumentError(name, f"must be {what}{several * is_several}", value)
    if isinstance(value, int) and abs(value) >= 2**63:  # beyond TOML, and perhaps beyond a float
        raise ArgumentError(name, "must fit into 64 bits", value)
    return kind(value)


def _kind(hint: Any) -> Any:
    """The annotation without its bounds and without None, which TOML lacks."""
    if get_origin(hint) is Annotated or type(None) in get_args(hint):
        return _kind(get_args(hint)[0])
    return hint


def _toml(value: Any) -> str:
    """A value as TOML writes it."""
    return json.dumps(value, default=str, ensure_ascii=False).replace("Infinity", "inf")


def _unknown(name: str, value: Any, known: Iterable[str]) -> ArgumentError:
    """The error for a field that does not exist."""
    shown = repr(name)[1:-1]  # TOML's names may hold line breaks
    return ArgumentError(shown, f"is not known ({suggest(name, known)})", value)
