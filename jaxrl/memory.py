"""Free memory. Refusing at once what cannot fit spares a user a slow machine, or a process that the system kills."""

from pathlib import Path

import jax
import psutil

from jaxrl.formatting import format_bytes

GIB = 2**30
GROUPS = (
    ("sys/fs/cgroup", "", "memory.max", "memory.current"),
    ("sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Both versions of Linux's control groups: the directory, the controller, and the files of the limit and the usage."""
CACHES = ("active_file", "inactive_file", "total_active_file", "total_inactive_file")
"""Cached files, which the system can drop. Version 1 counts those of subgroups under the last two names."""


def available_memory() -> int:
    """Bytes that are free on the first accelerator, or for this process on the machine or in its container."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return free_on_machine()


def free_on_machine(root: Path = Path("/")) -> int:
    """Bytes of the machine's memory, caches included, that this process can still take.

    Args:
        root: the directory of Linux' files about control groups.
    """
    return max(0, min([psutil.virtual_memory().available, *_free_in_groups(root)]))


def check_fits(what: str, needed: int, hint: str) -> None:
    """Checks that memory is free.

    Args:
        what: the beginning of the message, such as "the run's state takes".
        needed: bytes.
        hint: how to need less.

    Raises:
        MemoryError: it does not fit.
    """
    if needed > (free := available_memory()):
        raise MemoryError(f"{what} {format_bytes(needed)}, but only {format_bytes(free)} of memory is free; {hint}")


def _free_in_groups(root: Path) -> list[int]:
    """The free bytes under each limit on this process: that of its own group, and those of the groups around it.

    In a container, the group's path may be the host's. The container's limit is then in the top directory.
    """
    free = []
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        for mount, controller, limit, use in GROUPS:
            if controller in controllers.split(","):
                group, top = root / mount / path.strip("/"), root / mount
                directories = [x for x in (group, *group.parents) if x.is_relative_to(top)]
                free += [x for directory in directories for x in _free_in_group(directory, limit, use)]
    return free


def _free_in_group(directory: Path, limit: str, use: str) -> list[int]:
    """The free bytes under the limit of one group; empty if it has no limit."""
    numbers = [line for name in (limit, use) for line in _lines(directory / name)]
    if len(numbers) < 2 or not all(number.isdigit() for number in numbers):
        return []  # no such group, or "max"
    statistics = dict(line.split() for line in _lines(directory / "memory.stat"))
    own, below = (sum(int(statistics.get(name, 0)) for name in names) for names in (CACHES[:2], CACHES[2:]))
    return [int(numbers[0]) - int(numbers[1]) + max(own, below)]


def _lines(path: Path) -> list[str]:
    """The lines of a file; none if it does not exist."""
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
