"""Running the commands as a user does: as processes of their own."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxrl.training.loggers import CLOCK_COLUMNS

TINY = [
    *("--config.num-envs", "16", "--config.batch-size", "16", "--config.hidden-sizes", "16"),
    *("--config.replay-capacity", "2000", "--config.warmup-steps", "100"),
    *("--log-every", "5000", "--eval-episodes", "8", "--eval-max-steps", "50"),
]
"""Options that make a run small."""


def start(module: str, *arguments: str, prefix: Sequence[str] = (), **popen) -> subprocess.Popen:
    command = [*prefix, sys.executable, "-m", f"jaxrl.experiments.{module}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)


def finish(process: subprocess.Popen, timeout: float = 500) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process that ends by itself."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def command(module: str, *arguments: str, **popen) -> tuple[int, str, str]:
    return finish(start(module, *arguments, **popen))


class Moment(NamedTuple):
    """When a process sends itself a signal: see `signalled`."""

    nth: int
    pattern: str


SAVING, ROW = r"os\.rename .*checkpoints/", r"open .*metrics\.csv', 'a'"
"""An unfinished checkpoint gets one name more, of three; and a row is about to be written."""


def start_signalled(number: signal.Signals, moment: Moment, module: str, *arguments: str) -> subprocess.Popen:
    """A command that sends itself a signal."""
    command = [sys.executable, "-m", "tests.integration.signalled", str(int(number)), *map(str, moment), module]
    root = Path(__file__).parents[2]
    return subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root)


def kill(moment: Moment, module: str, *arguments: str) -> None:
    """Runs a command that is killed at a certain moment."""
    await_death(start_signalled(signal.SIGKILL, moment, module, *arguments))


def await_death(process: subprocess.Popen) -> None:
    """Waits until a process has killed itself."""
    code, _, err = finish(process)
    assert code == -signal.SIGKILL, f"its moment never came: {code} {err}"


def steps_on_disk(run: Path) -> list[int]:
    folder = run / "checkpoints"
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.exists() else []


def unfinished_writes(run: Path) -> list[Path]:
    return [path for path in (run / "checkpoints").glob("*") if not path.name.isdigit()]


def final_state(run: Path) -> str:
    """The checksum over parameters, optimizer, replay, environments and metrics of the newest checkpoint."""
    step = steps_on_disk(run)[-1]
    return json.loads((run / "checkpoints" / str(step) / "info" / "metadata").read_text())["sha256"]


def rows(run: Path) -> str:
    """metrics.csv without the columns that depend on the machine."""
    lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    keep = [i for i, name in enumerate(lines[0]) if name not in CLOCK_COLUMNS]
    return "\n".join(",".join(line[i] for i in keep) for line in lines)


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
