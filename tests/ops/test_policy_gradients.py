"""Policy gradients, against exact gradients by enumeration of all outcomes, by hand, and against rlax."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import rlax

from jaxrl import ops

K1, K2 = 5, 3
OUTCOMES = np.array(list(itertools.product(range(K1), range(K2))))


@pytest.fixture(scope="module")
def theta():
    rng = np.random.default_rng(0)
    return {"first": rng.normal(size=K1).astype(np.float32), "second": rng.normal(size=(K1, K2)).astype(np.float32)}


def log_prob(theta, x):
    """x1 ~ p_θ, then x2 ~ p_θ(· | x1)."""
    return jax.nn.log_softmax(theta["first"])[x[0]] + jax.nn.log_softmax(theta["second"][x[0]])[x[1]]


def f(theta, x, dependence):
    """A function of the sample, and of θ too unless `dependence` is 0."""
    of_sample = jnp.sin(1.0 + 3 * x[0] - x[1]) + 2.0 * x[1]
    return of_sample * jnp.exp(dependence * theta["first"][0]) + dependence * theta["second"][x[0], x[1]] ** 2


@jax.jit
def exact_and_estimated(theta, dependence, constant, slope):
    """J(θ), its gradient, and its second derivative along a direction; and the surrogate's, averaged over outcomes."""

    def expectation(theta):
        return sum_over_outcomes(lambda x: f(theta, x, dependence), theta)

    def surrogate(theta, x):
        baseline = constant + slope * theta["first"].sum()
        return ops.score_function_surrogate(f(theta, x, dependence), log_prob(theta, x), baseline)

    def sum_over_outcomes(function, theta):
        probs = jnp.exp(jax.vmap(log_prob, (None, 0))(theta, OUTCOMES))
        return jax.tree.map(lambda leaf: jnp.tensordot(probs, leaf, 1), jax.vmap(function)(OUTCOMES))

    def derivatives(function):
        return function(theta), *jax.jvp(jax.grad(function), (theta,), (jax.tree.map(jnp.cos, theta),))

    estimates = sum_over_outcomes(lambda x: derivatives(lambda theta: surrogate(theta, x)), theta)
    return derivatives(expectation), estimates


@pytest.mark.parametrize("dependence", [0.0, 1.0])
@pytest.mark.parametrize(("constant", "slope"), [(0.0, 0.0), (-3.5, 0.0), (1.0, 2.0)])
def test_surrogate_is_unbiased(theta, dependence, constant, slope) -> None:
    """Over all outcomes, with any baseline, whether or not it depends on θ."""
    exact, estimated = exact_and_estimated(theta, dependence, constant, slope)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), estimated, exact)


def test_surrogate_by_hand() -> None:
    """Value f, gradient (f − b) in log p, 1 in f and 0 in b, elementwise."""
    f_x, log_p, baseline = (
        np.array([2.0, -1.0], np.float32),
        np.array([-0.5, -3.0], np.float32),
        np.array([0.5, 0.25], np.float32),
    )
    np.testing.assert_array_equal(ops.score_function_surrogate(f_x, log_p, baseline), f_x)
    gradients = jax.jit(jax.vmap(jax.grad(ops.score_function_surrogate, argnums=(0, 1, 2))))(f_x, log_p, baseline)
    np.testing.assert_allclose(gradients, [[1, 1], [1.5, -1.25], [0, 0]])
    by_log_prob = jax.grad(ops.score_function_surrogate, argnums=1)
    assert jax.grad(by_log_prob, argnums=2)(2.0, -0.5, 0.5) == 0


def test_a_baseline_lowers_the_variance() -> None:
    """A fair coin with f = 10 or 11: ∂ log p = ±½, so without a baseline the gradient is 5 or −5.5, mean −¼."""

    def surrogate(theta, x, baseline):
        return ops.score_function_surrogate(10.0 + x, ops.categorical_log_prob(theta, x), baseline)

    of_coins = jax.vmap(jax.grad(surrogate), (None, 0, None))
    of_baselines = jax.jit(jax.vmap(of_coins, (None, None, 0)))
    gradients = of_baselines(np.zeros(2, np.float32), np.arange(2), np.array([0, 10, 10.5], np.float32))[..., 0]
    np.testing.assert_allclose(gradients.mean(axis=1), -0.25, rtol=1e-6)
    np.testing.assert_allclose(gradients.var(axis=1), [27.5625, 0.0625, 0], atol=1e-6)


def test_score_function_loss() -> None:
    log_prob_t, adv_t = np.array([-0.5, -2.0], np.float32), np.array([2.0, -3.0], np.float32)
    np.testing.assert_allclose(ops.score_function_loss(log_prob_t, adv_t), [1, -6])
    gradients = jax.jit(jax.vmap(jax.grad(ops.score_function_loss, argnums=(0, 1))))(log_prob_t, adv_t)
    np.testing.assert_allclose(gradients, [[-2, 3], [0, 0]])


@pytest.mark.filterwarnings("ignore:Rlax softmax:PendingDeprecationWarning")
def test_policy_gradient_equals_rlax(theta) -> None:
    logits, action, adv_t = theta["second"], np.array([0, 2, 1, 1, 0]), np.linspace(-1, 2, K1, dtype=np.float32)

    def ours(logits):
        return ops.score_function_loss(jax.vmap(ops.categorical_log_prob)(logits, action), adv_t).mean()

    def theirs(logits):
        return rlax.policy_gradient_loss(logits, action, adv_t, np.ones(K1, np.float32))

    (value, grad), (expected, expected_grad) = jax.jit(
        lambda x: (jax.value_and_grad(ours)(x), jax.value_and_grad(theirs)(x))
    )(logits)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(grad, expected_grad, rtol=1e-5, atol=1e-7)


def test_clipped_surrogate_by_hand() -> None:
    """Only a step that would gain, the ratio already past its bound, has no gradient; nor has the advantage."""
    ratio = np.array([1.0, 1.5, 1.5, 0.5, 0.5], np.float32)
    adv_t = np.array([2.0, 2.0, -2.0, 2.0, -2.0], np.float32)
    losses = jax.vmap(ops.clipped_surrogate_pg_loss, (0, 0, None))(ratio, adv_t, 0.2)
    np.testing.assert_allclose(losses, [-2, -2.4, 3, -1, 1.6], rtol=1e-6)
    gradients = jax.jit(jax.vmap(jax.grad(ops.clipped_surrogate_pg_loss, argnums=(0, 1)), (0, 0, None)))
    by_ratio, by_adv = gradients(ratio, adv_t, 0.2)
    np.testing.assert_allclose(by_ratio, [-2, 0, 2, -2, 0])
    np.testing.assert_array_equal(by_adv, 0)


def test_clipped_surrogate_equals_numpy_and_rlax() -> None:
    rng = np.random.default_rng(0)
    ratio, adv_t = rng.uniform(0.5, 1.5, 64).astype(np.float32), rng.normal(size=64).astype(np.float32)
    ours = jax.jit(jax.vmap(ops.clipped_surrogate_pg_loss, (0, 0, None)))(ratio, adv_t, 0.1)
    expected = [-min(r * a, min(max(r, 0.9), 1.1) * a) for r, a in zip(ratio, adv_t, strict=True)]
    np.testing.assert_allclose(ours, expected, rtol=1e-5)
    mean = ops.clipped_surrogate_pg_loss(ratio, adv_t, 0.1)
    np.testing.assert_allclose(mean, ours.mean(), rtol=1e-5)
    np.testing.assert_allclose(mean, rlax.clipped_surrogate_pg_loss(ratio, adv_t, 0.1), rtol=1e-5)
