"""`dagger_minatar`: what it writes, resuming with the same expert alone, sweeps, and bad input."""

import csv
import dataclasses
import json
import shutil
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from jaxrl import TrainedPolicy, load
from jaxrl.cli.command import main
from jaxrl.experiments import a2c_cartpole, sweep
from jaxrl.experiments.dagger_minatar import experiment
from jaxrl.recipes import imitation
from jaxrl.runs.load import load_run
from jaxrl.runs.options import with_values
from jaxrl.runs.train import train as train_in_python
from tests.integration.commands import final_state

train = partial(main, experiment)
SMALL = [
    *("--env", "CartPole-v1", "--config.expert", "expert", "--config.num-envs", "8", "--config.batch-size", "16"),
    *("--config.warmup-steps", "80", "--config.replay-capacity", "160", "--config.hidden-sizes", "8"),
    *("--hparams.learning-rate", "1e-2", "--hparams.beta-decay-steps", "300"),
    *("--log-every", "80", "--eval-episodes", "4", "--eval-max-steps", "50"),
]
SWEEP = """
experiment = "dagger_minatar"
env = "CartPole-v1"
search = "grid"
seeds = 2
total_steps = 240
log_every = 80
eval_episodes = 2
eval_max_steps = 20
[hparams]
beta_start.values = [0.0, 1.0]
[config]
expert = "expert"
num_envs = 8
batch_size = 16
warmup_steps = 80
hidden_sizes = [8]
"""


@pytest.fixture(scope="module")
def expert(tmp_path_factory) -> Path:
    """A run whose policy is the expert."""
    out = tmp_path_factory.mktemp("run") / "expert"
    options = {"hidden_sizes": (), "num_envs": 8, "rollout_length": 16}
    options = {f"config.{name}": value for name, value in options.items()}
    options |= {"total_steps": 1024, "eval_episodes": 4, "eval_max_steps": 50, "out": out}
    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("record_video", "draw_curve"):
            monkeypatch.setattr(f"jaxrl.runs.train.{name}", lambda *_: None)
        experiment = a2c_cartpole.experiment
        train_in_python(experiment, with_values(experiment.defaults, options), Console(quiet=True))
    return out


@pytest.fixture
def folder(tmp_path, expert: Path, monkeypatch) -> Path:
    """An empty folder with an expert, where commands run."""
    monkeypatch.setattr("jaxrl.runs.train.record_video", lambda *_: None)
    monkeypatch.setattr("jaxrl.runs.train.draw_curve", lambda *_: None)
    shutil.copytree(expert, tmp_path / "expert")
    return tmp_path


def other_policy(directory: Path) -> TrainedPolicy:
    """That of another run."""
    policy = load_run(directory)
    return dataclasses.replace(policy, agent_state=jax.tree.map(lambda x: x + 1, policy.agent_state))


def test_a_run(run_main, folder: Path, monkeypatch) -> None:
    """Trained, stopped and resumed to the same bits; the expert is needed to train, and only that one."""
    for arguments in (["--out", "whole"], ["--out", "run", "--total-steps", "240"]):
        code, out, err = run_main(train, *SMALL, "--total-steps", "400", *arguments)
        assert code == 0, err
    resume = [*SMALL, "--total-steps", "400", "--out", "run", "--resume"]
    with monkeypatch.context() as patch:
        patch.setattr(imitation, "load_run", other_policy)
        code, out, err = run_main(train, *resume)
    assert (code, len(out), len(err)) == (2, 1, 1)
    assert "--config.expert must be the same as in run to resume it: the same dataset, or the same expert" in err[0]
    code, out, err = run_main(train, *resume)
    assert code == 0, err
    assert final_state(Path("run")) == final_state(Path("whole"))

    summaries = [json.loads(Path(run, "summary.json").read_text()) for run in ("run", "whole")]
    assert 5 < summaries[0]["expert_return_mean"] == summaries[1]["expert_return_mean"] <= 50
    assert any(line.startswith("expert return mean ") for line in out)
    with Path("run/metrics.csv").open() as file:
        measured = list(csv.DictReader(file))
    assert [row["env_steps"] for row in measured] == ["160", "240", "320", "400"]
    np.testing.assert_allclose([float(row["beta"]) for row in measured], [0.6, 1 / 3, 1 / 15, 0], atol=0.14)
    assert {"loss", "accuracy"} <= measured[0].keys()
    shutil.rmtree("expert")
    assert load("run")(jnp.zeros(4), jax.random.key(0)).shape == ()


@pytest.mark.slow
def test_a_sweep(run_main, folder: Path) -> None:
    """Agents share the expert. Those whom it replaces at first are others than those whom it does not."""
    (folder / "sweep.toml").write_text(SWEEP)
    code, out, err = run_main(sweep.main, "sweep.toml", "--out", "swept", "--num-devices", "1")
    assert code == 0, err
    assert "agents: 4 finished" in out
    shutil.rmtree("expert")
    params = [load("swept", agent=agent).params for agent in range(4)]
    assert all((x != y).any() for x, y in zip(*map(jax.tree.leaves, (params[0], params[2])), strict=True))


BAD = [
    ("--config.expert=", "expert must be the directory of a run, whose policy is the expert, got none"),
    (
        "--config.expert nowhere",
        "expert must be the directory of a run or a sweep (config.json: No such file or directory), got nowhere",
    ),
    ("--config.expert swept", "expert must be the directory of a run, got swept, that of a sweep"),
    (
        "--config.expert empty",
        "expert must be a run that can be loaded (no usable checkpoint in ",
    ),
    ("--env Acrobot-v1", "expert must be of the environment 'Acrobot-v1', got 'CartPole-v1'"),
    (
        "--env-options max_steps_in_episode=9",
        "expert must be of the rules 'default rules, 9-step cap', got 'default rules",
    ),
    ("--config.n-step 2", "n-step has no effect with imitation, which needs labels alone, got 2"),
    ("--config.conv-features 8", "conv-features has no effect with env CartPole-v1, which shows no board, got 8"),
]


def test_bad_input(refused, folder: Path) -> None:
    shutil.copytree("expert", "empty")
    shutil.rmtree("empty/checkpoints")
    Path("swept").mkdir()
    Path("swept/sweep.json").write_text("{}")
    files = sorted(path.name for path in folder.iterdir())
    for arguments, message in BAD:
        code, err = refused(*SMALL, *arguments.split(), "--out", "bad", experiment=experiment)
        assert (code, len(err)) == (2, 1), arguments
        assert err[0].startswith(f"error: --config.{message}"), err
    assert sorted(path.name for path in folder.iterdir()) == files
