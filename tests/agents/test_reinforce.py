"""REINFORCE estimates the exact policy gradient of a known MDP, with less variance for each better weight."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import planning
from jaxrl.agents import ReinforceHparams
from jaxrl.agents.reinforce import first_episode, reinforce_loss
from jaxrl.distributions import Categorical
from jaxrl.envs import GridWorld, rollout
from jaxrl.types import Transition
from tests.compiling import quick_jit

TRAJECTORIES, STEPS, DISCOUNT = 40_000, 40, 0.8
ENV = GridWorld(map="Sa\n.G\na = 1", slip_probability=0.2)
ENV_PARAMS = ENV.default_params.replace(discount=DISCOUNT)
MDP = ENV.mdp(ENV_PARAMS)
LOGITS = jnp.float32([[0.5, -0.5, 0.2, 0.4], [0.3, 0.1, 0.0, -0.4], [0.6, 0.0, 0.2, -0.3], [0.0, 0.0, 0.0, 0.0]])
CRITICS = {
    "exact": planning.policy_evaluation(MDP, jax.nn.softmax(LOGITS)),
    "wrong": jnp.float32([3.0, -2.0, 1.0, 5.0]),
}
HPARAMS = ReinforceHparams(discount=DISCOUNT)


class Table(NamedTuple):
    """A policy whose parameters are the logits of each cell, and a fixed critic."""

    values: jax.Array

    def init(self, key, observations): ...

    def apply(self, logits, observations):
        cells = observations[..., 0].reshape(len(observations), -1).argmax(-1)
        return Categorical(logits[cells]), self.values[cells]


@pytest.fixture(scope="module")
def exact_gradient() -> np.ndarray:
    gradient = jax.jit(jax.grad(lambda logits: planning.expected_return(MDP, jax.nn.softmax(logits))))
    return np.asarray(gradient(LOGITS))


@pytest.fixture(scope="module")
def trajectories() -> Transition:
    """Rollouts `[T, N]` that continue with further episodes, like those of a trainer."""

    def policy(given, key):
        return Table(CRITICS["exact"]).apply(LOGITS, given.observation)[0].sample(key)

    play = jax.jit(lambda key: rollout(ENV, policy, key, STEPS, TRAJECTORIES, ENV_PARAMS))
    return play(jax.random.key(1))


@pytest.fixture(scope="module")
def estimates(trajectories):
    """Each trajectory's estimate, `[N, S, A]`, by weight."""

    def estimate(weight, values, trajectories):
        def gradient(trajectory):
            batch = jax.tree.map(lambda x: x[:, None], trajectory)
            loss = lambda logits: reinforce_loss(Table(values), weight, logits, batch, HPARAMS)[1]["policy_loss"]  # noqa: E731
            return -jax.grad(loss)(LOGITS)

        return jax.vmap(gradient, in_axes=1)(trajectories)

    kinds = {
        "trajectory": ("trajectory", CRITICS["exact"]),
        "reward_to_go": ("reward_to_go", CRITICS["exact"]),
        "baseline": ("baseline", CRITICS["exact"]),
        "baseline, wrong critic": ("baseline", CRITICS["wrong"]),
    }
    return {name: np.asarray(jax.jit(estimate, static_argnums=0)(*kind, trajectories)) for name, kind in kinds.items()}


def test_the_rollouts_are_long_enough(trajectories) -> None:
    """The rest of an episode matters far less than the standard errors below."""
    unfinished = np.asarray(first_episode(trajectories))[-1].mean()
    assert unfinished * DISCOUNT**STEPS < 1e-5


@pytest.mark.parametrize("kind", ["trajectory", "reward_to_go", "baseline", "baseline, wrong critic"])
def test_the_mean_estimate_is_the_exact_policy_gradient(estimates, exact_gradient, kind: str) -> None:
    samples = estimates[kind].astype(np.float64)
    error = samples.mean(0) - exact_gradient
    standard_error = samples.std(0) / np.sqrt(TRAJECTORIES)
    assert (np.abs(error) <= 4 * standard_error + 1e-6).all(), error / standard_error
    # The estimate is good enough for that to mean something.
    assert np.linalg.norm(standard_error) < 0.06 * np.linalg.norm(exact_gradient)


def test_each_weight_is_less_noisy_than_the_last(estimates) -> None:
    variance = {kind: float(samples.var(0, dtype=np.float64).sum()) for kind, samples in estimates.items()}
    print("trace of the covariance of one trajectory's estimate:", variance)
    assert variance["reward_to_go"] < 0.3 * variance["trajectory"]
    assert variance["baseline"] < 0.7 * variance["reward_to_go"]
    assert variance["baseline, wrong critic"] > 2 * variance["baseline"]


@pytest.mark.parametrize("weight", ["trajectory", "reward_to_go", "baseline"])
def test_the_estimate_of_many_is_the_mean_of_the_estimates(trajectories, estimates, weight: str) -> None:
    def loss(logits, batch):
        return reinforce_loss(Table(CRITICS["exact"]), weight, logits, batch, HPARAMS)[1]["policy_loss"]

    together = jax.jit(jax.grad(loss))(LOGITS, jax.tree.map(lambda x: x[:, :8], trajectories))
    np.testing.assert_allclose(-together, estimates[weight][:8].mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weight", ["trajectory", "reward_to_go", "baseline"])
def test_entropy_and_values_are_summed_over_an_episode_as_the_surrogate_is(weight: str) -> None:
    """By hand: an episode of three steps, and one of two with a step of the next."""
    cells, rewards = np.array([[0, 2], [1, 0], [0, 1]]), np.array([[1, 2], [-1, 3], [4, 100]])
    terminated = np.array([[0, 0], [0, 1], [0, 0]], bool)
    observations = np.eye(4)[cells].reshape(3, 2, 2, 2, 1)
    batch = Transition(
        observations, jnp.zeros((3, 2), int), jnp.float32(rewards), terminated, ~terminated & False, None
    )
    hparams = ReinforceHparams(discount=DISCOUNT, entropy_coef=0.3, value_coef=0.25)
    loss = quick_jit(lambda batch: reinforce_loss(Table(CRITICS["wrong"]), weight, LOGITS, batch, hparams))
    total, report = loss(batch)

    probs = np.exp(LOGITS) / np.exp(LOGITS).sum(1, keepdims=True)
    entropies = -(probs * np.log(probs)).sum(1)[cells]
    discounts, counts = DISCOUNT ** np.arange(3)[:, None], np.array([[1, 1], [1, 1], [1, 0]])
    returns = np.array([[1 - 0.8 + 0.64 * 4, 2 + 0.8 * 3], [-1 + 0.8 * 4, 3], [4, 0]])
    squares = (returns - np.asarray(CRITICS["wrong"])[cells]) ** 2 / 2
    entropy, value_loss = ((counts * x).sum(0).mean() for x in (discounts * entropies, squares))
    rest = (0.25 * value_loss if weight == "baseline" else 0) - 0.3 * entropy
    np.testing.assert_allclose(total - report["policy_loss"], rest, rtol=1e-5)
    np.testing.assert_allclose(report["entropy"], (counts * entropies).sum() / 5, rtol=1e-5)  # reported as means
    np.testing.assert_allclose(report["value_loss"], (counts * squares).sum() / 5, rtol=1e-5)


def test_only_the_first_episode_counts() -> None:
    terminated = jnp.array([[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 1, 0]], bool)
    truncated = jnp.array([[0, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], bool)
    batch = Transition(None, None, None, terminated, truncated, None)
    np.testing.assert_array_equal(first_episode(batch), np.array([[1, 1, 1], [1, 0, 1], [1, 0, 0], [0, 0, 0]], bool))
