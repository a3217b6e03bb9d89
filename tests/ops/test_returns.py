"""Returns and advantages, by hand, and against NumPy, episode by episode, and rlax."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxrl import ops

N, T, GAMMA, LAMBDA = 3, 12, 0.9, 0.8
TERMINATED = np.zeros((N, T), bool)
TRUNCATED = np.zeros((N, T), bool)
# Environment 0: one episode without an end. Environment 1: both kinds of ends, an episode of one step, and an end at
# the last step.
TERMINATED[1, [2, 3]], TRUNCATED[1, [7, 11]] = True, True
# Environment 2: truncated at its first step, terminated at its last.
TRUNCATED[2, 0], TERMINATED[2, 11] = True, True


@pytest.fixture(scope="module")
def trajectories():
    """Rewards, and values before and after each step, `[N, T]`. These agree except at the end of an episode."""
    rng = np.random.default_rng(0)
    r_t, v_tm1, v_end = rng.normal(size=(3, N, T)).astype(np.float32)
    v_t = np.where(TERMINATED | TRUNCATED, v_end, np.append(v_tm1[:, 1:], v_end[:, -1:], axis=1))
    return r_t, v_tm1, v_t


def marks(lambda_: float) -> tuple[np.ndarray, np.ndarray]:
    """Discounts and λ `[N, T]` of the trajectories."""
    discount_t = np.where(TERMINATED, 0, GAMMA).astype(np.float32)
    return discount_t, np.where(TERMINATED | TRUNCATED, 0, lambda_).astype(np.float32)


def by_episode(estimate, n_env, *arrays):
    """`estimate(*arrays of one episode, terminated)` for each episode of an environment: `[T]`."""
    ends = np.flatnonzero((TERMINATED | TRUNCATED)[n_env]) + 1
    bounds = sorted({0, T, *ends})
    parts = [
        estimate(*(x[n_env, start:end].astype(float) for x in arrays), TERMINATED[n_env, end - 1])
        for start, end in itertools.pairwise(bounds)
    ]
    return np.concatenate(parts)


def n_step_return(r, values, terminated, t, n):
    """The n-step return of step t of one episode; `values` are those after each step."""
    end = min(t + n, len(r))
    bootstrap = 0.0 if terminated and end == len(r) else values[end - 1]
    return sum(GAMMA ** (k - t) * r[k] for k in range(t, end)) + GAMMA ** (end - t) * bootstrap


def lambda_return(r, values, terminated, t):
    """The mixture of all n-step returns, (1 - λ) Σ λ^(n-1) G^(n); the last one has the remaining weight."""
    steps = len(r) - t
    weights = [(1 - LAMBDA) * LAMBDA ** (n - 1) for n in range(1, steps)] + [LAMBDA ** (steps - 1)]
    return sum(w * n_step_return(r, values, terminated, t, n) for n, w in enumerate(weights, 1))


def test_by_hand() -> None:
    r_t, discount_t, v_t = (
        np.array([1, 2, 0], np.float32),
        np.array([0.5, 0.5, 0.5], np.float32),
        np.array([2, 6, 8], np.float32),
    )
    lambda_, v_tm1 = np.array([1, 0, 1], np.float32), np.array([1, 2, 6], np.float32)
    expected = {
        "discounted, scalar": [1 + 0.5 * 4, 2 + 0.5 * 4, 0 + 0.5 * 8],
        "discounted": [1 + 0.5 * 4, 2 + 0.5 * 4, 0 + 0.5 * 8],
        "lambda = 1": [1 + 0.5 * 4, 2 + 0.5 * 4, 0 + 0.5 * 8],
        "lambda = 0": [1 + 0.5 * 2, 2 + 0.5 * 6, 4],
        "lambda = 0.5": [1 + 0.5 * (1 + 2.25), 2 + 0.5 * (3 + 2), 4],
        "lambda = 1, 0, 1": [1 + 0.5 * 5, 2 + 0.5 * 6, 4],
        "1 step": [1 + 0.5 * 2, 2 + 0.5 * 6, 4],
        "2 steps": [1 + 0.5 * 5, 2 + 0.5 * 4, 4],
        "advantages": [1 + 0.25 * 2.5, 3 + 0.25 * -2, -2],
    }
    computed = jax.jit(
        lambda: {
            "discounted, scalar": ops.discounted_returns(r_t, discount_t, 8.0),
            "discounted": ops.discounted_returns(r_t, discount_t, v_t),
            "lambda = 1": ops.lambda_returns(r_t, discount_t, v_t),
            "lambda = 0": ops.lambda_returns(r_t, discount_t, v_t, 0.0),
            "lambda = 0.5": ops.lambda_returns(r_t, discount_t, v_t, 0.5),
            "lambda = 1, 0, 1": ops.lambda_returns(r_t, discount_t, v_t, lambda_),
            "1 step": ops.n_step_bootstrapped_returns(r_t, discount_t, v_t, 1),
            "2 steps": ops.n_step_bootstrapped_returns(r_t, discount_t, v_t, 2),
            "advantages": ops.generalized_advantage_estimation(r_t, discount_t, 0.5, v_tm1, v_t),
        }
    )()
    for name, value in expected.items():
        np.testing.assert_allclose(computed[name], value, err_msg=name)


def test_lambda_returns_equal_each_episode_alone(trajectories) -> None:
    r_t, _, v_t = trajectories
    discount_t, lambda_ = marks(LAMBDA)
    ours = jax.jit(jax.vmap(ops.lambda_returns))(r_t, discount_t, v_t, lambda_)

    def episode(r, values, terminated):
        return [lambda_return(r, values, terminated, t) for t in range(len(r))]

    np.testing.assert_allclose(ours, [by_episode(episode, i, r_t, v_t) for i in range(N)], rtol=1e-4, atol=1e-5)


def test_advantages_equal_each_episode_alone(trajectories) -> None:
    r_t, v_tm1, v_t = trajectories
    discount_t, lambda_ = marks(LAMBDA)

    @jax.jit
    @jax.vmap
    def advantages_and_returns(r_t, discount_t, lambda_, v_tm1, v_t):
        advantages = ops.generalized_advantage_estimation(r_t, discount_t, lambda_, v_tm1, v_t)
        return advantages, ops.lambda_returns(r_t, discount_t, v_t, lambda_)

    advantages, returns = advantages_and_returns(r_t, discount_t, lambda_, v_tm1, v_t)

    def episode(r, before, after, terminated):
        discounts = np.append(np.full(len(r) - 1, GAMMA), 0.0 if terminated else GAMMA)
        delta = r + discounts * after - before
        return [sum((GAMMA * LAMBDA) ** (k - t) * delta[k] for k in range(t, len(r))) for t in range(len(r))]

    expected = [by_episode(episode, i, r_t, v_tm1, v_t) for i in range(N)]
    np.testing.assert_allclose(advantages, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(advantages, returns - v_tm1, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 3, T + 5])
def test_n_step_returns_equal_each_episode_alone(trajectories, n: int) -> None:
    r_t, _, v_t = trajectories
    discount_t, lambda_t = marks(1.0)
    ours = jax.jit(jax.vmap(partial(ops.n_step_bootstrapped_returns, n=n)))(r_t, discount_t, v_t, lambda_t=lambda_t)

    def episode(r, values, terminated):
        return [n_step_return(r, values, terminated, t, n) for t in range(len(r))]

    np.testing.assert_allclose(ours, [by_episode(episode, i, r_t, v_t) for i in range(N)], rtol=1e-4, atol=1e-5)


def test_n_step_return_by_hand() -> None:
    r_t, discount_t = np.array([1, 2, 4], np.float32), np.array([0.5, 0.5, 0.5], np.float32)
    expected = {  # the step that ended the episode: (sum of rewards, product of discounts, last step)
        (): (1 + 0.5 * 2 + 0.25 * 4, 0.125, 2),
        (0,): (1, 0.5, 0),
        (1,): (1 + 0.5 * 2, 0.25, 1),
        (1, 2): (1 + 0.5 * 2, 0.25, 1),
        (2,): (1 + 0.5 * 2 + 0.25 * 4, 0.125, 2),
    }
    ended_t = np.array([[k in ends for k in range(3)] for ends in expected])
    computed = jax.jit(jax.vmap(ops.n_step_return, (None, None, 0)))(r_t, discount_t, ended_t)
    np.testing.assert_allclose(np.stack(computed, axis=1), list(expected.values()))
    assert computed[2].dtype == np.int32
    # Nothing follows a termination; the replay holds another episode there, here of NaN.
    terminated = ops.n_step_return(
        jnp.array([1, 2, np.nan]), jnp.array([0.5, 0, np.nan]), jnp.array([False, True, True])
    )
    np.testing.assert_allclose(np.stack(terminated), [2, 0, 1])


def test_n_step_return_of_random_ends_equals_numpy() -> None:
    rng = np.random.default_rng(2)
    windows, n = 64, 5
    r_t = rng.normal(size=(windows, n)).astype(np.float32)
    terminated, truncated = rng.random((2, windows, n)) < 0.15
    discount_t = np.where(terminated, 0, rng.random((windows, n))).astype(np.float32)
    expected = []
    for r, discounts, ends in zip(r_t, discount_t, terminated | truncated, strict=True):
        total, weight, k = 0.0, 1.0, 0
        while True:
            total, weight = total + weight * r[k], weight * discounts[k]
            if ends[k] or k == n - 1:
                break
            k += 1
        expected.append((total, weight, k))
    computed = jax.jit(jax.vmap(ops.n_step_return))(r_t, discount_t, terminated | truncated)
    np.testing.assert_allclose(np.stack(computed, axis=1), expected, rtol=1e-5, atol=1e-6)
    assert len(np.unique(computed[2])) == n  # ends at every place, and none


@pytest.mark.parametrize("n", [1, 3, T])
def test_n_step_return_with_its_bootstrap_equals_n_step_bootstrapped_returns(trajectories, n: int) -> None:
    r_t, _, v_t = trajectories
    discount_t, lambda_t = marks(1.0)
    expected = jax.vmap(partial(ops.n_step_bootstrapped_returns, n=n))(r_t, discount_t, v_t, lambda_t=lambda_t)
    starts = np.arange(T - n + 1)
    windows = [x[:, starts[:, None] + np.arange(n)] for x in (r_t, discount_t, TERMINATED | TRUNCATED)]
    sums, discounts, last = jax.jit(jax.vmap(jax.vmap(ops.n_step_return)))(*windows)
    bootstraps = np.take_along_axis(v_t, starts + np.asarray(last), axis=1)
    np.testing.assert_allclose(sums + discounts * bootstraps, expected[:, starts], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("steps", [1, T])
def test_equal_rlax(trajectories, steps: int) -> None:
    r_t, v_tm1, v_t = (x[1, :steps] for x in trajectories)
    rng = np.random.default_rng(1)
    discount_t, lambda_ = rng.random((2, steps), np.float32)
    values = np.append(v_tm1, v_t[-1])

    def all_of(library, advantages):
        return {
            "discounted, scalar": library.discounted_returns(r_t, discount_t, v_t[-1]),
            "discounted": library.discounted_returns(r_t, discount_t, v_t),
            "lambda, scalar": library.lambda_returns(r_t, discount_t, v_t, 0.7),
            "lambda": library.lambda_returns(r_t, discount_t, v_t, lambda_),
            **{f"{n} steps": library.n_step_bootstrapped_returns(r_t, discount_t, v_t, n, lambda_) for n in (1, 4, 20)},
            "advantages": advantages(),
        }

    def ours_advantages():
        return ops.generalized_advantage_estimation(r_t, discount_t, lambda_, values[:-1], values[1:])

    def rlax_advantages():
        return rlax.truncated_generalized_advantage_estimation(r_t, discount_t, lambda_, values)

    ours, theirs = jax.jit(lambda: (all_of(ops, ours_advantages), all_of(rlax, rlax_advantages)))()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_gradients_of_a_long_trajectory() -> None:
    """∂G_0/∂r_t = γ^t and ∂G_0/∂v_T = γ^T, over a thousand steps."""
    steps, gamma = 1000, 0.999

    def first_return(r_t, v_t):
        return ops.discounted_returns(r_t, jnp.full(steps, gamma), v_t)[0]

    by_reward, by_value = jax.jit(jax.grad(first_return, argnums=(0, 1)))(jnp.ones(steps), 0.0)
    np.testing.assert_allclose(by_reward, gamma ** np.arange(steps), rtol=1e-3)
    assert by_value == pytest.approx(gamma**steps, rel=1e-3)


def test_bad_shapes_and_numbers_are_refused() -> None:
    one, two = np.ones(4, np.float32), np.ones((4, 4), np.float32)
    for r_t, v_t in ((two, two), (one, two), (one, one[:, None])):
        for refuse in (
            ops.lambda_returns,
            partial(ops.n_step_bootstrapped_returns, n=2),
            lambda r_t, discount_t, v_t: ops.generalized_advantage_estimation(r_t, discount_t, 1.0, one, v_t),
        ):
            with pytest.raises(ValueError, match=r"\[T\]"):
                jax.eval_shape(refuse, r_t, one, v_t)
    with pytest.raises(ValueError, match=r"\[T\]"):
        jax.eval_shape(ops.n_step_return, two, two, two > 0)
    with pytest.raises(ValueError, match="n must be > 0"):
        ops.n_step_bootstrapped_returns(one, one, one, 0)
