"""`alphazero_tictactoe`: what it writes, and bad input."""

import csv
import json
from functools import partial

import numpy as np
import pytest

from jaxrl import ArgumentError, Input, load, make
from jaxrl.cli.command import main
from jaxrl.experiments import evaluate
from jaxrl.experiments.alphazero_connect_four import experiment as connect_four
from jaxrl.experiments.alphazero_tictactoe import experiment
from jaxrl.games import ConnectFour, judge
from jaxrl.recipes import self_play
from jaxrl.training.measure import mistakes, without_search

SMALL = [
    *("--env-options", "rows=2", "columns=3", "random_moves=5", "--total-steps", "2112", "--num-seeds", "2"),
    *(
        "--config.num-simulations",
        "4",
        "--config.play-simulations",
        "4",
        "--config.num-envs",
        "16",
        "--config.rollout-length",
        "8",
    ),
    *("--config.batch-size", "32", "--config.replay-capacity", "1024", "--config.warmup-steps", "64"),
    *("--config.updates-per-iteration", "2", "--config.hidden-sizes", "16", "--eval-episodes", "500"),
    *("--log-every", "500", "--eval-every", "500", "--keep-best"),
]


def test_a_run_counts_its_mistakes(run_main, tmp_path, monkeypatch) -> None:
    """In all positions of a small game, of the network and of the search; a saved run plays the same moves again.

    While it trains too: each evaluation measures the moves that are no mistakes, and the best agents are kept.
    """
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
    with pytest.raises(ArgumentError, match=r"^observations must have env_states, .* axis last, since this policy sea"):
        trained(Input(np.zeros((1, 2, 3, 2), bool)), None)
    game, alone = trained.env.game, without_search(trained.agent)
    raw = mistakes(alone, trained.agent_state, game, judge(game))
    assert raw.sum() == summary["mistakes_per_seed"][1]
    assert (summary["eval_measure"], summary["eval_episodes"]) == ("moves without a mistake", 2 * 241)
    rates = 1 - np.array(summary["mistakes_per_seed"]) / 241
    np.testing.assert_allclose(summary["eval_return_per_seed"], rates, rtol=1e-6)
    assert any(line.startswith("moves without a mistake") for line in out)
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").read_text().splitlines()))
    measured = np.array([[float(row["eval_return"]) for row in rows if row["seed"] == seed] for seed in "01"])
    assert measured.shape == (2, 4)
    np.testing.assert_allclose(summary["best_return_per_seed"], measured.max(1), rtol=1e-6)
    best = load(tmp_path / "run", seed=1, best=True)
    assert 1 - mistakes(alone, best.agent_state, game, judge(game)).mean() == pytest.approx(measured[1].max())

    code, out, _ = run_main(evaluate.main, str(tmp_path / "run"), "--seed", "1", "--episodes", "16")
    assert code == 0
    rate = f"{summary['mistakes_per_seed'][1] / 241:.2%}"
    assert out[0].startswith("mistakes in 241 positions: ")
    assert out[0].endswith(f" with its search, {rate} network alone")
    assert out[1].endswith("beginning with 0 to 1 random moves; against a random player)")
    assert out[2].startswith("mean return ")


def test_it_plays_with_averaged_parameters(monkeypatch) -> None:
    decays = []

    def averaged(agent, decay):
        decays.append(decay)
        return agent

    monkeypatch.setattr(self_play, "averaged", averaged)
    self_play.build_alphazero(*make("game:tic_tac_toe"), self_play.AlphaZero(average_decay=0.5, hidden_sizes=(4,)))
    assert decays == [0.5]


def test_games_that_nobody_judges_are_named() -> None:
    env = self_play.GameEnvironment(ConnectFour(5, 5))
    assert connect_four.report is not None
    why = "game has no exact judge: it takes up to 25 moves, got connect_four"
    assert connect_four.report(None, env, None, None, None) == {"not_judged": why}


def test_an_opponent_is_refused(run_main, tmp_path) -> None:
    arguments = ["--env-options", "opponent=random", "--out", str(tmp_path / "run")]
    code, _, err = run_main(partial(main, experiment), *arguments)
    message = "error: --env must be a game in which one agent moves for both players, got an opponent"
    assert (code, err) == (2, [message])


def test_other_environments_are_refused(run_main, tmp_path) -> None:
    arguments = ["--env", "CartPole-v1", "--env-options", "--out", str(tmp_path / "run")]
    code, _, err = run_main(partial(main, experiment), *arguments)
    message = "error: --env must be a game of two players, such as game:connect_four, got 'CartPole-v1'"
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
