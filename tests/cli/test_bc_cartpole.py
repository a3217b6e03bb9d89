"""`bc_cartpole` and `record`: what they write, resuming with the same dataset alone, sweeps, and bad input."""

import csv
import json
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import load, load_dataset, make, rollout, save_dataset
from jaxrl.cli.command import main
from jaxrl.envs import describe_env
from jaxrl.experiments import evaluate, record, sweep
from jaxrl.experiments.bc_cartpole import experiment
from jaxrl.replay.datasets import NEEDED

train = partial(main, experiment)
SMALL = [
    *("--config.dataset", "demos.npz", "--config.hidden-sizes", "8", "--config.batch-size", "16"),
    *("--hparams.learning-rate", "1e-2"),
    *("--log-every", "100", "--eval-episodes", "4", "--eval-max-steps", "50"),
]
SWEEP = """
experiment = "bc_cartpole"
search = "grid"
seeds = 2
total_steps = 200
log_every = 50
eval_episodes = 2
eval_max_steps = 20
[hparams]
learning_rate.values = [1e-3, 1e-2]
[config]
dataset = "demos.npz"
batch_size = 16
hidden_sizes = [8]
"""


def balance(given, key):
    """Pushes to where the pole falls."""
    return (given.observation @ jnp.float32([0, 0.1, 3, 1]) > 0).astype(jnp.int32)


@pytest.fixture(scope="module")
def demos():
    """A thousand steps of a policy that balances."""
    env, params = make("CartPole-v1")
    steps = jax.jit(lambda key: rollout(env, balance, key, 250, 4, params))(jax.random.key(0))
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), steps)


@pytest.fixture
def folder(run_main, tmp_path, demos, monkeypatch) -> Path:
    """An empty folder with a dataset, where commands run."""
    monkeypatch.setattr("jaxrl.runs.train.record_video", lambda *_: None)
    save_dataset(tmp_path / "demos.npz", demos, {"num_actions": 2})
    return tmp_path


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_run_and_a_recording_of_it(run_main, folder: Path, demos) -> None:
    """Trained, resumed and recorded; the dataset is needed to train, and only that one."""
    code, out, err = run_main(train, *SMALL, "--total-steps", "300", "--out", "run")
    assert code == 0, err
    shown = dict(re.split(r" {2,}", line, maxsplit=1) for line in out if re.search(r" {2,}", line.strip()))
    assert (shown["gradient steps"], shown["demonstrated transitions"]) == ("300", "1,000")

    save_dataset("demos.npz", demos._replace(reward=demos.reward + 1))
    resume = [*SMALL, "--total-steps", "600", "--out", "run", "--resume"]
    config = Path("run/config.json").read_text()
    code, out, err = run_main(train, *resume)
    assert (code, len(out), len(err)) == (2, 1, 1)
    assert (
        "--config.dataset must be the same as in run to resume it: the same dataset, or the same expert, got " in err[0]
    )
    assert Path("run/config.json").read_text() == config
    save_dataset("demos.npz", demos, {"num_actions": 2})
    code, out, err = run_main(train, *resume, "--record", "recorded")
    assert code == 0, err
    assert "note: resuming at 300 gradient steps" in out

    measured = rows(Path("run"))
    assert [row["gradient_steps"] for row in measured] == ["100", "200", "300", "400", "500", "600"]
    assert float(measured[-1]["accuracy"]) > 0.75
    summary = json.loads(Path("run/summary.json").read_text())
    assert (summary["gradient_steps"], summary["eval_return_mean"] > 30) == (600, True)
    assert not {name for name in summary if "env_steps" in name}
    assert "600 gradient steps a seed." in Path("recorded/README.md").read_text()

    Path("demos.npz").unlink()
    assert load("run")(jnp.zeros(4), jax.random.key(0)).shape == ()
    code, out, err = run_main(record.main, "run", "--out", "again.npz", "--num-steps", "100", "--num-envs", "2")
    assert code == 0, err
    assert out[-1].startswith("written to again.npz (0.0")
    transitions, about = load_dataset("again.npz")
    assert len(transitions.reward) == 100
    assert (about["run"], about["command"][:34]) == ("run", "python -m jaxrl.experiments.record")
    assert run_main(record.main, "run", "--out", "again.npz")[2] == [
        "error: --out must be a new file, got again.npz, which exists"
    ]
    assert run_main(record.main, "run", "--num-steps", "9", "--num-episodes", "2")[2] == [
        "error: --num-episodes must be given without --num-steps, got 2"
    ]
    assert run_main(record.main, "run", "--out", "best.npz", "--best")[2] == [
        "error: --best must be of a run with --keep-best that has evaluated its agents, got run"
    ]
    assert run_main(record.main, "run", "--num-envs", "2e9")[2] == [
        "error: --num-envs must be <= 1000000, got 2000000000"
    ]
    assert run_main(evaluate.main, "run", "--episodes", "2e9")[2] == [
        "error: --episodes must be <= 1000000, got 2000000000"
    ]


@pytest.mark.slow
def test_a_sweep(run_main, folder: Path, demos) -> None:
    (folder / "sweep.toml").write_text(SWEEP)
    code, out, err = run_main(sweep.main, "sweep.toml", "--out", "swept", "--record", "recorded", "--num-devices", "1")
    assert code == 0, err
    assert "agents: 4 finished" in out
    assert "200 gradient steps each" in Path("recorded/README.md").read_text()
    save_dataset("demos.npz", demos._replace(reward=demos.reward + 1))
    code, out, err = run_main(sweep.main, "sweep.toml", "--out", "swept", "--resume", "--num-devices", "1")
    assert (code, out, len(err)) == (2, [], 1)
    assert "constants must be the same as in swept to resume it: the same dataset, or the same expert, got " in err[0]
    Path("demos.npz").unlink()
    assert load("swept", agent=3).options.hparams.learning_rate == 0.01


BAD = [
    ("", "dataset must be a file of recorded transitions, as python -m jaxrl.experiments.record writes, got none"),
    (
        "--config.dataset none.npz",
        "dataset must be a file of recorded transitions, as jaxrl.save_dataset writes (No such file or directory), ",
    ),
    (
        "--config.dataset demos.npz --env Pendulum-v1",
        "dataset must have the observation of this environment, float32[3], got float32[4]",
    ),
    (
        "--config.dataset three.npz",
        "dataset must have the actions of this environment, of which there are 2, got 3",
    ),
    (
        "--config.dataset demos.npz --config.batch-size 1001",
        "batch-size must be at most 1000, the transitions of the dataset, got 1001",
    ),
    (
        "--config.dataset nan.npz",
        "dataset must have finite numbers, got nan in reward, transition 0 (nan.npz)",
    ),
    (
        "--config.dataset half.npz",
        "dataset must be a file of recorded transitions, as jaxrl.save_dataset writes (it is no NumPy archive), got",
    ),
    ("--config.dataset none_in_it.npz", "dataset must have transitions, got none (none_in_it.npz)"),
    (
        "--config.dataset other_rules.npz --env-options max_steps_in_episode=9",
        "dataset must be of the rules 'default rules, 9-step cap', got 'default rules, 500-step cap'",
    ),
    ("--config.dataset other_env.npz", "dataset must be of the environment 'CartPole-v1', got 'Other-v1'"),
    (
        "--config.dataset demos.npz --config.hidden-sizes --config.activation relu",
        "activation has no effect with config.hidden_sizes of no layers, got 'relu'",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input(refused, folder: Path, demos, arguments: str, message: str) -> None:
    save_dataset("three.npz", demos, {"num_actions": 3})
    np.savez("nan.npz", about="{}", **{name: np.full_like(x, np.nan) if name == "reward" else x
             for name, x in demos._asdict().items() if isinstance(x, np.ndarray)})  # fmt: skip
    nothing = jax.tree.map(lambda x: x[:0], demos)._asdict()
    np.savez("none_in_it.npz", about="{}", **{name: nothing[name] for name in NEEDED})
    Path("half.npz").write_bytes(Path("demos.npz").read_bytes()[:-100])
    save_dataset("other_env.npz", demos, {"env": "Other-v1"})
    save_dataset("other_rules.npz", demos, describe_env(*make("CartPole-v1")))
    code, err = refused(*arguments.split(), experiment=experiment)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"error: --config.{message}")
