"""Rollouts of a policy."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import Input, Transition, make, rollout, vectorize
from jaxrl.arguments import ArgumentError

T, N = 40, 3


def policy(given: Input, key: jax.Array) -> jax.Array:
    """Actions that depend on the observation and on the key."""
    seen = given.observation.reshape(len(given.observation), -1).astype(jnp.float32)
    return ((seen @ jnp.arange(seen.shape[1])).astype(jnp.int32) + jax.random.bits(key, ()).astype(jnp.int32)) % 2


def environment(name: str):
    env, params = make(name)
    return env, params.replace(max_steps_in_episode=9)


@pytest.mark.parametrize("name", ["Breakout-MinAtar", "gymnax.environments.classic_control.cartpole:CartPole"])
def test_equals_a_loop_written_by_hand(name: str) -> None:
    env, params = environment(name)
    ours = jax.jit(lambda key: rollout(env, policy, key, T, N, params))(jax.random.key(3))

    envs = vectorize(env, params, N)
    step, act = jax.jit(envs.step), jax.jit(policy)
    whole = getattr(env, "decode", lambda observation: observation)
    reset_key, play_key = jax.random.split(jax.random.key(3))
    state, rows = envs.reset(reset_key), []
    for t in range(T):
        act_key, step_key = jax.random.split(jax.random.fold_in(play_key, t))
        seen = envs.observe(state)
        state, transition, _ = step(state, act(Input(seen), act_key), step_key)
        rows.append(transition._replace(observation=seen, next_observation=whole(transition.next_observation)))
    by_hand = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7), ours, by_hand)
    assert (ours.truncated | ours.terminated).sum() >= T // 9 * N
    assert set(np.unique(ours.action)) == {0, 1}


@pytest.fixture(scope="module")
def played() -> Transition:
    env, params = environment("Breakout-MinAtar")
    key = jax.random.key(0)
    return jax.device_get(jax.jit(lambda key: rollout(env, policy, key, T, N, params))(key))


def test_observations_are_whole_and_follow_each_other_until_an_episode_ends(played: Transition) -> None:
    assert (played.observation.shape, played.observation.dtype) == ((T, N, 10, 10, 4), bool)
    assert [leaf.shape for leaf in played[1:5]] == [(T, N)] * 4
    before, after = played.next_observation[:-1], played.observation[1:]
    ended = (played.terminated | played.truncated)[:-1]
    assert 0 < ended.sum() < ended.size
    np.testing.assert_array_equal(before[~ended], after[~ended])
    np.testing.assert_array_equal(after[ended].sum(axis=(1, 2)), [[1, 1, 1, 30]] * ended.sum())  # a fresh wall
    assert (before[ended] != after[ended]).any(axis=(1, 2, 3)).all()


def test_under_vmap_each_key_plays_as_alone(played: Transition) -> None:
    env, params = environment("Breakout-MinAtar")
    keys = jnp.stack([jax.random.key(1), jax.random.key(0)])
    many = jax.jit(jax.vmap(lambda key: rollout(env, policy, key, T, N, params)))(keys)
    jax.tree.map(lambda one, two: np.testing.assert_array_equal(one, two[1]), played, many)
    assert not np.array_equal(many.observation[0], many.observation[1])


def test_parameters_have_defaults() -> None:
    env, params = make("CartPole-v1")
    play = jax.jit(lambda key, params: rollout(env, policy, key, 4, 1, params).truncated)
    assert not play(jax.random.key(0), None).any()
    assert play(jax.random.key(0), params.replace(max_steps_in_episode=2)).any()


@pytest.mark.parametrize(
    ("num_steps", "num_envs", "actions", "message"),
    [
        (0, 1, 1, "num_steps must be a whole number >= 1, got 0"),
        (1, -2, 1, "num_envs must be a whole number >= 1, got -2"),
        (1, 2, 3, "policy must return 2 actions, one for each environment, got shape (3,)"),
    ],
)
def test_bad_arguments(num_steps: int, num_envs: int, actions: int, message: str) -> None:
    env, _ = make("Breakout-MinAtar")
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}"):
        rollout(env, lambda given, key: jnp.zeros(actions, int), jax.random.key(0), num_steps, num_envs)
