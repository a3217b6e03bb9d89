"""Free memory, on a machine and in a container."""

from pathlib import Path

import psutil
import pytest

from jaxrl import memory
from jaxrl.memory import check_fits, free_on_machine

SIZES = {"MemTotal": 4000, "MemFree": 100, "MemAvailable": 3000} | dict.fromkeys(
    ("Buffers", "Cached", "Shmem", "Active", "Inactive", "Slab"), 0
)
MACHINE = {"proc/meminfo": "".join(f"{name}: {size} kB\n" for name, size in SIZES.items())}
VERSION_2 = {
    "proc/self/cgroup": "0::/pod/container\n",
    "sys/fs/cgroup/pod/memory.max": "2000000",
    "sys/fs/cgroup/pod/memory.current": "500000",
    "sys/fs/cgroup/pod/memory.stat": "anon 1\nactive_file 100000\ninactive_file 200000\n",
    "sys/fs/cgroup/pod/container/memory.max": "max",
    "sys/fs/cgroup/pod/container/memory.current": "400000",
}
INSIDE = {  # a container, which sees its own group at the top
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/memory.max": "1000000",
    "sys/fs/cgroup/memory.current": "900000",
}
VERSION_1 = {
    "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "1500000",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000000",
    "sys/fs/cgroup/memory/memory.stat": "inactive_file 2\ntotal_active_file 30000\ntotal_inactive_file 4000\n",
}
UNLIMITED = {**VERSION_1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712"}
FULL = {**INSIDE, "sys/fs/cgroup/memory.current": "1000001"}


@pytest.mark.parametrize(
    ("files", "free"),
    [
        (MACHINE, 3000 * 1024),
        (MACHINE | VERSION_2, 1_800_000),
        (MACHINE | INSIDE, 100_000),
        (MACHINE | VERSION_1, 534_000),
        (MACHINE | UNLIMITED, 3000 * 1024),
        (MACHINE | FULL, 0),
    ],
)
def test_the_least_limit_holds(tmp_path: Path, monkeypatch, files: dict[str, str], free: int) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_on_machine(tmp_path) == free


def test_some_memory_is_free(tmp_path: Path) -> None:
    """With the limits of control groups and without."""
    for root in (Path("/"), tmp_path):
        assert 0 < free_on_machine(root) <= psutil.virtual_memory().total


def test_what_does_not_fit_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(memory, "available_memory", lambda: 2**30)
    check_fits("it takes", 2**30, "less would do")
    with pytest.raises(MemoryError, match=r"^it takes 1.50 GiB, but only 1.00 GiB of memory is free; less would do$"):
        check_fits("it takes", 3 * 2**29, "less would do")
