"""The command of every training experiment."""

import contextlib
import os
import sys
from typing import Any

import jax
from rich.console import Console

from jaxrl.arguments import ArgumentError, errors_in, renaming
from jaxrl.cli.errors import errors_in_one_line, silence_broken_streams
from jaxrl.cli.parse import parse
from jaxrl.runs import run_directory
from jaxrl.runs.experiment import Experiment, find_experiment
from jaxrl.runs.options import Options, with_values
from jaxrl.runs.train import train


@errors_in_one_line()
def main(experiment: Experiment) -> None:
    """Runs an experiment from the command line. The exit status is 0, 1 (it failed) or 2 (bad input)."""
    with errors_in(f"the experiment {experiment.name}"), renaming(experiment="name"):
        find_experiment(experiment.name)  # as `load` will
    defaults = experiment.defaults
    options_type: Any = Options[type(defaults.hparams), type(defaults.config)]  # type: ignore[misc]
    description = sys.modules["__main__"].__doc__
    options = parse(options_type, description, default=defaults, prog=f"python -m {experiment.module}")
    named = {word.partition("=")[0].replace("_", "-") for word in sys.argv[1:]}
    if options.task.env != defaults.task.env and "--env-options" not in named:
        options = with_values(options, {"env_options": ()})  # the default ones are of the default environment
    prepare_jax(options.execution.deterministic, options.execution.num_devices)
    console = screen()
    directory, summary = train(experiment, options, console)
    if summary is None:
        run_directory.show_resumption(console, experiment.module, directory)


def prepare_jax(deterministic: bool = False, num_cpu_devices: int | None = 1) -> None:
    """Configures jax before its first use, and turns on its persistent compilation cache.

    The cache is in the user's cache folder, or in JAX_COMPILATION_CACHE_DIR.

    Args:
        deterministic: whether a GPU uses only deterministic operations.
        num_cpu_devices: the number of devices that a CPU becomes, at most one for each core (default: one for each).

    Raises:
        ArgumentError: jax finds no device of the kind that JAX_PLATFORMS names.
    """
    import platformdirs

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    num_cpu_devices = cores if num_cpu_devices is None else min(num_cpu_devices, cores)
    if num_cpu_devices > 1:
        with contextlib.suppress(RuntimeError):  # jax has looked at its devices already
            jax.config.update("jax_num_cpu_devices", num_cpu_devices)
    if deterministic:
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("jaxrl"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    check_platform()


def check_platform() -> None:
    """Checks that jax finds a device.

    Raises:
        ArgumentError: there is none of the kind that JAX_PLATFORMS names.
    """
    try:
        jax.devices()
    except (AssertionError, RuntimeError) as error:  # an AssertionError where jax was built without that kind
        named = os.environ.get("JAX_PLATFORMS")
        if not named:
            raise
        raise ArgumentError("JAX_PLATFORMS", "must name a kind of device that jax finds here", named) from error


class _Screen(Console):
    """A console whose output may be closed, as after `| head`: the command goes on, and prints into nothing."""

    def on_broken_pipe(self) -> None:
        silence_broken_streams()


def screen(quiet: bool = False) -> Console:
    """The console of a command. In a file, tables may be wide."""
    width = None if sys.stdout is not None and sys.stdout.isatty() else 160
    return _Screen(highlight=False, markup=False, quiet=quiet, width=width)
