"""The mathematics: hand-computed values, and rlax as oracle, under jit and vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxrl import ops

B, A = 16, 4


@pytest.fixture(scope="module")
def batch():
    keys = jax.random.split(jax.random.key(0), 4)
    return (
        jax.random.normal(keys[0], (B,)),
        jax.random.bernoulli(keys[1], 0.8, (B,)) * 0.9,
        jax.random.normal(keys[2], (B, A)),
        jax.random.normal(keys[3], (B, A)),
    )


def test_q_learning_target_by_hand() -> None:
    q_t = jnp.array([1.0, 5.0, -2.0])
    assert ops.q_learning_target(2.0, 0.5, q_t) == pytest.approx(2 + 0.5 * 5)
    assert ops.q_learning_target(2.0, 0.0, q_t) == pytest.approx(2)


def test_double_q_learning_target_by_hand() -> None:
    value, selector = jnp.array([1.0, 5.0, -2.0]), jnp.array([0.0, 1.0, 3.0])
    assert ops.double_q_learning_target(2.0, 0.5, value, selector) == pytest.approx(2 + 0.5 * -2)


def test_targets_equal_rlax(batch) -> None:
    r_t, discount_t, q_t, selector = batch
    q_tm1, a_tm1 = jnp.zeros((B, A)), jnp.zeros(B, jnp.int32)
    ours = jax.jit(jax.vmap(ops.q_learning_target))(r_t, discount_t, q_t)
    np.testing.assert_allclose(ours, jax.vmap(rlax.q_learning)(q_tm1, a_tm1, r_t, discount_t, q_t), rtol=1e-6)
    ours = jax.jit(jax.vmap(ops.double_q_learning_target))(r_t, discount_t, q_t, selector)
    theirs = jax.vmap(rlax.double_q_learning)(q_tm1, a_tm1, r_t, discount_t, q_t, selector)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_losses() -> None:
    errors = jnp.array([-3.0, -1.0, 0.0, 0.5, 2.0])
    np.testing.assert_allclose(ops.squared_loss(errors), [4.5, 0.5, 0.0, 0.125, 2.0])
    np.testing.assert_allclose(ops.huber_loss(errors), [2.5, 0.5, 0.0, 0.125, 1.5])
    np.testing.assert_allclose(ops.huber_loss(errors, 2.0), rlax.huber_loss(errors, 2.0))
    np.testing.assert_allclose(jax.vmap(jax.grad(ops.huber_loss))(errors), [-1, -1, 0, 0.5, 1])


@pytest.mark.parametrize(("env_steps", "expected"), [(0, 1.0), (25, 0.775), (100, 0.1), (1e9, 0.1)])
def test_linear_schedule(env_steps: float, expected: float) -> None:
    assert ops.linear_schedule(env_steps, 1.0, 0.1, 100) == pytest.approx(expected)
    assert ops.linear_schedule(env_steps, 0.5, 0.5, 0) == pytest.approx(0.5)
