"""`irl_mountain_car`: the features of episodes, the dynamics that planning uses, what it recovers, and bad input."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxrl import ArgumentError, make, save_dataset
from jaxrl.envs import describe_env, rollout
from jaxrl.experiments import irl_mountain_car
from jaxrl.recipes import mountain_car
from jaxrl.recipes.mountain_car import (
    Car,
    Plan,
    expected_features,
    first_episodes,
    follow,
    look_ahead,
    not_at_goal,
    recorded_episodes,
)
from jaxrl.types import Transition


def swing(given, key):
    """Pushes where the car goes, which reaches the goal."""
    return jnp.where(given.observation[:, 1] < 0, 0, 2)


@pytest.fixture(scope="module")
def swings() -> Transition:
    """450 steps of two cars, `[T, N]`, with some three episodes each."""
    env, params = make("MountainCar-v0")
    steps = jax.jit(lambda key: rollout(env, swing, key, 450, 2, params))(jax.random.key(0))
    return jax.tree.map(np.asarray, steps)


def test_planning_has_the_dynamics_of_the_environment(swings: Transition) -> None:
    """Also at the end of an episode."""
    after, ended = follow(Car(*make("MountainCar-v0"), 0.99), swings.observation)
    chosen = swings.action[..., None]
    np.testing.assert_allclose(
        np.take_along_axis(after, chosen[..., None], axis=2)[:, :, 0], swings.next_observation, atol=1e-6
    )
    assert (np.take_along_axis(np.asarray(ended), chosen, axis=2)[..., 0] == swings.terminated).all()
    assert swings.terminated.sum() > 4


def test_the_goal_lasts_for_ever(swings: Transition) -> None:
    """The true reward of an episode is -1 until the goal, and its discounted sum has a closed form."""
    positions, returns = first_episodes(swings)
    lengths = np.flatnonzero(swings.terminated[:, 0])[0] + 1, np.flatnonzero(swings.terminated[:, 1])[0] + 1
    assert returns.tolist() == [-length for length in lengths]
    # The step that reaches the goal counts as being there.
    expected = np.mean([(1 - 0.999 ** (length - 1)) / (1 - 0.999) for length in lengths])
    assert expected_features(not_at_goal, positions, 0.999) == pytest.approx([expected], rel=1e-5)
    assert expected_features(lambda x: np.ones((*np.shape(x), 1)), positions, 0.999) == pytest.approx([1000])


def test_looking_ahead() -> None:
    """One step and the values after it, interpolated; where the episode ends, the goal's reward for ever."""
    car = Car(*make("MountainCar-v0"), 0.9)
    positions, _ = np.meshgrid(np.linspace(-1.2, 0.6, 128), np.linspace(-0.07, 0.07, 64), indexing="ij")
    plan = Plan(jnp.float32([-1.0]), jnp.asarray(3 * positions))
    observations = jnp.float32([[-0.3, 0.01], [0.49, 0.03]])
    after, _ = follow(car, observations)
    q_values = look_ahead(car, lambda x: 1 + not_at_goal(x), plan, observations)
    np.testing.assert_allclose(q_values, [-2 + 0.9 * 3 * after[0, :, 0], [-1 / (1 - 0.9)] * 3], rtol=1e-5)


def test_recorded_episodes_are_those_that_reach_the_goal(swings: Transition) -> None:
    one = jax.tree.map(lambda x: x[:, 0], swings)
    positions, returns = recorded_episodes(one)
    ends = np.flatnonzero(one.terminated)
    assert returns.tolist() == (-np.diff(ends, prepend=-1)).tolist()
    first, _ = first_episodes(swings)
    np.testing.assert_array_equal(positions[: len(first), 0], first[:, 0])
    assert (positions[-1] >= 0.5).all()
    cut = one._replace(terminated=one.terminated & False, truncated=one.terminated)
    with pytest.raises(ArgumentError, match="dataset must have an episode that reaches the goal, got none"):
        recorded_episodes(cut)


def save(path: Path, swings: Transition, **fields) -> None:
    one = jax.tree.map(lambda x: x[:, 0], swings)._replace(extras=(), **fields)
    save_dataset(path, one, describe_env(*make("MountainCar-v0")))


@pytest.mark.parametrize("dataset", [False, True])
def test_a_run(run_main, monkeypatch, tmp_path: Path, swings: Transition, dataset: bool) -> None:
    """Two rounds, on a coarse grid; the expert is the best policy there, or a file's."""
    monkeypatch.setattr(mountain_car, "POINTS", (48, 32))
    monkeypatch.setattr(mountain_car, "MOST_STEPS", 300)
    save(tmp_path / "demos.npz", swings)
    given = ("--dataset", "demos.npz") if dataset else ()
    code, out, err = run_main(irl_mountain_car.main, *given, "--rounds", "2", "--num-episodes", "4", "--out", "run")
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["random_return_mean"] == -300
    assert -130 < summary["expert_return_mean"] < -80
    assert summary["eval_return_mean"] > -200
    assert len(summary["weights"]) == 26
    assert "run/reward.png" in "".join(out)
    with Image.open(tmp_path / "run" / "reward.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 50


@pytest.mark.slow
def test_planning_on_the_recovered_reward_is_as_good_as_the_expert(run_main, tmp_path: Path) -> None:
    code, _, err = run_main(irl_mountain_car.main, "--out", "run")
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["eval_return_mean"] == pytest.approx(summary["expert_return_mean"], abs=5)


BAD = [
    ("--dataset nosuch.npz", "dataset must be a file of recorded transitions, as "),
    ("--dataset other.npz", "dataset must have the observation of this environment, float32[2], got float32[3]"),
    ("--rounds 0", "rounds must be >= 1, got 0"),
    ("--discount 1", "discount must be < 1, got 1"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line(run_main, monkeypatch, swings: Transition, arguments: str, message: str) -> None:
    monkeypatch.setattr(irl_mountain_car, "recover", partial(pytest.fail, "it started to learn"))
    wider = {name: np.zeros((len(swings.reward), 3), np.float32) for name in ("observation", "next_observation")}
    if "other" in arguments:
        save(Path("other.npz"), swings, **wider)
    code, _, err = run_main(irl_mountain_car.main, *arguments.split(), "--out", "run")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"error: --{message}"), err
    assert not Path("run").exists()
