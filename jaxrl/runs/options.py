"""The options of every training experiment."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

import tyro
from annotated_types import Gt, Interval

from jaxrl.arguments import ArgumentError, annotations, check, suggest

HparamsT = TypeVar("HparamsT")
ConfigT = TypeVar("ConfigT")


def default_hint(default: str, metavar: str | None = None) -> Any:
    """What the help shows as the default of an option, and as its value, where the default is None or empty."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {default})", metavar=metavar)


EnvOptions = Annotated[tuple[str, ...], default_hint("the environment's own", "[NAME=VALUE ...]")]
"""Options of an environment, as on the command line."""
Rules = Annotated[Literal["original", "gymnax"] | None, default_hint("original")]
"""Rules of a MinAtar game, as on the command line."""


@dataclasses.dataclass(frozen=True)
class Task:
    """What to learn."""

    env: str
    """A name such as GridWorld, module:factory, or game:, gymnasium:, atari:, brax:, playground: or jaxmarl:NAME."""
    rules: Rules = None
    """Rules of a MinAtar game: original, or gymnax (fewer actions, no sticky actions, a step limit)."""
    env_options: EnvOptions = ()
    """Options of the environment, such as map=FILE max_steps_in_episode=500 for GridWorld; see jaxrl.make."""


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long to learn, with which seeds, and what to measure."""

    total_steps: Annotated[int, Gt(0)]
    """Environment steps of each agent with any warm-up; offline gradient steps, without data iterations. Rounded."""
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Random seed; with several seeds, the first."""
    num_seeds: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Number of seeds to train side by side in one program: seed, seed + 1, …"""
    log_every: Annotated[int, Interval(gt=0, lt=2**31)] = 20_000
    """Steps, counted as --total-steps, between two rows of metrics. Rounded to whole iterations of the trainer."""
    eval_every: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Steps between evaluations while training, 0 for none (as in a shorter run). Rounded to whole rows of metrics."""
    eval_episodes: Annotated[int, Interval(gt=0, le=1_000_000)] = 128
    """Episodes of each evaluation, which run in parallel; positions, if the moves of a game are judged."""
    eval_max_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 5_000
    """Steps after which an evaluation episode stops, unfinished. Its return so far counts."""

    @property
    def seeds(self) -> range:
        """All seeds."""
        return range(self.seed, self.seed + self.num_seeds)


@dataclasses.dataclass(frozen=True)
class Execution:
    """How to run it."""

    out: Annotated[Path | None, default_hint("runs/EXPERIMENT/DATE-TIME", "DIR")] = None
    """Directory of the run."""
    resume: bool = False
    """Continue the run in --out, bit for bit, or start it if there is none. --total-steps may differ."""
    checkpoint_every: Annotated[float, Gt(0)] = 60.0
    """Seconds between checkpoints. Another is written when the run ends, is interrupted, or the terminal closes."""
    keep_best: bool = False
    """Also keep each agent as it was at its best evaluation while training, in OUT/best. Needs --eval-every."""
    loggers: tuple[str, ...] = ("csv",)
    """Where metrics are written: csv, tensorboard, wandb, or your module:attribute. The learning curve needs csv."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Also copy the results, with a README.md, to this directory, such as experiments/dqn_breakout."""
    num_devices: Annotated[int, Gt(0)] = 1
    """Devices (CPU cores on a CPU) that share the seeds, or the environments of a single seed; must divide them."""
    sequential: bool = False
    """On a CPU, run one operation at a time. Faster for small networks in few environments; same results."""
    deterministic: bool = False
    """Use only deterministic operations on a GPU. A CPU is always deterministic."""
    debug_nans: bool = False
    """Stop at the operation that produces the first NaN. Slow."""
    profile: Annotated[Path | None, default_hint("none", "DIR")] = None
    """Write a profile of a few calls of the compiled program to this directory, for TensorBoard or Perfetto."""


@dataclasses.dataclass(frozen=True)
class Options(Generic[HparamsT, ConfigT]):
    """All options of a run. Docstrings of fields are the help.

    On the command line, only the fields of `hparams` and `config` have a prefix, as in `--hparams.learning-rate`.
    """

    task: Annotated[Task, tyro.conf.arg(name="")]
    hparams: HparamsT
    """Hyperparameters. Changing them does not recompile the program."""
    config: ConfigT
    """Sizes, networks and switches. Changing them recompiles the program."""
    budget: Annotated[Budget, tyro.conf.arg(name="")]
    execution: Annotated[Execution, tyro.conf.arg(name="")] = Execution()


WITHOUT_PREFIX = ("task", "budget", "execution")
MAY_CHANGE = (
    "total_steps", "eval_episodes", "eval_max_steps", "out", "resume", "checkpoint_every", "keep_best", "record",
    "loggers", "profile", "debug_nans", "sequential",
)  # fmt: skip
"""Options that may change when a run is resumed."""


def check_options(options: Options) -> None:
    """Checks every option against the bounds that its annotation declares."""
    check(options, without_prefix=WITHOUT_PREFIX)


def walk(record: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """The path, value and annotation of every option, such as `("hparams.learning_rate", 0.0005, float)`."""
    hints = annotations(type(record), include_extras=True)
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            yield from walk(value, prefix if field.name in WITHOUT_PREFIX else f"{prefix}{field.name}.")
        else:
            yield prefix + field.name, value, hints.get(field.name)


def annotations_of(options: Options) -> dict[str, Any]:
    """The annotation of every option by its path, such as `seed` or `hparams.learning_rate`."""
    return {path: hint for path, _, hint in walk(options)}


def flatten(options: Options) -> dict[str, Any]:
    """Options as `{"seed": 0, "hparams.learning_rate": 0.0005, …}`, in JSON's types."""
    return json.loads(json.dumps({path: value for path, value, _ in walk(options)}, default=str))


def with_values(record: Any, values: dict[str, Any], prefix: str = "") -> Any:
    """Options with new values of some fields, `{"seed": 1, "hparams.learning_rate": 0.001}`.

    Another environment has no `env_options` but those in `values`.
    """
    if isinstance(record, Task) and values.get("env", record.env) != record.env:
        values = {"env_options": ()} | values
    fields = {}
    for field in dataclasses.fields(record):
        name, value = field.name, getattr(record, field.name)
        if dataclasses.is_dataclass(value):
            fields[name] = with_values(value, values, prefix if name in WITHOUT_PREFIX else f"{prefix}{name}.")
        else:
            given = values.get(prefix + name, value)
            fields[name] = tuple(given) if isinstance(given, list) else given
    return dataclasses.replace(record, **fields)


def untrained_steps(options: Options) -> int:
    """The steps of one agent after its learning rate has decayed to 0."""
    decay = getattr(options.hparams, "learning_rate_decay_steps", 0)
    return max(0, int(options.budget.total_steps - decay)) if decay else 0


def read_options(flat: dict[str, Any], defaults: Options) -> Options:
    """The options in the record of a run, checked, because it may have been edited.

    Args:
        flat: what `flatten` returned.
        defaults: the values of options that are not in there, because the record is older.
    """
    known = flatten(defaults)
    for path, value in flat.items():
        if path not in known:
            raise ArgumentError(path, f"is not known ({suggest(path, known)})", value)
        usual = known[path]
        kind = int | float if type(usual) in (int, float) else type(usual)
        if usual is not None and not isinstance(value, kind):
            raise ArgumentError(path, f"must be of the type of {usual!r}", value)
    options = with_values(defaults, flat)
    check_options(options)
    return options
