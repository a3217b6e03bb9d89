"""`alphazero_tictactoe`: what it writes, and bad input."""

import json
from functools import partial

import numpy as np
import pytest

from jaxrl import load
from jaxrl.cli.command import main
from jaxrl.experiments.alphazero_connect_four import experiment as connect_four
from jaxrl.experiments.alphazero_tictactoe import experiment
from jaxrl.games import ConnectFour
from jaxrl.recipes import self_play

SMALL = [
    *("--env-options", "rows=2", "columns=3", "random_moves=5", "--total-steps", "2000", "--num-seeds", "2"),
    *("--config.num-simulations", "4", "--config.num-envs", "16", "--config.rollout-length", "8"),
    *("--config.batch-size", "32", "--config.replay-capacity", "1024", "--config.warmup-steps", "64"),
    *("--config.updates-per-iteration", "2", "--config.hidden-sizes", "16", "--eval-episodes", "4"),
]


def test_a_run_counts_its_mistakes(run_main, tmp_path, monkeypatch) -> None:
    """In all positions of a small game, of the network and of the search; a saved run plays the same moves again."""
    monkeypatch.setattr("jaxrl.runs.train.record_video", lambda *_: None)
    code, out, _ = run_main(partial(main, experiment), *SMALL, "--out", str(tmp_path / "run"))
    assert code == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["positions"] == 241
    assert summary["mistakes"] == np.mean(summary["mistakes_per_seed"])
    assert summary["mistake_rate"] == pytest.approx(summary["mistakes"] / 241)
    assert 0 <= summary["mistake_rate_search"] < summary["mistake_rate"] < 0.5
    assert any(line.startswith("mistake rate search") for line in out)
    trained = load(tmp_path / "run", seed=1)
    states = self_play.solve(trained.env.game)
    monkeypatch.setattr(self_play, "BATCH", 100)  # the last one is smaller
    raw = self_play.mistakes(trained.agent, trained.agent_state, trained.env.game, states, search=False)
    assert raw.sum() == summary["mistakes_per_seed"][1]


def test_large_games_have_no_count(monkeypatch) -> None:
    monkeypatch.setattr(self_play, "MOST_POSITIONS", 1000)
    env = self_play.GameEnvironment(ConnectFour())
    assert connect_four.report is not None
    assert connect_four.report(None, env, None, None, None) == {}


def test_other_environments_are_refused(run_main, tmp_path) -> None:
    arguments = ["--env", "CartPole-v1", "--env-options", "--out", str(tmp_path / "run")]
    code, _, err = run_main(partial(main, experiment), *arguments)
    message = "error: --env must be a game of two players, such as game:connect_four, got 'CartPole'"
    assert (code, err) == (2, [message])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--config.n-step", "3"), "AlphaZero, which learns from one position at a time, got 3"),
        (("--config.replay", "prioritised"), "AlphaZero, which learns from one position at a time, got 'prioritised'"),
        (
            ("--config.conv-features", "8", "--env-options", "rows=2", "columns=3"),
            "env game:tic_tac_toe of fewer than 3 × 3 cells, got 8",
        ),
    ],
)
def test_settings_without_effect_are_refused(run_main, tmp_path, arguments: tuple[str, ...], reason: str) -> None:
    code, _, err = run_main(partial(main, experiment), *arguments, "--out", str(tmp_path / "run"))
    assert (code, err) == (2, [f"error: {arguments[0]} has no effect with {reason}"])
