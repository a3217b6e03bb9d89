"""Commands for small games: `cfr_leduc`, `selfplay_kuhn` and `league_leduc`, their files, resuming, and bad input."""

import json
import re
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxrl
from jaxrl import game_theory
from jaxrl.cli.command import main
from jaxrl.experiments import cfr_leduc, evaluate, league_connect_four, league_leduc, play, selfplay_kuhn
from jaxrl.recipes.leagues import rated_places
from jaxrl.types import Input

KUHN = ("--env", "game:kuhn_poker")
SMALL_LEAGUE = (
    *KUHN,
    "--config.copy-every",
    "5",
    "--config.hidden-sizes",
    "8",
    "--config.capacity",
    "16",
    "--log-every",
    "15",
)


def read(directory: str) -> dict:
    return json.loads((Path(directory) / "summary.json").read_text())


def test_a_solver_runs_resumes_and_is_measured(run_main) -> None:
    train = partial(main, cfr_leduc.experiment)
    code, out, err = run_main(train, *KUHN, "--out", "run", "--total-steps", "40")
    assert code == 0, err
    code, out, err = run_main(train, *KUHN, "--out", "run", "--total-steps", "100", "--resume", "--record", "page")
    assert code == 0, err
    assert "nash conv" in " ".join(out)
    game, summary = game_theory.make_game("kuhn_poker"), read("run")
    with jax.enable_x64(True):
        expected = game_theory.solve(game_theory.cfr_plus(), game, 100)
    assert summary["nash_conv"] == pytest.approx(float(expected.nash_conv[-1]), abs=1e-5)
    assert summary["exploitability"] == summary["nash_conv"] / 2
    assert summary["eval_return_mean"] == pytest.approx(-summary["nash_conv"], abs=1e-6)
    assert summary["game_value"] == pytest.approx(-1 / 18, abs=2e-3)
    assert summary["iterations"] == 100
    assert {"nash_conv.png", "README.md", "summary.json"} <= {path.name for path in Path("page").iterdir()}
    assert "100 iterations a seed" in Path("page/README.md").read_text()
    code, out, err = run_main(evaluate.main, "run")
    assert (code, out, err) == (0, [f"game:kuhn_poker: NashConv {summary['nash_conv']:.5f}"], [])
    code, out, err = run_main(play.main, "run", "--steps", "200")
    assert code == 0, err
    found = re.match(r"\d+ episodes ended, with returns \(the first player's\) from -2 to 2 and a mean of (.*)", out[1])
    assert found is not None
    assert float(found.group(1)) == pytest.approx(-1 / 18, abs=0.4)  # of those who move last, it is -0.7
    policy = jaxrl.load("run")
    rows = np.zeros(4000, np.int32)  # the jack, from which CFR+ rarely bets
    actions = policy(Input(rows, np.asarray(game.legal)[rows]), jax.random.key(0)).action
    assert np.mean(actions) == pytest.approx(float(expected.policy[0, 1]), abs=0.04)


@pytest.mark.slow
def test_self_play_and_a_league_resume_to_the_same_bits(run_main, monkeypatch) -> None:
    for name in ("record_video", "draw_curve"):
        monkeypatch.setattr(f"jaxrl.runs.train.{name}", lambda *_: None)
    small = ("--config.num-games", "8", "--config.hidden-sizes", "8", "--log-every", "240")
    for experiment, options, total in (
        (selfplay_kuhn.experiment, small, 480),
        (league_leduc.experiment, SMALL_LEAGUE, 60),
    ):
        train, name = partial(main, experiment), experiment.name
        assert run_main(train, *options, "--out", f"{name}/whole", "--total-steps", str(total))[0] == 0
        for steps in (total // 2, total):
            code, _, err = run_main(train, *options, "--out", f"{name}/parts", "--total-steps", str(steps), "--resume")
            assert code == 0, err
        whole, parts = read(f"{name}/whole"), read(f"{name}/parts")
        for entry in ("nash_conv", "game_value", "nash_conv_last"):
            assert whole[entry] == parts[entry]
    assert whole["elo"] == parts["elo"]
    assert Path("league_leduc/whole/league.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--env", "CartPole-v1"), "--env must be a game whose NashConv can be computed"),
        (("--env", "game:connect_four"), "--env must be a game whose NashConv can be computed"),
        (("--hparams.magnet", "2"), "has no effect with config.solver cfr_plus"),
        (("--config.max-policies", "3"), "has no effect with config.solver cfr_plus"),
    ],
)
def test_bad_input_of_solvers(run_main, arguments: tuple[str, ...], message: str) -> None:
    code, _, err = run_main(partial(main, cfr_leduc.experiment), *arguments)
    assert code == 2
    assert message in " ".join(" ".join(err).split())


def test_a_league_needs_a_main_agent(run_main) -> None:
    code, _, err = run_main(partial(main, league_leduc.experiment), "--config.main-agents", "0")
    assert code == 2
    assert "must be at least 1: a league needs a main agent" in " ".join(" ".join(err).split())


def test_a_league_in_a_board_game_is_judged_and_rated(run_main, monkeypatch) -> None:
    for name in ("record_video", "draw_curve"):
        monkeypatch.setattr(f"jaxrl.runs.train.{name}", lambda *_: None)
    train = partial(main, league_connect_four.experiment)
    board = ("--env-options", "rows=2", "columns=3", "length=3")
    sizes = {"num-envs": 12, "opponents": 2, "copy-every": 2, "num-steps": 1, "batch-size": 8, "hidden-sizes": 4}
    small = [f"--config.{name}={value}" for name, value in sizes.items()]
    code, _, err = run_main(train, *board, *small, "--log-every", "144", "--out", "run", "--total-steps", "288")
    assert code == 0, err
    summary = read("run")
    assert summary["positions"] > summary["mistakes"] > 0
    assert "mistake_rate_search" not in summary  # it does not search
    assert summary["copies_rated"] == 9  # of the start, and after two and four updates
    assert np.isfinite(summary["elo"])
    assert Path("run/league.png").exists()
    code, _, err = run_main(train, *board, "--config.num-envs", "20")
    assert (code, len(err)) == (2, 1)
    assert "--config.num-envs must be a multiple of 48" in err[0]


def test_places_of_rated_copies() -> None:
    numbers = np.array([-1, 7, 3, 4, 5, 6, 8, -1])  # the first round is gone
    assert rated_places(numbers, 3).tolist() == [2, 3, 4, 5, 1, 6]
    many = rated_places(np.arange(300), 3)
    assert (many[0], many[-1], len(many)) == (0, 299, 24)
