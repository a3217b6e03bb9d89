"""`gail_cartpole`: what it writes, resuming with the same demonstrations alone, a sweep, bad input, and its bias."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import load, make, rollout, save_dataset
from jaxrl.cli.command import main
from jaxrl.experiments import gail_minatar, sweep
from jaxrl.experiments.gail_cartpole import experiment
from tests.cli.test_bc_cartpole import demos as balancing  # noqa: F401
from tests.cli.test_bc_cartpole import folder  # noqa: F401

train = partial(main, experiment)
SMALL = [
    *("--config.dataset", "demos.npz", "--config.hidden-sizes", "8", "--config.num-envs", "4"),
    *("--config.rollout-length", "8", "--config.num-minibatches", "2", "--config.discriminator-batch-size", "16"),
    *("--config.num-episodes", "1", "--config.subsample", "5", "--log-every", "64"),
    *("--eval-episodes", "2", "--eval-max-steps", "20"),
]
SWEEP = """
experiment = "gail_cartpole"
search = "grid"
seeds = 2
total_steps = 64
eval_episodes = 2
eval_max_steps = 20
[hparams]
discriminator_learning_rate.values = [1e-3, 1e-2]
[config]
dataset = "demos.npz"
num_envs = 4
rollout_length = 8
hidden_sizes = [8]
absorbing.values = [true, false]
"""


@pytest.fixture(scope="module")
def demos(balancing):  # noqa: F811
    """Four episodes of 250 steps."""
    return balancing._replace(truncated=np.arange(1000) % 250 == 249)


def test_a_run(run_main, folder: Path, demos) -> None:  # noqa: F811
    """Trained and resumed, with one episode of the dataset, one in five; a trained policy needs no file."""
    save_dataset("demos.npz", demos, {"num_actions": 2, "episode_return_mean": 250.5})
    code, out, err = run_main(train, *SMALL, "--total-steps", "64", "--out", "run")
    assert code == 0, err
    assert any(line.startswith("expert return mean") for line in out)
    summary = json.loads(Path("run/summary.json").read_text())
    assert (summary["expert_return_mean"], summary["env_steps"]) == (250.5, 64)
    assert (summary["demonstrated_episodes"], summary["demonstrated_transitions"]) == (1, 50)
    resume = ["--total-steps", "128", "--out", "run", "--resume"]
    code, _, err = run_main(train, *SMALL, "--config.subsample", "6", *resume)
    assert (code, len(err)) == (2, 1)
    other = demos._replace(action=1 - demos.action)
    save_dataset("demos.npz", other, {"num_actions": 2})
    code, _, err = run_main(train, *SMALL, *resume)
    assert (code, len(err)) == (2, 1)
    assert "--config.dataset must be the same as in run to resume it: the same dataset" in err[0]
    save_dataset("demos.npz", demos, {"num_actions": 2})  # without a return
    code, out, err = run_main(train, *SMALL, *resume)
    assert code == 0, err
    assert "note: resuming at 64 environment steps" in out
    assert "expert_return_mean" not in json.loads(Path("run/summary.json").read_text())
    header = Path("run/metrics.csv").read_text().splitlines()[0].split(",")
    assert {"discriminator_loss", "discriminator_accuracy", "imitation_reward", "episode_return"} <= set(header)
    Path("demos.npz").unlink()
    assert load("run")(jnp.zeros(4), jax.random.key(0)).shape == ()
    assert set(load("run").params["params"]) == {"actor", "critic"}


def test_only_floats_are_normalised() -> None:
    board, vector = jax.ShapeDtypeStruct((10, 10, 4), bool), jax.ShapeDtypeStruct((4,), np.float32)
    reason = "env Breakout-MinAtar, which shows no floats"
    assert gail_minatar.experiment.ignored(gail_minatar.experiment.defaults, board)["config.normalise"] == reason
    assert "config.normalise" not in experiment.ignored(experiment.defaults, vector)


def push_left(given, key):
    return jnp.zeros(len(given.observation), jnp.int32)


@pytest.mark.slow
@pytest.mark.parametrize("absorbing", [False, True])
def test_a_fool_is_imitated_with_absorbing_states_alone(run_main, folder: Path, absorbing: bool) -> None:  # noqa: F811
    """An expert that always pushes left and falls: −log(1 − D) rewards surviving, so that the policy balances."""
    env, params = make("CartPole-v1")
    fool = rollout(env, push_left, jax.random.key(0), 100, 1, params)
    save_dataset("left.npz", jax.tree.map(lambda x: np.asarray(x)[:, 0], fool), {"num_actions": 2})
    demonstrations = ("--config.dataset", "left.npz", "--config.num-episodes", "1")
    flags = ["--config.absorbing", "--total-steps", "200000"] if absorbing else ["--total-steps", "500000"]
    code, _, err = run_main(train, *demonstrations, "--num-seeds", "7", "--out", "run", *flags)
    assert code == 0, err
    returns = json.loads(Path("run/summary.json").read_text())["eval_return_per_seed"]
    assert max(returns) < 13 if absorbing else min(returns) > 450


@pytest.mark.slow
def test_a_sweep(run_main, folder: Path) -> None:  # noqa: F811
    (folder / "sweep.toml").write_text(SWEEP)
    code, out, err = run_main(sweep.main, "sweep.toml", "--out", "swept", "--num-devices", "1")
    assert code == 0, err
    assert "agents: 8 finished" in out
    assert load("swept", agent=7).options.hparams.discriminator_learning_rate == pytest.approx(0.01)


BAD = [
    ("", "config.dataset must be a file of recorded transitions, as python -m jaxrl.experiments.record writes, got no"),
    (
        "--config.dataset demos.npz --env Acrobot-v1",
        "config.dataset must have the observation of this environment, float32[6], got float32[4]",
    ),
    (
        "--config.dataset demos.npz --config.num-episodes 1000",
        "config.num-episodes must be at most 4, the episodes of the dataset, got 1000",
    ),
    ("--config.dataset demos.npz --config.subsample 0", "config.subsample must be > 0, got 0"),
    ("--config.dataset demos.npz --config.discriminator-steps 0", "config.discriminator-steps must be > 0, got 0"),
    ("--config.dataset demos.npz --config.normalise --config.reward log", "config.reward must be one of positive, neg"),
    ("--config.dataset demos.npz --hparams.gradient-penalty -1", "hparams.gradient-penalty must be >= 0, got -1"),
    (
        "--config.dataset demos.npz --config.num-minibatches 3",
        "config.num-minibatches must divide the 4096 transitions of a rollout, got 3",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input(refused, folder: Path, demos, arguments: str, message: str) -> None:  # noqa: F811
    code, err = refused(*arguments.split(), experiment=experiment)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"error: --{message}")
    assert not list(folder.glob("runs"))
