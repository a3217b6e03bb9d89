"""The run directory: what is in it, and the record of how the run was made."""

import json
import math
import os
import platform
import shlex
import shutil
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

from jaxrl.arguments import ArgumentError
from jaxrl.runs import provenance
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options, flatten
from jaxrl.training.loggers import METRICS

CONFIG, SUMMARY = "config.json", "summary.json"
SWEEP = "sweep.json"
CURVE, VIDEO, CHECKPOINTS = "learning_curve.png", "policy.gif", "checkpoints"
LOCK = ".lock"
"""There while a process writes into the directory; it says which."""


def default_directory(name: str) -> Path:
    """`runs/NAME/DATE-TIME`, a folder that does not exist yet."""
    first = Path("runs") / name / datetime.now().strftime("%Y%m%d-%H%M%S")
    directory, attempt = first, 1
    while directory.exists():
        attempt += 1
        directory = first.with_name(f"{first.name}-{attempt}")
    return directory


def make_default_directory(name: str) -> Path:
    """Makes it, and no other process does."""
    while True:
        directory = default_directory(name)
        try:
            directory.mkdir(parents=True)
        except FileExistsError:  # another process was quicker
            continue
        return directory


def holds_a_run(directory: Path) -> bool:
    """Whether anything of a run is there."""
    return any((directory / name).exists() for name in (CONFIG, METRICS, CHECKPOINTS))


def clear(directory: Path) -> None:
    """Removes what a run left that got to no checkpoint."""
    for name in (METRICS, CURVE, VIDEO):
        (directory / name).unlink(missing_ok=True)
    for name in (CHECKPOINTS, "tensorboard", "wandb"):
        shutil.rmtree(directory / name, ignore_errors=True)


def this_process() -> str:
    """Which process this is, in one line."""
    words = " ".join(shlex.join(sys.orig_argv).split())
    return f"process {os.getpid()} on {platform.node()} since {provenance.now()}: {words[:200]}"


def free_disk(directory: Path) -> float:
    """Free bytes where a directory is, or will be."""
    there = next((path for path in (directory, *directory.absolute().parents) if path.is_dir()), None)
    return shutil.disk_usage(there).free if there else math.inf


def write_json(path: Path, contents: dict[str, Any]) -> None:
    """Writes a JSON file in one replacement, so that it is never half there."""
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(contents, indent=2, ensure_ascii=False) + "\n")
    os.replace(draft, path)


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` wrote.

    Raises:
        OSError: it is not there.
        ValueError: it is something else.
    """
    contents = json.loads(path.read_text())
    if not isinstance(contents, dict):
        raise ValueError("it holds no fields")
    return contents


def write_config(directory: Path, experiment: Experiment, options: Options, rules: str) -> None:
    """Writes `config.json`: all that is needed to repeat the run, and where it was made."""
    write_json(
        directory / CONFIG,
        {
            "experiment": experiment.name,
            "algorithm": experiment.algorithm,
            "rules": rules,
            "options": flatten(options),
            "command": command(experiment.name),
            "started": provenance.now(),
            "started_in": os.getcwd(),
            "commit": provenance.commit(),
            **provenance.describe(),
        },
    )


def note_resumption(directory: Path, experiment: Experiment, options: Options) -> None:
    """Notes in `config.json` that the run goes on: from here, and to what total."""
    config = read_config(directory)
    config["options"]["total_steps"] = options.budget.total_steps
    entry = {
        "command": command(experiment.name),
        "started": provenance.now(),
        "commit": provenance.commit(),
        **provenance.describe(),
    }
    config.setdefault("resumed", []).append(entry)
    write_json(directory / CONFIG, config)


def read_config(directory: Path) -> dict[str, Any]:
    """The record in `config.json`.

    Raises:
        ArgumentError: it is missing, or not what `write_config` wrote.
    """
    path = directory / CONFIG
    try:
        config = read_json(path)
    except FileNotFoundError as error:
        raise ArgumentError("directory", f"must hold a run, which has a {CONFIG}", directory) from error
    except ValueError as error:
        raise ArgumentError("directory", f"must hold a run: its {CONFIG} is not JSON ({error})", directory) from error
    if "experiment" not in config or not isinstance(config.get("options"), dict):
        raise ArgumentError("directory", f"must hold a run: its {CONFIG} is not the record of one", directory)
    return config


def command(experiment: str) -> str:
    """The command line of this process; of the experiment's own module where no such module was started."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name if spec and spec.name.startswith("jaxrl.experiments.") else f"jaxrl.experiments.{experiment}"
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def resume_command(experiment: str, directory: Path) -> str:
    """The command line that continues what this one began in `directory`."""
    parts = [part for part in shlex.split(command(experiment)) if part != "--resume"]
    place = [] if any(part.split("=")[0] == "--out" for part in parts) else ["--out", str(directory)]
    return shlex.join([*parts, *place, "--resume"])
