"""The file of a sweep: what its fields are drawn from, and the configurations that are drawn."""

import dataclasses
import itertools
import json
import math
import textwrap
import tomllib
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import numpy as np

from jaxrl.arguments import ArgumentError, errors_in, nearest
from jaxrl.runs.experiment import Experiment, find_experiment
from jaxrl.runs.options import Budget, Execution, Options, Task, annotations_of, check_options, with_values
from jaxrl.runs.task import with_map as with_map_text

Search = Literal["grid", "random", "sobol"]
Distribution = Literal["uniform", "log_uniform", "integer", "choice"]

OF_A_RUN = (
    "env", "rules", "env_options", "total_steps", "seed", "log_every", "eval_episodes", "eval_max_steps",
)  # fmt: skip
"""Options that a spec may set; the others are the command's."""
TABLES = ("hparams", "config")
TOP_LEVEL = ("experiment", "search", "configurations", "seeds", *OF_A_RUN, *TABLES)
KEYS = ("distribution", "low", "high", "values")
"""What the table of a swept field may say."""
KINDS: dict[Any, tuple[Any, str]] = {
    bool: (bool, "true or false"),
    int: (int, "a whole number"),
    float: ((int, float), "a number"),
    str: (str, "text"),
}
"""What TOML may hold for each type, and what to call it."""


EXAMPLE = f"""\
experiment = "dqn_cartpole"    # any that trains
search = "random"              # {", ".join(get_args(Search))}
configurations = 64            # how many to draw; a grid takes all
seeds = 3                      # of each configuration: 192 agents
total_steps = 2e5              # and others: see below
[hparams]
discount = 0.98                # the same for all
[hparams.learning_rate]
distribution = "log_uniform"   # {", ".join(get_args(Distribution)[:-1])}
low = 1e-4
high = 1e-2
[config.batch_size]
values = [64, 128]             # a choice
"""
FORMAT = f"""The file, in TOML:
{textwrap.indent(EXAMPLE, "  ")}
Beside total_steps may stand {", ".join(name for name in OF_A_RUN if name != "total_steps")};
under hparams and config, what --help of the experiment lists there, with "_" in place of "-"."""
"""What the help of a sweep says of its file."""


@dataclasses.dataclass(frozen=True)
class Dimension:
    """A swept field, and what it is drawn from."""

    path: str
    """Such as `hparams.learning_rate`."""
    distribution: Distribution
    low: float | None
    """None for a choice; else of the field's type, as are the draws."""
    high: float | None
    """As `low`. An integer may be equal to it."""
    values: tuple[Any, ...]
    """Empty unless it is a choice."""

    @property
    def shown(self) -> str:
        """What it is drawn from, in a few words."""
        return ", ".join(map(str, self.values)) if self.values else f"{self.low:g} to {self.high:g}"


@dataclasses.dataclass(frozen=True)
class Spec:
    """What the file says, checked.

    Each configuration is `options` with its own values in the fields of `dimensions`, and is trained with the seeds
    `options.budget.seed`, `options.budget.seed + 1`, …
    """

    experiment: Experiment
    search: Search
    configurations: int
    """How many there are; for a grid the product of the numbers of values."""
    seeds: int
    options: Options
    """The experiment's, with all that the file fixes, of one seed: the first."""
    dimensions: tuple[Dimension, ...]
    """In the order of the file."""
    fields: dict[str, Any]
    """The file as `{"seeds": 3, "hparams.learning_rate.low": 0.0001, …}`, in JSON's types. What it leaves out of the
    top level is there; what it leaves out of hparams and config is not, nor is the number of a grid's configurations,
    which its values imply."""


def read_spec(path: Path) -> Spec:
    """Reads and checks the TOML file of a sweep.

    Raises:
        ArgumentError: it cannot be read, or a field of it cannot be used.
    """
    table = _read_toml(path)
    with errors_in(path):
        return _spec(table)


def _spec(table: dict[str, Any]) -> Spec:
    """What the file's tables say, checked.

    Raises:
        ArgumentError: a field cannot be used.
    """
    _check_top_level(table)
    experiment = find_experiment(_convert("experiment", table["experiment"], str))
    defaults = with_values(experiment.defaults, {"num_seeds": 1})
    top_level = {name: _read(name, table[name], name, defaults) for name in OF_A_RUN if name in table}
    search = _convert("search", table["search"], Search)
    seeds = _read("seeds", table.get("seeds", 1), "num_seeds", defaults)
    fixed, dimensions = _read_fields(table, defaults)
    configurations = _count(table, search, dimensions, defaults)
    options = with_values(defaults, top_level | fixed)
    given = {"experiment": experiment.name, "search": search, "seeds": seeds}
    if search != "grid":
        given["configurations"] = configurations
    given |= {name: getattr(options, name) for name in OF_A_RUN} | fixed
    fields = _flatten(given, dimensions)
    return Spec(experiment, search, configurations, seeds, options, dimensions, fields)


def with_map(spec: Spec) -> Spec:
    """The same with the text of a map in place of its file, as in a run.

    Raises:
        ArgumentError: there is no such map.
    """
    options = dataclasses.replace(spec.options, task=with_map_text(spec.options.task))
    env_options = options.task.env_options
    return dataclasses.replace(spec, options=options, fields=spec.fields | {"env_options": list(env_options)})


def draw(spec: Spec) -> list[dict[str, Any]]:
    """The configurations, each `{path: value}`; equal specs give equal ones.

    More of them begin with the same ones. What is drawn at random for a field depends on the seed and its path, and not
    on the other fields; Sobol's points depend on which fields there are. In a grid the last field changes fastest.
    """
    rows: Iterable[tuple[Any, ...]]
    if spec.search == "grid" or not spec.dimensions:  # of no fields, the one empty configuration
        rows = itertools.product(*(dimension.values for dimension in spec.dimensions))
    else:
        points = _random(spec) if spec.search == "random" else _sobol(spec)
        rows = zip(*([_quantile(d, u) for u in points[d.path]] for d in spec.dimensions), strict=True)
    paths = [dimension.path for dimension in spec.dimensions]
    return [dict(zip(paths, values, strict=True)) for values in rows]


def _random(spec: Spec) -> dict[str, list[float]]:
    """A stream of its own for each field, in [0, 1): no field can move another's, and none is correlated with it."""
    streams = {
        d.path: np.random.default_rng([spec.options.budget.seed, zlib.crc32(d.path.encode())]) for d in spec.dimensions
    }
    return {path: stream.random(spec.configurations).tolist() for path, stream in streams.items()}


def _sobol(spec: Spec) -> dict[str, list[float]]:
    """Scrambled Sobol points, in [0, 1), a coordinate for each field."""
    from scipy.stats import qmc  # here, because it takes a while and the other searches do without

    paths = sorted(dimension.path for dimension in spec.dimensions)
    points = qmc.Sobol(len(paths), rng=spec.options.budget.seed)
    # A power of two, of which Sobol's points are balanced, and SciPy does not warn.
    drawn = points.random_base2((spec.configurations - 1).bit_length())[: spec.configurations]
    return dict(zip(paths, drawn.T.tolist(), strict=True))


def _quantile(dimension: Dimension, u: float) -> Any:
    """The value below which a draw is with probability u, in [0, 1)."""
    if dimension.distribution == "choice":
        return dimension.values[int(u * len(dimension.values))]
    low, high = dimension.low, dimension.high
    assert low is not None
    assert high is not None
    if dimension.distribution == "integer":
        value = low + math.floor(u * (high - low + 1))
    elif dimension.distribution == "log_uniform":
        value = math.exp((1 - u) * math.log(low) + u * math.log(high))
    else:
        value = (1 - u) * low + u * high
    return min(max(value, low), high)  # rounding may go beyond


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors begin a file with a mark
    except OSError as error:
        raise ArgumentError("spec", f"must be a file that can be read ({error.strerror})", path) from error
    except (ValueError, RecursionError) as error:  # it is no text, or no TOML
        raise ArgumentError("spec", f"must be a TOML file ({error})", path) from error


def _check_top_level(table: dict[str, Any]) -> None:
    """Checks which fields there are."""
    others = {field.name for record in (Task, Budget, Execution) for field in dataclasses.fields(record)} - set(
        TOP_LEVEL
    )
    for name, value in table.items():
        if name == "num_seeds":
            raise ArgumentError(name, "is called seeds in a sweep", value)
        if name in others:
            raise ArgumentError(name, "is an option of the command, not of the file", value)
        if name not in TOP_LEVEL:
            raise _unknown("", name, value, TOP_LEVEL)
        if name in TABLES and not isinstance(value, dict):
            raise ArgumentError(name, "must be a table", value)
    if "experiment" not in table:
        raise ArgumentError("experiment", 'is missing: say which, as in experiment = "dqn_cartpole"', got="")
    if "search" not in table:
        raise ArgumentError("search", f"is missing: it is one of {', '.join(get_args(Search))}", got="")


def _read_fields(table: dict[str, Any], defaults: Options) -> tuple[dict[str, Any], tuple[Dimension, ...]]:
    """What `hparams` and `config` say: the values that are fixed, by path, and the fields that are swept."""
    known = [f"{part}.{field.name}" for part in TABLES for field in dataclasses.fields(getattr(defaults, part))]
    fixed: dict[str, Any] = {}
    dimensions = []
    for part in [name for name in table if name in TABLES]:
        for name, value in table[part].items():
            path = f"{part}.{name}"
            if path not in known:
                raise _unknown(f"{part}.", name, value, known)
            if isinstance(value, dict):
                dimensions.append(_read_dimension(path, value, defaults))
            else:
                fixed[path] = _read(path, value, path, defaults)
    return fixed, tuple(dimensions)


def _count(table: dict[str, Any], search: Search, dimensions: tuple[Dimension, ...], defaults: Options) -> int:
    """The number of configurations."""
    given = table.get("configurations")
    if search == "grid":
        if given is not None:
            raise ArgumentError("configurations", "must not be given for a grid, which takes all", given)
        for dimension in dimensions:
            if dimension.distribution != "choice":
                raise ArgumentError(
                    f"{dimension.path}.distribution", "must be choice in a grid", dimension.distribution
                )
        return math.prod(len(dimension.values) for dimension in dimensions)
    if given is None:
        raise ArgumentError("configurations", f'is missing: search = "{search}" needs their number', got="")
    count = _read("configurations", given, "num_seeds", defaults)  # what holds for the number of seeds holds for it
    if count > 1 and not dimensions:
        raise ArgumentError("configurations", "must be 1 where no field is swept", count)
    return count


def _flatten(given: dict[str, Any], dimensions: tuple[Dimension, ...]) -> dict[str, Any]:
    """Plain values and dimensions by path, in JSON's types."""
    flat = dict(given)
    for dimension in dimensions:
        keys = ("distribution", "values") if dimension.distribution == "choice" else ("distribution", "low", "high")
        flat |= {f"{dimension.path}.{key}": getattr(dimension, key) for key in keys}
    return json.loads(json.dumps(flat))


def _read_dimension(path: str, table: dict[str, Any], defaults: Options) -> Dimension:
    for key, value in table.items():
        if key not in KEYS:
            raise _unknown(f"{path}.", key, value, [f"{path}.{known}" for known in KEYS])
    distribution = _read_distribution(path, table, defaults)
    needed = ("values",) if distribution == "choice" else ("low", "high")
    for key in ("low", "high", "values"):
        if key in table and key not in needed:
            raise ArgumentError(f"{path}.{key}", f"does not go with {distribution}", table[key])
        if key in needed and key not in table:
            raise ArgumentError(f"{path}.{key}", f"is missing: {distribution} needs {' and '.join(needed)}", got="")
    if distribution == "choice":
        return Dimension(path, distribution, None, None, _read_values(path, table["values"], defaults))
    low, high = (_read_limit(path, key, table[key], distribution, defaults) for key in needed)
    if low > high or (low == high and distribution != "integer"):
        symbol = "<=" if distribution == "integer" else "<"
        raise ArgumentError(f"{path}.low", f"must be {symbol} high = {high}", low)
    return Dimension(path, distribution, low, high, ())


def _read_distribution(path: str, table: dict[str, Any], defaults: Options) -> Distribution:
    """What the table says it is, or implies, where that can be for the field."""
    if not {"distribution", "values"} & table.keys():
        raise ArgumentError(path, "must have values, or a distribution with low and high", table)
    distribution = _convert(f"{path}.distribution", table.get("distribution", "choice"), Distribution)
    kind = _kind(_hint(path, defaults))
    if kind is int and distribution in ("uniform", "log_uniform"):
        raise ArgumentError(
            f"{path}.distribution", 'must be "integer" or "choice", for it is a whole number', distribution
        )
    if kind not in (int, float) and distribution != "choice":
        raise ArgumentError(f"{path}.distribution", 'must be "choice", for it is not a number', distribution)
    return distribution


def _read_values(path: str, values: Any, defaults: Options) -> tuple[Any, ...]:
    if not isinstance(values, list) or not values:
        raise ArgumentError(f"{path}.values", "must be an array of one value or more", values)
    if get_origin(_kind(_hint(path, defaults))) is tuple and not all(isinstance(value, list) for value in values):
        arrays = [value if isinstance(value, list) else [value] for value in values]
        raise ArgumentError(
            f"{path}.values", f"must be an array of arrays, as in {_toml(arrays)}", values, got=_toml(values)
        )
    read = tuple(_read(f"{path}.values", value, path, defaults) for value in values)
    if len(set(read)) < len(read):
        raise ArgumentError(f"{path}.values", "must be different", values)
    return read


def _read_limit(path: str, key: str, value: Any, distribution: Distribution, defaults: Options) -> float:
    """The field's `low` or `high`."""
    limit = _read(f"{path}.{key}", value, path, defaults)
    if not math.isfinite(limit):
        raise ArgumentError(f"{path}.{key}", "must be finite", limit)
    if distribution == "integer" and limit % 1:
        raise ArgumentError(f"{path}.{key}", "must be a whole number for integer", limit)
    if distribution == "log_uniform" and limit <= 0:
        raise ArgumentError(f"{path}.{key}", "must be > 0 for log_uniform", limit)
    return limit


def _read(name: str, value: Any, path: str, defaults: Options) -> Any:
    """A value that a field can have.

    Args:
        name: what the file calls it.
        value: what the file says.
        path: of the field.
        defaults: the options it is a field of.

    Raises:
        ArgumentError: it is of another type, or out of the bounds that the field declares.
    """
    value = _convert(name, value, _hint(path, defaults))
    try:
        check_options(with_values(defaults, {path: value}))
    except ArgumentError as error:
        error.name = name
        raise
    return value


def _convert(name: str, value: Any, hint: Any) -> Any:
    """TOML's value as one of the annotated type: an int may be a float, 1e6 an int, and an array is a tuple."""
    kind = _kind(hint)
    if kind is int and isinstance(value, float) and value.is_integer():
        value = int(value)
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ArgumentError(name, f"must be one of {', '.join(get_args(kind))}", value)
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            hint = _several(name) if isinstance(value, dict) else f"; say {_toml([value])}"
            raise ArgumentError(name, "must be an array", value, got=f"{value!r}{hint}")
        return tuple(_convert(name, item, get_args(kind)[0]) for item in value)
    allowed, what = KINDS[kind]
    if not isinstance(value, allowed) or (kind is not bool and isinstance(value, bool)) or value != value:
        hint = _several(name) if isinstance(value, list | dict) else ""
        raise ArgumentError(name, f"must be {what}", value, got=f"{value!r}{hint}")
    if isinstance(value, int) and abs(value) >= 2**63:  # TOML has no such; it may be too large for a float
        raise ArgumentError(name, "must fit into 64 bits", value)
    return kind(value)


def _several(name: str) -> str:
    """What to say to somebody who wants several values of a field."""
    if name == "seeds":
        return "; it is how many there are, and seed is the first of them"
    if name.partition(".")[0] not in TABLES:
        return "; only the fields of hparams and config can have several"
    return "" if name.endswith(".values") else "; to try several, say {values = [...]}"


def _toml(value: Any) -> str:
    """As one writes it in the file."""
    return json.dumps(value, default=str, ensure_ascii=False)


def _hint(path: str, options: Options) -> Any:
    """The annotation of a field."""
    return annotations_of(options)[path]


def _kind(hint: Any) -> Any:
    """The annotation without its bounds, and without None, which TOML does not have."""
    if get_origin(hint) is Annotated or type(None) in get_args(hint):
        return _kind(get_args(hint)[0])
    return hint


def _unknown(prefix: str, name: str, value: Any, known: Iterable[str]) -> ArgumentError:
    """The error for a field that there is not, in a table such as `hparams.`."""
    shown = repr(name)[1:-1]  # in one line, for TOML's names may hold line breaks
    return ArgumentError(f"{prefix}{shown}", f"is not known ({_suggestion(name, known, prefix)})", value)


def _suggestion(name: str, known: Iterable[str], prefix: str = "") -> str:
    """The nearest of the known paths by its last name, or else all that begin with the prefix."""
    known = list(known)
    near = nearest(name, known)
    if near is not None:
        return f"the nearest is {near}"
    return f"there are {', '.join(path.rpartition('.')[2] for path in known if path.startswith(prefix))}"
