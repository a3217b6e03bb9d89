"""Probabilities, their logarithms and entropies, by hand and against NumPy and rlax, under jit and vmap."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxrl import ops

B, A, D = 16, 5, 3
MASKED = np.array([math.log(1), -math.inf, math.log(3)], np.float32)
entropy_and_gradient = jax.jit(jax.value_and_grad(ops.categorical_entropy))


def test_ties_share_the_greedy_probability() -> None:
    assert ops.greedy_policy(np.array([[1, 3, 3], [2, 1, 0]])).tolist() == [[0, 0.5, 0.5], [1, 0, 0]]


def test_categorical_by_hand() -> None:
    logits = np.float32(np.log([1, 1, 2]) + 7)
    assert jax.jit(ops.categorical_log_prob)(logits, 2) == pytest.approx(math.log(0.5), abs=1e-6)
    assert entropy_and_gradient(logits)[0] == pytest.approx(1.5 * math.log(2), abs=1e-6)
    assert entropy_and_gradient(np.zeros(3, np.float32))[0] == pytest.approx(math.log(3))


def test_a_masked_action_has_no_part() -> None:
    """Values and gradients are those of the other actions alone."""
    entropy, gradient = entropy_and_gradient(MASKED)
    rest, rest_gradient = entropy_and_gradient(MASKED[[0, 2]])
    assert entropy == pytest.approx(float(rest))
    np.testing.assert_allclose(gradient, [rest_gradient[0], 0, rest_gradient[1]], atol=1e-7)
    log_prob_and_gradient = jax.jit(jax.vmap(jax.value_and_grad(ops.categorical_log_prob), (None, 0)))
    log_probs, gradients = log_prob_and_gradient(MASKED, np.arange(3))
    np.testing.assert_allclose(log_probs, [math.log(1 / 4), -math.inf, math.log(3 / 4)], rtol=1e-6)
    np.testing.assert_allclose(gradients[::2], [[0.75, 0, -0.75], [-0.25, 0, 0.25]], rtol=1e-6)


def test_only_one_action_left() -> None:
    entropy, gradient = entropy_and_gradient(np.array([-math.inf, 2, -math.inf], np.float32))
    assert entropy == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.filterwarnings("ignore:Rlax softmax:PendingDeprecationWarning")
@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_categorical_equals_numpy_and_rlax(scale: float) -> None:
    """At the large scale probabilities underflow."""
    rng = np.random.default_rng(0)
    logits, actions = (scale * rng.normal(size=(B, A))).astype(np.float32), rng.integers(A, size=B)
    one = np.ones(B, np.float32)

    @jax.jit
    def ours_and_theirs(logits):
        log_probs = jax.vmap(ops.categorical_log_prob)(logits, actions)
        entropies = jax.vmap(ops.categorical_entropy)(logits)
        return (
            log_probs,
            entropies,
            rlax.policy_gradient_loss(logits, actions, one, one),
            rlax.entropy_loss(logits, one),
        )

    log_probs, entropies, rlax_loss, rlax_entropy_loss = ours_and_theirs(logits)
    exact = np.stack([row - np.logaddexp.reduce(row) for row in logits.astype(float)])
    np.testing.assert_allclose(log_probs, exact[np.arange(B), actions], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entropies, -(np.exp(exact) * exact).sum(1), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(-log_probs.mean(), rlax_loss, rtol=1e-5)
    np.testing.assert_allclose(-entropies.mean(), rlax_entropy_loss, rtol=1e-5)


def test_normal_by_hand() -> None:
    mean, log_std, action = np.array([[0, 1], [0, math.log(2)], [0, 3]], np.float32)
    expected = -0.5 * (0 + 1) - math.log(2) - math.log(2 * math.pi)
    assert jax.jit(ops.normal_log_prob)(mean, log_std, action) == pytest.approx(expected)
    assert jax.jit(ops.normal_entropy)(log_std) == pytest.approx(math.log(2) + math.log(2 * math.pi * math.e))


@pytest.mark.filterwarnings("ignore:Rlax gaussian_diagonal:PendingDeprecationWarning")
def test_normal_equals_numpy_and_rlax() -> None:
    rng = np.random.default_rng(0)
    mean, log_std, action = rng.normal(size=(3, B, D)).astype(np.float32)

    @jax.jit
    def ours_and_theirs(mean, log_std, action):
        log_probs = jax.vmap(ops.normal_log_prob)(mean, log_std, action)
        entropies = jax.vmap(ops.normal_entropy)(log_std)
        oracle, std = rlax.gaussian_diagonal(), jnp.exp(log_std)
        return log_probs, entropies, oracle.logprob(action, mean, std), oracle.entropy(mean, std)

    log_probs, entropies, rlax_log_probs, rlax_entropies = ours_and_theirs(mean, log_std, action)
    std = np.exp(log_std.astype(float))
    density = np.exp(-((action - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(log_probs, [math.log(math.prod(row)) for row in density], rtol=1e-5)
    np.testing.assert_allclose(log_probs, rlax_log_probs, rtol=1e-5)
    np.testing.assert_allclose(entropies, rlax_entropies, rtol=1e-5, atol=1e-5)


def test_entropy_is_the_mean_of_the_negative_log_density() -> None:
    """Gauss-Hermite quadrature of −E[log p(x)], exact for a quadratic."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    mean, log_std = np.array([0.3], np.float32), np.array([-1.2], np.float32)
    actions = (mean + np.exp(log_std) * nodes[:, None]).astype(np.float32)
    log_probs = jax.jit(jax.vmap(ops.normal_log_prob, (None, None, 0)))(mean, log_std, actions)
    assert -np.dot(weights / weights.sum(), log_probs) == pytest.approx(float(ops.normal_entropy(log_std)), rel=1e-5)
