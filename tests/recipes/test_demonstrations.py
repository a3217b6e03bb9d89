"""Demonstrations: the shapes of an environment's transitions, and transitions of another one."""

import jax
import numpy as np
import pytest

from jaxrl import ArgumentError, BehaviourCloningHparams, make, save_dataset
from jaxrl.envs import describe_env
from jaxrl.recipes.demonstrations import (
    Demonstrations,
    check_is_of_env,
    check_same_env,
    chosen_rows,
    dataset_shapes,
    read_dataset,
    read_demonstrations,
)
from jaxrl.recipes.imitation import BehaviourCloning, build_cloning_to_load
from tests.agents.doors import LEGAL, Doors
from tests.replay.test_datasets import M, cart_pole


def test_shapes_are_those_of_the_environment() -> None:
    env, params = make("CartPole-v1")
    shapes = dataset_shapes(env, params, M)
    here = jax.tree.map(lambda x: (x.shape, x.dtype), shapes)
    assert here == jax.tree.map(lambda x: (x.shape, x.dtype), cart_pole())
    check_is_of_env(cart_pole(), env, params)
    pendulum = dataset_shapes(*make("Pendulum-v1"), M)
    assert (pendulum.action.shape, pendulum.action.dtype) == ((M, 1), np.float32)
    doors = dataset_shapes(Doors(), Doors.default_params, M)
    assert doors.legal is not None
    assert doors.legal.shape == (M, LEGAL.shape[1])


@pytest.mark.parametrize(
    ("env", "fields", "message"),
    [
        ("Pendulum-v1", {}, "dataset must have the observation of this environment, float32[3], got float32[4]"),
        ("Breakout-MinAtar", {}, "dataset must have the observation of this environment, bool[10, 10, 4], got float"),
        (
            "CartPole-v1",
            {"action": np.zeros((M, 1), np.float32)},
            "dataset must have the action of this environment, int32[], got float32[1]",
        ),
        (
            "CartPole-v1",
            {"action": np.arange(M, dtype=np.int32) % 3},
            "dataset must have the actions of this environment, of which there are 2, got 3",
        ),
        (
            "CartPole-v1",
            {"legal": np.ones((M, 3), bool)},
            "dataset must have the actions of this environment, of which there are 2, got 3",
        ),
    ],
)
def test_transitions_of_another_environment(env: str, fields: dict, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        check_is_of_env(cart_pole(**fields), *make(env))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("about", "message"),
    [
        ({"env": "Asterix-MinAtar"}, "the environment 'Breakout-MinAtar', got 'Asterix-MinAtar'"),
        (describe_env(*make("Asterix-MinAtar")), "the environment 'Breakout-MinAtar', got 'Asterix-MinAtar'"),
        (
            describe_env(*make("Breakout-MinAtar", rules="gymnax")),
            "the rules 'original: 6 actions, sticky actions 0.1, difficulty ramping, no step cap', got 'gymnax: "
            "3 actions, no sticky actions, difficulty ramping, 1000-step cap'",
        ),
        ({"env": "my_games:breakout"}, None),
        ({"env": "my_games:breakout", **describe_env(*make("Breakout-MinAtar"))}, None),
        ({}, None),
    ],
)
def test_another_game_with_the_same_arrays(about: dict, message: str | None) -> None:
    game = make("Breakout-MinAtar")
    if message is None:
        return check_same_env(about, *game)
    with pytest.raises(ArgumentError) as error:
        check_same_env(about, *game)
    assert str(error.value) == f"dataset must be of {message}"


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_a_policy_network_is_as_configured(activation) -> None:
    env, params = make("CartPole-v1")
    agent, _ = build_cloning_to_load(env, params, BehaviourCloning(hidden_sizes=(4,), activation=activation))
    assert agent.outputs is not None
    state = jax.eval_shape(agent.init, jax.random.key(0), BehaviourCloningHparams(), np.zeros(4, np.float32))
    assert ("tanh" in str(jax.make_jaxpr(agent.outputs)(state, np.zeros((1, 4), np.float32)))) == (activation == "tanh")


@pytest.mark.parametrize(
    ("num_actions", "message"),
    [
        (2, "dataset must have the actions of this environment, of which there are 2, got 6"),
        (3, "dataset must have the actions of this environment, of which there are 2, got 6"),
        ("two", "dataset must give a whole number as num_actions of the transitions in {path}, got 'two'"),
        ([2], "dataset must give a whole number as num_actions of the transitions in {path}, got [2]"),
    ],
)
def test_a_file_of_other_actions(num_actions, message: str, tmp_path) -> None:
    """What a file says of its actions hides none that the environment lacks."""
    path = tmp_path / "data.npz"
    save_dataset(path, cart_pole(action=np.arange(M, dtype=np.int32)), {"num_actions": num_actions})
    with pytest.raises(ArgumentError) as error:
        read_dataset(str(path), *make("CartPole-v1"))
    assert str(error.value) == message.format(path=path)


ENDS = np.array([0, 0, 1, 1, 0, 0, 0, 1, 0], bool)
"""Episodes of 3, 1 and 4 transitions, and one that has not ended."""


@pytest.mark.parametrize(
    ("num_episodes", "subsample", "rows"),
    [
        (0, 1, range(9)),
        (0, 2, [0, 2, 3, 4, 6, 8]),
        (0, 100, [0, 3, 4, 8]),
        (1, 1, [0, 1, 2]),
        (2, 1, [0, 1, 2, 3]),
        (3, 3, [0, 3, 4, 7]),
    ],
)
def test_episodes_and_one_in_so_many_of_their_transitions(num_episodes: int, subsample: int, rows) -> None:
    assert chosen_rows(ENDS, num_episodes, subsample).tolist() == list(rows)


def test_too_few_episodes() -> None:
    with pytest.raises(ArgumentError, match=r"^num_episodes must be at most 3, the episodes of the dataset, got 4$"):
        chosen_rows(ENDS, 4, 1)


def test_demonstrations_are_the_chosen_rows_of_the_file(tmp_path) -> None:
    path, data = tmp_path / "data.npz", cart_pole(terminated=np.arange(M) == 3, truncated=np.zeros(M, bool))
    save_dataset(path, data)
    given = read_demonstrations(Demonstrations(str(path), num_episodes=1, subsample=2), *make("CartPole-v1"))
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y[[0, 2]]), given, data)
