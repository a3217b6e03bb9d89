"""Loggers: what they write, and how they are named."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.training import Program, run
from jaxrl.training.loggers import (
    LOGGERS,
    CSVLogger,
    Logger,
    Profiler,
    RunInfo,
    TensorBoardLogger,
    WandbLogger,
    make_loggers,
)
from jaxrl.types import Mean
from tests.events import read_events, read_purges

ROW = {"env_steps": 10, "loss": np.array([0.1, np.nan]), "episodes": np.array([3, 4]), "wall_seconds": 2.0}


def test_a_mean_of_nothing_is_nan() -> None:
    np.testing.assert_array_equal(Mean(jnp.float32([6, 0]), jnp.int32([3, 0])).value(), [2, np.nan])


def test_a_csv_file_has_a_line_for_each_row_and_agent(tmp_path) -> None:
    logger = CSVLogger()
    logger.open(RunInfo(tmp_path, agents=[3, 4], label="agent"))
    logger.write(ROW)
    logger.write(ROW | {"env_steps": 20})
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == [
        "agent,env_steps,loss,episodes,wall_seconds",
        "3,10,0.1,3,2",
        "4,10,,4,2",
        "3,20,0.1,3,2",
        "4,20,,4,2",
    ]


def test_a_disk_that_fails_is_named_with_the_file(tmp_path) -> None:
    logger = CSVLogger()
    logger.open(RunInfo(tmp_path / "missing", agents=[0]))
    (tmp_path / "missing").rmdir()
    with pytest.raises(OSError, match=r"cannot write: No such file or directory: .*missing/metrics\.csv"):
        logger.write({"env_steps": 10})


@pytest.mark.parametrize("logger", [CSVLogger, TensorBoardLogger, WandbLogger])
def test_a_directory_is_made_before_anything_trains(tmp_path, monkeypatch, logger) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Wandb(fails=False, runs=[]))
    logger().open(RunInfo(tmp_path / "new" / "run", agents=[0]))
    assert (tmp_path / "new" / "run").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        logger().open(RunInfo(tmp_path / "file" / "run", agents=[0]))


@pytest.mark.parametrize(("agent", "lost"), [(3, 10), (4, 20)])
def test_a_row_that_one_agent_lacks_is_missed(tmp_path, agent: int, lost: int) -> None:
    said: list[str] = []
    info = RunInfo(tmp_path, agents=[3, 4], metrics=["loss"], row_ends=[10, 20], notify=said.append)
    logger = CSVLogger()
    logger.open(info)
    for end in (10, 20):
        logger.write({"env_steps": end, "loss": np.array([0.1, 0.2]), "env_steps_per_second": 1.0, "wall_seconds": 2.0})
    logger.resume(20)
    assert said == []
    path = tmp_path / "metrics.csv"
    path.write_text("".join(x for x in path.read_text().splitlines(True) if not x.startswith(f"{agent},{lost},")))
    logger.resume(20)
    assert f"lacks 1 of the 2 rows until the checkpoint, those of environment steps {lost} to {lost};" in said[0]


def test_scalars_are_tagged_by_agent() -> None:
    assert RunInfo(agents=[3, 4]).scalars(ROW) == {
        "seed_3/loss": 0.1, "seed_3/episodes": 3, "seed_3/wall_seconds": 2.0, "seed_4/episodes": 4,
        "seed_4/wall_seconds": 2.0,
    }  # fmt: skip
    assert RunInfo(agents=[3]).scalars(ROW) == {"loss": 0.1, "episodes": 3, "wall_seconds": 2.0}


def test_a_run_without_rows_leaves_no_tensorboard_file(tmp_path) -> None:
    for rows in (0, 1):
        logger = TensorBoardLogger()
        logger.open(RunInfo(tmp_path, agents=[3, 4]))
        logger.resume(100)
        for _ in range(rows):
            logger.write(ROW)
        logger.close()
        assert (tmp_path / "tensorboard").exists() == bool(rows)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    assert read_purges(tmp_path / "tensorboard") == [101]  # the row at the checkpoint stays
    scalars = read_events(tmp_path / "tensorboard")
    assert ("seed_4/episodes", 10, 4.0) in scalars
    assert ("seed_3/loss", 10, pytest.approx(0.1)) in scalars
    assert not any(tag == "seed_4/loss" for tag, *_ in scalars)


class Recorder(Logger):
    """A custom logger, which records every call."""

    calls: list[tuple] = []  # noqa: RUF012

    def open(self, run):
        self.calls.append(("open", run))

    def resume(self, env_steps):
        self.calls.append(("resume", env_steps))

    def write(self, row):
        self.calls.append(("write", row["env_steps"]))

    def progress(self, env_steps, total_steps, steps_per_second):
        self.calls.append(("progress", env_steps, total_steps))
        assert steps_per_second > 0

    def close(self):
        self.calls.append(("close",))


NOT_A_LOGGER = 3


def test_loggers_are_named() -> None:
    assert [type(logger) for logger in make_loggers(["csv", "tensorboard"])] == [CSVLogger, TensorBoardLogger]
    assert list(LOGGERS) == ["csv", "tensorboard", "wandb"]
    assert [type(logger) for logger in make_loggers([f"{__name__}:Recorder"])] == [Recorder]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cvs", r"^loggers must be csv, tensorboard, wandb or module:attribute, got 'cvs'$"),
        (
            "no_such_module:Logger",
            r"^loggers must name a logger that can be imported \(No module named .*\), got 'no_su",
        ),
        ("jaxrl.training.loggers:None", "^loggers must name a logger that can be imported"),
        (f"{__name__}:NOT_A_LOGGER", "^loggers must name a subclass of jaxrl.Logger, got .*, which gives a int$"),
        ("builtins:list", "^loggers must name a subclass of jaxrl.Logger, got 'builtins:list', which gives a list$"),
    ],
)
def test_unknown_loggers_are_refused(name: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make_loggers(["csv", name])


def test_a_logger_learns_about_its_run(small_trainer, hparams, tmp_path) -> None:
    program, recorder, total = Program(small_trainer, jax.random.key(0), hparams), Recorder(), 16 + 8 * 5
    Recorder.calls.clear()
    config = {"env": "Breakout-MinAtar", "hparams.learning_rate": 1e-3}
    info = RunInfo(tmp_path, config)
    run(program, jax.random.key(0), hparams, total, log_every=16, loggers=[recorder, Logger()], info=info)
    name, opened = recorder.calls[0]
    assert (name, opened.directory, opened.config) == ("open", tmp_path, config)
    assert list(opened.agents) == [0]
    assert {"loss", "episode_return"} <= set(opened.metrics)
    assert list(opened.row_ends) == [32, 48]
    assert [call for call in recorder.calls if call[0] == "write"] == [("write", 32), ("write", 48), ("write", 56)]
    assert ("progress", 56, total) in recorder.calls
    assert recorder.calls[-1] == ("close",)


def test_a_run_that_is_refused_opens_no_logger(small_trainer, hparams) -> None:
    Recorder.calls.clear()
    with pytest.raises(ValueError, match="total_steps must be at least"):
        run(small_trainer, jax.random.key(0), hparams, 1, loggers=[Recorder()])
    assert Recorder.calls == [("close",)]


def test_a_profile_covers_a_few_calls(tmp_path, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda directory: calls.append(directory))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: calls.append("stop"))
    profiler = Profiler(tmp_path)
    for _ in range(2 + Profiler.CALLS):
        profiler.progress(1, 2, 3.0)
    profiler.close()
    assert calls == [str(tmp_path), "stop"]


class Wandb(SimpleNamespace):
    """A stand-in for wandb, which records its arguments."""

    Error = ConnectionError

    def init(self, **arguments):
        if self.fails:
            raise ConnectionError("No API key configured.\nUse `wandb login`")
        self.runs.append(SimpleNamespace(rows=[], **arguments))
        self.runs[-1].log = lambda row, step: self.runs[-1].rows.append((step, row))
        self.runs[-1].finish = lambda: self.runs[-1].rows.append("finished")
        return self.runs[-1]

    def Settings(self, **settings):
        return settings


def test_wandb_is_given_the_configuration_and_all_rows(tmp_path, monkeypatch) -> None:
    """A resumed run keeps its id."""
    wandb = Wandb(fails=False, runs=[])
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    for _ in range(2):
        (logger,) = make_loggers(["wandb"])
        logger.open(RunInfo(tmp_path, {"seed": 3}, [3, 4]))
        logger.resume(10)
        logger.write(ROW)
        logger.close()
    first, second = wandb.runs
    assert (first.config, first.name, first.project) == ({"seed": 3}, tmp_path.name, "jaxrl")
    assert first.rows == [(10, RunInfo(agents=[3, 4]).scalars(ROW)), "finished"]
    assert (first.id, first.resume) == (second.id, "allow")


def test_wandb_that_cannot_be_used_is_an_error_in_one_line(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ArgumentError, match=r"^loggers must be installed packages \(pip install wandb\), got 'wandb'$"):
        WandbLogger()
    monkeypatch.setitem(sys.modules, "wandb", Wandb(fails=True, runs=[]))
    logger = WandbLogger()
    rule = r"^loggers must be able to write \(No API key configured, or set WANDB_MODE=offline\), got 'wandb'$"
    with pytest.raises(ArgumentError, match=rule):
        logger.open(RunInfo(tmp_path))
    logger.close()


OFFLINE = """
import sys
from pathlib import Path
from jaxrl.training.loggers import RunInfo, WandbLogger

logger = WandbLogger()
logger.open(RunInfo(Path(sys.argv[1]), {"hparams.learning_rate": 0.125}, [3]))
logger.write({"env_steps": 10, "loss": 0.5})
logger.close()
"""


def wandb_records(data: bytes) -> Iterator[Any]:
    """The records in one of wandb's files, which has LevelDB's log format after a header of 7 bytes."""
    record: Any = import_module("wandb.proto.wandb_internal_pb2").Record
    data = data[7:]
    while data:
        size, kind = int.from_bytes(data[4:6], "little"), data[6]
        assert kind == 1  # a record in one piece
        yield record.FromString(data[7 : 7 + size])
        data = data[7 + size :]


def test_wandb_writes_offline_runs(tmp_path, monkeypatch) -> None:
    """In another process, because wandb starts a service and threads."""
    pytest.importorskip("wandb", reason="wandb is not installed")
    for name, value in {"WANDB_MODE": "offline", "WANDB_SILENT": "true", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    subprocess.run([sys.executable, "-c", OFFLINE, str(tmp_path)], check=True, timeout=300)
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    records = list(wandb_records(file.read_bytes()))

    def values(items) -> dict[str, Any]:
        return {item.key or item.nested_key[0]: json.loads(item.value_json) for item in items}

    rows = [values(record.history.item) for record in records if record.HasField("history")]
    assert [(row["_step"], row["loss"]) for row in rows] == [(10, 0.5)]
    assert any(values(record.run.config.update).get("hparams.learning_rate") == 0.125 for record in records)
