"""`benchmark robots`: its record, its settings and bad input."""

import json
import sys
from typing import Any

import jax
import pytest

from jaxrl.benchmarks.measure_robots import describe, device_put_replicated, match, tabulate
from jaxrl.experiments import benchmark, ppo_robot, sac_robot
from tests.integration.commands import command


def test_the_settings_are_those_of_the_experiments() -> None:
    """But for what brax cannot have."""
    ppo, sac = (match(each.experiment, "brax:hopper", "spring") for each in (ppo_robot, sac_robot))
    assert ppo.task.env == "brax:hopper"
    assert ppo.task.env_options == ("backend=spring",)
    assert ppo.config == ppo_robot.experiment.defaults.config
    assert sac.config.n_step == 1
    assert sac.config.batch_size == sac_robot.experiment.defaults.config.batch_size


def test_the_table() -> None:
    def row(library: str, speed: float) -> dict[str, Any]:
        speeds = {"env_steps_per_second": speed, "slowest": speed / 2, "fastest": 2 * speed, "seconds": [1.0] * 3}
        return {"experiment": "ppo_robot", "env": "brax:ant", "backend": "spring", "compile_seconds": 9.5, **speeds}

    rows = [row("jaxrl", 3000.0), row("brax", 2000.0)]
    line = ("ppo_robot", "brax:ant (spring)", "3k (1.5k to 6k)", "2k (1k to 4k)", "1.50", "9.5, 9.5")
    assert tabulate(rows).row(0) == line
    assert "medians of 3 runs" in describe(rows)


def test_jax_is_left_as_it_was() -> None:
    before = set(vars(jax))
    with device_put_replicated():
        assert jax.device_put_replicated({"x": 1.0}, [0, 1])["x"].tolist() == [1.0, 1.0]
    assert set(vars(jax)) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--envs Pendulum-v1", "--envs must be a robot of brax, such as brax:hopper, got 'Pendulum-v1'"),
        ("--envs", "--envs must have at least one value, got none"),
    ],
)
def test_bad_input(arguments: str, message: str, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "robots", *arguments.split()])
    with pytest.raises(SystemExit, match=r"^2$"):
        benchmark.main()
    assert capsys.readouterr().err.strip().endswith(message)


@pytest.mark.slow
def test_the_record(tmp_path) -> None:
    pytest.importorskip("brax")
    sizes = "--seconds 0.01 --repeats 2 --envs brax:inverted_pendulum"
    code, out, err = command("benchmark", "robots", *sizes.split(), "--record", str(tmp_path))
    assert code == 0, err
    assert "ppo_robot" in out
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [(row["experiment"], row["library"]) for row in rows] == [
        (name, library) for name in ("ppo_robot", "sac_robot") for library in ("jaxrl", "brax")
    ]
    assert all(len(row["seconds"]) == 2 and row["compile_seconds"] > 0 for row in rows)
    assert sizes in (tmp_path / "README.md").read_text()
