"""`benchmark agents`: its measurements, its record, its picture and bad input."""

import json
import re
import statistics

import pytest
from PIL import Image

from jaxrl.benchmarks import measure_agents
from jaxrl.experiments import benchmark
from tests.integration.commands import command


@pytest.mark.slow
def test_the_record(tmp_path) -> None:
    sizes = "--experiment ppo_cartpole --num-agents 1 2 --config num_envs=2 rollout_length=32 --num-devices 2"
    options = [*sizes.split(), "--seconds", "0.01", "--repeats", "3"]
    code, out, err = command("benchmark", "agents", *options, "--record", str(tmp_path))
    assert code == 0, err
    assert "ratio" in out
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [(row["agents"], row["devices"]) for row in rows] == [(1, 1), (2, 2)]
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


def test_one_agent_is_a_level_line_in_the_picture(tmp_path, monkeypatch) -> None:
    """At the median of its measurements, which are dots."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _: drawn.append(figure))
    speeds = {"env_steps_per_second": 5e4, "experiment": "dqn_minatar"}
    rows = [{"agents": a, "env_steps_per_second_alone": x, **speeds} for a, x in ((4, 4e4), (16, 3e4), (64, 45e3))]
    measure_agents.draw(rows, "a machine", tmp_path / "picture.png")
    axes = drawn[0].axes[0]
    _, level, dots = axes.lines
    assert list(level.get_ydata()) == [4e4, 4e4]
    assert list(dots.get_ydata()) == [4e4, 3e4, 45e3]
    assert dots.get_linestyle() == "None"
    drawn[0].draw_without_rendering()
    assert axes.get_yticklabels()[0].get_text() == "0"
    assert axes.get_ylim() == (0, 52_500)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--num-agents", "--num-agents must have at least one value, got none"),
        ("--num-agents 0", "--num-agents must be > 0, got 0"),
        ("--experiment ppo_cartpol", r"--experiment must be one that trains \(the nearest is ppo_cartpole\)"),
        ("--config num_boards=3", "--config must name fields of dqn_minatar's config, got 'config.num_boards'"),
        ("--config num_envs=0", "--config.num-envs must be > 0, got 0"),
        ("--config foo", "--config must be NAME=VALUE, with the name of an option, got 'foo'"),
        ("--num-devices 99", "--num-devices must be at most 8"),
    ],
)
def test_bad_input_is_one_line(arguments: str, message: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark", "agents", *arguments.split()])
    monkeypatch.setattr(benchmark.measure_agents, "measure", lambda *_: pytest.fail("it started to compile"))
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err)
