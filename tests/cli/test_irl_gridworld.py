"""`irl_gridworld`: what it recovers, its files, resuming, demonstrations from a file, and bad input."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxrl import inverse, load, make, rollout, save_dataset
from jaxrl.cli.command import main
from jaxrl.envs import describe_env
from jaxrl.experiments.irl_gridworld import experiment
from jaxrl.recipes import reward_recovery
from jaxrl.recipes.reward_recovery import RewardRecovery, make_planner

train = partial(main, experiment)
MAP = "S..\n.#.\n..G\nmove = -1\nG = 2\n"
OPTIONS = {"map": MAP, "slip_probability": 0.1}
SMALL = [
    *("--env-options", f"map={MAP}", "slip_probability=0.1", "--config.horizon", "12", "--config.rl-steps", "2000"),
    *("--log-every", "40", "--eval-episodes", "4", "--eval-max-steps", "20"),
]


def save_episodes(path: Path, **options) -> None:
    """40 steps of a policy that goes down and then right, and is at the goal after four moves."""
    env, params = make("GridWorld", **options)

    def down_then_right(given, key):
        return jnp.where(env.state_of(given.observation) < 6, 3, 0)

    steps = rollout(env, down_then_right, jax.random.key(0), num_steps=40, num_envs=1, env_params=params)
    about = {"env": "GridWorld", **describe_env(env, params), "episode_return_mean": -1.0}
    save_dataset(path, jax.tree.map(lambda x: x[:, 0], steps), about)


def test_a_run(run_main, tmp_path: Path, monkeypatch) -> None:
    """Two seeds, trained and resumed from demonstrations of the best policy."""
    for name in ("record_video", "draw_curve"):
        monkeypatch.setattr(f"jaxrl.runs.train.{name}", lambda *_: None)
    arguments = [*SMALL, "--num-seeds", "2", "--out", "run", "--config.batch-size", "64"]
    code, _, err = run_main(train, *arguments, "--total-steps", "40")
    assert code == 0, err
    code, out, err = run_main(train, *arguments, "--total-steps", "200", "--resume", "--record", "page")
    assert code == 0, err
    assert "note: resuming at 40 gradient steps" in out
    assert "run/rewards.png" in "".join(out)
    summary = json.loads(Path("run/summary.json").read_text())
    assert summary["expected_value_difference"] == np.mean(summary["expected_value_difference_per_seed"])
    assert len(summary["expected_value_difference_per_seed"]) == 2
    for method in ("", "_linear_program", "_q_learning"):
        assert summary[f"expected_value_difference{method}"] == pytest.approx(0, abs=0.02)
    assert summary["expected_value_difference_random"] > 2
    assert summary["demonstrated_episodes"] == 100
    # Each takes at least four moves, and a tenth of the moves slip.
    assert 400 < summary["demonstrated_transitions"] < 700
    assert -4 < summary["expert_return_mean"] < -1 < summary["eval_return_mean"] + 4
    with np.load("run/rewards.npz") as rewards:
        assert rewards["true"].tolist() == [-1, -1, -1, -1, -1, -1, -1, -1, 2]
        assert rewards["recovered"].shape == (2, 9)
        assert (rewards["recovered"].argmax(1) == 8).all()  # the goal
        assert rewards["linear_program"][0] < rewards["linear_program"][8] == rewards["linear_program"].max()
    np.testing.assert_array_equal(load("run", seed=1).params, np.load("run/rewards.npz")["recovered"][1])
    with Image.open("run/rewards.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    page = Path("page/README.md").read_text()
    assert "![rewards](rewards.png)" in page
    assert "| demonstrated episodes | 100 |" in page


@pytest.mark.parametrize("reward", ["table", "network"])
def test_the_policy_plans_on_the_reward(reward) -> None:
    """The logits are the soft values of the environment's tables with the network's reward in place of the true one."""
    env, params = make("GridWorld", map="S.C\n.#G\n...\nC = -7", slip_probability=0.2)
    planner = make_planner(env, params, RewardRecovery(reward=reward, discount=0.7, horizon=5))
    start = planner.init(jax.random.key(0), ())
    weights = jax.tree.map(lambda x: x + jax.random.normal(jax.random.key(1), x.shape), start)
    cells = planner.cells(weights)
    assert np.ptp(cells) > 0.1
    rewarded = env.mdp(params.replace(discount=0.7, reward=cells.reshape(3, 3)))
    expected = inverse.soft_value_iteration(rewarded, 5).q_values[0]
    observations = jnp.stack([env.decode(jnp.uint32([cell])) for cell in range(9)])
    np.testing.assert_allclose(planner.apply(weights, observations).logits, expected, atol=1e-5)


def test_features_of_entered_cells_give_the_reward_of_the_tables() -> None:
    """Also with slips, walls and cliffs, from which the agent leaves for the start."""
    env, params = make("GridWorld", map="S.C\n.#G\n...\nC = -7", slip_probability=0.2)
    entered = reward_recovery.entered_cells(env, params)
    np.testing.assert_allclose(entered @ jnp.ravel(params.reward), env.mdp(params).reward, atol=1e-6)
    assert (entered[5] == 0).all()


def test_demonstrations() -> None:
    """The best policy's are the first episodes of as many environments, and one in so many of their transitions."""
    env, params = make("GridWorld", map="S..G")
    seen, about = reward_recovery.demonstrations(env, params, RewardRecovery(num_episodes=2, subsample=2))
    assert env.state_of(seen.observation).tolist() == [0, 2] * 2
    assert (seen.action == 0).all()
    assert about == {"demonstrated_episodes": 2, "demonstrated_transitions": 4, "expert_return_mean": -3.0}


def test_demonstrations_of_a_file(tmp_path: Path) -> None:
    save_episodes(tmp_path / "demos.npz", **OPTIONS)
    config = RewardRecovery(dataset=str(tmp_path / "demos.npz"))
    seen, about = reward_recovery.demonstrations(*make("GridWorld", **OPTIONS), config)
    assert len(seen.reward) == about["demonstrated_transitions"] == 40
    assert about["expert_return_mean"] == -1


BAD = [
    ("--env CartPole-v1", "env must be GridWorld, whose states are numbered for tables, got "),
    ("--env-options map=lectur", "env-options map must be an existing file, a text of "),
    ("--config.reward tables", "config.reward must be one of table, network, got 'tables'"),
    ("--config.discount 1", "config.discount must be < 1, got 1"),
    ("--config.num-episodes -1", "config.num-episodes must be >= 0, got -1"),
    ("--config.batch-size 10000", "config.batch-size must be at most "),
    ("--config.dataset nosuch.npz", "config.dataset must be a file of recorded transitions, as "),
    ("--config.dataset demos.npz --config.num-episodes 99", "config.num-episodes must be at most "),
    ("--config.dataset demos.npz --env-options map=lecture", "config.dataset must be of the rules 'lecture map, "),
    ("--config.dataset other.npz", "config.dataset must be of this map, got one of another"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_bad_input_is_one_line(refused, tmp_path: Path, arguments: str, message: str) -> None:
    if "demos.npz" in arguments:
        save_episodes(tmp_path / "demos.npz", **OPTIONS)
    if "other.npz" in arguments:
        save_episodes(tmp_path / "other.npz", **OPTIONS | {"map": MAP.replace("#", ".")})
    before = sorted(path.name for path in tmp_path.iterdir())
    here = () if "--env" in arguments else SMALL
    code, err = refused(*here, *arguments.split(), experiment=experiment)
    assert (code, len(err)) == (2, 1), err
    assert err[0].startswith(f"error: --{message}"), err[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == before
