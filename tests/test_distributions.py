"""Distributions over actions: frequencies of samples, and formulas against NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxrl.distributions import Categorical, Normal, SquashedNormal

DRAWS = 100_000
LOGITS = np.array(
    [[0.0, -np.inf, 1.0, 2.0], [-np.inf, -np.inf, 5.0, -np.inf], [30.0, -80.0, 29.0, -np.inf]], np.float32
)
MEAN, LOG_STD = np.array([[0.0, 2.0], [-1.0, 0.5]], np.float32), np.array([[0.0, -1.0], [0.5, -3.0]], np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits.astype(np.float64) - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.fixture(scope="module")
def categorical():
    """Draws `[DRAWS, 3]`."""
    rows = jnp.tile(LOGITS, (DRAWS, 1))
    return np.asarray(Categorical(rows).sample(jax.random.key(0))).reshape(DRAWS, 3)


def test_actions_are_drawn_as_often_as_they_are_probable(categorical) -> None:
    assert categorical.dtype == np.int32
    for actions, probabilities in zip(categorical.T, softmax(LOGITS), strict=True):
        counts = np.bincount(actions, minlength=4)
        spread = np.sqrt(DRAWS * probabilities * (1 - probabilities))
        assert (np.abs(counts - DRAWS * probabilities) <= 4 * spread + 1e-3).all()


def test_an_action_without_probability_is_never_drawn(categorical) -> None:
    assert not (LOGITS[np.arange(3), categorical] == -np.inf).any()


@pytest.mark.parametrize("uniform", [0.0, np.nextafter(np.float32(1), np.float32(0))])
def test_not_at_the_ends_of_the_uniform_numbers_either(monkeypatch, uniform) -> None:
    """The smallest and the largest number of a generator."""
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: jnp.full(shape, uniform, dtype))
    logits = np.concatenate([LOGITS, [[-np.inf, 0.1, 0.2, -np.inf], [-np.inf, 0.3, -np.inf, 0.1]]])
    actions = Categorical(jnp.float32(logits)).sample(jax.random.key(0))
    finite = np.isfinite(logits)
    if uniform == 0:
        np.testing.assert_array_equal(actions, finite.argmax(1))
    else:
        assert finite[np.arange(5), actions].all()


def test_rounding_draws_no_masked_action_either(monkeypatch) -> None:
    """The sum of a thousand numbers grows by rounding at some masked actions, and these numbers fall in between."""
    key, legal_key = jax.random.split(jax.random.key(0))
    legal = jax.random.bernoulli(legal_key, 0.4, (1225,))
    rows = jnp.tile(jnp.where(legal, jax.random.normal(key, legal.shape), -jnp.inf), (64, 1))
    cumulative = np.asarray(jnp.cumsum(jax.nn.softmax(rows), axis=-1))[0]
    ends = cumulative[:-1][(np.diff(cumulative) > 0) & ~legal[1:]]
    numbers = np.ravel(ends[:, None] / cumulative[-1] + np.arange(-3, 4) * 2.0**-24)
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: jnp.resize(jnp.asarray(numbers, dtype), shape))
    assert np.asarray(legal)[Categorical(rows).sample(key)].all()


def test_categorical_against_numpy() -> None:
    distribution, probabilities = Categorical(jnp.array(LOGITS)), softmax(LOGITS)
    with np.errstate(divide="ignore"):
        expected = np.log(probabilities)[np.arange(3), [3, 2, 2]]
    np.testing.assert_allclose(distribution.log_prob(jnp.array([3, 2, 2])), expected, rtol=1e-5)
    np.testing.assert_allclose(distribution.entropy(), [stats.entropy(p) for p in probabilities], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(distribution.mode(), [3, 2, 0])
    assert distribution.mode().dtype == jnp.int32


def test_normal_draws() -> None:
    rows = Normal(*(jnp.tile(x, (DRAWS, 1)) for x in (MEAN, LOG_STD)))
    draws = np.asarray(rows.sample(jax.random.key(1))).reshape(DRAWS, 2, 2)
    for i, j in np.ndindex(2, 2):
        assert stats.kstest(draws[:, i, j], stats.norm(MEAN[i, j], np.exp(LOG_STD[i, j])).cdf).pvalue > 1e-3
        assert abs(np.corrcoef(draws[:, i, 0], draws[:, i, 1])[0, 1]) < 4 / np.sqrt(DRAWS)


def test_normal_against_scipy() -> None:
    distribution = Normal(jnp.array(MEAN), jnp.array(LOG_STD))
    actions = np.array([[0.3, 1.5], [2.0, 0.5]], np.float32)
    oracle = stats.norm(MEAN.astype(np.float64), np.exp(LOG_STD.astype(np.float64)))
    np.testing.assert_allclose(distribution.log_prob(actions), oracle.logpdf(actions).sum(1), rtol=1e-5)
    np.testing.assert_allclose(distribution.entropy(), oracle.entropy().sum(1), rtol=1e-5)
    np.testing.assert_array_equal(distribution.mode(), MEAN)


def test_they_pass_through_transformations() -> None:
    both = jax.jit(jax.vmap(lambda x: (Categorical(x), Normal(x, x))))(jnp.ones((2, 3, 4)))
    assert both[0].logits.shape == both[1].mean.shape == (2, 3, 4)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.2), (-3.0, 0.5), (9.0, 1.0), (0.0, 4.0)])
def test_a_squashed_normal_against_numerical_integration(mean: float, std: float) -> None:
    """Its density integrates to the normal's probabilities, and its entropy is −∫ p log p; at saturation too."""
    low, high = jnp.array([-1.0]), jnp.array([5.0])
    one = SquashedNormal(jnp.array([[mean]]), jnp.log(jnp.array([[std]])), low, high)
    u = np.linspace(mean - 9 * std, mean + 9 * std, 20_001)
    log_density = stats.norm.logpdf(u, mean, std) - (np.log(3) - 2 * np.logaddexp(u, -u) + 2 * np.log(2))
    many = SquashedNormal(jnp.full((len(u), 1), mean), jnp.full((len(u), 1), np.log(std)), low, high)
    actions = 2 + 3 * np.tanh(u)
    inside = np.abs(np.tanh(u)) < 0.999
    found = np.asarray(many.log_prob(jnp.float32(actions[:, None])))
    np.testing.assert_allclose(found[inside], log_density[inside], atol=0.01)
    assert np.isfinite(found).all()
    ordered = np.sort(np.linspace(-0.999, 0.999, 100_001) * 3 + 2)
    grid = jnp.float32(ordered[:, None])
    density = SquashedNormal(jnp.full_like(grid, mean), jnp.full_like(grid, np.log(std)), low, high).log_prob(grid)
    mass = np.trapezoid(np.exp(np.asarray(density, np.float64)), ordered)
    assert mass == pytest.approx(np.diff(stats.norm.cdf(np.arctanh([-0.999, 0.999]), mean, std))[0], abs=1e-3)
    expected = -np.trapezoid(stats.norm.pdf(u, mean, std) * log_density, u)
    assert float(one.entropy()[0]) == pytest.approx(expected, abs=0.02)


def test_squashed_samples_come_with_their_exact_log_probabilities() -> None:
    """Also where actions round to the bounds, and with gradients that stay finite there."""
    mean, log_std = jnp.array([[0.3, 20.0]]), jnp.array([[-0.5, 0.0]])
    low, high = jnp.array([-2.0, 0.0]), jnp.array([2.0, 1.0])
    distribution, key = SquashedNormal(mean, log_std, low, high), jax.random.key(0)
    actions, log_prob = distribution.sample_and_log_prob(key)
    np.testing.assert_array_equal(actions, distribution.sample(key))
    assert actions[0, 1] == 1
    u = np.asarray(Normal(mean, log_std).sample(key), np.float64)[0]
    normal = stats.norm.logpdf(u, mean[0], np.exp(log_std[0])).sum()
    expected = normal - (2 * np.log(2) - 2 * np.logaddexp(u, -u) + np.log([2, 0.5])).sum()
    assert float(log_prob[0]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(distribution.mode(), [[2 * np.tanh(0.3), 1]], rtol=1e-6)

    def objective(mean):
        actions, log_prob = SquashedNormal(mean, log_std, low, high).sample_and_log_prob(key)
        return actions.sum() - log_prob.sum()

    assert jnp.isfinite(jax.grad(objective)(mean)).all()
