"""`record perfect`, `alphago_connect_four` and `alphago_zero_connect_four` in a small game, and their matches."""

import dataclasses
import json
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import load, load_dataset, make
from jaxrl.agents.alphago import AlphaGoState
from jaxrl.agents.policy_gradient import NetworkState
from jaxrl.arguments import ArgumentError
from jaxrl.cli.command import main
from jaxrl.distributions import Categorical
from jaxrl.experiments import evaluate, record
from jaxrl.experiments.alphago_connect_four import experiment as alphago
from jaxrl.experiments.alphago_zero_connect_four import experiment as alphago_zero
from jaxrl.games import Match, random_player
from jaxrl.games.engines import Engine
from jaxrl.recipes import alphago_family
from jaxrl.training import Evaluation
from jaxrl.types import Agent, Decision

GAME = ("--env", "game:tic_tac_toe", "--env-options", "rows=2", "columns=3", "random_moves=5")
ALPHAGO = [
    *(*GAME, "--total-steps", "768", "--eval-episodes", "4", "--config.num-envs", "32", "--config.pool-size", "2"),
    *("--config.cloning-steps", "200", "--config.cloning-batch-size", "64", "--config.hidden-sizes", "16"),
    *("--config.num-simulations", "4"),
]
ALPHAGO_ZERO = [
    *(*GAME, "--total-steps", "1000", "--eval-episodes", "4", "--config.num-simulations", "4"),
    *("--config.num-envs", "16", "--config.rollout-length", "8", "--config.batch-size", "32"),
    *("--config.replay-capacity", "1024", "--config.warmup-steps", "64", "--config.updates-per-iteration", "2"),
    *("--config.hidden-sizes", "16", "--config.gate-every", "3", "--config.gate-games", "8"),
]


@pytest.mark.slow
def test_from_experts_to_a_match(run_main, tmp_path, monkeypatch) -> None:
    """A file of perfect play, a run that begins with it, and its search and network against the others."""
    monkeypatch.setattr("jaxrl.runs.train.record_video", lambda *_: None)
    code, out, _ = run_main(record.main, "perfect", *GAME, "--out", "experts.npz", "--num-steps", "2000")
    assert code == 0
    assert out[1].startswith("2,000 transitions")
    arguments = (*ALPHAGO, "--config.dataset", "experts.npz", "--out", "go")
    assert run_main(partial(main, alphago), *arguments)[0] == 0
    summary = json.loads((tmp_path / "go" / "summary.json").read_text())
    counts = [summary[f"{name}_against_cloned_policy"] for name in ("wins", "draws", "losses")]
    assert counts == summary["counts_against_cloned_policy_per_seed"][0]
    assert sum(counts) == 1000
    assert summary["mistake_rate"] < 0.15
    (tmp_path / "experts.npz").unlink()  # what was trained needs no file
    assert load(tmp_path / "go").agent_state.updates == 4
    assert run_main(partial(main, alphago_zero), *ALPHAGO_ZERO, "--out", "zero")[0] == 0
    header = (tmp_path / "zero" / "metrics.csv").read_text().splitlines()[0]
    assert {"gate_win_rate", "promoted"} <= set(header.split(","))
    code, out, _ = run_main(
        evaluate.main, "zero", "--episodes", "7", "--against", "perfect", "go", "--opening-moves", "1"
    )
    assert code == 0
    perfect, other = out[-2:]
    assert perfect.startswith("against perfect: 0–")
    assert other.startswith("against go: ")
    wins, draws, losses = (int(x) for x in other.split()[2].split("–"))
    assert wins + draws + losses == 8
    assert f"score {100 * (wins + draws / 2) / 8:.1f} % (" in other
    code, _, err = run_main(evaluate.main, "zero", "--against", "perfekt")
    assert (code, err) == (2, ["error: --against must be a known one (the nearest is perfect), got 'perfekt'"])
    code, out, err = run_main(evaluate.main, "zero", "--against", "runs/nothing")
    assert (code, err) == (2, ["error: --against must be the directory of a run, if it is a path, got 'runs/nothing'"])
    assert not any("mistakes" in line for line in out)  # it is refused before anything is counted


def trained_by_hand(env):
    """Its search takes the first legal action, its network prefers the last one."""

    def policy(state, given, key):
        return Decision(given.legal.argmax(1))

    agent: Agent = Agent(
        lambda *_: (), lambda *_: Decision(0), policy,
        lambda *_: ((), {}, ()), outputs=lambda state, x: Categorical(jnp.tile(jnp.arange(3.0), (len(x), 1))),
        searches=True,
    )  # fmt: skip
    return SimpleNamespace(env=env, agent=agent, agent_state=(), memory=lambda number: ())


def test_a_match_is_that_of_the_options() -> None:
    """With the network alone, the last cells; other seeds are other games."""
    env, _ = make("game:tic_tac_toe", rows=1, columns=3, length=2)
    options = evaluate.Options(Path("run"), episodes=1, opening_moves=0)
    trained: Any = trained_by_hand(env)

    def lowest(given, key):
        return given.legal.argmax(1)

    assert evaluate.meet(trained, lowest, options).outcomes.tolist() == [[0], [0]]
    raw = dataclasses.replace(options, raw=True)
    assert evaluate.meet(trained, lowest, raw).outcomes.tolist() == [[1], [-1]]
    first, second = (
        evaluate.meet(trained, random_player, dataclasses.replace(options, episodes=40, eval_seed=seed)).outcomes
        for seed in range(2)
    )
    assert first.shape == (2, 20)
    assert (first != second).any()


def test_opponents_that_do_not_fit_are_refused(tmp_path, monkeypatch) -> None:
    env, _ = make("game:tic_tac_toe", rows=1, columns=3, length=2)
    trained: Any = trained_by_hand(env)
    other: Any = trained_by_hand(make("game:tic_tac_toe")[0])
    monkeypatch.setattr(evaluate, "load", lambda path: other)
    with pytest.raises(ArgumentError, match=r"^against must be a run of TicTacToe\(rows=1, columns=3, length=2\)"):
        evaluate.make_opponent(str(tmp_path), trained)
    trained.memory, trained.experiment = (lambda number: jnp.zeros((number, 1))), SimpleNamespace(name="recurrent")
    with pytest.raises(ArgumentError, match=r"^against needs policies without a memory, got recurrent"):
        evaluate.make_opponent("random", trained)
    with pytest.raises(ArgumentError, match=r"^against needs a run in a game"):
        evaluate.make_opponent("random", SimpleNamespace(env=make("CartPole-v1")[0]))


def test_engines_are_closed_if_a_later_opponent_is_wrong(monkeypatch) -> None:
    closed = []

    class Started(Engine):
        def __init__(self) -> None: ...

        def reply(self, moves) -> str:
            return "resign"

        def close(self) -> None:
            closed.append(self)

    monkeypatch.setattr(evaluate, "make_engine", lambda words, game: Started())
    trained: Any = trained_by_hand(make("game:tic_tac_toe")[0])
    with pytest.raises(ArgumentError, match=r"^against must be"), ExitStack() as closing:
        evaluate.make_opponents(["gnugo", "gnugo level=1", "perfekt"], trained, closing)
    assert len(closed) == 2


def test_the_improved_policy_meets_the_cloned_one(monkeypatch) -> None:
    """It takes the middle cell, and wins if it moves first; the other one takes the first cell. Two seeds."""
    monkeypatch.setattr(alphago_family, "report", lambda *_: {"mistakes": 3})
    env, params = make("game:tic_tac_toe", rows=1, columns=3, length=2)
    prior, policy = 50.0 * jnp.array([[2, 1, 0], [1, 2, 0]])
    learner = NetworkState({"policy": policy, "value": prior}, (), ())
    states = jax.tree.map(lambda x: jnp.stack([x, x]), AlphaGoState(learner, prior, (), (), jnp.int32(0)))

    def outputs(state, x):
        return Categorical(jnp.tile(state.agent.params["policy"], (len(x), 1)))

    found = alphago_family.report_alphago(SimpleNamespace(outputs=outputs), env, params, states, Path())
    assert found["counts_against_cloned_policy_per_seed"] == [[500, 500, 0]] * 2
    assert (found["mistakes"], found["wins_against_cloned_policy"], found["losses_against_cloned_policy"]) == (
        3,
        500,
        0,
    )


def test_an_evaluation_is_described(monkeypatch, capsys) -> None:
    """Of as many episodes and steps as the run's, or as the options say."""
    asked = []

    def evaluated(policy, envs, key, max_steps, memory):
        asked.append((envs.num_envs, max_steps))
        ended = jnp.array([False, False, True])
        return Evaluation(jnp.array([7.0, -1.5, 2.0]), jnp.array([9, 9, 2]), ended)

    monkeypatch.setattr(evaluate, "evaluate", evaluated)
    env, params = make("CartPole-v1")
    agent = SimpleNamespace(policy=lambda *_: None, memory=lambda state, number: ())
    run = SimpleNamespace(
        budget=SimpleNamespace(eval_episodes=3, eval_max_steps=9),
        hparams=SimpleNamespace(epsilon_eval=0.05),
        task=SimpleNamespace(env="CartPole-v1"),
    )
    trained: Any = SimpleNamespace(env=env, env_params=params, agent=agent, agent_state=(), options=run)
    for more in ({}, {"episodes": 5, "max_steps": 4}):
        evaluate.report(trained, evaluate.Options(Path("run"), **more), ExitStack())
    assert asked == [(3, 9), (5, 4)]
    assert capsys.readouterr().out.splitlines()[:4] == [
        "CartPole-v1 (default rules, 500-step cap)",
        "mean return 2.50 over 3 episodes with ε = 0.05, 2 unfinished",
        "returns -1.5 to 7, standard deviation 3.49",
        "mean episode length 6.7",
    ]


def test_a_match_is_described() -> None:
    """With Wilson's interval of the score, and the ratings at its ends."""
    match = Match(np.array([[1, 1, 1, 0], [1, -1, 0, 0]]))
    assert evaluate.describe(match) == (
        "4–3–1 (wins–draws–losses; moving first 3–1–0, second 1–2–1), "
        "score 68.8 % (35.6 to 89.8), Elo +137 (-103 to +377)"
    )
    won = evaluate.describe(Match(np.ones((2, 5), np.int32)))
    assert won.endswith("score 100.0 % (72.2 to 100.0), Elo +inf (+166 to +inf)")


def test_a_player_is_recorded(run_main, tmp_path) -> None:
    """Its file says who it is, and of which game; it ends with as many whole games as asked for."""
    code, _, _ = run_main(record.main, "greedy", *GAME, "--out", "greedy.npz", "--num-episodes", "30", "--noise", "0.1")
    assert code == 0
    transitions, about = load_dataset(tmp_path / "greedy.npz")
    assert (about["env"], about["algorithm"], about["episodes"]) == (
        "game:tic_tac_toe", "the greedy player with noise 0.1", 30,
    )  # fmt: skip
    assert transitions.terminated.sum() == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gready", "--env", "game:tic_tac_toe"), "RUN must be the directory of a run or a sweep, or random, greedy, "),
        (("greedy",), "--env must be a known name (one of "),
        (("greedy", "--env", "CartPole-v1"), "--env must be a game of two players, such as game:connect_four, got "),
        (("greedy", "--env", "game:tic_tac_toe", "--noise", "2"), "--noise must be <= 1"),
    ],
)
def test_what_cannot_be_recorded_is_refused(run_main, arguments, message: str) -> None:
    code, _, err = run_main(record.main, *arguments)
    assert code == 2
    assert err[0].startswith(f"error: {message}")
