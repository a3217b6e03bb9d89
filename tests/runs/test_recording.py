"""Recording a policy: whole trajectories, what is known about them, and bad arguments."""

import jax
import numpy as np
import pytest

from jaxrl import ArgumentError, TrainedPolicy, Transition, make, record_dataset
from jaxrl.experiments import bc_cartpole
from jaxrl.runs import recording
from jaxrl.runs.options import with_values
from jaxrl.runs.recording import episode_returns
from tests.compiling import quick_jit

STEPS, ENVS = 200, 3
LENGTH = 67  # of each environment, of the last one 66


@pytest.fixture(scope="module")
def policy() -> TrainedPolicy:
    """An untrained one, which falls after some ten steps."""
    experiment = bc_cartpole.experiment
    options = with_values(experiment.defaults, {"config.hidden_sizes": (), "env_options": ("max_steps_in_episode=9",)})
    env, params = make("CartPole-v1", max_steps_in_episode=9)
    assert experiment.build_to_load is not None
    agent, _ = experiment.build_to_load(env, params, options.config)
    observation, _ = env.reset(jax.random.key(0), params)
    state = quick_jit(agent.init)(jax.random.key(1), options.hparams, observation)
    return TrainedPolicy(env, params, agent, state, experiment, options)


@pytest.fixture(scope="module")
def recorded(policy):
    return record_dataset(policy, STEPS, ENVS)


def test_the_rows_of_an_environment_follow_each_other(policy, recorded) -> None:
    steps = recorded.transitions
    assert {len(x) for x in jax.tree.leaves(steps)} == {STEPS}
    ends = steps.terminated | steps.truncated
    np.testing.assert_array_equal(steps.observation[1:][~ends[:-1]], steps.next_observation[:-1][~ends[:-1]])
    assert (steps.observation[1:][ends[:-1]] != steps.next_observation[:-1][ends[:-1]]).any(1).all()
    assert np.abs(steps.observation[0]).max() <= 0.05  # where episodes begin
    for last in (LENGTH - 1, 2 * LENGTH - 1, STEPS - 1):
        assert ends[last]
        assert np.abs(steps.observation[min(last + 1, 0)]).max() <= 0.05
    assert not (steps.terminated & steps.truncated).any()
    np.testing.assert_array_equal(policy(steps.observation, jax.random.key(0)), steps.action)


def test_what_is_known_about_them(recorded) -> None:
    steps, about = recorded
    ends = steps.terminated | steps.truncated
    lengths = np.diff(np.flatnonzero(ends), prepend=-1)
    cut = {LENGTH - 1, 2 * LENGTH - 1, STEPS - 1} - set(np.flatnonzero(steps.terminated))
    whole = [x for x, last in zip(lengths, np.flatnonzero(ends), strict=True) if last not in cut or x == 9]
    assert about == {
        "env": "CartPole-v1",
        "rules": None,
        "env_options": ["max_steps_in_episode=9"],
        "env_name": "CartPole-v1",
        "rules_text": "default rules, 9-step cap",
        "experiment": "bc_cartpole",
        "algorithm": "behaviour cloning",
        "num_actions": 2,
        "num_steps": STEPS,
        "num_envs": ENVS,
        "record_seed": 0,
        "episodes": len(whole),
        "episode_return_mean": pytest.approx(np.mean(whole)),
    }


def test_the_last_step_of_an_environment_is_an_end_of_one_kind(policy) -> None:
    """Of those that fall just then, it stays a termination."""
    steps, _ = record_dataset(policy, 8 * 50, 50)
    last = slice(7, None, 8)
    assert 0 < steps.terminated[last].sum() < 50
    np.testing.assert_array_equal(steps.truncated[last], ~steps.terminated[last])
    assert not (steps.terminated & steps.truncated).any()


def test_a_seed_repeats_a_recording(policy, recorded) -> None:
    again, other = (record_dataset(policy, STEPS, ENVS, seed).transitions for seed in (0, 1))
    for x, y in zip(jax.tree.leaves(again), jax.tree.leaves(recorded.transitions), strict=True):
        np.testing.assert_array_equal(x, y)
    assert (other.observation[0] != again.observation[0]).all()


def test_it_acts_with_the_parameters_of_its_environment(policy) -> None:
    params = policy.env_params.replace(max_steps_in_episode=3)
    short = TrainedPolicy(policy.env, params, policy.agent, policy.agent_state, policy.experiment, policy.options)
    steps, _ = record_dataset(short, 12, 2)
    np.testing.assert_array_equal(np.flatnonzero(steps.truncated), [2, 5, 8, 11])


def test_the_returns_of_whole_episodes() -> None:
    """Rewards 1, 2, 4, …; the last step belongs to none."""
    ends = np.array([0, 1, 0, 1, 1, 0], bool)
    nothing = np.zeros((6, 1))
    steps = Transition(nothing, nothing, 2.0 ** np.arange(6), ends, ~ends & False, nothing)
    assert episode_returns(steps) == [1 + 2, 4 + 8, 16]
    assert episode_returns(steps._replace(terminated=~ends & False, truncated=ends)) == [1 + 2, 4 + 8, 16]
    assert episode_returns(steps._replace(terminated=ends & False)) == []


@pytest.mark.parametrize("first_steps", [4, 256])
def test_whole_episodes(policy, monkeypatch, first_steps: int) -> None:
    """Seven, of three environments: the first three of two of them, and the first of the last, as in longer steps."""
    monkeypatch.setattr(recording, "FIRST_STEPS", first_steps)
    steps, about = record_dataset(policy, num_envs=ENVS, num_episodes=7)
    ends = steps.terminated | steps.truncated
    assert (ends.sum(), ends[-1], about["episodes"], about["num_steps"]) == (7, True, 7, len(ends))
    lengths = np.diff(np.flatnonzero(ends), prepend=-1)
    assert about["episode_return_mean"] == pytest.approx(lengths.mean())
    assert (steps.truncated == (ends & ~steps.terminated)).all()
    many, _ = record_dataset(policy, 3 * 64, ENVS)
    own = np.split(np.arange(len(ends)), 1 + np.flatnonzero(ends)[[2, 5]])
    for n, rows in enumerate(own):
        np.testing.assert_array_equal(steps.observation[rows], many.observation[64 * n :][: len(rows)])
    assert record_dataset(policy, num_envs=8, num_episodes=2)[1]["num_envs"] == 2
    assert record_dataset(policy, num_envs=4, num_episodes=5)[1]["episodes"] == 5  # 2, 2, 1 and none


def test_without_a_whole_episode(policy) -> None:
    transitions, about = record_dataset(policy, 5, 5)
    assert (about["episodes"], about["episode_return_mean"]) == (0, None)
    assert transitions.truncated.all()


def test_bad_numbers(policy) -> None:
    with pytest.raises(ArgumentError, match=r"^num_steps must be at least 8, one for each environment, got 7$"):
        record_dataset(policy, 7)
    with pytest.raises(ArgumentError, match=r"^num_envs must be a whole number >= 1, got 0$"):
        record_dataset(policy, 7, 0)
    with pytest.raises(ArgumentError, match=r"^num_steps must be a whole number >= 1, got 7.5$"):
        record_dataset(policy, 7.5, 1)
    with pytest.raises(ArgumentError, match=r"^num_steps must be a whole number >= 1, got None$"):
        record_dataset(policy)
    with pytest.raises(ArgumentError, match=r"^num_episodes must be a whole number >= 1, got 0$"):
        record_dataset(policy, num_episodes=0)
    with pytest.raises(ArgumentError, match=r"^num_steps must be None if num_episodes are given, got 7$"):
        record_dataset(policy, 7, num_episodes=3)


def test_more_steps_than_memory(policy) -> None:
    with pytest.raises(
        MemoryError, match=r"^the transitions take .* GiB, but only .* is free; fewer of them need less$"
    ):
        record_dataset(policy, 2**31 - 1)
