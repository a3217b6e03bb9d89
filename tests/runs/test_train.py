"""Training: the evaluation at its end, and environments on the host from beginning to end."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import polars as pl
import pytest
from rich.console import Console

from jaxrl import ArgumentError, Decision, load, make
from jaxrl.experiments import ppo_cartpole
from jaxrl.runs.options import with_values
from jaxrl.runs.recording import record_dataset
from jaxrl.runs.train import evaluate, train
from jaxrl.training.measure import measure_of
from jaxrl.types import no_memory


def test_the_evaluation_ends_after_the_steps_it_may_take() -> None:
    env, env_params = make("CartPole-v1")
    agent: Any = SimpleNamespace(
        policy=lambda state, given, key: Decision(jnp.zeros(len(given.observation), jnp.int32)), memory=no_memory
    )
    setup: Any = SimpleNamespace(
        measure=measure_of(agent, env, env_params, episodes=3, max_steps=2),
        eval_keys=jax.random.split(jax.random.key(0), 2),
        devices=jax.devices()[:1],
    )
    evaluation = evaluate(setup, jnp.zeros(2))
    assert evaluation.episode_length.tolist() == [[2, 2, 2]] * 2
    assert not evaluation.ended.any()


@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_in_an_environment_on_the_host(seeds: int, tmp_path: Path) -> None:
    """It trains, is drawn and evaluated, resumes with a note, and its policy can be loaded; so do several seeds."""
    printed, out = io.StringIO(), tmp_path / "run"
    console = Console(file=printed, width=200)
    values = {
        "env": "gymnasium:CartPole-v1", "env_options": ["max_episode_steps=20"], "total_steps": 64, "log_every": 32,
        "eval_episodes": 3, "num_seeds": seeds, "config.num_envs": 4, "config.rollout_length": 4,
        "config.num_epochs": 1, "config.hidden_sizes": [4], "out": out,
    }  # fmt: skip
    train(ppo_cartpole.experiment, with_values(ppo_cartpole.experiment.defaults, values), console)
    resumed = values | {"total_steps": 96, "resume": True}
    _, summary = train(ppo_cartpole.experiment, with_values(ppo_cartpole.experiment.defaults, resumed), console)
    assert summary is not None
    assert (summary["env_steps"], summary["eval_episodes"]) == (96, 3 * seeds)
    assert summary["rules"] == "default rules, 20-step cap"
    assert 8 <= summary["eval_return_mean"] <= 20
    lost = "note: gymnasium:CartPole-v1 cannot be restored: its environments start new episodes"
    assert lost in printed.getvalue()
    assert len((out / "metrics.csv").read_text().splitlines()) == 1 + 3 * seeds
    assert all((out / name).exists() for name in ("policy.gif", "learning_curve.png"))
    policy = load(out, seed=seeds - 1)
    assert policy(np.zeros((2, 4)), jax.random.key(0)).shape == (2,)
    with pytest.raises(ArgumentError, match="best must be of a run with --keep-best"):
        load(out, best=True)
    if seeds == 1:
        assert record_dataset(policy, 10, 2).transitions.reward.shape == (10,)


@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_keeps_its_best_agents(seeds: int, tmp_path: Path) -> None:
    """The best is that of the first of the best evaluations, whose episodes are others than those of the summary."""
    out, console = tmp_path / "run", Console(file=io.StringIO(), width=200)
    values = {
        "total_steps": 192, "log_every": 64, "eval_every": 64, "eval_episodes": 4, "num_seeds": seeds, "out": out,
        "keep_best": True, "config.num_envs": 4, "config.rollout_length": 16, "config.num_epochs": 1,
        "config.hidden_sizes": [4],
    }  # fmt: skip
    options = with_values(ppo_cartpole.experiment.defaults, values)
    _, summary = train(ppo_cartpole.experiment, options, console)
    assert summary is not None
    assert len(summary["best_return_per_seed"]) == seeds
    rows = pl.read_csv(out / "metrics.csv")
    seed = seeds - 1
    returns = rows.filter(pl.col("seed") == seed)["eval_return"].to_list()
    first = 64 * (1 + returns.index(max(returns)))
    assert summary["best_env_steps_per_seed"][seed] == first
    best, last = load(out, seed=seed, best=True), load(out, seed=seed)
    counts = [int(optax.tree.get_all_with_path(x.agent_state.opt_state, "count")[0][1]) for x in (best, last)]
    assert counts == [4 * first // 64, 12]
    with pytest.raises(ArgumentError, match="eval_every must be given to keep the best agents"):
        train(ppo_cartpole.experiment, with_values(options, {"eval_every": 0, "out": tmp_path / "other"}), console)
