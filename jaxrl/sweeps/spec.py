"""The specification of a sweep: what is fixed and what is swept, from a TOML file or from Python."""

import dataclasses
import json
import textwrap
import tomllib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from flax import traverse_util

from jaxrl.arguments import ArgumentError, errors_in, nearest
from jaxrl.runs.experiment import Experiment, find_experiment
from jaxrl.runs.options import Options, Task, flatten, with_values
from jaxrl.runs.task import with_map
from jaxrl.sweeps.draws import draw_configurations
from jaxrl.sweeps.field_reader import OF_A_SPEC, FieldReader, convert, read_count, to_toml_value, unknown_field

Search = Literal["grid", "random", "sobol", "list"]
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
"_" for "-". It can fix these fields, and total_steps, seed, log_every, eval_every, eval_episodes, eval_max_steps, and
keep_best, which are the same for all agents. The search "list" trains variants, each of which changes some of the
fields that a sweep can vary, as in variants.double.config.double = true."""
"""What the help of a sweep says of its file."""


@dataclasses.dataclass(frozen=True)
class SweepSpec:
    """What a sweep trains.

    Fields have paths, or are in nested tables. A value in `fields` fixes a field. A table, in Python a dict, sweeps it:
    `{"values": [64, 128]}` is a choice, and `{"distribution": "log_uniform", "low": 1e-4, "high": 1e-2}` a range
    ("uniform", "log_uniform" or "integer").

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
        experiment = self.experiment
        if not isinstance(experiment, Experiment):
            experiment = find_experiment(convert("experiment", experiment, str))
        reader = FieldReader(with_values(experiment.defaults, {"num_seeds": 1}))
        given = reader.flatten(self.fields)
        usual = {path: x for path, x in flatten(reader.defaults).items() if path in reader.hints and path not in given}
        read = {
            "experiment": experiment,
            "search": convert("search", self.search, Search),
            "configurations": None
            if self.configurations is None
            else read_count("configurations", self.configurations),
            "seeds": read_count("seeds", self.seeds),
            "fields": {path: convert(path, x, reader.hints[path]) for path, x in usual.items()}
            | {path: reader.read_field(path, value) for path, value in given.items()},
            "variants": {
                name: {
                    path: reader.read(f"variants.{name}.{path}", x, path)
                    for path, x in reader.flatten(values, f"variants.{name}.").items()
                }
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
                    raise unknown_field(misspelt, table[misspelt], OF_A_SPEC)
                raise ArgumentError(name, f'must be set, as in {name} = "{example}"', got="")
        if not isinstance(variants := own.pop("variants", {}), dict):
            raise ArgumentError("variants", "must be a table of tables", variants)
        return _of_file(SweepSpec(**own, fields=table, variants=variants), text, str(path))


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
    record["variants"] = {to_toml_value(name): values for name, values in record["variants"].items()}
    lines = (
        f"{name} = {to_toml_value(value)}\n" for name, value in flatten_record(record).items() if value is not None
    )
    return spec.toml or "".join(lines)


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
