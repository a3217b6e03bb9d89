"""Log-probabilities and entropies: by hand, and NumPy and rlax as oracles, under jit and vmap."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxrl import ops

B, A, D = 16, 5, 3
MASKED = jnp.array([math.log(1), -jnp.inf, math.log(3)])


def test_categorical_by_hand() -> None:
    logits = jnp.log(jnp.array([1.0, 1.0, 2.0])) + 7.0
    assert ops.categorical_log_prob(logits, 2) == pytest.approx(math.log(0.5), abs=1e-6)
    assert ops.categorical_entropy(logits) == pytest.approx(1.5 * math.log(2), abs=1e-6)
    assert ops.categorical_entropy(jnp.zeros(8)) == pytest.approx(math.log(8))


def test_a_masked_action_has_no_part() -> None:
    """Not in the values, and not in the gradients: they are those of the other actions alone."""
    entropy, gradient = jax.value_and_grad(ops.categorical_entropy)(MASKED)
    rest, rest_gradient = jax.value_and_grad(ops.categorical_entropy)(MASKED[jnp.array([0, 2])])
    assert entropy == pytest.approx(rest)
    np.testing.assert_allclose(gradient, [rest_gradient[0], 0, rest_gradient[1]], atol=1e-7)
    log_probs = jax.vmap(ops.categorical_log_prob, (None, 0))(MASKED, jnp.arange(3))
    np.testing.assert_allclose(log_probs, [math.log(1 / 4), -math.inf, math.log(3 / 4)], rtol=1e-6)
    np.testing.assert_allclose(jax.grad(ops.categorical_log_prob)(MASKED, 2), [-0.25, 0, 0.25], rtol=1e-6)


def test_only_one_action_left() -> None:
    entropy, gradient = jax.value_and_grad(ops.categorical_entropy)(jnp.array([-jnp.inf, 2.0, -jnp.inf]))
    assert entropy == 0
    np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_categorical_equals_numpy_and_rlax(scale: float) -> None:
    """At the large scale probabilities underflow."""
    rng = np.random.default_rng(0)
    logits, actions = (scale * rng.normal(size=(B, A))).astype(np.float32), rng.integers(A, size=B)
    log_probs = jax.jit(jax.vmap(ops.categorical_log_prob))(logits, actions)
    entropies = jax.jit(jax.vmap(ops.categorical_entropy))(logits)
    exact = np.stack([row - np.logaddexp.reduce(row) for row in logits.astype(float)])
    np.testing.assert_allclose(log_probs, exact[np.arange(B), actions], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(entropies, -(np.exp(exact) * exact).sum(1), rtol=1e-5, atol=1e-5)
    one = np.ones(B, np.float32)
    np.testing.assert_allclose(-log_probs.mean(), rlax.policy_gradient_loss(logits, actions, one, one), rtol=1e-5)
    np.testing.assert_allclose(-entropies.mean(), rlax.entropy_loss(logits, one), rtol=1e-5)


def test_normal_by_hand() -> None:
    mean, log_std = jnp.array([0.0, 1.0]), jnp.log(jnp.array([1.0, 2.0]))
    expected = -0.5 * (0 + 1) - math.log(2) - math.log(2 * math.pi)
    assert ops.normal_log_prob(mean, log_std, jnp.array([0.0, 3.0])) == pytest.approx(expected)
    assert ops.normal_entropy(log_std) == pytest.approx(math.log(2) + math.log(2 * math.pi * math.e))


@pytest.mark.filterwarnings("ignore:Rlax gaussian_diagonal:PendingDeprecationWarning")
def test_normal_equals_numpy_and_rlax() -> None:
    rng = np.random.default_rng(0)
    mean, log_std, action = rng.normal(size=(3, B, D)).astype(np.float32)
    log_probs = jax.jit(jax.vmap(ops.normal_log_prob))(mean, log_std, action)
    entropies = jax.jit(jax.vmap(ops.normal_entropy))(log_std)
    std = np.exp(log_std.astype(float))
    density = np.exp(-((action - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))
    np.testing.assert_allclose(log_probs, [math.log(math.prod(row)) for row in density], rtol=1e-5)
    oracle = rlax.gaussian_diagonal()
    np.testing.assert_allclose(log_probs, oracle.logprob(action, mean, jnp.exp(log_std)), rtol=1e-5)
    np.testing.assert_allclose(entropies, oracle.entropy(mean, jnp.exp(log_std)), rtol=1e-5, atol=1e-5)


def test_entropy_is_the_mean_of_the_negative_log_density() -> None:
    """Gauss-Hermite quadrature of −E[log p(x)], exact for a quadratic."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    mean, log_std = jnp.array([0.3]), jnp.array([-1.2])
    actions = (mean + jnp.exp(log_std) * nodes[:, None]).astype(jnp.float32)
    log_probs = jax.vmap(ops.normal_log_prob, (None, None, 0))(mean, log_std, actions)
    assert -np.dot(weights / weights.sum(), log_probs) == pytest.approx(ops.normal_entropy(log_std), rel=1e-5)
