"""How much memory there is: what cannot fit is refused at once, where a system finds it out slowly, or kills."""

import os
from pathlib import Path

import jax

from jaxrl.formatting import format_bytes

GIB = 2**30
GROUPS = (
    ("sys/fs/cgroup", "", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Of both versions of Linux' control groups: where they lie, their controller, the files of a limit and of its use."""
CACHES = ("active_file", "inactive_file", "total_active_file", "total_inactive_file")
"""What a group uses and would give back: copies of files. Version 1 counts what is below it under the last two."""


def available_memory() -> int | None:
    """Bytes that are free on the first accelerator, or for this process on the machine; None if it does not say.

    A container may have less than the machine it runs on.
    """
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return free_on_machine()


def free_on_machine(root: Path = Path("/")) -> int | None:
    """Bytes of the machine's memory that this process could still take.

    Args:
        root: where the files of Linux lie that say it.
    """
    free = [room for room in (_available(root), *_room_in_groups(root)) if room is not None]
    if free:
        return max(0, min(free))
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else None


def check_fits(what: str, needed: int, hint: str) -> None:
    """Refuses what needs more memory than there is.

    Args:
        what: needs it, with its verb.
        needed: bytes.
        hint: what would need less.

    Raises:
        MemoryError: it does not fit.
    """
    there = available_memory()
    if there is not None and needed > there:
        raise MemoryError(f"{what} {format_bytes(needed)}, and there are {format_bytes(there)} of free memory; {hint}")


def _available(root: Path) -> int | None:
    """What the whole machine has left, caches included."""
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _room_in_groups(root: Path) -> list[int]:
    """What is left of each limit that holds for this process: its own group's, and those of the groups around it.

    In a container a group's path may be that outside, and its limit lies at the top, so that it is found all the same.
    """
    rooms = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for mount, controller, limit, use in GROUPS:
            if controller in controllers.split(","):
                group = root / mount / path.strip("/")
                for directory in (group, *group.parents):
                    rooms += _room(directory, limit, use)
                    if directory == root / mount:
                        break
    return rooms


def _room(directory: Path, limit: str, use: str) -> list[int]:
    """What is left of the limit in a group's directory, if there is one."""
    numbers = [line for name in (limit, use) for line in _lines(directory / name)]
    if len(numbers) < 2 or not all(number.isdigit() for number in numbers):
        return []  # no such group, or "max"
    statistics = dict(line.split() for line in _lines(directory / "memory.stat"))
    own, below = (sum(int(statistics.get(name, 0)) for name in names) for names in (CACHES[:2], CACHES[2:]))
    return [int(numbers[0]) - int(numbers[1]) + max(own, below)]


def _lines(path: Path) -> list[str]:
    """The lines of a file; none if it is not there."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
