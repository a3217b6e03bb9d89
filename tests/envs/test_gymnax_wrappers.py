"""Our environments inside gymnax's wrappers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.experimental import RolloutWrapper
from gymnax.wrappers import FlattenObservationWrapper, LogWrapper

from jaxrl import make

T = 60


@pytest.fixture(params=["Breakout-MinAtar"])
def environment(request):
    """A game whose episodes end after 25 steps at the latest."""
    env, params = make(request.param)
    return env, params.replace(max_steps_in_episode=25)


def test_log_and_flatten(environment) -> None:
    env, params = environment
    wrapped = LogWrapper(FlattenObservationWrapper(env))

    def body(states, key):
        plain, logged = states
        action = env.action_space(params).sample(key)
        observation, plain, reward, terminated, truncated, _ = env.step(key, plain, action, params)
        flat, logged, *_, info = wrapped.step(key, logged, action, params)
        return (plain, logged), (observation, reward, terminated | truncated, flat, info)

    @jax.jit
    def play(key):
        observation, plain = env.reset(key, params)
        flat, logged = wrapped.reset(key, params)
        return (observation, flat), jax.lax.scan(body, (plain, logged), jax.random.split(key, T))[1]

    first, (observation, reward, done, flat, info) = jax.tree.map(np.asarray, play(jax.random.key(0)))
    size = observation[0].size
    assert wrapped.observation_space(params).shape == (size,)
    assert (flat.shape, flat.dtype) == ((T, size), bool)
    np.testing.assert_array_equal(first[1], first[0].ravel())
    np.testing.assert_array_equal(flat, observation.reshape(T, size))
    np.testing.assert_array_equal(info["returned_episode"], done)
    episodes = np.split(reward, np.flatnonzero(done) + 1)[:-1]
    assert len(episodes) >= 2
    np.testing.assert_array_equal(info["returned_episode_returns"][done], [episode.sum() for episode in episodes])
    np.testing.assert_array_equal(info["returned_episode_lengths"][done], [len(episode) for episode in episodes])


def test_the_rollout_helper(environment) -> None:
    env, params = environment
    board = (10, 10, len(env.game.channels))
    helper = RolloutWrapper(env=env, env_params=params, num_env_steps=T)
    assert helper.input_shape == board
    result = helper.batch_rollout(jax.random.split(jax.random.key(1), 3), None)
    observation, action, reward, next_observation, done, cumulative = map(np.asarray, result)
    assert observation.shape == next_observation.shape == (3, T, *board)
    assert observation.dtype == next_observation.dtype == done.dtype == bool
    assert (reward.dtype, jnp.issubdtype(action.dtype, jnp.integer)) == (np.float32, True)
    assert set(np.unique(action)) == set(range(env.num_actions))
    np.testing.assert_array_equal(observation[:, 1:], next_observation[:, :-1])
    first_episode = np.cumsum(done, axis=1) - done == 0
    np.testing.assert_array_equal(cumulative[:, 0], (reward * first_episode).sum(axis=1))
