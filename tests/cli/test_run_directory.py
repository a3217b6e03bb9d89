"""A run's directory: it belongs to one process, and a command that fails says what is saved."""

import os
from pathlib import Path

import jax
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.experiments import ppo_cartpole
from jaxrl.interrupt import _is_a_command
from jaxrl.runs import checks, run_directory
from jaxrl.runs.options import with_values
from jaxrl.training import CheckpointError
from jaxrl.types import Trainer


def test_a_directory_is_held_by_one(tmp_path: Path) -> None:
    with checks.hold(tmp_path, "out"):
        with (
            pytest.raises(
                ArgumentError,
                match=rf"^out must be a directory that no other process uses \(process {os.getpid()} on .* since ",
            ),
            checks.hold(tmp_path, "out"),
        ):
            pytest.fail("it was held twice")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert not list(tmp_path.iterdir())
    (tmp_path / ".lock").write_text("of a process that was killed")
    with checks.hold(tmp_path, "out"):
        pass


def test_directories_of_one_second_are_different(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    proposed = iter([Path("runs/a"), Path("runs/a"), Path("runs/a-2")])
    monkeypatch.setattr(run_directory, "default_directory", lambda name: next(proposed))
    assert [checks.make_out(None, "a").name for _ in range(2)] == ["a", "a-2"]


def test_resume_begins_what_has_not_come_to_a_checkpoint(tmp_path: Path) -> None:
    experiment, directory = ppo_cartpole.experiment, tmp_path / "run"
    options = with_values(experiment.defaults, {"out": directory, "resume": True})
    assert not checks.check_directory(directory, experiment, options)
    directory.mkdir()
    run_directory.write_config(directory, experiment, options, "rules")
    assert not checks.check_directory(directory, experiment, options)
    (directory / "checkpoints" / "7").mkdir(parents=True)
    assert checks.check_directory(directory, experiment, options)
    for total_steps in (10_000, 10_000_000):
        assert checks.check_directory(directory, experiment, with_values(options, {"total_steps": total_steps}))
    config = run_directory.read_config(directory)
    config["options"]["hparams.momentum"] = 0.9
    run_directory.write_json(directory / "config.json", config)
    with pytest.raises(ArgumentError, match=r"^in .*config.json, hparams.momentum is not known, got 0.9$"):
        checks.check_directory(directory, experiment, options)
    (directory / "checkpoints" / "7").rmdir()
    (directory / "summary.json").touch()
    with pytest.raises(ArgumentError, match=r"^out must be another directory: the run there has lost its checkpoints"):
        checks.check_directory(directory, experiment, options)


def test_a_disk_without_room_for_checkpoints(tmp_path: Path, monkeypatch) -> None:
    shapes = {"replay": jax.ShapeDtypeStruct((2**18,), "float32")}
    monkeypatch.setattr(run_directory, "free_disk", lambda directory: 1.5 * 2**20)
    with pytest.raises(ArgumentError, match=r"^out must be on a disk with 2\.00 MiB for .* with 1\.50 MiB$"):
        checks.check_disk(tmp_path, shapes)
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)  # it is replaced
    checks.check_disk(tmp_path, shapes)
    (tmp_path / "checkpoints" / "2").mkdir()  # a third is written before one goes
    monkeypatch.setattr(run_directory, "free_disk", lambda directory: 0.5 * 2**20)
    with pytest.raises(ArgumentError, match=r"^out must be on a disk with 1\.00 MiB for "):  # before it is replaced
        checks.check_disk(tmp_path, shapes)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "error: interrupted; {}"),
        (CheckpointError("a disk is full"), 1, "error: a disk is full; {}"),
        (OSError(28, "No space left on device"), 1, "error: cannot write: No space left on device; {}"),
        (BrokenPipeError(), 1, "error: what is printed is no longer read; {}"),
        (SystemExit(1), 1, "error: what is printed is no longer read; {}"),
    ],
)
def test_an_error_says_what_is_saved(tmp_path: Path, capsys, error, code: int, message: str) -> None:
    trainer = Trainer(None, None, steps_per_iteration=128, warmup_steps=1_000)
    for saved in (
        "nothing was saved yet",
        "the run is saved at 8,680 environment steps, from where --resume continues it",
    ):
        error.__notes__ = []
        with pytest.raises(SystemExit) as end, errors_in_one_line(), checks.saying_what_is_saved(tmp_path, trainer):
            raise error
        assert end.value.code == code
        assert capsys.readouterr().err == message.format(saved) + "\n"
        (tmp_path / "60").mkdir(exist_ok=True)


def test_what_counts_as_a_command() -> None:
    assert _is_a_command(["python", "-X", "dev", "-m", "jaxrl.experiments.ppo_cartpole", "--out", "x"])
    for words in (["python", "-m", "pytest", "jaxrl.experiments"], ["python", "my_program.py"], ["python", "-m"]):
        assert not _is_a_command(words)
