"""gymnax's CartPole-v1, as we step it, against gymnasium's."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import Transition, make, rollout

T, N = 1050, 50


def balance_or_not(observations: jax.Array, key: jax.Array) -> jax.Array:
    """Even worlds keep the pole up, most of the odd ones' actions are random."""
    x, x_dot, angle, angle_dot = observations.T
    balancing = (0.1 * x + 0.3 * x_dot + 3 * angle + angle_dot > 0).astype(jnp.int32)
    chaos = jax.random.bernoulli(key, 0.8, (N,)) & (jnp.arange(N) % 2 == 1)
    return jnp.where(chaos, jax.random.randint(key, (N,), 0, 2), balancing)


@pytest.fixture(scope="module")
def ours() -> Transition:
    env, params = make("CartPole-v1")
    return jax.device_get(jax.jit(lambda key: rollout(env, balance_or_not, key, T, N, params))(jax.random.key(0)))


@pytest.fixture(scope="module")
def theirs(ours: Transition) -> Transition:
    """gymnasium's answers to the same actions, each step from the state ours was in; its clock runs by itself."""
    env = gymnasium.make("CartPole-v1", disable_env_checker=True)
    answers = []
    for world in range(N):
        done = True
        for t in range(T):
            if done:
                env.reset(seed=0)
            env.unwrapped.state = ours.observation[t, world].astype(np.float64)
            _, reward, terminated, truncated, _ = env.step(int(ours.action[t, world]))
            answers.append((reward, terminated, truncated, *env.unwrapped.state))
            done = terminated or truncated
    reward, terminated, truncated, *after = np.array(answers).reshape(N, T, 7).transpose(2, 1, 0)
    return ours._replace(
        reward=reward, terminated=terminated == 1, truncated=truncated == 1, next_observation=np.stack(after, axis=-1)
    )


def test_one_step_from_equal_states_differs_by_rounding_only(ours: Transition, theirs: Transition) -> None:
    assert ours.observation.dtype == ours.next_observation.dtype == np.float32
    np.testing.assert_allclose(ours.next_observation, theirs.next_observation, rtol=0, atol=1e-6)


def test_rewards_and_ends_are_equal_over_50_000_steps(ours: Transition, theirs: Transition) -> None:
    assert ours.reward.size > 50_000
    np.testing.assert_array_equal(ours.reward, theirs.reward)
    np.testing.assert_array_equal(ours.terminated, theirs.terminated)
    np.testing.assert_array_equal(ours.truncated, theirs.truncated & ~theirs.terminated)
    assert ours.terminated.sum() > 200


def test_the_500th_step_truncates_and_does_not_terminate(ours: Transition) -> None:
    balanced = ours.truncated[:, ::2]
    np.testing.assert_array_equal(np.argwhere(balanced.all(axis=1))[:, 0], [499, 999])
    assert balanced.sum() == 2 * balanced.shape[1]
    assert not ours.terminated[:, ::2].any()
