"""A run's directory belongs to one process, and holds one run."""

import os
from pathlib import Path

import jax
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.experiments import ppo_cartpole
from jaxrl.runs import run_directory
from jaxrl.runs.options import with_values
from jaxrl.runs.run_directory import check_disk, check_out, lock, make_out, new_directory


def test_a_directory_is_held_by_one(tmp_path: Path) -> None:
    with lock(tmp_path, "out"):
        with (
            pytest.raises(
                ArgumentError,
                match=rf"^out must be a directory that no other process uses \(process {os.getpid()} on .* since ",
            ),
            lock(tmp_path, "out"),
        ):
            pytest.fail("it was held twice")
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert not list(tmp_path.iterdir())
    (tmp_path / ".lock").write_text("of a process that was killed")
    with lock(tmp_path, "out"):
        pass


def test_directories_of_one_second_are_different(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    proposed = iter([Path("runs/a"), Path("runs/a"), Path("runs/a-2")])
    monkeypatch.setattr(run_directory, "default_directory", lambda name: next(proposed))
    assert [make_out(None, "a").name for _ in range(2)] == ["a", "a-2"]


@pytest.mark.parametrize("file", [run_directory.SUMMARY, run_directory.SWEEP, run_directory.CONFIG])
def test_a_command_without_checkpoints_needs_a_directory_of_its_own(tmp_path: Path, file: str) -> None:
    with new_directory(tmp_path, "a") as directory:
        (directory / file).touch()
    with (
        pytest.raises(ArgumentError, match=r"^out must be a directory without a run, got "),
        new_directory(tmp_path, "a"),
    ):
        pytest.fail("it was used twice")


def test_resume_begins_what_has_not_come_to_a_checkpoint(tmp_path: Path) -> None:
    experiment, directory = ppo_cartpole.experiment, tmp_path / "run"
    options = with_values(experiment.defaults, {"out": directory, "resume": True})
    assert not check_out(experiment, options)
    directory.mkdir()
    run_directory.write_config(directory, experiment, options, "rules")
    assert not check_out(experiment, options)
    (directory / "checkpoints" / "7").mkdir(parents=True)
    assert check_out(experiment, options)
    for total_steps in (10_000, 10_000_000):
        assert check_out(experiment, with_values(options, {"total_steps": total_steps}))
    config = run_directory.read_config(directory)
    config["options"]["hparams.momentum"] = 0.9
    run_directory.write_json(directory / "config.json", config)
    message = r"^in .*config.json, hparams.momentum is not known \(one of hparams.learning_rate, .*\), got 0.9$"
    with pytest.raises(ArgumentError, match=message):
        check_out(experiment, options)
    (directory / "checkpoints" / "7").rmdir()
    (directory / "summary.json").touch()
    with pytest.raises(ArgumentError, match=r"^out must be another directory: the run there has lost its checkpoints"):
        check_out(experiment, options)


def test_a_disk_without_room_for_checkpoints(tmp_path: Path, monkeypatch) -> None:
    shapes = {"replay": jax.ShapeDtypeStruct((2**18,), "float32")}
    monkeypatch.setattr(run_directory, "free_disk", lambda directory: 1.5 * 2**20)
    with pytest.raises(ArgumentError, match=r"^out must be on a disk with 2\.00 MiB for .* with 1\.50 MiB$"):
        check_disk(tmp_path, shapes)
    (tmp_path / "checkpoints" / "1").mkdir(parents=True)  # it is replaced
    check_disk(tmp_path, shapes)
    (tmp_path / "checkpoints" / "2").mkdir()  # a third is written before one goes
    monkeypatch.setattr(run_directory, "free_disk", lambda directory: 0.5 * 2**20)
    with pytest.raises(ArgumentError, match=r"^out must be on a disk with 1\.00 MiB for "):  # before it is replaced
        check_disk(tmp_path, shapes)
