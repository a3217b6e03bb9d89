"""`irl_gridworld`: what it recovers, its files, demonstrations from a file, and bad input."""

import json
import re
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import jaxrl
from jaxrl.envs import describe_env
from jaxrl.experiments import irl_gridworld as command
from jaxrl.recipes import reward_recovery

MAP = "S..\n.#.\n..G\nmove = -1\nG = 2\n"
SMALL = ("--map", MAP, "--discount", "0.9", "--horizon", "12")


@pytest.fixture
def call(run_main):
    return partial(run_main, command.main)


@pytest.mark.parametrize("method", ["maxent", "deep", "lp"])
def test_planning_on_the_recovered_reward_is_optimal(call, tmp_path: Path, method: str) -> None:
    extra = ("--rl-steps", "5000") if method == "maxent" else ("--rl-steps", "0")
    steps = () if method == "lp" else ("--num-steps", "100")
    steps = () if method == "lp" else ("--num-steps", "100")
    code, out, err = call(*SMALL, "--method", method, *extra, *steps, "--out", "run", "--record", "page")
    assert (code, err) == (0, [])
    run = tmp_path / "run"
    assert sorted(path.name for path in run.iterdir()) == ["rewards.npz", "rewards.png", "summary.json"]
    assert all(any(str(Path("run") / path.name) in line for line in out) for path in run.iterdir())
    summary = json.loads((run / "summary.json").read_text())
    assert summary["expected_value_difference"] == pytest.approx(0, abs=0.02)
    if method == "maxent":
        assert summary["expected_value_difference_q_learning"] == pytest.approx(0, abs=0.05)
    else:
        assert summary["expected_value_difference_q_learning"] is None
    assert summary["random_return"] < -4 < summary["optimal_return"]
    # At most 12 steps: without slips, -1 three times and 2.
    assert -4 < summary["expert_return_mean"] < 0
    assert summary["eval_return_mean"] == pytest.approx(summary["expert_return_mean"], abs=0.5)
    with np.load(run / "rewards.npz") as rewards:
        assert rewards["true"].tolist() == [-1, -1, -1, -1, -1, -1, -1, -1, 2]
        assert rewards["recovered"][8] >= rewards["recovered"].max()  # the goal is the best cell, or one of them
        assert rewards["recovered"][0] < rewards["recovered"][8]
        assert rewards["expert"].shape == rewards["agent"].shape == (9, 4)
    with Image.open(run / "rewards.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    page = (tmp_path / "page" / "README.md").read_text()
    assert "![true reward, recovered reward and the policies](rewards.png)" in page
    assert f"{summary['expected_value_difference']:.4g}" in page
    assert sorted(path.name for path in (tmp_path / "page").iterdir()) == ["README.md", "rewards.png", "summary.json"]


def test_features_of_entered_cells_give_the_reward_of_the_tables() -> None:
    """Also with slips, walls and cliffs, from which the agent leaves for the start."""
    env, params = jaxrl.make("GridWorld", map="S.C\n.#G\n...\nC = -7", slip_probability=0.2)
    entered = reward_recovery.entered_cells(env, params)
    np.testing.assert_allclose(entered @ jnp.ravel(params.reward), env.mdp(params).reward, atol=1e-6)
    assert (entered[5] == 0).all()


def save_episodes(path: Path, cap: int = 200, rules: bool = False) -> None:
    """40 steps of a policy that goes down and then right, and is at the goal after four moves."""
    env, params = jaxrl.make("GridWorld", map=MAP, max_steps_in_episode=cap)

    def down_then_right(given, key):
        return jnp.where(env.state_of(given.observation) < 6, 3, 0)

    steps = jaxrl.rollout(env, down_then_right, jax.random.key(0), num_steps=40, num_envs=1, env_params=params)
    about = {"env": "GridWorld"} | (describe_env(env, params) if rules else {})
    jaxrl.save_dataset(path, jax.tree.map(lambda x: x[:, 0], steps), about)


def test_trajectories_of_a_file(tmp_path: Path) -> None:
    env, params = jaxrl.make("GridWorld", map=MAP)
    save_episodes(tmp_path / "demos.npz")
    seen = reward_recovery.trajectories_from(str(tmp_path / "demos.npz"), env, params, 6)
    assert seen.states.tolist() == [[0, 3, 6, 7, 8, 8]] * 10
    assert seen.actions.tolist() == [[3, 3, 0, 0, 0, 0]] * 10
    cut = reward_recovery.trajectories_from(str(tmp_path / "demos.npz"), env, params, 3)
    assert cut.states.tolist() == [[0, 3, 6]] * 10


def test_demonstrations_from_a_file(call, tmp_path: Path) -> None:
    """Also under a cap, which the tables do not have."""
    save_episodes(tmp_path / "demos.npz", rules=True)
    code, _, err = call(*SMALL, "--dataset", "demos.npz", "--slip-probability", "0", "--rl-steps", "0", "--out", "run")
    assert (code, err) == (0, [])
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["num_demonstrations"], summary["dataset"]) == (10, "demos.npz")
    assert summary["expert_return_mean"] == summary["eval_return_mean"] == -1
    assert summary["expected_value_difference"] == 0

    code, _, err = call(*SMALL, "--out", "run")
    assert (code, err) == (2, ["error: --out must be a directory without a run, got run"])


BAD = [
    ("--map lectur", "--map must be an existing file, a text of .* or a known map .the nearest is lecture.*"),
    ("--method llp", "--method must be one of .*maxent.*, got 'llp'"),
    ("--discount 1", "--discount must be < 1, got 1"),
    ("--num-demonstrations 0", "--num-demonstrations must be >= 1, got 0"),
    ("--horizon 0", "--horizon must be >= 1, got 0"),
    ("--learning-rate nan", "--learning-rate must be > 0, got nan"),
    ("--l1-penalty 2", "--l1-penalty has no effect with --method maxent, got 2.0"),
    ("--method lp --learning-rate 1", "--learning-rate has no effect with --method lp, got 1.0"),
    ("--method lp --num-steps 9", "--num-steps has no effect with --method lp, got 9"),
    ("--dataset demos.npz --num-demonstrations 9", "--num-demonstrations has no effect with --dataset, got 9"),
    ("--l1-penalty -1", "--l1-penalty must be >= 0, got -1"),
    ("--dataset nosuch.npz", "--dataset must be a file of recorded transitions, .*No such file.*, got 'nosuch.npz'"),
    ("--dataset demos.npz --method lp", "--dataset cannot be used with --method lp, which needs the policy, got demos"),
    ("--dataset demos.npz", "--dataset must be of this map, 3 × 3, got one of another"),
    ("--dataset demos.npz --map lecture", r"--dataset must have the observation of this environment, bool\[4, 4, 3\]"),
    ("--dataset nans.npz", "--dataset must have finite numbers, got nan in reward, transition 0"),
    ("--dataset cut.npz", "--dataset must have an episode that ends, or one of at least 50 steps, got none"),
    ("--out A_FILE", r"--out must be a directory that can be made \(.*\), got A_FILE"),
    ("--out run --record run", "--record must be another directory than that of the run, got run"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_bad_input_is_one_line(call, monkeypatch, tmp_path: Path, arguments: str, message: str) -> None:
    monkeypatch.setattr(command, "recover", lambda *_: pytest.fail("it started to learn"))
    (tmp_path / "A_FILE").write_text("??\n")
    if "demos.npz" in arguments:
        save_episodes(tmp_path / "demos.npz")
    if "nans.npz" in arguments:
        save_episodes(tmp_path / "nans.npz")
        with np.load(tmp_path / "nans.npz") as file:
            arrays = {name: file[name] for name in file.files}
        np.savez(tmp_path / "nans.npz", **arrays | {"reward": arrays["reward"] * np.nan})
    if "cut.npz" in arguments:
        save_episodes(tmp_path / "cut.npz")
        with np.load(tmp_path / "cut.npz") as file:
            arrays = {name: file[name] for name in file.files}
        ended = arrays["terminated"]
        np.savez(tmp_path / "cut.npz", **arrays | {"terminated": ended & False, "truncated": ended})
    before = sorted(path.name for path in tmp_path.iterdir())
    here = () if "--map" in arguments else ("--map", MAP if "cut" in arguments else MAP.replace("#", "."))
    code, out, err = call(*here, *arguments.split())
    assert (code, out, len(err)) == (2, [], 1), err
    assert re.match(f"error: ({message})", err[0]), err[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == before
