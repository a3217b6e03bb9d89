"""Another library in a virtual environment and a process of its own, where it has the versions that it needs."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

PATIENCE = 7200
"""Seconds after which a process that does not answer has failed."""


class BaselineError(Exception):
    """Why a baseline cannot be measured, in one line."""


def install(cache: Path, requirements: Sequence[str]) -> Path:
    """The Python of a virtual environment with these packages. It is made in the folder `cache` if it is not there.

    Args:
        cache: where all environments are.
        requirements: `NAME==VERSION` of each package.

    Raises:
        BaselineError: a package cannot be installed.
    """
    directory = cache / "-".join(requirements).replace("==", "-")
    python, complete = directory / "bin" / "python", directory / "complete"
    if not complete.exists():
        _call(sys.executable, "-m", "venv", str(directory))
        _call(str(python), "-I", "-m", "pip", "install", "--disable-pip-version-check", *requirements)
        complete.touch()
    return python


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        said = _last_line(done.stderr or done.stdout)
        raise BaselineError(f"`{' '.join(command[1:])}` ended with status {done.returncode}: {said}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"


class BaselineLoop:
    """A loop in another process, which runs and times it on demand: a line of JSON for every line of JSON.

    Attributes:
        compile_seconds: the time that compiling took.
        about: what the process answered to its settings, `compile_seconds` among it.
        last: what it answered to the last number of steps, `seconds` among it.
    """

    def __init__(self, process: subprocess.Popen[bytes], settings: dict[str, Any], patience: float) -> None:
        """Waits until the process has compiled.

        Raises:
            BaselineError: it failed.
        """
        self._process, self._patience = process, patience
        self.about = self._ask(settings)
        self.compile_seconds: float = self.about["compile_seconds"]
        self.last: dict[str, Any] = {}

    def run(self, num_steps: int) -> float:
        """Runs `num_steps` more steps, and returns the seconds that they took.

        Raises:
            BaselineError: the process failed.
        """
        self.last = self._ask(num_steps)
        return self.last["seconds"]

    def _ask(self, question: Any) -> dict[str, Any]:
        questions, answers = self._process.stdin, self._process.stdout
        assert questions is not None
        assert answers is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer
            questions.write(json.dumps(question).encode() + b"\n")
        if not select.select([answers], [], [], self._patience)[0]:
            raise BaselineError(f"it gave no answer within {self._patience:g} s")
        line = answers.readline()
        if not line:
            raise BaselineError(f"it ended with status {self._process.wait()}")
        return json.loads(line)


@contextlib.contextmanager
def run_baseline(
    python: Path, program: Path, settings: dict[str, Any], patience: float = PATIENCE
) -> Iterator[BaselineLoop]:
    """Runs a program in a process of its own.

    Args:
        python: the Python of its environment.
        program: the file. It answers the settings with `compile_seconds`, and each number of steps with `seconds`.
        settings: what it reads first.
        patience: seconds to wait for each answer.

    Raises:
        BaselineError: it failed. The message has the last line of its standard error.
    """
    # Compiling is measured. jax's notes about hidden frames would be the last line of an error.
    variables = {"JAX_ENABLE_COMPILATION_CACHE": "false", "JAX_TRACEBACK_FILTERING": "off"}
    command = [str(python), "-I", str(program)]  # -I: without the modules beside the program and in PYTHONPATH
    pipe, env = subprocess.PIPE, os.environ | variables
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=errors, env=env, bufsize=0) as process,
    ):
        try:
            yield BaselineLoop(process, settings, patience)
        except BaselineError as error:
            errors.seek(0)
            raise BaselineError(f"{error}: {_last_line(errors.read().decode(errors='replace'))}") from error
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process by the end of its input, or else by force."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
