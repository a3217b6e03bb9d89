"""The suite: runs of other experiments, drawn and recorded side by side."""

import csv

import pytest
from PIL import Image

from jaxrl.experiments import minatar_suite


@pytest.mark.slow
def test_it_trains_draws_and_records(run_main, tmp_path) -> None:
    arguments = ["--games", "Breakout", "--algorithms", "pqn", "--total-steps", "8192", "--num-seeds", "2"]
    arguments += ["--out", "a", "--record", "b"]
    code, lines, errors = run_main(minatar_suite.main, *arguments)
    assert (code, errors) == (0, [])
    assert "picture: a/minatar_suite.png" in lines
    assert (tmp_path / "a" / "pqn_breakout" / "policy.gif").exists()
    with Image.open("b/minatar_suite.png") as picture:
        assert picture.height > 300
    with open("b/results.csv", newline="") as file:
        assert [(row["run"], row["seed"]) for row in csv.DictReader(file)] == [
            ("pqn_breakout", "0"),
            ("pqn_breakout", "1"),
        ]
    assert "| PQN on Breakout |" in (tmp_path / "b" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--num-seeds 0", "error: --num-seeds must be > 0, got 0"),
        ("--resume", "error: --resume needs --out DIR, the study to continue"),
    ],
)
def test_bad_input(run_main, tmp_path, arguments: str, message: str) -> None:
    code, _, errors = run_main(minatar_suite.main, *arguments.split())
    assert (code, errors) == (2, [message])
    assert not list(tmp_path.iterdir())
