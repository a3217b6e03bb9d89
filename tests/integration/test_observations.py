"""Observations that are trees of arrays, from the environment to the trained policy."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import jaxrl
from jaxrl import Agent, Decision, Input, Mean, OffPolicyConfig, OnPolicyConfig, Sample, load, off_policy, on_policy
from jaxrl.experiments import (
    a2c_cartpole,
    dqn_cartpole,
    dqn_memory,
    iqn_minatar,
    ppo_cartpole,
    ppo_memory,
    pqn_cartpole,
    reinforce_cartpole,
)
from jaxrl.runs import Budget, Execution, Options, Task, run_directory
from jaxrl.runs.train import train
from tests.agents.parts import CAP, Parts, wrong_parts
from tests.compiling import quick_jit

ENV, N = Parts(), 4
SIZES: dict[str, Any] = {"num_envs": N, "rollout_length": 8, "hidden_sizes": (4,), "num_minibatches": 2}
EXPERIMENTS = {
    dqn_cartpole: {"batch_size": 8, "replay_capacity": 40, "warmup_steps": 16, "rollout_length": 2},
    dqn_memory: {"batch_size": 8, "replay_capacity": 800, "warmup_steps": 40, "hidden_size": 4, "memory_size": 4},
    iqn_minatar: {"batch_size": 8, "replay_capacity": 40, "warmup_steps": 16, "rollout_length": 2},
    pqn_cartpole: {},
    ppo_cartpole: {},
    a2c_cartpole: {},
    reinforce_cartpole: {},
    ppo_memory: {"sequence_length": 4, "hidden_size": 4, "memory_size": 4},
}


def smaller(experiment: Any, **sizes: Any) -> Any:
    """The configuration of an experiment with other sizes, as far as it has them."""
    fields = [field.name for field in dataclasses.fields(experiment.defaults.config)]
    known = {name: x for name, x in (SIZES | sizes).items() if name in fields}
    return dataclasses.replace(experiment.defaults.config, **known)


@pytest.mark.parametrize("module", EXPERIMENTS, ids=lambda module: module.experiment.name)
@pytest.mark.parametrize("scaled", [False, True], ids=["", "normalised"])
def test_every_default_network_takes_them(module: Any, scaled: bool) -> None:
    experiment = module.experiment
    config = smaller(experiment, **EXPERIMENTS[module])
    agent, trainer = experiment.build(ENV, None, config)
    if scaled:
        make = off_policy if isinstance(config, OffPolicyConfig) else on_policy
        trainer = make(jaxrl.normalised(agent), ENV, None, config)
    state = jax.eval_shape(trainer.init, jax.random.key(0), experiment.defaults.hparams)
    after, _ = jax.eval_shape(trainer.step, state)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    if scaled:
        statistics = state.agent.statistics
        assert {name for name, x in statistics.items() if x is not None} == {"vector"}
        assert (statistics["vector"].mean.shape, statistics["vector"].mean.dtype) == ((3,), jnp.float32)


@pytest.mark.parametrize("kind", ["on", "off"])
def test_what_is_learned_is_what_was_seen(kind: str) -> None:
    """All parts of an observation stay together, in rollouts and in the replay, and the next one follows it."""

    def act(state, given, key, env_steps=0):
        return Decision(jax.random.randint(key, (N,), 0, 2))

    def update(state, batch, key, env_steps, constants):
        steps = batch.transitions if isinstance(batch, Sample) else batch
        first, last = steps.observation, steps.next_observation
        assert {name: (x.shape[2:], x.dtype) for name, x in first.items()} == {
            "board": ((3, 4, 2), bool), "in": ((), jnp.int32), "steps": ((), jnp.int8), "vector": ((3,), jnp.float16)
        }  # fmt: skip
        moved = (last["in"] != (first["in"] + steps.action) % 5) | (last["steps"] != first["steps"] + 1)
        counts = {"parts": wrong_parts(first) + wrong_parts(last), "moves": moved.sum(), "ends": steps.truncated.sum()}
        return state, {name: Mean(x, jnp.int32(1)) for name, x in counts.items()}, ()

    agent = Agent(lambda key, hparams, observation: (), act, act, update)
    if kind == "on":
        trainer = on_policy(agent, ENV, None, OnPolicyConfig(N, 8))
    else:
        sizes = OffPolicyConfig(num_envs=N, batch_size=16, replay_capacity=40, warmup_steps=16, n_step=2)
        trainer = off_policy(agent, ENV, None, sizes)

    @quick_jit
    def run(key):
        return jax.lax.scan(lambda state, _: trainer.step(state), trainer.init(key, ()), length=5)[1]

    metrics = run(jax.random.key(0))
    assert metrics["parts"].sum.sum() == metrics["moves"].sum.sum() == 0
    assert metrics["ends"].sum.sum() > 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """The directory of a short run, trained, evaluated and drawn."""
    hparams = dataclasses.replace(
        dqn_cartpole.experiment.defaults.hparams, learning_rate=1e-2, discount=0.5, epsilon_decay_steps=1_000.0
    )
    config = smaller(
        dqn_cartpole.experiment, num_envs=8, rollout_length=1, batch_size=32, replay_capacity=1_000, warmup_steps=200
    )
    options = Options(
        task=Task("tests.agents.parts:Parts"),
        hparams=hparams,
        config=config,
        budget=Budget(4_000, log_every=1_000, eval_episodes=16, eval_max_steps=10),
        execution=Execution(out=tmp_path_factory.mktemp("parts") / "run"),
    )
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("jaxrl.runs.train.VIDEO_STEPS", 6)
        directory, _ = train(dqn_cartpole.experiment, options, Console(quiet=True))
    return directory


def test_a_run_learns_from_them(trained: Path) -> None:
    """With random actions, half of the steps are rewarded."""
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["eval_return_mean"] > 0.9 * CAP
    assert summary["eval_unfinished"] == 0
    assert (trained / run_directory.VIDEO).exists()


def test_its_parameters_have_names(trained: Path) -> None:
    params = load(trained).params["params"]
    assert {
        name: {key: x.shape for key, x in layer.items()} for name, layer in params.items() if "Conv" not in name
    } == {
        "Dense_0": {"bias": (4,), "kernel": (1 * 2 * 16 + 5 + 1 + 3, 4)},
        "Dense_1": {"bias": (2,), "kernel": (4, 2)},
    }
    assert params["BoardConv_0"]["Dense_0"]["kernel"].shape == (9 * 2, 16)


def test_a_trained_policy_acts_on_them(trained: Path) -> None:
    policy = load(trained)
    key, act = jax.random.key(0), quick_jit(policy)
    steps = quick_jit(lambda key: jaxrl.rollout(ENV, policy, key, 8, N))(key)
    assert steps.reward.mean() > 0.9
    observations = jax.tree.map(lambda x: np.asarray(x)[3], steps.observation)
    np.testing.assert_array_equal(act(observations, key), act(Input(observations), key).action)
    one = jax.tree.map(lambda x: x[2], observations)
    assert act(one, key) == act(one | {"vector": one["vector"].tolist(), "steps": int(one["steps"])}, key)
    with pytest.raises(jaxrl.ArgumentError, match=r"^observations must be {board: \[N, 3, 4, 2\], in: \[N\], "):
        act(observations | {"vector": observations["vector"][:, :2]}, key)
    with pytest.raises(jaxrl.ArgumentError, match=r"^observations must be {board: \[N, 3, 4, 2\], in: \[N\], "):
        act(observations["board"], key)
