"""`--num-devices`: the seeds of a run, or the environments of one agent, over several devices."""

import csv
import json
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxrl.cli.command import main, prepare_jax
from jaxrl.experiments import ppo_cartpole

SHORT = ["--total-steps", "4096", "--log-every", "1024", "--config.num-envs", "8", "--config.rollout-length", "32",
         "--config.hidden-sizes", "8", "--eval-episodes", "4"]  # fmt: skip
train = partial(main, ppo_cartpole.experiment)


def returns(run: Path) -> np.ndarray:
    with (run / "metrics.csv").open() as file:
        return np.array([float(row["value_loss"]) for row in csv.DictReader(file)])


@pytest.mark.parametrize("seeds", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_a_run_is_the_same_on_two_devices(run_main, tmp_path, monkeypatch, seeds: str) -> None:
    monkeypatch.setattr("jaxrl.runs.train.record_video", lambda *_: None)
    for devices in ("1", "2"):
        arguments = [*SHORT, "--num-seeds", seeds, "--num-devices", devices, "--out", str(tmp_path / devices)]
        code, _, err = run_main(train, *arguments)
        assert code == 0, err
    np.testing.assert_allclose(returns(tmp_path / "1"), returns(tmp_path / "2"), rtol=1e-2)
    summaries = [json.loads((tmp_path / devices / "summary.json").read_text()) for devices in "12"]
    assert [len(summary["eval_return_per_seed"]) for summary in summaries] == [int(seeds)] * 2


def test_a_cpu_becomes_at_most_a_device_for_each_core(monkeypatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    monkeypatch.setattr(jax.config, "update", lambda name, value: asked.append(value) if "devices" in name else None)
    for number in (None, 1, 2, 50):
        prepare_jax(num_cpu_devices=number)
    assert asked == [3, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--num-devices 99", "--num-devices must be at most 8, the number of cpu devices, got 99"),
        ("--num-devices 0", "--num-devices must be > 0, got 0"),
        ("--num-devices 3", "--config.num-envs must be a multiple of the 3 devices, got 8"),
        ("--num-devices 2 --num-seeds 3", "--num-seeds must be a multiple of the 2 devices, got 3"),
    ],
)
def test_devices_that_do_not_fit(run_main, tmp_path, arguments: str, message: str) -> None:
    code, _, err = run_main(train, *SHORT, *arguments.split())
    assert (code, err) == (2, [f"error: {message}"])
    assert not list(tmp_path.iterdir())
