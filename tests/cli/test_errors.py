"""One handler of errors: the line that it prints, and the exit status."""

from pathlib import Path

import jax
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.envs import HostError
from jaxrl.runs.run_directory import noting_progress
from jaxrl.training import CheckpointError
from jaxrl.types import Trainer


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ArgumentError("hparams.tau", "must be > 0", -1.0), 2, "--hparams.tau must be > 0, got -1.0"),
        (ArgumentError("config.num_envs", "must be > 0", 0), 2, "--config.num-envs must be > 0, got 0"),
        (ArgumentError("env_options.slip_probability", "must be <= 1", 2), 2,
         "--env-options slip_probability must be <= 1, got 2"),
        (ArgumentError("config.num_envs", "must be > 0", 0, source=Path("sweep.toml")), 2,
         "in sweep.toml, config.num_envs must be > 0, got 0"),
        (ArgumentError("JAX_PLATFORMS", "must be cpu", "cuda"), 2, "JAX_PLATFORMS must be cpu, got 'cuda'"),
        (CheckpointError("the disk is full"), 1, "the disk is full"),
        (FileNotFoundError(2, "No such file or directory", "x"), 1, "[Errno 2] No such file or directory: 'x'"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory\nmore"), 1,
         "not enough memory: RESOURCE_EXHAUSTED: out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)  # fmt: skip
def test_an_error_is_one_line_and_a_status(capsys, error: BaseException, code: int, line: str) -> None:
    with pytest.raises(SystemExit) as end, errors_in_one_line():
        raise error
    assert end.value.code == code
    assert capsys.readouterr().err == f"error: {line}\n"


def test_a_bug_keeps_its_traceback() -> None:
    for bug in (TypeError("a bug"), jax.errors.JaxRuntimeError("INTERNAL: a bug")):
        with pytest.raises(type(bug), match="a bug"), errors_in_one_line():
            raise bug


def test_a_pipe_that_nobody_reads_ends_a_command_without_a_line(capsys) -> None:
    with pytest.raises(SystemExit) as end, errors_in_one_line():
        raise BrokenPipeError
    assert (end.value.code, capsys.readouterr().err) == (1, "")


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted; {}"),
        (CheckpointError("a disk is full"), 1, "error: a disk is full; {}"),
        (OSError(28, "No space left on device"), 1, "error: cannot write: No space left on device; {}"),
        (BrokenPipeError(), 1, "error: a pipe was closed; {}"),
    ],
)
def test_an_error_says_what_is_saved(tmp_path: Path, capsys, error, code: int, message: str) -> None:
    trainer: Trainer = Trainer(None, None, 128, warmup_steps=1_000, max_iterations=100, num_envs=1, env_axes=None)
    for saved in (
        "nothing was saved yet",
        "the run is saved at 8,680 environment steps, from where --resume continues it",
    ):
        error.__notes__ = []
        with pytest.raises(SystemExit) as end, errors_in_one_line(), noting_progress(tmp_path, trainer):
            raise error
        assert end.value.code == code
        assert capsys.readouterr().err == message.format(saved) + "\n"
        (tmp_path / "checkpoints" / "60").mkdir(parents=True, exist_ok=True)


def test_the_traceback_of_an_environment_is_on_disk(tmp_path: Path, capsys) -> None:
    trainer: Trainer = Trainer(None, None, 128, warmup_steps=1_000, max_iterations=100, num_envs=1, env_axes=None)
    with pytest.raises(SystemExit), errors_in_one_line(), noting_progress(tmp_path, trainer):
        raise HostError("Pong raised in step: OSError: gone") from OSError("gone")
    line = capsys.readouterr().err
    assert (
        line == f"error: Pong raised in step: OSError: gone; its traceback is in {tmp_path}/traceback.txt; "
        "nothing was saved yet\n"
    )
    text = (tmp_path / "traceback.txt").read_text()
    assert "OSError: gone\n\nThe above exception was the direct cause" in text
    assert "in test_the_traceback_of_an_environment_is_on_disk" in text
