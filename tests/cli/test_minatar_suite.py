"""The suite: a sweep over games for each algorithm, drawn and recorded side by side."""

import polars as pl
import pytest
from PIL import Image

import jaxrl
from jaxrl.experiments import minatar_suite


@pytest.mark.slow
def test_it_trains_draws_and_records(run_main, tmp_path) -> None:
    arguments = ["--games", "Breakout", "--algorithms", "pqn", "--total-steps", "8192", "--num-seeds", "2"]
    arguments += ["--out", "a", "--record", "b"]
    code, lines, errors = run_main(minatar_suite.main, *arguments)
    assert (code, errors) == (0, [])
    assert "picture: a/minatar_suite.png" in lines
    assert jaxrl.load("a/pqn", agent=1).options.task.env == "Breakout-MinAtar"
    with Image.open("b/minatar_suite.png") as picture:
        assert picture.height > 300
    found = pl.read_parquet("b/results.parquet")
    assert found.select("algorithm", "env", "seed").rows() == [
        ("PQN", "Breakout-MinAtar", 0),
        ("PQN", "Breakout-MinAtar", 1),
    ]
    assert "| PQN on Breakout |" in (tmp_path / "b" / "README.md").read_text()


def test_its_sweeps_vary_the_games() -> None:
    options = minatar_suite.SuiteOptions(games=("Freeway", "Asterix"), total_steps=9_000, seed=3, num_seeds=2)
    spec = minatar_suite.make_spec(options, "pqn")
    assert [values["env"] for values in spec.draws] == ["Freeway-MinAtar", "Asterix-MinAtar"]
    assert (spec.experiment.algorithm, spec.seeds, spec.options.budget.seed) == ("PQN", 2, 3)
    assert spec.options.budget.total_steps == 9_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--num-seeds 0", "error: --num-seeds must be > 0, got 0"),
        ("--out a --record a/dqn", "error: --record must be another directory than that of the run, got a/dqn"),
        ("--resume", "error: --out must name the directory of the sweep to resume"),
        ("--games", "error: --games must name at least one, got none"),
    ],
)
def test_bad_input(run_main, tmp_path, arguments: str, message: str) -> None:
    code, _, errors = run_main(minatar_suite.main, *arguments.split())
    assert (code, errors) == (2, [message])
    assert not list(tmp_path.iterdir())
