"""The page of a recorded run."""

import json
from pathlib import Path

import pytest

from jaxrl.runs.run_record import describe_measuring, describe_return, page, record, with_epsilon
from jaxrl.training.measure import AGAINST_RANDOM, NASH_CONV, NO_MISTAKES, RETURN


def test_what_is_said_of_the_epsilon_that_plays() -> None:
    assert (with_epsilon(None), with_epsilon(0.0, 0.0), with_epsilon(0.001)) == ("", "", " with ε = 0.001")
    assert with_epsilon(0.001, None, 0.01) == " with ε = 0 to 0.01"


def test_a_record_says_how_it_was_made(tmp_path: Path) -> None:
    run, kept = tmp_path / "run", tmp_path / "kept"
    run.mkdir()
    summary = {
        "algorithm": "DQN", "env": "E", "rules": "rules", "env_steps": 1000, "eval_episodes": 8, "eval_unfinished": 1,
        "eval_return_mean": 2.5, "eval_return_interval_95": 0.5, "seed": 3, "seeds": [3, 4],
        "eval_return_per_seed": [2.0, 3.0], "train_seconds": 9.0, "compile_seconds": 2.0, "device": "a machine",
        "env_steps_per_second": 222.0,
    }  # fmt: skip
    config = {
        "command": "python -m x --seed 3",
        "started": "2026-01-02T03:04",
        "commit": "abc",
        "experiment": "x",
        "options": {"out": "/a/folder"},
        "versions": {"jax": "1"},
    }
    for name, contents in (("summary.json", summary), ("config.json", config)):
        (run / name).write_text(json.dumps(contents))
    for name in ("metrics.csv", "learning_curve.png", "policy.gif"):
        (run / name).write_text(name)
    record(run, kept)
    recorded = json.loads((kept / "config.json").read_text())
    assert "started_in" not in recorded
    assert recorded["options"] == {"out": None}
    written = (kept / "README.md").read_text()
    for text in (
        "python -m x --seed 3",
        "**2.50 (2.00 to 3.00), range of 2 seeds**.\n",
        "| 4 | 3.00 |",
        "a machine",
        "at commit abc",
        "jax 1",
    ):
        assert text in written
    assert "![the policy of seed 3 playing](policy.gif)" in written
    five = summary | {"seeds": [3, 4, 5, 6, 7], "eval_return_per_seed": [2.0, 3.0, 2.5, 2.0, 3.0]}
    assert "**2.50 ± 0.62, 95 % interval over 5 seeds**." in page(config, five, (), {})
    assert sorted(path.name for path in kept.iterdir()) == sorted([*(path.name for path in run.iterdir()), "README.md"])
    assert "| | |" not in written
    entries = {
        "best_return": 3.5,
        "expert_return_mean": 3.25,
        "demonstrated_transitions": 1200,
        "losses_per_seed": [1.0],
    }
    record(run, tmp_path / "imitator", (), entries)
    imitator = (tmp_path / "imitator" / "README.md").read_text()
    best = "| return of the best agents, in the same episodes | 3.5 |"
    assert (
        f"| | |\n|---|---|\n{best}\n| expert return mean | 3.25 |\n| demonstrated transitions | 1,200 |\n\n!["
        in imitator
    )
    measured = {"eval_episodes": 1, "eval_unfinished": 0}
    said = {
        RETURN: ("Mean return of 1 episode at the end,\n0 of them unfinished: ", ["1, 0 unfinished"]),
        AGAINST_RANDOM: ("Return against a random player in 1 episode at the end,\n0 of", ["1, 0 unfinished"]),
        NO_MISTAKES: ("Moves without a mistake in 1 position at the end: ", ["1"]),
        NASH_CONV: ("a seed. Negative NashConv of the policy at the end: ", []),
    }
    for measure, (words, shown) in said.items():
        of_one = summary | measured | {"eval_measure": measure, "eval_return_std": 0.0}
        assert words in page(config, of_one, (), {})
        assert [text for _, text in describe_measuring(of_one)] == shown
    judged = {"eval_measure": NO_MISTAKES, "eval_return_per_seed": [0.998, 0.9978]}
    player = page(config, summary | judged, (), {"not_judged": "game has no judge"})
    assert "Moves without a mistake in 8 positions at the end: " in player
    assert "**99.79 (99.78 to 99.80) %, range of 2 seeds**." in player
    assert "| not judged | game has no judge |" in player
    (run / "policy.gif").unlink()  # it could not be drawn
    record(run, tmp_path / "again", ("error.png",))
    again = (tmp_path / "again" / "README.md").read_text()
    assert "![learning curve](learning_curve.png)" in again
    assert ".gif" not in again
    assert "error.png" not in again


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        ([2.5], "2.50, standard deviation over episodes 0.75"),
        ([2.0, 3.0], "2.50 (2.00 to 3.00), range of 2 seeds"),
        ([2.0, 3.0, 2.5, 2.0, 3.0], "2.50 ± 0.62, 95 % interval over 5 seeds"),
    ],
)
def test_what_stands_beside_a_return_is_said(returns: list[float], said: str) -> None:
    assert describe_return({"eval_return_std": 0.75, "eval_return_per_seed": returns}) == said
