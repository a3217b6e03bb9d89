"""Evaluation: complete episodes, and nothing else."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import evaluate, make, vectorize
from jaxrl.envs import Environment
from jaxrl.random import key_streams
from jaxrl.training import Evaluation, evaluation_while_training


class Params(NamedTuple):
    max_steps_in_episode: int = 2**31 - 1


class State(NamedTuple):
    length: jax.Array
    time: jax.Array


class Countdown(Environment):
    """Episodes of 1 to 8 steps, drawn at the start; the reward of a step is 1, or -100 in any later episode."""

    random_words, num_actions, name = 1, 2, "Countdown"
    default_params: Any = Params()

    def describe_rules(self, params):
        return "countdown"

    def initial(self, bits, params):
        return State(1 + (bits[0] & 7).astype(jnp.int32), jnp.zeros(bits.shape[1:], jnp.int32))

    def restart(self, state, bits, params):
        return State(jnp.full_like(state.length, -1), jnp.zeros_like(state.time))

    def transition(self, state, action, bits, params):
        state = state._replace(time=state.time + 1)
        return state, jnp.where(state.length > 0, 1.0, -100.0), state.time == state.length

    def encode(self, state):
        return state.length[None].astype(jnp.uint32)

    def decode(self, words):
        return words.astype(jnp.float32)


def policy(given, key):
    return jnp.zeros(len(given.observation), jnp.int32)


@pytest.fixture(scope="module")
def environments():
    env = Countdown()
    return vectorize(env, env.default_params, 64)


def test_each_environment_counts_one_episode(environments) -> None:
    result = jax.jit(lambda key: evaluate(policy, environments, key, 100))(jax.random.key(0))
    assert result.ended.all()
    np.testing.assert_array_equal(result.episode_return, result.episode_length)
    assert set(np.asarray(result.episode_length)) == set(range(1, 9))


def test_an_unfinished_episode_counts_with_its_return_so_far(environments) -> None:
    result = jax.jit(lambda key: evaluate(policy, environments, key, 3))(jax.random.key(0))
    full = jax.jit(lambda key: evaluate(policy, environments, key, 100))(jax.random.key(0))
    np.testing.assert_array_equal(result.ended, full.episode_length <= 3)
    np.testing.assert_array_equal(result.episode_return, np.minimum(full.episode_return, 3))


def test_the_use_of_keys_is_part_of_every_recorded_result() -> None:
    env, params = make("Breakout-MinAtar")
    environments = vectorize(env, params, 8)
    play = jax.jit(lambda key: evaluate(at_random, environments, key, 1000))
    result = play(jax.random.key(0))
    assert result.episode_length.tolist() == [6, 28, 16, 16, 28, 6, 6, 16]
    assert result.episode_return.tolist() == [0, 2, 1, 1, 2, 0, 0, 1]


def test_evaluations_while_training_have_keys_of_their_own() -> None:
    seen: list[np.ndarray] = []

    def evaluate_all(agent_states, keys, mesh) -> Evaluation:
        seen.append(np.asarray(jax.random.key_data(keys)))
        returns = agent_states[:, None] + np.array([0.0, 1.0])
        return Evaluation(returns, np.ones((2, 2), int), np.ones((2, 2), bool))

    both = evaluation_while_training(evaluate_all, [3, 4])
    for iteration in (7, 8, 7):
        np.testing.assert_array_equal(both(np.array([10.0, 20.0]), iteration, None), [10.5, 20.5])
    np.testing.assert_array_equal(seen[0], seen[2])
    one = evaluation_while_training(evaluate_all, [4])
    one(np.array([10.0, 20.0]), 8, None)
    np.testing.assert_array_equal(seen[3][0], seen[1][1])  # that of the seed, alone or beside others
    others = [np.asarray(jax.random.key_data(keys)) for keys in key_streams([3, 4])]
    assert len(np.unique(np.concatenate([*seen[:2], *others]), axis=0)) == 10


def at_random(given, key):
    return jax.random.randint(key, given.observation.shape[:1], 0, 6)


def test_the_key_decides_and_nothing_else() -> None:
    env, params = make("Breakout-MinAtar")
    environments = vectorize(env, params, 16)
    play = jax.jit(lambda key: evaluate(policy, environments, key, 200).episode_length)
    np.testing.assert_array_equal(play(jax.random.key(1)), play(jax.random.key(1)))
    assert not np.array_equal(play(jax.random.key(1)), play(jax.random.key(2)))
