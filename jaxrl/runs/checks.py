"""Bad input, found before anything compiles and before anything is written."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout

from jaxrl import envs
from jaxrl.arguments import ArgumentError, errors_in
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


def make_env(env_id: str, rules: str | None, env_options: EnvOptions) -> tuple[Any, Any]:
    """The environment of `Task(env_id, rules, env_options)`, and its parameters.

    Raises:
        ArgumentError: there is no such environment, or no agent can learn in it.
    """
    try:
        env, env_params = envs.make(env_id, rules, **make_options(with_texts(env_id, env_options)))
        envs.action_space_of(env, env_params)
    except ArgumentError as error:
        if error.name == "env_id":
            error.name = "env"
        elif error.name not in ("env", "rules") and not error.name.startswith("env_options"):
            error.name = f"env_options.{error.name}"
        raise
    if not isinstance(env, envs.Environment):
        try:
            adapt(env, env_params)
        except ArgumentError as error:
            raise ArgumentError("env", f"{env_id} cannot be used: {error}", env_id, got="") from error
    return env, env_params


def with_texts(env_id: str, env_options: EnvOptions) -> EnvOptions:
    """The options with a map's text in place of its file's name, because the file may change later.

    Raises:
        ArgumentError: the map cannot be read.
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
        error.name = f"env_options.{error.name}"
        raise


@contextlib.contextmanager
def naming_options(experiment: Experiment, options: Options) -> Iterator[None]:
    """Renames an `ArgumentError` of the library to the path of the option that was passed on.

    An argument that is no option is the experiment's.
    """
    try:
        yield
    except ArgumentError as error:
        if error.name == "agents":
            error.name = "num_seeds"
        elif hasattr(options.config, error.name):
            error.name = f"config.{error.name}"
        elif error.name != "env":
            error.source = error.source or f"the experiment {experiment.name}"
        raise


def construct(experiment: Experiment, env: Any, env_params: Any, options: Options) -> tuple[Agent, Trainer]:
    """The experiment's agent and trainer.

    Raises:
        ArgumentError: an option that they cannot use, or too few or too many steps for them.
    """
    with naming_options(experiment, options):
        agent, trainer = experiment.build(env, env_params, options.config)
    check_total_steps(trainer, options.budget.total_steps)
    return agent, trainer


def build(experiment: Experiment, env: Any, env_params: Any, options: Options) -> tuple[Agent, Trainer]:
    """The experiment's agent and trainer, traced for errors.

    Raises:
        ArgumentError: sizes that do not fit each other or the environment.
    """
    agent, trainer = construct(experiment, env, env_params, options)
    return agent, trace_trainer(experiment, trainer, options)


def trace_trainer(experiment: Experiment, trainer: Trainer, options: Options) -> Trainer:
    """The trainer, traced for its errors; `run` does not trace it again.

    Raises:
        ArgumentError: sizes that do not fit each other or the environment.
        MemoryError: so many seeds that their states do not fit into the memory, nor perhaps their keys.
    """
    trainer = trainer._replace(init=jax.jit(trainer.init), step=jax.jit(trainer.step))
    with naming_options(experiment, options):
        state = jax.eval_shape(trainer.init, jax.random.key(0), options.hparams)
        jax.eval_shape(trainer.step, state)
    if options.budget.num_seeds > 1:
        check_fits("the run's state takes", bytes_of(state) * options.budget.num_seeds, "fewer seeds would need less")
    return trainer


def check_platform() -> None:
    """Lets jax look at its devices.

    Raises:
        ArgumentError: there is none of the kind that JAX_PLATFORMS names.
    """
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:  # the former where it was built without that kind
        named = os.environ.get("JAX_PLATFORMS")
        if not named:
            raise
        raise ArgumentError("JAX_PLATFORMS", "must name a kind of device that jax finds here", named) from error


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
        ArgumentError: a setting has none.
    """
    idle = list(map(idle_in(experiment, env, env_params), runs))
    default, value = flatten(experiment.defaults), flatten(given)
    for path, reason in idle[0].items():
        if value[path] != default[path] and all(path in others for others in idle):
            raise ArgumentError(path, f"has no effect with {reason}", value[path])


def untrained_steps(options: Options) -> int:
    """Environment steps of a run in which its learning rate is 0, as it has decayed before."""
    decay = getattr(options.hparams, "learning_rate_decay_steps", 0)
    return max(0, int(options.budget.total_steps - decay)) if decay else 0


def devices(number: int | None) -> list[jax.Device]:
    """The first so many devices of each process, or all of them.

    Raises:
        ArgumentError: there are fewer.
    """
    there = jax.local_device_count()
    number = there if number is None else number
    if number > there:
        kind = jax.default_backend()
        raise ArgumentError("num_devices", f"must be at most {there}, the number of {kind} devices", number)
    return [device for i in range(jax.process_count()) for device in jax.devices()[i * there :][:number]]


def make_directory(directory: Path, option: str) -> None:
    """Makes the directory that an option names.

    Raises:
        ArgumentError: it cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(option, f"must be a directory that can be made ({error.strerror})", directory) from error


def make_out(out: Path | None, name: str) -> Path:
    """Makes the directory of a run or a sweep: the one that --out names, or a new one.

    Raises:
        ArgumentError: it cannot be made.
    """
    if out is not None:
        make_directory(out, "out")
        return out
    try:
        return run_directory.make_default_directory(name)
    except OSError as error:
        raise ArgumentError(
            "out", f"must be a directory that can be made ({error.strerror})", error.filename
        ) from error


def check_record(record: Path | None, out: Path | None) -> None:
    """Checks that what is kept does not replace what it is made of.

    Raises:
        ArgumentError: both directories are the same.
    """
    if record is not None and out is not None and record.resolve() == out.resolve():
        raise ArgumentError("record", "must be another directory than out", record)


@contextlib.contextmanager
def hold(directory: Path, option: str) -> Iterator[None]:
    """Keeps other processes from writing into a directory, until the context ends or this process does.

    Raises:
        ArgumentError: another one is writing there.
    """
    path = directory / run_directory.LOCK
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.5)
    except Timeout as error:
        owner = "another process"
        with contextlib.suppress(OSError):
            owner = path.read_text().strip()
        raise ArgumentError(option, f"must be a directory that no other process uses ({owner})", directory) from error
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
        ArgumentError: it has not, even if they replace those that are there.
    """
    whole = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), shapes)
    there = len(Checkpoints(directory / run_directory.CHECKPOINTS, read_only=True).steps())
    needed, free = bytes_of(whole) * max(1, 2 - there), run_directory.free_disk(directory)
    if needed > free:
        got = f"{directory} with {format_bytes(free)}"
        raise ArgumentError("out", f"must be on a disk with {format_bytes(needed)} for checkpoints", directory, got=got)


def check_directory(directory: Path | None, experiment: Experiment, options: Options) -> bool:
    """Checks that a run can begin in a directory, or go on there.

    Args:
        directory: None for a new one.
        experiment, options: what to run.

    Returns:
        Whether it goes on, from a checkpoint. With --resume it begins anew where there is none yet, so that the same
        command serves for the first time and for all others.

    Raises:
        ArgumentError: it holds a run already, or something else, or a run with other options.
    """
    if directory is None:
        if options.execution.resume:
            raise ArgumentError("resume", "needs out, the directory of the run to continue", True, got="")
        return False
    if directory.exists() and not directory.is_dir():
        raise ArgumentError("out", "must be a directory", directory)
    if (directory / run_directory.SWEEP).exists():
        raise ArgumentError("out", "must be the directory of a run, and not of a sweep", directory)
    if not run_directory.holds_a_run(directory):
        return False
    if not options.execution.resume:
        raise ArgumentError("out", "must not hold a run already; resume continues it", directory)
    try:
        config = run_directory.read_config(directory)
    except ArgumentError as error:
        error.name = "out"
        raise
    if config["experiment"] != experiment.name:
        got = f"one of {config['experiment']} in {directory}"
        raise ArgumentError("out", f"must hold a run of {experiment.name}", directory, got=got)
    if not Checkpoints(directory / run_directory.CHECKPOINTS, read_only=True).steps():
        if (directory / run_directory.SUMMARY).exists():
            raise ArgumentError("out", "must be another directory: the run there has lost its checkpoints", directory)
        return False
    with errors_in(directory / run_directory.CONFIG):
        before = flatten(read_options(config["options"], experiment.defaults))  # it may be older than an option
    now = flatten(options)
    for path in sorted(before):
        if path not in MAY_CHANGE and before[path] != now[path]:
            raise ArgumentError(path, f"must stay {before[path]} to resume {directory}", now[path])
    return True
