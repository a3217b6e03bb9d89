"""What `benchmark agents` measures is what it says, and what it leaves can be read."""

import json
import re
import statistics

import pytest
from PIL import Image

from jaxrl.experiments import benchmark
from tests.integration.commands import command


def test_the_record(tmp_path) -> None:
    sizes = "--experiment ppo_cartpole --agents 1 4 --config num_envs=2 rollout_length=32 --num-devices 2"
    options = [*sizes.split(), "--seconds", "0.01", "--repeats", "3"]
    code, out, err = command("benchmark", "agents", *options, "--record", str(tmp_path))
    assert code == 0, err
    assert "ratio" in out
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [(row["agents"], row["devices"]) for row in rows] == [(1, 1), (4, 2)]
    for row in rows:
        rates = [row["num_steps"] * row["agents"] * 2 * 32 / seconds for seconds in row["seconds"]]
        assert row["env_steps_per_second"] == pytest.approx(statistics.median(rates))
        assert row["ratio"] == pytest.approx(row["env_steps_per_second"] / row["env_steps_per_second_alone"])
        assert row["memory_gib"] > 0
    page = (tmp_path / "README.md").read_text()
    assert sizes in page
    assert "but num_envs=2, rollout_length=32" in page
    with Image.open(tmp_path / "agents.png") as picture:
        assert picture.size == (960, 540)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--agents", "--agents must name at least one, got none"),
        ("--agents 0", "--agents must be > 0, got 0"),
        ("--experiment ppo_cartpol", r"--experiment must be one that trains \(the nearest is ppo_cartpole\)"),
        ("--config num_worlds=3", "--config: dqn_minatar has no config.num_worlds"),
        ("--config num_envs=0", "--config.num-envs must be > 0, got 0"),
        ("--num-devices 99", "--num-devices must be at most 8"),
    ],
)
def test_bad_input_is_one_line(arguments: str, message: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark", "agents", *arguments.split()])
    monkeypatch.setattr(benchmark.populations, "measure_agents", lambda *_: pytest.fail("it started to compile"))
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err)
