"""The kernels that a compiled program runs, from a profile."""

import collections
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax


class ProfiledKernel(NamedTuple):
    """All executions of the kernels of one name.

    Attributes:
        name: the name, without the number that makes it unique.
        runs: how often they ran.
        seconds: how long they took together.
    """

    name: str
    runs: int
    seconds: float


def profile(call: Callable[[], object]) -> list[ProfiledKernel]:
    """Profiles a call that waits for its result, and returns its kernels on the first device, longest first.

    On a CPU these are XLA's operations, of all threads. While a profile is taken, a GPU launches each kernel by itself.
    """
    with tempfile.TemporaryDirectory() as directory:
        with jax.profiler.trace(directory):
            call()
        (file,) = Path(directory).rglob("*.xplane.pb")
        return _read(file)


CONTAINERS = ("while", "conditional", "call", "ThunkExecutor", "end: ")
"""What a CPU's profile has beside operations: loops around them, waiting, and their ends."""


def _read(file: Path) -> list[ProfiledKernel]:
    device = jax.local_devices()[0]
    plane_name = "/host:CPU" if device.platform == "cpu" else f"/device:{device.platform.upper()}:{device.id}"
    counts: collections.Counter[str] = collections.Counter()
    nanoseconds: collections.Counter[str] = collections.Counter()
    for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
        for line in plane.lines if plane.name == plane_name else ():
            if device.platform == "cpu" and not line.name.startswith("tf_XLA"):
                continue  # threads of Python and of the runtime
            if device.platform == "gpu" and not line.name.startswith("Stream"):
                continue  # the same kernels by step, module and framework operation
            for event in line.events:
                if device.platform == "cpu" and event.name.startswith(CONTAINERS):
                    continue
                name = re.sub(r"[._]\d+", "", event.name)
                counts[name] += 1
                nanoseconds[name] += event.duration_ns
    return [ProfiledKernel(name, counts[name], time / 1e9) for name, time in nanoseconds.most_common()]
