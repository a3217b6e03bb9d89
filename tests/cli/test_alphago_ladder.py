"""`alphago_ladder`: what it reports of matches, and bad input; slowly, a whole ladder in a small game."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from jaxrl.arguments import ArgumentError
from jaxrl.experiments import alphago_ladder
from jaxrl.experiments.alphago_ladder import Ladder, LadderOptions, all_matches, report
from jaxrl.games import TicTacToe, elo_ratings, greedy_player, random_openings, random_player
from jaxrl.runs import Task, run_directory
from jaxrl.runs.options import flatten
from jaxrl.types import Transition


def test_it_reports_ratings_and_relations(tmp_path, capsys) -> None:
    names = ["random", "AlphaGo: cloned policy", "AlphaGo: policy", "AlphaGo: search", "AlphaZero: search"]
    counts = np.zeros((5, 5, 3), int)
    for i in range(5):
        for j in range(i):
            counts[i, j], counts[j, i] = (80, 0, 20), (20, 0, 80)
    counts[4, 3], counts[3, 4] = (70, 20, 10), (10, 20, 70)
    names.insert(4, "AlphaZero: policy")  # as strong as AlphaGo's search
    counts = np.insert(np.insert(counts, 4, counts[3], 0), 4, counts[:, 3][[0, 1, 2, 3, 3, 4]], 1)
    counts[3, 4] = counts[4, 3] = (50, 0, 50)
    ladder = Ladder(names, counts, {"AlphaGo: policy": 0.05}, {"games": 7})
    options = LadderOptions(out=tmp_path, record=tmp_path / "record")
    report(ladder, options, Console(width=160))
    found = json.loads((tmp_path / "ladder.json").read_text())
    assert found["players"] == names
    np.testing.assert_allclose(found["elo"], elo_ratings(counts @ [1, 0.5, 0], prior_draws=1.0).elo)
    assert found["elo"][0] == 0
    assert np.all(np.diff(found["elo"])[[0, 1, 2, 4]] > 50)
    assert abs(found["elo"][4] - found["elo"][3]) < 5
    text = (tmp_path / "record" / "README.md").read_text()
    assert "| AlphaGo: policy against AlphaGo: cloned policy | 80, 0, 20 | 80.0% (71.1% to 86.7%) |" in text
    assert "| AlphaZero: search against AlphaGo: search | 70, 20, 10 | 80.0% (71.1% to 86.7%) |" in text
    assert "| AlphaGo: search against AlphaGo: policy | 80, 0, 20 |" in text
    assert "| AlphaGo: policy | 5.00% |" in text
    assert (tmp_path / "record" / "ladder.png").read_bytes() == (tmp_path / "ladder.png").read_bytes()
    assert "AlphaGo: policy" in capsys.readouterr().out


def test_games_of_the_experts_are_those_of_the_options(monkeypatch, tmp_path) -> None:
    steps = np.zeros((2, 3), np.float32), np.zeros(2, np.int32), np.zeros(2, np.float32), np.array([False, True])
    monkeypatch.setattr(alphago_ladder, "game_player", lambda *_: None)
    games = Transition(*steps, np.zeros(2, bool), steps[0])
    monkeypatch.setattr(alphago_ladder, "record_dataset", lambda *_: (games, {"episodes": 1}))
    options = LadderOptions(out=tmp_path, expert_games=1)
    for _ in range(2):
        assert alphago_ladder.write_experts(options, Task(options.env)).exists()
    for name, value in (("expert_games", 2), ("expert_noise", 0.5), ("seed", 7)):
        others = dataclasses.replace(options, **{name: value})
        with pytest.raises(ArgumentError, match=rf"^{name} must be .*, as in .*experts.npz, got {value}$"):
            alphago_ladder.write_experts(others, Task(options.env))


def test_all_players_meet_all_others(monkeypatch) -> None:
    options = LadderOptions(match_games=40, opening_moves=1)
    counts = all_matches(TicTacToe(), [random_player, greedy_player(TicTacToe())], options)
    assert (counts.sum(2) == [[0, 40], [40, 0]]).all()
    np.testing.assert_array_equal(counts[0, 1], counts[1, 0][::-1])
    assert counts[1, 0, 0] > 25
    begun = []

    def no_openings(game, key, number, moves):
        begun.append((number, moves))
        return random_openings(game, key, number, 0)

    monkeypatch.setattr("jaxrl.games.random_openings", no_openings)
    all_matches(TicTacToe(1, 2, 2), [random_player] * 2, LadderOptions(match_games=5, opening_moves=3))
    assert begun == [(3, 3)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stages", "alphago", "alphago"), "--stages must be one or more different ones, got alphago alphago"),
        (("--out", "x", "--record", "x"), "--record must be another directory than that of the run, got x"),
        (("--record", __file__), f"--record must be a directory that can be made (File exists), got {__file__}"),
        (("--match-games", "1"), "--match-games must be >= 2, got 1"),
    ],
)
def test_bad_options_are_refused(run_main, arguments, message: str) -> None:
    assert run_main(alphago_ladder.main, *arguments)[::2] == (2, [f"error: {message}"])


def test_stages_of_other_options_are_refused(run_main, tmp_path, monkeypatch) -> None:
    """A stage that is there is kept, but not for another number of moves or simulations; AlphaGo plays as many games.

    All searches have as many simulations when they play.
    """
    trained = []

    def train(experiment, options, console):
        directory = options.execution.out
        directory.mkdir(parents=True)
        run_directory.write_json(
            directory / "config.json", {"experiment": experiment.name, "options": flatten(options)}
        )
        run_directory.write_json(directory / "summary.json", {})
        (directory / "metrics.csv").write_text("episodes\n100\n200\n")
        trained.append((experiment.name, options.budget.total_steps, getattr(options.config, "play_simulations", None)))
        return None, {}

    monkeypatch.setattr(alphago_ladder, "train", train)
    monkeypatch.setattr(alphago_ladder, "measure", lambda options: None)
    monkeypatch.setattr(alphago_ladder, "write_experts", lambda options, task: tmp_path / "experts.npz")
    monkeypatch.setattr(alphago_ladder, "report", lambda *_: None)
    monkeypatch.setattr(run_directory, "checkpoints", lambda directory: SimpleNamespace(steps=lambda: [1]))
    arguments = ("--stages", "alphago", "alphazero", "--out", "up", "--moves", "9000")
    for _ in range(2):
        assert run_main(alphago_ladder.main, *arguments)[0] == 0
    games = 300 * 15  # those of AlphaZero, with room for 15 moves each
    assert trained == [("alphazero_connect_four", 9000, 8), ("alphago_connect_four", games, None)]
    for other, option in (("--moves", "learning-rate-decay-steps"), ("--num-simulations", "num-simulations")):
        code, _, err = run_main(alphago_ladder.main, *arguments, other, "8500")
        assert code == 2
        assert f"{option} must stay" in err[0]


@pytest.mark.slow
def test_a_whole_ladder(run_main, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("jaxrl.runs.train.record_video", lambda *_: None)
    for stage in alphago_ladder.STAGES:
        experiment, values = alphago_ladder.STAGES[stage]
        small = {"config.hidden_sizes": [16], "config.conv_features": 8}
        monkeypatch.setitem(alphago_ladder.STAGES, stage, (experiment, values | small))
    arguments = ("--env", "game:tic_tac_toe", "--env-options", "random_moves=5", "--out", "up")
    more = ("--moves", "9000", "--match-games", "20", "--opening-moves", "1", "--num-simulations", "4")
    assert run_main(alphago_ladder.main, *arguments, *more)[0] == 0
    found = json.loads((tmp_path / "up" / "ladder.json").read_text())
    assert len(found["players"]) == 11
    assert len(found["mistakes"]) == 8
    assert abs(found["games of AlphaGo"] - found["games of AlphaZero"]) < 33
