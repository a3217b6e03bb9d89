"""Bad input, found before anything compiles and before anything is written."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout

from jaxrl import envs
from jaxrl.arguments import ArgumentError, UsageError, check
from jaxrl.envs.foreign import adapt
from jaxrl.envs.maps import map_text
from jaxrl.formatting import format_bytes
from jaxrl.memory import check_fits
from jaxrl.runs import run_directory
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import MAY_CHANGE, EnvOptions, Options, flatten, make_options, read_options
from jaxrl.training.checkpoint import CheckpointError, Checkpoints
from jaxrl.training.devices import bytes_of
from jaxrl.training.host_loop import check_total_steps
from jaxrl.training.population import RunState
from jaxrl.types import Agent, Trainer


def flag(path: str) -> str:
    """The command-line flag of a field, such as `hparams.learning_rate`."""
    return "--" + path.replace("_", "-")


def check_options(options: Any) -> None:
    """Checks every option against the bounds it declares.

    Raises:
        UsageError: a value is out of bounds.
    """
    try:
        check(options)
    except ArgumentError as error:
        raise UsageError(as_flag(error)) from error


def as_flag(error: ValueError | str, prefix: str = "") -> str:
    """The error, or another line, with its argument's name written as a flag."""
    name, _, rest = str(error).partition(" ")
    return f"{flag(prefix + name)} {rest}"


def make_env(env_id: str, rules: str | None, env_options: EnvOptions) -> tuple[Any, Any]:
    """An environment and its parameters, by what `--env`, `--rules` and `--env-options` say.

    Raises:
        UsageError: there is no such environment, or it cannot be learned here.
    """
    try:
        env, env_params = envs.make(env_id, rules, **make_options(with_texts(env_id, env_options)))
        envs.action_space_of(env, env_params)
    except ArgumentError as error:
        if str(error).partition(" ")[0] in ("env", "env_id", "env_options", "rules"):
            raise UsageError(as_flag(error).replace("--env-id ", "--env ", 1)) from error
        raise UsageError(f"--env-options: {error}") from error
    if not isinstance(env, envs.Environment):
        try:
            adapt(env, env_params)
        except ArgumentError as error:
            raise UsageError(f"--env {env_id}: {error}") from error
    return env, env_params


def with_texts(env_id: str, env_options: EnvOptions) -> EnvOptions:
    """The same options with the text of a map in place of a file's name: later it may say something else, or be gone.

    Raises:
        UsageError: there is no such map.
    """
    if env_id != "GridWorld":
        return env_options
    try:
        pairs = [option.partition("=") for option in env_options]
        return tuple(
            f"map={map_text(value)}" if (name, equals) == ("map", "=") else name + equals + value
            for name, equals, value in pairs
        )
    except ArgumentError as error:
        raise UsageError(f"--env-options: {error}") from error


@contextlib.contextmanager
def errors_as_flags(options: Options) -> Iterator[None]:
    """Turns an `ArgumentError` into a `UsageError` that names the flag."""
    try:
        yield
    except ArgumentError as error:
        if str(error).startswith("agents "):
            raise UsageError(as_flag(error).replace("--agents", "--num-seeds", 1)) from error
        if hasattr(options.config, str(error).split(" ")[0]):
            raise UsageError(as_flag(error, "config.")) from error
        if str(error).startswith("env "):
            raise UsageError(as_flag(error)) from error
        raise UsageError(f"--env {options.task.env}: {error}") from error


def construct(experiment: Experiment, env: Any, env_params: Any, options: Options) -> tuple[Agent, Trainer]:
    """The experiment's agent and trainer.

    Raises:
        UsageError: what they refuse when they are made, or too few steps for them, or too many.
    """
    with errors_as_flags(options):
        agent, trainer = experiment.build(env, env_params, options.config)
    try:
        check_total_steps(trainer, options.budget.total_steps)
    except ArgumentError as error:
        raise UsageError(as_flag(error)) from error
    return agent, trainer


def build(experiment: Experiment, env: Any, env_params: Any, options: Options) -> tuple[Agent, Trainer]:
    """The experiment's agent and trainer, found able to run.

    Raises:
        UsageError: sizes that do not fit each other or the environment.
    """
    agent, trainer = construct(experiment, env, env_params, options)
    return agent, trace_trainer(trainer, options)


def trace_trainer(trainer: Trainer, options: Options) -> Trainer:
    """The trainer, traced for its errors; `run` does not trace it again.

    Raises:
        UsageError: sizes that do not fit each other or the environment.
        MemoryError: so many seeds that their states do not fit into the memory, nor perhaps their keys.
    """
    trainer = trainer._replace(init=jax.jit(trainer.init), step=jax.jit(trainer.step))
    with errors_as_flags(options):
        state = jax.eval_shape(trainer.init, jax.random.key(0), options.hparams)
        jax.eval_shape(trainer.step, state)
    if options.budget.num_seeds > 1:
        check_fits("the run's state takes", bytes_of(state) * options.budget.num_seeds, "fewer seeds would need less")
    return trainer


def check_platform() -> None:
    """Lets jax look at its devices.

    Raises:
        UsageError: there is none of the kind that JAX_PLATFORMS names.
    """
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:  # the former where it was built without that kind
        named = os.environ.get("JAX_PLATFORMS")
        if not named:
            raise
        raise UsageError(f"JAX_PLATFORMS must name a kind of device that jax finds here, got {named}") from error


def idle_in(experiment: Experiment, env: Any, env_params: Any) -> Callable[[Options], dict[str, str]]:
    """Returns `options -> {path: reason}`: the settings without effect in this environment (`Experiment.idle`)."""
    idle = experiment.idle
    if idle is None:
        return lambda options: {}
    observation, _ = jax.eval_shape(env.reset, jax.random.key(0), env_params)
    return lambda options: idle(options, observation)


def check_idle(experiment: Experiment, env: Any, env_params: Any, given: Options, runs: Sequence[Options]) -> None:
    """Checks that what was changed in the experiment's defaults has an effect.

    Args:
        experiment, env, env_params: which experiment, and in which environment.
        given: the options that somebody gave.
        runs: those of the runs they lead to; a setting needs to have an effect on one of them.

    Raises:
        UsageError: a setting has none.
    """
    idle = list(map(idle_in(experiment, env, env_params), runs))
    default, value = flatten(experiment.defaults), flatten(given)
    for path, reason in idle[0].items():
        if value[path] != default[path] and all(path in others for others in idle):
            raise UsageError(f"{flag(path)} has no effect with {as_flag(reason)}, got {value[path]}")


def untrained_steps(options: Options) -> int:
    """Environment steps of a run in which its learning rate is 0, as it has decayed before."""
    decay = getattr(options.hparams, "learning_rate_decay_steps", 0)
    return max(0, int(options.budget.total_steps - decay)) if decay else 0


def devices(number: int | None) -> list[jax.Device]:
    """The first so many devices of each process, or all of them.

    Raises:
        UsageError: there are fewer.
    """
    there = jax.local_device_count()
    number = there if number is None else number
    if number > there:
        kind = jax.default_backend()
        raise UsageError(f"--num-devices must be at most {there}, the {kind} devices that there are, got {number}")
    return [device for i in range(jax.process_count()) for device in jax.devices()[i * there :][:number]]


def make_directory(directory: Path, flag: str) -> None:
    """Makes a directory to write to.

    Raises:
        UsageError: it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{flag} {directory} cannot be made: {error.strerror}") from error


def make_out(out: Path | None, name: str) -> Path:
    """Makes the directory of a run or a sweep: the one that --out names, or a new one.

    Raises:
        UsageError: it cannot be made.
    """
    if out is not None:
        make_directory(out, "--out")
        return out
    try:
        return run_directory.make_default_directory(name)
    except OSError as error:
        raise UsageError(f"--out {error.filename} cannot be made: {error.strerror}") from error


def check_record(record: Path | None, out: Path | None) -> None:
    """Checks that what is kept does not replace what it is made of.

    Raises:
        UsageError: both directories are the same.
    """
    if record is not None and out is not None and record.resolve() == out.resolve():
        raise UsageError(f"--record must be another directory than --out, got {record}")


@contextlib.contextmanager
def hold(directory: Path, flag: str) -> Iterator[None]:
    """Keeps other processes from writing into a directory, until the context ends or this process does.

    Raises:
        UsageError: another one is writing there.
    """
    path = directory / run_directory.LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.5)
    except Timeout as error:
        with contextlib.suppress(OSError):
            raise UsageError(f"{flag} {directory} is in use by {path.read_text().strip()}") from error
        raise UsageError(f"{flag} {directory} is in use by another process") from error
    with contextlib.suppress(OSError):  # a full disk has room for a lock all the same
        path.write_text(run_directory.this_process())
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            path.unlink()
        lock.release()


@contextlib.contextmanager
def saying_what_is_saved(checkpoints: Path, trainer: Trainer) -> Iterator[None]:
    """Adds to an error how much of a run one can go on from."""
    try:
        yield
    except (CheckpointError, MemoryError, OSError, KeyboardInterrupt, SystemExit) as error:
        steps = Checkpoints(checkpoints, read_only=True).steps()
        if steps:
            env_steps = trainer.warmup_steps + steps[-1] * trainer.steps_per_iteration
            error.add_note(f"the run is saved at {env_steps:,} environment steps, from where --resume continues it")
        else:
            error.add_note("nothing was saved yet")
        raise


def check_disk(directory: Path, shapes: RunState) -> None:
    """Checks that the disk has room for the two checkpoints that a run keeps.

    Raises:
        UsageError: it has not, even if they replace those that are there.
    """
    whole = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), shapes)
    there = len(Checkpoints(directory / run_directory.CHECKPOINTS, read_only=True).steps())
    needed, free = bytes_of(whole) * max(1, 2 - there), run_directory.free_disk(directory)
    if needed > free:
        raise UsageError(
            f"--out must be on a disk with {format_bytes(needed)} for checkpoints, got {directory} with "
            f"{format_bytes(free)}"
        )


def check_directory(directory: Path | None, experiment: Experiment, options: Options) -> bool:
    """Checks that a run can begin in a directory, or go on there.

    Args:
        directory: None for a new one.
        experiment, options: what to run.

    Returns:
        Whether it goes on, from a checkpoint. With --resume it begins anew where there is none yet, so that the same
        command serves for the first time and for all others.

    Raises:
        UsageError: it holds a run already, or something else, or a run with other options.
    """
    if directory is None:
        if options.execution.resume:
            raise UsageError("--resume needs --out DIR, the run to continue")
        return False
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--out {directory} is not a directory")
    if (directory / run_directory.SWEEP).exists():
        raise UsageError(f"--out must name a directory for one run, got {directory}, which holds a sweep")
    if not run_directory.holds_a_run(directory):
        return False
    if not options.execution.resume:
        raise UsageError(f"--out {directory} already holds a run; add --resume to continue it, or name another")
    try:
        config = run_directory.read_config(directory)
    except ValueError as error:
        raise UsageError(f"--resume: {error}") from error
    if config["experiment"] != experiment.name:
        raise UsageError(f"--resume: {directory} holds a run of {config['experiment']}, not of {experiment.name}")
    if not Checkpoints(directory / run_directory.CHECKPOINTS, read_only=True).steps():
        if (directory / run_directory.SUMMARY).exists():
            raise UsageError(f"--resume: {directory} holds a finished run whose checkpoints are gone; name another")
        return False
    try:
        before = flatten(read_options(config["options"], experiment.defaults))  # it may be older than an option
    except ArgumentError as error:
        raise UsageError(f"--resume: in {directory / run_directory.CONFIG}, {error}") from error
    now = flatten(options)
    for path in sorted(before):
        if path not in MAY_CHANGE and before[path] != now[path]:
            raise UsageError(f"--resume: {flag(path)} is {now[path]}, but {before[path]} in {directory}")
    return True
