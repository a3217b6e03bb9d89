"""The command of every training experiment."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import jax
from rich.console import Console

from jaxrl import interrupt
from jaxrl.arguments import UsageError
from jaxrl.cli.parse import parse
from jaxrl.runs import checks, run_directory
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options
from jaxrl.runs.train import train
from jaxrl.training.checkpoint import CheckpointError
from jaxrl.training.debug_nans import DivergedError


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends the process with one line and a status for every error that a user can do something about.

    As a decorator of a command's `main` too. Where stdout is no longer read, as after `| head`, there is nothing to say
    but what is saved.
    """
    interrupt.imported()
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except UsageError as error:
        fail(str(error), 2)
    except (BrokenPipeError, SystemExit) as error:  # rich exits where it cannot print
        if notes := _notes(error):
            fail("; ".join(["what is printed is no longer read", *notes]), 1)
        if isinstance(error, SystemExit):
            raise
        sys.exit(1)
    except OSError as error:
        message = str(error) if error.filename or not error.strerror else f"cannot write: {error.strerror}"
        fail("; ".join([message, *_notes(error)]), 1)
    except (CheckpointError, DivergedError, MemoryError) as error:
        fail("; ".join([str(error), *_notes(error)]), 1)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        fail(f"not enough memory: {str(error).splitlines()[0]}", 1)
    except KeyboardInterrupt as error:
        fail("; ".join(["interrupted", *_notes(error)]), 130)
    finally:
        _silence_broken_streams()


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def _silence_broken_streams() -> None:
    """Points those that nobody reads to nowhere: Python would say so when it ends."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def fail(message: str, code: int) -> NoReturn:
    """Ends the process with one line on stderr."""
    with contextlib.suppress(OSError):
        print(f"error: {message}", file=sys.stderr)
    sys.exit(code)


@errors_in_one_line()
def main(experiment: Experiment) -> None:
    """Runs an experiment from the command line; the process exits with 0, 1 (it failed) or 2 (bad input)."""
    defaults = experiment.defaults
    options_type: Any = Options[type(defaults.hparams), type(defaults.config)]  # type: ignore[misc]
    options = parse(
        options_type,
        sys.modules["__main__"].__doc__,
        default=defaults,
        prog=f"python -m jaxrl.experiments.{experiment.name}",
    )
    prepare_jax(options.execution.deterministic, options.execution.num_devices)
    console = screen()
    directory, summary = train(experiment, options, console)
    if summary is None:
        console.print("continue with")
        console.print(f"  {run_directory.resume_command(experiment.name, directory)}", soft_wrap=True)


def prepare_jax(deterministic: bool = False, num_cpu_devices: int | None = 1) -> None:
    """Turns on the persistent compilation cache, in the user's cache folder unless JAX_COMPILATION_CACHE_DIR is set.

    `num_cpu_devices`: how many devices a CPU becomes: at most one for each of its cores, and if None all of these. It
    has no effect once jax has looked at its devices, as it has when this returns.

    Raises:
        UsageError: there is no device of the kind that JAX_PLATFORMS names.
    """
    import platformdirs

    # Those that this process may use, where the system says.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    num_cpu_devices = cores if num_cpu_devices is None else min(num_cpu_devices, cores)
    if num_cpu_devices > 1:
        with contextlib.suppress(RuntimeError):  # jax has begun already: `devices` says what there is
            jax.config.update("jax_num_cpu_devices", num_cpu_devices)

    if deterministic:
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_gpu_deterministic_ops=true"
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", platformdirs.user_cache_dir("jaxrl"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    checks.check_platform()


def screen(quiet: bool = False) -> Console:
    """The console of a command; a file has room for wide tables."""
    return Console(highlight=False, quiet=quiet, width=None if sys.stdout.isatty() else 160)
