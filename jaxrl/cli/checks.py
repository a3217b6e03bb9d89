"""Bad input, found before anything compiles and before anything is written."""

import dataclasses
from pathlib import Path
from typing import Any, get_args, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt

from jaxrl import envs
from jaxrl.cli import run_directory
from jaxrl.cli.experiment import NOT_PART_OF_THE_RUN, Experiment, Options, flatten
from jaxrl.types import Agent, Trainer


class UsageError(Exception):
    """Something the user can put right, in one line that names the flag and the value."""


def flag(path: str) -> str:
    """The command-line flag of a field, such as `hparams.learning_rate`."""
    return "--" + path.replace("_", "-")


def check_bounds(record: Any, prefix: str = "") -> None:
    """Checks every field of a dataclass, and of dataclasses in it, against the bounds its annotation declares.

    Raises:
        UsageError: a value is out of bounds.
    """
    hints = get_type_hints(type(record), include_extras=True)
    for field in dataclasses.fields(record):
        value, hint, path = getattr(record, field.name), hints[field.name], prefix + field.name
        if dataclasses.is_dataclass(value):
            check_bounds(value, path + ".")
            continue
        values, bounds = (value, _bounds(get_args(hint)[0])) if isinstance(value, tuple) else ((value,), _bounds(hint))
        for x in values:
            for symbol, limit, holds in bounds:
                if x is not None and not holds(x):
                    raise UsageError(f"{flag(path)} must be {symbol} {limit}, got {x}")


def _bounds(hint: Any) -> list[tuple[str, Any, Any]]:
    """The declared bounds as (symbol, limit, test); a NaN holds none of them."""
    found: list[tuple[str, Any, Any]] = []
    for item in getattr(hint, "__metadata__", ()):
        for bound in item if isinstance(item, Interval) else (item,):
            match bound:
                case Gt(gt=limit):
                    found.append((">", limit, lambda x, limit=limit: x > limit))
                case Ge(ge=limit):
                    found.append((">=", limit, lambda x, limit=limit: x >= limit))
                case Lt(lt=limit):
                    found.append(("<", limit, lambda x, limit=limit: x < limit))
                case Le(le=limit):
                    found.append(("<=", limit, lambda x, limit=limit: x <= limit))
    return found


def make_env(options: Options) -> tuple[Any, Any]:
    """The world of a run and its parameters; its actions are discrete.

    Raises:
        UsageError: there is no such world, or it cannot be learned here.
    """
    try:
        env, env_params = envs.make(options.env, options.protocol)
        envs.num_discrete_actions(env, env_params)
    except ValueError as error:
        raise UsageError(f"--env {options.env}: {error}") from error
    return env, env_params


def build(experiment: Experiment, env: Any, env_params: Any, options: Options) -> tuple[Agent, Trainer]:
    """The experiment's agent and trainer, found able to run.

    Raises:
        UsageError: sizes that do not fit each other or the world.
    """
    try:
        agent, trainer = experiment.build(env, env_params, options.config)
    except ValueError as error:
        field, _, rest = str(error).partition(" ")
        known = hasattr(options.config, field)
        raise UsageError(f"{flag('config.' + field)} {rest}" if known else f"--config: {error}") from error
    least = trainer.warmup_steps + trainer.steps_per_iteration
    if options.total_steps < least:
        raise UsageError(
            f"--total-steps must be at least {least} (warm-up and one iteration), got {options.total_steps}"
        )
    return agent, trainer


def make_directory(directory: Path) -> None:
    """Makes the run's directory.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {directory} cannot be made: {error.strerror}") from error


def check_directory(directory: Path, experiment: Experiment, options: Options) -> None:
    """Checks that the run's directory can be started in, or resumed from.

    Raises:
        UsageError: it holds a run already, or none to resume, or one with other options.
    """
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--out {directory} is not a directory")
    holds_a_run = run_directory.holds_a_run(directory)
    if not options.resume:
        if holds_a_run:
            raise UsageError(f"--out {directory} already holds a run; add --resume to continue it, or name another")
        return
    if options.out is None:
        raise UsageError("--resume needs --out DIR, the run to continue")
    if not holds_a_run:
        raise UsageError(f"--resume: --out {directory} holds no run")
    if not run_directory.has_checkpoint(directory):
        raise UsageError(f"--resume: {directory} holds no checkpoint; delete it and start anew")
    config = run_directory.read_config(directory)
    if config["experiment"] != experiment.name:
        raise UsageError(f"--resume: {directory} holds a run of {config['experiment']}, not of {experiment.name}")
    before, now = config["options"], flatten(options)
    for path in sorted(before.keys() | now.keys()):
        if path not in NOT_PART_OF_THE_RUN and before.get(path) != now.get(path):
            raise UsageError(f"--resume: {flag(path)} is {now.get(path)}, but {before.get(path)} in {directory}")
