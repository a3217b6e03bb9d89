"""Targets and losses of one transition, by hand and against NumPy and rlax, under jit and vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxrl import ops

B, A = 16, 4


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return {
        "r_t": rng.normal(size=B).astype(np.float32),
        "discount_t": np.where(rng.random(B) < 0.8, 0.9, 0.0).astype(np.float32),
        "q_t": rng.normal(size=(B, A)).astype(np.float32),
        "selector": rng.normal(size=(B, A)).astype(np.float32),
        "a_t": rng.integers(A, size=B),
        "probs_a_t": rng.dirichlet(np.ones(A), size=B).astype(np.float32),
    }


def test_q_learning_target_by_hand() -> None:
    q_t = jnp.array([1.0, 5.0, -2.0])
    assert ops.q_learning_target(2.0, 0.5, q_t) == pytest.approx(2 + 0.5 * 5)
    assert ops.q_learning_target(2.0, 0.0, q_t) == pytest.approx(2)


def test_double_q_learning_target_by_hand() -> None:
    value, selector = jnp.array([1.0, 5.0, -2.0]), jnp.array([0.0, 1.0, 3.0])
    assert ops.double_q_learning_target(2.0, 0.5, value, selector) == pytest.approx(2 + 0.5 * -2)


def test_weighted_means_by_hand() -> None:
    x = jnp.array([[1.0, 2.0, 6.0], [3.0, 4.0, 0.0]])
    assert ops.weighted_mean(x[0], jnp.array([1.0, 0.5, 0.0])) == pytest.approx((1 + 1) / 1.5)
    assert ops.weighted_mean(x, jnp.array([1.0, 0.5, 0.0])) == pytest.approx((1 + 1 + 3 + 2) / 3)
    assert ops.weighted_mean(x, jnp.zeros(3)) == 0


def test_sarsa_targets_by_hand() -> None:
    q_t = jnp.array([1.0, 5.0, -2.0])
    assert ops.sarsa_target(2.0, 0.5, q_t, 2) == pytest.approx(2 + 0.5 * -2)
    assert ops.sarsa_target(2.0, 0.0, q_t, 2) == pytest.approx(2)
    probs = jnp.array([0.5, 0.25, 0.25])
    assert ops.expected_sarsa_target(2.0, 0.5, q_t, probs) == pytest.approx(2 + 0.5 * (0.5 + 1.25 - 0.5))
    assert ops.expected_sarsa_target(2.0, 0.5, q_t, jnp.array([0.0, 1.0, 0.0])) == pytest.approx(2 + 0.5 * 5)


@pytest.mark.parametrize(
    ("ours", "theirs", "arguments", "continuation"),
    [
        (ops.q_learning_target, rlax.q_learning, ["q_t"], lambda q: q.max()),
        (ops.double_q_learning_target, rlax.double_q_learning, ["q_t", "selector"], lambda q, s: q[s.argmax()]),
        (ops.sarsa_target, rlax.sarsa, ["q_t", "a_t"], lambda q, a: q[a]),
        (ops.expected_sarsa_target, rlax.expected_sarsa, ["q_t", "probs_a_t"], lambda q, p: (p * q).sum()),
    ],
    ids=["q_learning", "double_q_learning", "sarsa", "expected_sarsa"],
)
def test_targets_equal_numpy_and_rlax(batch, ours, theirs, arguments, continuation) -> None:
    rest = [batch[name] for name in arguments]
    r_t, discount_t = batch["r_t"], batch["discount_t"]
    target = jax.jit(jax.vmap(ours))(r_t, discount_t, *rest)
    expected = [r + discount * continuation(*x) for r, discount, *x in zip(r_t, discount_t, *rest, strict=True)]
    np.testing.assert_allclose(target, expected, rtol=1e-5)
    q_tm1, a_tm1 = np.zeros((B, A), np.float32), np.zeros(B, int)  # the TD error of a zero is the target
    np.testing.assert_allclose(target, jax.vmap(theirs)(q_tm1, a_tm1, r_t, discount_t, *rest), rtol=1e-5)


def test_losses() -> None:
    errors = np.array([-3, -1, 0, 0.5, 2], np.float32)

    @jax.jit
    def losses(errors):
        gradients = jax.vmap(jax.grad(ops.huber_loss))(errors)
        return ops.l2_loss(errors), ops.huber_loss(errors), gradients, ops.huber_loss(errors, delta=2.0)

    squared, huber, huber_gradients, huber_2 = losses(errors)
    np.testing.assert_allclose(squared, [4.5, 0.5, 0.0, 0.125, 2.0])
    np.testing.assert_allclose(huber, [2.5, 0.5, 0.0, 0.125, 1.5])
    np.testing.assert_allclose(huber_gradients, [-1, -1, 0, 0.5, 1])
    np.testing.assert_allclose(huber_2, jax.jit(rlax.huber_loss)(errors, 2.0))
