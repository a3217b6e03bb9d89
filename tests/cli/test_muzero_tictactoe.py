"""`muzero_tictactoe` and its sisters: what they write, other environments, and bad input."""

import json
from functools import partial

import numpy as np
import pytest

from jaxrl import load
from jaxrl.cli.command import main
from jaxrl.experiments.muzero_tictactoe import experiment
from jaxrl.games import solve
from jaxrl.training.measure import mistakes, without_search

SMALL = [
    *("--config.num-simulations", "4", "--config.num-envs", "16", "--config.rollout-length", "8"),
    *("--config.batch-size", "32", "--config.replay-capacity", "1024", "--config.warmup-steps", "64"),
    *("--config.updates-per-iteration", "2", "--config.hidden-sizes", "16", "--config.state-size", "16"),
    *("--eval-episodes", "4", "--total-steps", "2000", "--config.unroll-steps", "2", "--config.target-steps", "3"),
]


@pytest.mark.slow
def test_a_run_counts_its_mistakes(run_main, tmp_path, monkeypatch) -> None:
    """In all positions of a small game, of the network and of the search; a saved run plays the same moves again."""
    monkeypatch.setattr("jaxrl.runs.train.record_video", lambda *_: None)
    arguments = ["--env-options", "rows=2", "columns=3", "random_moves=5", "--out", str(tmp_path / "run"), *SMALL]
    arguments += ["--config.replay", "prioritised"]
    code, _, err = run_main(partial(main, experiment), *arguments)
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["positions"] == 241
    assert 0 <= summary["mistake_rate_search"] < 0.5
    trained = load(tmp_path / "run")
    solution = solve(trained.env.game)
    raw = mistakes(without_search(trained.agent), trained.agent_state, trained.env.game, solution)
    assert raw.sum() == summary["mistakes"]
    searched = mistakes(trained.agent, trained.agent_state, trained.env.game, solution)
    assert np.mean(searched) == pytest.approx(summary["mistake_rate_search"])


@pytest.mark.slow
def test_a_player_alone(run_main, tmp_path, monkeypatch) -> None:
    """There are no mistakes to count."""
    monkeypatch.setattr("jaxrl.runs.train.record_video", lambda *_: None)
    arguments = ["--env", "CartPole-v1", "--config.max-value", "100", "--out", str(tmp_path / "run"), *SMALL]
    code, _, err = run_main(partial(main, experiment), *arguments)
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert "mistakes" not in summary
    assert summary["eval_return_mean"] > 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--config.n-step", "3"),
            "--config.n-step has no effect with MuZero, whose sequences follow from config.unroll_steps and "
            "config.target_steps, got 3",
        ),
        (
            ("--config.conv-features", "8", "--env", "CartPole-v1"),
            "--config.conv-features has no effect with env CartPole-v1, which shows no board, got 8",
        ),
        (
            ("--hparams.priority-exponent", "0.3"),
            "--hparams.priority-exponent has no effect with config.replay uniform, got 0.3",
        ),
        (("--config.num-simulations", "1"), "--config.num-simulations must be >= 2, got 1"),
        (("--config.max-value", "0"), "--config.max-value must be > 0, got 0.0"),
        (("--config.unroll-steps", "0"), "--config.unroll-steps must be > 0, got 0"),
        (
            ("--config.replay-capacity", "256"),
            "--config.replay-capacity must be at least 3072, a sequence of each of 256 environments, got 256",
        ),
        (
            ("--env", "Pendulum-v1"),
            "--env must have discrete actions, got Pendulum-v1, whose actions are a Box",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line(run_main, tmp_path, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run_main(partial(main, experiment), *arguments, "--out", str(tmp_path / "run"))
    assert code == 2
    assert err == [f"error: {message}"]
    assert not (tmp_path / "run").exists()
