"""The directory of a run: its files, who may write there, and the record of how the run was made."""

import contextlib
import itertools
import json
import math
import os
import platform
import shlex
import shutil
import sys
import traceback
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import jax
from filelock import FileLock, Timeout
from rich.console import Console

from jaxrl.arguments import ArgumentError, errors_in, renaming
from jaxrl.envs import HostError
from jaxrl.formatting import format_bytes
from jaxrl.runs import provenance
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import MAY_CHANGE, Options, flatten, read_options
from jaxrl.training.checkpoint import CheckpointError, Checkpoints
from jaxrl.training.devices import bytes_of
from jaxrl.training.loggers import METRICS
from jaxrl.training.population import RunState
from jaxrl.types import Trainer

CONFIG, SUMMARY = "config.json", "summary.json"
SWEEP = "sweep.json"
CURVE, VIDEO, CHECKPOINTS, BEST = "learning_curve.png", "policy.gif", "checkpoints", "best"
LOGS = ("tensorboard", "wandb")
"""The folders of loggers."""
TRACEBACK = "traceback.txt"
"""Where an environment on the host failed."""
LOCK = ".lock"
"""Exists while a process writes into the directory, and names that process."""


def default_directory(name: str) -> Path:
    """`runs/NAME/DATE-TIME`, which does not exist yet."""
    folder, time = Path("runs") / name.replace(":", "."), datetime.now().strftime("%Y%m%d-%H%M%S")
    names = (time if i == 1 else f"{time}-{i}" for i in itertools.count(1))
    return next(folder / name for name in names if not (folder / name).exists())


def make_directory(directory: Path, option: str) -> None:
    """Makes the directory that an option names."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArgumentError(option, f"must be a directory that can be made ({error.strerror})", directory) from error


def make_out(out: Path | None, name: str) -> Path:
    """Makes the directory of a run or a sweep: `out`, or by default a new one."""
    if out is not None:
        make_directory(out, "out")
        return out
    while True:
        directory = default_directory(name)
        with contextlib.suppress(FileExistsError):  # another process was faster
            directory.mkdir(parents=True)
            return directory


@contextlib.contextmanager
def lock(directory: Path, option: str) -> Iterator[None]:
    """Keeps other processes from writing into the directory that an option names."""
    path = directory / LOCK
    file_lock = FileLock(path)
    try:
        file_lock.acquire(timeout=0.5)
    except Timeout as error:
        owner = "another process"
        with contextlib.suppress(OSError):
            owner = path.read_text().strip()
        raise ArgumentError(option, f"must be a directory that no other process uses ({owner})", directory) from error
    words = " ".join(shlex.join(sys.orig_argv).split())
    with contextlib.suppress(OSError):  # the disk may be full
        path.write_text(f"process {os.getpid()} on {platform.node()} since {provenance.now()}: {words[:200]}")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            path.unlink()
        file_lock.release()


@contextlib.contextmanager
def new_directory(out: Path | None, name: str) -> Iterator[Path]:
    """Makes and locks the directory of a command that has no checkpoints: `out`, or by default a new one.

    Raises:
        ArgumentError: it cannot be made, another process uses it, or it holds a run, a sweep or another summary.
    """
    directory = make_out(out, name)
    with lock(directory, "out"):
        if holds_a_run(directory) or any((directory / file).exists() for file in (SUMMARY, SWEEP)):
            raise ArgumentError("out", "must be a directory without a run", directory)
        yield directory


def holds_a_run(directory: Path) -> bool:
    """Whether the directory holds anything of a run."""
    return any((directory / name).exists() for name in (CONFIG, METRICS, CHECKPOINTS))


def clear(directory: Path) -> None:
    """Removes what is left of a run that wrote no checkpoint."""
    for name in (METRICS, CURVE, VIDEO):
        (directory / name).unlink(missing_ok=True)
    for name in (CHECKPOINTS, BEST, *LOGS):
        shutil.rmtree(directory / name, ignore_errors=True)


def check_record(record: Path | None, out: Path | None) -> None:
    """Checks that the record is not written over the run."""
    if record is not None and out is not None and record.resolve() == out.resolve():
        raise ArgumentError("record", "must be another directory than that of the run", record)


def check_out(experiment: Experiment, options: Options) -> bool:
    """Checks that a run can start in its directory, or continue there.

    Returns:
        Whether it continues from a checkpoint. With `resume` it starts anew if there is none, so the same command
        serves for the first time and for all later ones.
    """
    directory, resume = options.execution.out, options.execution.resume
    if directory is None:
        if resume:
            raise ArgumentError("out", "must name the directory of the run to resume", got="")
        return False
    if directory.exists() and not directory.is_dir():
        raise ArgumentError("out", "must be a directory", directory)
    if (directory / SWEEP).exists():
        raise ArgumentError("out", "must be the directory of a run, and not of a sweep", directory)
    if not holds_a_run(directory):
        return False
    if not resume:
        raise ArgumentError("out", "must be a directory without a run, except to resume it", directory)
    with renaming(directory="out"):
        config = read_config(directory)
    if config["experiment"] != experiment.name:
        got = f"one of {config['experiment']} in {directory}"
        raise ArgumentError("out", f"must hold a run of {experiment.name}", directory, got=got)
    if not checkpoints(directory).steps():
        if (directory / SUMMARY).exists():
            raise ArgumentError("out", "must be another directory: the run there has lost its checkpoints", directory)
        return False
    with errors_in(directory / CONFIG):
        before = flatten(read_options(config["options"], experiment.defaults))  # it may be older than an option
    now = flatten(options)
    for path in sorted(before.keys() - set(MAY_CHANGE)):
        if before[path] != now[path]:
            raise ArgumentError(path, f"must stay {before[path]} to resume {directory}", now[path])
    return True


def checkpoints(directory: Path) -> Checkpoints:
    """The checkpoints of the run in a directory, to read."""
    return Checkpoints(directory / CHECKPOINTS, read_only=True)


def check_disk(directory: Path, shapes: RunState) -> None:
    """Checks that the disk has room for the two checkpoints that a run keeps."""
    whole = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), shapes)
    needed = bytes_of(whole) * max(1, 2 - len(checkpoints(directory).steps()))
    free = free_disk(directory)
    if needed > free:
        rule = f"must be on a disk with {format_bytes(needed)} for checkpoints"
        raise ArgumentError("out", rule, directory, got=f"{directory} with {format_bytes(free)}")


def free_disk(directory: Path) -> float:
    """Free bytes on the disk of a directory, which may not exist yet."""
    existing = next((path for path in (directory, *directory.absolute().parents) if path.is_dir()), None)
    return shutil.disk_usage(existing).free if existing else math.inf


@contextlib.contextmanager
def noting_progress(directory: Path, trainer: Trainer) -> Iterator[None]:
    """Adds to an error where the run in a directory can be resumed.

    If an environment on the host failed, writes the traceback there too.
    """
    try:
        yield
    except (CheckpointError, HostError, MemoryError, OSError, KeyboardInterrupt) as error:
        if isinstance(error, HostError):
            with contextlib.suppress(OSError):
                (directory / TRACEBACK).write_text("".join(traceback.format_exception(error)))
                error.add_note(f"its traceback is in {directory / TRACEBACK}")
        if steps := checkpoints(directory).steps():
            done = trainer.steps_at(steps[-1])
            error.add_note(f"the run is saved at {done:,} {trainer.unit.words}, from where --resume continues it")
        else:
            error.add_note("nothing was saved yet")
        raise


def write_json(path: Path, contents: dict[str, Any]) -> None:
    """Writes a JSON file in one replacement, so that it is never incomplete."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(contents, indent=2, ensure_ascii=False) + "\n")
    os.replace(draft, path)


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds something else.
    """
    contents = json.loads(path.read_text())
    if not isinstance(contents, dict):
        raise ValueError("it holds no fields")
    return contents


def write_config(directory: Path, experiment: Experiment, options: Options, rules: str) -> None:
    """Writes `config.json`: all that is needed to repeat the run, and how it was made."""
    config = {
        "experiment": experiment.name,
        "algorithm": experiment.algorithm,
        "rules": rules,
        "options": flatten(options),
        **provenance.describe(experiment.module),
    }
    write_json(directory / CONFIG, config)


def add_resumption(directory: Path, experiment: Experiment, options: Options) -> None:
    """Adds to `config.json` that the run continues here, and its new `total_steps`."""
    config = read_config(directory)
    config["options"]["total_steps"] = options.budget.total_steps
    config.setdefault("resumed", []).append(provenance.describe(experiment.module))
    write_json(directory / CONFIG, config)


def read_config(directory: Path) -> dict[str, Any]:
    """The record in `config.json`."""
    try:
        config = read_json(directory / CONFIG)
        if not isinstance(config["options"], dict) or not config["experiment"]:
            raise ValueError("it records no run")
    except OSError as error:
        rule = f"must be the directory of a run or a sweep ({CONFIG}: {error.strerror})"
        raise ArgumentError("directory", rule, directory) from error
    except (ValueError, KeyError) as error:
        rule = f"must hold a run, with its record in {CONFIG} ({error})"
        raise ArgumentError("directory", rule, directory) from error
    return config


def resume_command(module: str, directory: Path) -> str:
    """The command line that continues in `directory` what this one started."""
    words = [word for word in shlex.split(provenance.command(module)) if word != "--resume"]
    out = [] if any(word.split("=")[0] == "--out" for word in words) else ["--out", str(directory)]
    return shlex.join([*words, *out, "--resume"])


def show_resumption(console: Console, module: str, directory: Path) -> None:
    """Prints the command that continues what a signal stopped."""
    console.print("continue with")
    console.print(f"  {resume_command(module, directory)}", soft_wrap=True)
