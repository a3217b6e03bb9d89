"""An experiment, and the options every training experiment has."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_type_hints

import tyro
from annotated_types import Gt, Interval

from jaxrl.arguments import ArgumentError, check, nearest, whole_number

HparamsT = TypeVar("HparamsT")
ConfigT = TypeVar("ConfigT")


def default_hint(default: str, metavar: str | None = None) -> Any:
    """What the help says of an option's default where that is None or empty, and of its value."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {default})", metavar=metavar)


EnvOptions = Annotated[
    tuple[str, ...], tyro.conf.arg(metavar="[NAME=VALUE ...]", help_behavior_hint="(default: the environment's own)")
]
"""Options of an environment as the command line gives them."""
Rules = Annotated[Literal["original", "gymnax"] | None, default_hint("original")]
"""Rules of a MinAtar game as the command line gives them."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learned."""

    env: str
    """A MinAtar game like Breakout-MinAtar, CartPole-v1, GridWorld, gymnax's, or your own module:factory."""
    rules: Rules = None
    """Rules of a MinAtar game: the original's, or gymnax's (fewer actions, none sticky, a cap on the steps)."""
    env_options: EnvOptions = ()
    """Options of the environment, such as map=FILE max_steps_in_episode=500 for GridWorld; see jaxrl.make."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """For how long, with which seeds, and what is measured."""

    total_steps: Annotated[int, Gt(0)]
    """Environment steps of one agent, warm-up included, rounded down to whole iterations."""
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Seed of all randomness; of several seeds, the first."""
    num_seeds: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Seeds trained side by side in one program: seed, seed + 1, …"""
    log_every: Annotated[int, Interval(gt=0, lt=2**31)] = 20_000
    """Environment steps of one agent between two rows of metrics.csv, rounded to whole iterations."""
    eval_episodes: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """Episodes of the evaluation at the end, each in an environment of its own."""
    eval_max_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 5_000
    """Steps after which an unfinished evaluation episode is counted with its return so far."""


@dataclasses.dataclass(frozen=True)
class Execution:
    """How it is run."""

    out: Annotated[Path | None, default_hint("runs/EXPERIMENT/DATE-TIME", "DIR")] = None
    """The run's directory."""
    resume: bool = False
    """Continue the run in --out bit for bit, or begin it; --total-steps may be another (see the README)."""
    checkpoint_every: Annotated[float, Gt(0)] = 60.0
    """Seconds between two checkpoints; one is also written at the end, on signals, and if the terminal closes."""
    loggers: tuple[str, ...] = ("csv",)
    """What records the metrics: csv, tensorboard, wandb, or your own module:attribute; the figures need csv."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Also keep the results, and how they were made, in this directory (such as experiments/dqn_breakout)."""
    num_devices: Annotated[int, Gt(0)] = 1
    """Devices, or cores of a CPU, to spread the seeds over, or the environments of one seed; it must divide them."""
    sequential: bool = False
    """On a CPU, run one kernel after another: the same bits, and faster for small networks in few environments."""
    deterministic: bool = False
    """On a GPU, use only operations that give the same bits every time. On a CPU they always do."""
    debug_nans: bool = False
    """Stop at the operation that makes the first NaN. Slow."""
    profile: Annotated[Path | None, default_hint("none", "DIR")] = None
    """Write a profile of a few calls of the compiled program into this directory (for TensorBoard or Perfetto)."""


@dataclasses.dataclass(frozen=True)
class Options(Generic[HparamsT, ConfigT]):
    """Everything a run depends on, and everything the command line can set.

    The fields of `task`, `budget` and `execution` are flags without a prefix, such as `--env`; those of the others have
    one, such as `--hparams.learning-rate`. Docstrings of fields are the help.
    """

    task: Annotated[Task, tyro.conf.arg(name="")]
    hparams: HparamsT
    """Numbers of the algorithm; other values compile nothing anew."""
    config: ConfigT
    """Sizes, networks and switches; other values compile another program."""
    budget: Annotated[Budget, tyro.conf.arg(name="")]
    execution: Annotated[Execution, tyro.conf.arg(name="")] = Execution()


WITHOUT_PREFIX = ("task", "budget", "execution")
MAY_CHANGE = (
    "total_steps", "eval_episodes", "eval_max_steps", "out", "resume", "checkpoint_every", "record", "loggers",
    "profile", "debug_nans", "sequential",
)  # fmt: skip
"""Options that may differ between a run and its continuation."""


def make_options(env_options: EnvOptions) -> dict[str, Any]:
    """The same as arguments of `jaxrl.make`: each value an int, a float or a bool if it reads as one, or else a str.

    Raises:
        ArgumentError: one is not of the form NAME=VALUE, or its name is that of another argument of `make`.
    """
    options: dict[str, Any] = {}
    for text in env_options:
        name, equals, value = text.partition("=")
        if not equals or name in ("", "env_id", "rules"):
            raise ArgumentError("env_options", "must be NAME=VALUE, with an option of the environment", text)
        options[name] = _read(value)
    return options


def _read(text: str) -> int | float | bool | str:
    kinds = (int, whole_number, float) if "e" in text.lower() else (int, float)  # 1e6 is a whole number, 2.0 is not
    for kind in kinds:
        try:
            return kind(text)
        except ValueError:
            pass
    return {"true": True, "false": False}.get(text.lower(), text)


def annotations_of(options: Options) -> dict[str, Any]:
    """The annotation of every field by its path, such as `seed` or `hparams.learning_rate`."""
    found: dict[str, Any] = {}
    for part in dataclasses.fields(options):
        record, prefix = getattr(options, part.name), "" if part.name in WITHOUT_PREFIX else f"{part.name}."
        hints = get_type_hints(type(record), include_extras=True)
        found |= {prefix + field.name: hints[field.name] for field in dataclasses.fields(record)}
    return found


def check_options(options: Options) -> None:
    """Checks every option against the bounds that its annotation declares.

    Raises:
        ArgumentError: a value is out of bounds.
    """
    for field in dataclasses.fields(options):
        check(getattr(options, field.name), "" if field.name in WITHOUT_PREFIX else f"{field.name}.")


def flatten(options: Options) -> dict[str, Any]:
    """Options as `{"hparams.learning_rate": 0.0005, …}`, in JSON's types."""

    def walk(record: Any, prefix: str) -> dict[str, Any]:
        flat: dict[str, Any] = {}
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if dataclasses.is_dataclass(value):
                flat |= walk(value, prefix if field.name in WITHOUT_PREFIX else f"{prefix}{field.name}.")
            else:
                flat[prefix + field.name] = value
        return flat

    return json.loads(json.dumps(walk(options, ""), default=str))


def with_values(options: Options, values: dict[str, Any]) -> Options:
    """Options with other values in some fields, `{"seed": 1, "hparams.learning_rate": 0.001}`."""

    def walk(record: Any, prefix: str) -> Any:
        fields = {}
        for field in dataclasses.fields(record):
            value = getattr(record, field.name)
            if dataclasses.is_dataclass(value):
                fields[field.name] = walk(value, prefix if field.name in WITHOUT_PREFIX else f"{prefix}{field.name}.")
            else:
                given = values.get(prefix + field.name, value)
                fields[field.name] = tuple(given) if isinstance(given, list) else given
        return dataclasses.replace(record, **fields)

    return walk(options, "")


def read_options(flat: dict[str, Any], defaults: Options) -> Options:
    """The options in the record of a run, which somebody may have changed by hand; newer ones are as in `defaults`.

    Raises:
        ArgumentError: there is no such option, or its value is of another kind or out of its bounds.
    """
    known = flatten(defaults)
    for path, value in flat.items():
        if path not in known:
            near = nearest(path.rpartition(".")[2], known)
            raise ArgumentError(path, f"is not known{(f' (the nearest is {near})' if near else '')}", value)
        usual = known[path]
        kind = int | float if type(usual) in (int, float) else type(usual)
        if usual is not None and not isinstance(value, kind):
            raise ArgumentError(path, f"must be of the kind of {usual!r}", value)
    options = with_values(defaults, flat)
    check_options(options)
    return options
