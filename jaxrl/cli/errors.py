"""Errors on the command line: one line on stderr, and an exit status."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import NoReturn

import jax

from jaxrl import interrupt
from jaxrl.arguments import ArgumentError
from jaxrl.envs import HostError
from jaxrl.training.checkpoint import CheckpointError
from jaxrl.training.program import DivergedError


def flag(name: str) -> str:
    """An option as the user writes it: `hparams.learning_rate` is `--hparams.learning-rate`.

    Names in capitals, of positional arguments and environment variables, stay as they are.
    """
    if name.isupper():
        return name
    option, _, of_env = name.partition(".") if name.startswith("env_options.") else (name, "", "")
    return f"--{option.replace('_', '-')} {of_env}".rstrip()


def describe(error: ArgumentError) -> str:
    """An error's message: options are named as flags, and fields of a file as in the file."""
    return str(error) if error.source else error.line(flag(error.name))


@contextlib.contextmanager
def errors_in_one_line() -> Iterator[None]:
    """Ends the process with one line and an exit status after every error that its user can fix.

    Also a decorator. After its standard output is closed, as by `| head`, a command that prints to a `screen` goes on;
    others end with status 1, without a line.
    """
    interrupt.imported()
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except ArgumentError as error:
        fail(describe(error), 2)
    except KeyboardInterrupt as error:
        fail("interrupted", 130, error)
    except BrokenPipeError as error:
        if hasattr(error, "__notes__"):  # of a run, which a logger's pipe stopped
            fail("a pipe was closed", 1, error)
        sys.exit(1)
    except OSError as error:
        fail(str(error) if error.filename or not error.strerror else f"cannot write: {error.strerror}", 1, error)
    except (CheckpointError, DivergedError, HostError, MemoryError) as error:
        fail(str(error), 1, error)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        fail(f"not enough memory: {str(error).splitlines()[0]}", 1)
    finally:
        silence_broken_streams()


def fail(message: str, code: int, error: BaseException | None = None) -> NoReturn:
    """Ends the process with one line on stderr: the message, and the notes of the error."""
    with contextlib.suppress(OSError):
        print("; ".join([f"error: {message}", *getattr(error, "__notes__", [])]), file=sys.stderr)
    sys.exit(code)


def silence_broken_streams() -> None:
    """Redirects streams that nobody reads, because Python would complain about them at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
