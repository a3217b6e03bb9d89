"""What the bits of a result may depend on: versions, machine, settings and commit."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def describe() -> dict[str, Any]:
    """Versions, machine and settings: what the bits of a result may depend on."""
    packages = ("jaxrl", "jax", "jaxlib", "flax", "optax", "gymnax", "orbax-checkpoint", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    device = jax.devices()[0]
    return {
        "versions": {"python": platform.python_version(), **versions},
        "machine": {
            "device": device_name(),
            "devices": jax.device_count(),
            "backend": device.platform,
            "cores": os.cpu_count(),
            "system": platform.platform(),
        },
        "settings": {name: getattr(jax.config, name) for name in ("jax_enable_x64", "jax_default_prng_impl")},
    }


def device_name() -> str:
    """The accelerator's name, or the processor's."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{names[0] if names else platform.processor() or platform.machine()} ({os.cpu_count()} cores)"


def commit() -> str | None:
    """The git commit jaxrl runs from, with "-dirty" if files were changed; None for an installed package."""
    root = Path(__file__).parents[2]

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != root:
            return None
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def differences(before: dict[str, Any]) -> list[str]:
    """Where this machine, these versions or settings differ from those in the record of a run or a sweep."""
    return [
        f"{name} {before[group].get(name)} then, {value} now"
        for group, values in describe().items()
        if group in before  # older records have no settings
        for name, value in values.items()
        if before[group].get(name) != value
    ]
