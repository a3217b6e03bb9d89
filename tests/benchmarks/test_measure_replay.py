"""`benchmark replay`: its loops, its record and bad input."""

import json
import re
import sys

import numpy as np
import pytest

from jaxrl.benchmarks.measure_replay import ROW, STRUCTURES, sampling_loop
from jaxrl.benchmarks.timing import compile_loop
from jaxrl.experiments import benchmark
from tests.integration.commands import command


def test_all_structures_sample_alike() -> None:
    """They find the same indices at every step, and end with the same priorities."""
    tree, running = (compile_loop(*sampling_loop(structure, 4 * ROW, 2, 8)) for structure in STRUCTURES.values())
    for program in (tree, running):
        program.run(2)
        assert program.carry[0] == 2
    np.testing.assert_array_equal(tree.carry[3], running.carry[3])
    np.testing.assert_array_equal(tree.carry[2][0], running.carry[2])
    changed = np.asarray(running.carry[2])[:, : 2 * ROW] != 1  # of the rows of ones that two steps wrote
    assert changed.any()
    assert changed.sum() < 2 * 16


def test_the_record(tmp_path) -> None:
    sizes = "--capacities 1000 --num-agents 2 --batch-sizes 4 --seconds 0.001 --repeats 1"
    code, out, err = command("benchmark", "replay", *sizes.split(), "--record", str(tmp_path))
    assert code == 0, err
    assert "cumulative sum" in out
    results = json.loads((tmp_path / "results.json").read_text())
    assert [row["structure"] for row in results["rows"]] == list(STRUCTURES)
    for row in results["rows"]:
        assert (row["capacity"], row["agents"], row["batch_size"]) == (1000, 2, 4)
        assert row["microseconds"] == pytest.approx(row["seconds"][0] / row["num_steps"] / 2 * 1e6)
    page = (tmp_path / "README.md").read_text()
    assert sizes in page
    assert "| 1,000 | 2 | 4 |" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--capacities", "--capacities must have at least one value, got none"),
        ("--num-agents 0", "--num-agents must be > 0, got 0"),
    ],
)
def test_bad_input_is_one_line(arguments: str, message: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "replay", *arguments.split()])
    monkeypatch.setattr(benchmark.measure_replay, "measure", lambda *_: pytest.fail("it started to compile"))
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_an_unknown_benchmark_is_named(monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "envz"])
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    assert end.value.code == 2
    names = "envs, replay, agents, train, robots, atari, limits, accelerator"
    assert capsys.readouterr().err == f"error: the benchmark must be one of {names}, got 'envz'\n"
