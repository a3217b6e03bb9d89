"""Running the commands as a user does: as processes of their own."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from jaxrl.training.sinks import CLOCK_COLUMNS

TINY = [
    *("--config.num-envs", "16", "--config.batch-size", "16", "--config.hidden-sizes", "16"),
    *("--config.replay-capacity", "2000", "--config.warmup-steps", "100"),
    *("--log-every", "5000", "--eval-episodes", "8", "--eval-max-steps", "50"),
]
"""Options that make a run small."""


def start(module: str, *arguments: str, prefix: Sequence[str] = (), **popen) -> subprocess.Popen:
    command = [*prefix, sys.executable, "-m", f"jaxrl.experiments.{module}", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)


def finish(process: subprocess.Popen, timeout: float = 180) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process that ends by itself."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def command(module: str, *arguments: str, **popen) -> tuple[int, str, str]:
    return finish(start(module, *arguments, **popen))


def kill_when(process: subprocess.Popen, condition: Callable[[], bool], timeout: float = 120) -> bool:
    """SIGKILL as soon as the condition holds; says whether the process was still running then."""
    deadline = time.monotonic() + timeout
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline, "the moment to kill never came"
        time.sleep(0.002)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return alive


def steps_on_disk(run: Path) -> list[int]:
    folder = run / "checkpoints"
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.exists() else []


def unfinished_writes(run: Path) -> list[Path]:
    return [path for path in (run / "checkpoints").glob("*") if not path.name.isdigit()]


def final_state(run: Path) -> str:
    """The checksum over parameters, optimizer, replay, worlds and metrics of the newest checkpoint."""
    step = steps_on_disk(run)[-1]
    return json.loads((run / "checkpoints" / str(step) / "info" / "metadata").read_text())["sha256"]


def rows(run: Path) -> str:
    """metrics.csv without the columns that depend on the machine."""
    lines = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    keep = [i for i, name in enumerate(lines[0]) if name not in CLOCK_COLUMNS]
    return "\n".join(",".join(line[i] for i in keep) for line in lines)


def file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
