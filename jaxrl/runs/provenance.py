"""How a result was made: the command, the commit, versions, the machine and settings."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax


def now() -> str:
    """The time, UTC: 2026-01-31T12:00:00+00:00."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def command(module: str) -> str:
    """This process's command line, as one that runs `module`."""
    return shlex.join(["python", "-m", module, *sys.argv[1:]])


def describe(module: str) -> dict[str, Any]:
    """How a result of this process is made, with `module` as its command."""
    begun = {"command": command(module), "started": now(), "started_in": os.getcwd(), "commit": commit()}
    return begun | _circumstances()


def made(about: dict[str, Any]) -> str:
    """When, at which commit and with which versions a recorded result was made, for its page."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    return f"on {about['started'][:10]} at commit {about['commit'] or 'none (an installed package)'},\nwith {versions}"


def _circumstances() -> dict[str, dict[str, Any]]:
    """Versions, machine and settings. The bits of a result may depend on them."""
    packages = ("jaxrl", "jax", "jaxlib", "flax", "optax", "gymnax", "orbax-checkpoint", "numpy")
    versions = {name: importlib.metadata.version(name) for name in packages}
    return {
        "versions": {"python": platform.python_version(), **versions},
        "machine": {
            "device": device_name(),
            "devices": jax.device_count(),
            "backend": jax.default_backend(),
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
    """The git commit of jaxrl, with "-dirty" if files were changed; None for an installed package."""
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
    """How versions, machine and settings differ from those that `describe` recorded."""
    return [
        f"{name} {before[group].get(name)} then, {value} now"
        for group, values in _circumstances().items()
        if group in before  # older records have no settings
        for name, value in values.items()
        if before[group].get(name) != value
    ]
