"""SAC against exact optima: the soft linear-quadratic regulator, and an endless reward of 1 under time limits."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats

from jaxrl import Input, SACHparams, off_policy, sac
from jaxrl.agents.sac import entropy_target
from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Normal
from jaxrl.networks import Critic, DeterministicPolicy, SquashedPolicy
from jaxrl.training import OffPolicyConfig, population
from jaxrl.types import Box, Discrete
from tests.agents.control import (
    DISCOUNT,
    ENV,
    PARAMS,
    TIME_LIMITS,
    Constant,
    Linear,
    LinearNormal,
    OneState,
    Quadratic,
    cost_ratio,
    trained_on_lqr,
    trained_with_time_limits,
)
from tests.agents.test_td3 import (
    BATCH,
    SPACE,
    Line,
    check_that_learning_rates_decay,
    check_that_nothing_follows_a_termination,
    check_that_too_large_gradients_show,
    sample,
)

AGENT = sac(LinearNormal(), Quadratic(), ENV.box)
ITERATIONS = 3000


@pytest.fixture(scope="module")
def regulators():
    """Three agents: at the temperature 0.1, nearly without one, and one that learns its temperature from 1."""
    base = SACHparams(
        learning_rate=3e-3, learning_rate_decay_steps=ITERATIONS * 16.0, discount=DISCOUNT, tau=0.05, random_steps=0.0
    )
    hparams = jax.tree.map(lambda x: jnp.full(3, x), base)
    hparams.__dict__.update(
        temperature=jnp.array([0.1, 1e-3, 1.0]),
        temperature_learning_rate=jnp.array([0.0, 0.0, 3e-3]),
        target_entropy=jnp.full(3, -2.0),
    )
    return trained_on_lqr(AGENT, hparams, ITERATIONS)


def nth(tree, i: int):
    return jax.tree.map(lambda x: x[i], tree)


def test_it_learns_the_soft_optimum(regulators) -> None:
    params, optimum = nth(regulators, 0).params, ENV.optimum(DISCOUNT, temperature=0.1)
    assert float(jnp.exp(params.log_temperature)) == pytest.approx(0.1)
    np.testing.assert_allclose(params.actor["gain"], optimum.gain, rtol=0.02)
    np.testing.assert_allclose(np.exp(2 * params.actor["log_std"]), np.diag(optimum.covariance), rtol=0.02)
    for critic in params.critics:  # Q(0, 0) = γ V(0)
        np.testing.assert_allclose(critic["constant"], DISCOUNT * optimum.constant, rtol=0.02)


def test_without_temperature_its_cost_is_optimal(regulators) -> None:
    state = nth(regulators, 1)
    assert cost_ratio(lambda x: AGENT.policy(state, Input(x), None).action) < 1.01


def test_the_temperature_meets_the_target_entropy(regulators) -> None:
    """The entropy ½ log(2πe Σ) of the optimal covariance Σ = α H⁻¹ / 2 gives α, in the units of the environment."""
    params, target = nth(regulators, 2).params, -2.0 + math.log(10)
    per_temperature = ENV.optimum(DISCOUNT, temperature=1.0).covariance[0, 0]
    expected = math.exp(2 * target) / (2 * math.pi * math.e * per_temperature)
    assert float(jnp.exp(params.log_temperature)) == pytest.approx(expected, rel=0.03)
    assert float(params.actor["log_std"][0]) == pytest.approx(target - 0.5 * math.log(2 * math.pi * math.e), abs=0.02)


class Around(Line):
    """Normal actions around k s, with one standard deviation."""

    def init(self, key, observations):
        return jnp.array([0.4, -0.3])

    def apply(self, params, observations):
        mean = params[0] * observations
        return Normal(mean, jnp.broadcast_to(params[1], mean.shape))


def test_updates_by_hand() -> None:
    """Gradient descent in float64. The two critics differ, and the smaller one counts for each action."""
    space = Box(np.float32([-1.0]), np.float32([3.0]))
    hparams = SACHparams(learning_rate=0.1, discount=0.8, tau=0.3, temperature=0.5, target_entropy=-0.7)
    agent = sac(Around(), Line(), space, optimizer=lambda hparams, env_steps: optax.sgd(hparams.learning_rate))
    state = agent.init(jax.random.key(0), hparams, jnp.zeros(1))
    w: Any = np.stack(state.params.critics).astype(np.float64)
    k, log_std, log_alpha = 0.4, -0.3, math.log(0.5)
    both: set[int] = set()
    target, update = w, jax.jit(agent.update)
    for step in range(3):
        batch, keys = sample(step), jax.random.split(jax.random.key(step))
        y, alpha, sigma = np.zeros(BATCH), math.exp(log_alpha), math.exp(log_std)
        e_target, e = (np.asarray(jax.random.normal(key, (BATCH, 1)), np.float64)[:, 0] for key in keys)
        x, ones = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), batch.transitions), np.ones(BATCH)
        for i in range(BATCH):
            discount, t = 1.0, 0
            for t in range(2):
                y[i] += discount * x.reward[t, i]
                discount *= 0.8
                if x.terminated[t, i] or x.truncated[t, i]:
                    break
            after = x.next_observation[t, i, 0]
            q = target @ [after, k * after + sigma * e_target[i], 1]
            log_prob = stats.norm.logpdf(e_target[i]) - log_std
            y[i] += 0 if x.terminated[t, i] else discount * (q.min() - alpha * log_prob)
        s, action = x.observation[0, :, 0], k * x.observation[0, :, 0] + sigma * e
        features, weights = np.stack([s, x.action[0, :, 0], ones], 1), np.asarray(batch.weights, np.float64)
        errors = y - features @ w[0]
        loss = sum((weights * (y - features @ v) ** 2 / 2).mean() for v in w)
        chosen = (w @ np.stack([s, action, ones])).argmin(0)
        both |= {*chosen.tolist()}
        slope, entropy = w[chosen, 1], -np.average(stats.norm.logpdf(e) - log_std, weights=weights)
        q_mean = np.average(features @ w.mean(0), weights=weights)
        excess = (weights * (log_std - stats.norm.logpdf(e) - (-0.7 + math.log(2)))).mean()
        k += 0.1 * (weights * slope * s).mean()
        log_std += 0.1 * (weights * (alpha + slope * sigma * e)).mean()
        log_alpha -= 0.1 * alpha * excess
        w = np.stack([v + 0.1 * (weights * (y - features @ v)) @ features / BATCH for v in w])
        target = target + 0.3 * (w - target)
        state, metrics, found = update(state, batch, jax.random.key(step), jnp.float32(0), ())
        np.testing.assert_allclose(found, errors, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state.params.actor, [k, log_std], rtol=1e-4)
        np.testing.assert_allclose(np.stack(state.params.critics), w, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(np.stack(state.target_critics), target, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state.params.log_temperature, log_alpha, rtol=1e-4)
    assert both == {0, 1}
    assert float(metrics["loss"].value()) == pytest.approx(loss, rel=1e-4)
    assert float(metrics["entropy"].value()) == pytest.approx(entropy, rel=1e-4)
    assert float(metrics["q_mean"].value()) == pytest.approx(q_mean, rel=1e-4)


def test_all_learning_rates_decay() -> None:
    check_that_learning_rates_decay(sac(Around(), Line(), ENV.box), SACHparams(learning_rate_decay_steps=100.0))


def test_too_large_gradients_show() -> None:
    check_that_too_large_gradients_show(sac(Around(), Line(), SPACE), SACHparams())


def test_nothing_follows_a_termination() -> None:
    check_that_nothing_follows_a_termination(sac(Around(), Line(), SPACE), SACHparams())


def test_the_target_entropy_is_that_of_scaled_actions() -> None:
    space = Box(np.float32([-1, 0]), np.float32([1, 6]))
    assert entropy_target(SACHparams(target_entropy=-0.5), space) == pytest.approx(-1 + math.log(3))


def test_a_time_limit_is_no_end() -> None:
    """An endless reward of 1 is worth 1 / (1 − γ), whatever the time limit."""
    hparams = SACHparams(
        learning_rate=0.1, learning_rate_decay_steps=2400.0, tau=1.0, discount=0.75, temperature=1e-6,
        temperature_learning_rate=0.0, random_steps=0.0,
    )  # fmt: skip
    agent = sac(LinearNormal(), Constant(), OneState.box)
    critics = trained_with_time_limits(agent, hparams).params.critics
    for critic in critics:
        np.testing.assert_allclose(critic["constant"], np.full(len(TIME_LIMITS), 4.0), rtol=0.01)


def test_it_begins_with_uniformly_random_actions_in_the_box() -> None:
    space = Box(np.float32([-1, 2]), np.float32([3, 4]))
    agent = sac(SquashedPolicy(space, (4,)), Critic(space, (4,)), space)
    state = agent.init(jax.random.key(0), SACHparams(random_steps=100.0), jnp.zeros(3))
    given = Input(jnp.zeros((4000, 3)))
    early, late = (agent.act(state, given, jax.random.key(1), jnp.float32(t)).action for t in (99, 100))
    shares = (np.asarray(early) - space.low) / (space.high - space.low)
    assert (np.histogram(shares, 10, (0, 1))[0] > 700).all()
    assert np.histogram((np.asarray(late) - space.low) / 2, 10, (0, 1))[0].min() < 500
    assert late.std(0)[0] == pytest.approx(2 * float(late.std(0)[1]), rel=0.1)
    assert not jnp.array_equal(agent.policy(state, given, jax.random.key(1)).action, late)


@pytest.mark.slow
def test_a_population_equals_its_agents_alone() -> None:
    """Each with its own replay and learning rate."""
    agent = sac(SquashedPolicy(ENV.box, (8,)), Critic(ENV.box, (8,)), ENV.box)
    config = OffPolicyConfig(num_envs=2, batch_size=8, replay_capacity=64, warmup_steps=16, updates_per_iteration=2)
    trainer = off_policy(agent, ENV, PARAMS, config)
    keys, rates = jax.random.split(jax.random.key(0), 16), jnp.logspace(-4, -2, 16)
    hparams = jax.vmap(lambda rate: SACHparams(learning_rate=rate))(rates)
    many = population(trainer)
    step, together = jax.jit(many.step), jax.jit(many.init)(keys, hparams)
    alone_step = jax.jit(trainer.step)
    chosen = [0, 15]
    alone = [jax.jit(trainer.init)(keys[i], nth(hparams, i)) for i in chosen]
    for _ in range(5):
        together, _ = step(together)
        alone = [alone_step(state)[0] for state in alone]
    assert step._cache_size() == alone_step._cache_size() == 1  # type: ignore[attr-defined]
    for i, state in zip(chosen, alone, strict=True):
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5),
            nth(together.agent.params, i),
            state.agent.params,
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"action_space": Discrete(3)},
            "action_space must be of the kind Box, since this agent",
        ),
        ({"actor": "no network"}, "network must have init and apply"),
        ({"optimizer": 3}, "optimizer must be a function"),
    ],
)
def test_bad_arguments(change, message: str) -> None:
    arguments = {"actor": LinearNormal(), "critic": Quadratic(), "action_space": ENV.box, **change}
    with pytest.raises(ArgumentError, match=message):
        sac(**arguments)


def test_networks_of_other_kinds() -> None:
    for actor, critic, message in (
        (DeterministicPolicy(ENV.box), Quadratic(), "actor must return a distribution"),
        (LinearNormal(), Linear(), "critic must return values"),
    ):
        with pytest.raises(ArgumentError, match=message):
            sac(actor, critic, ENV.box).init(jax.random.key(0), SACHparams(), jnp.zeros(2))
