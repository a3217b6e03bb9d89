"""Behaviour cloning: its likelihood and gradient in closed form, and the frequencies that it converges to."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl import ArgumentError, BehaviourCloningHparams, Input, Sample, Transition, behaviour_cloning, policy_network
from jaxrl.distributions import Categorical, Normal
from jaxrl.types import Box
from tests.agents.doors import LEGAL, Table
from tests.compiling import quick_jit

RNG = np.random.default_rng(0)
S, A, B = 3, 4, 24
HPARAMS = BehaviourCloningHparams(learning_rate=0.5, max_grad_norm=1e9)


class Linear:
    """Logits `x W`, or a normal distribution with mean `x W` and standard deviation 2."""

    def __init__(self, w, continuous: bool = False) -> None:
        self.w, self.continuous = jnp.asarray(w, jnp.float32), continuous

    def init(self, key, observations):
        return self.w

    def apply(self, params, observations, *, rngs=None):
        outputs = observations @ params
        return Normal(outputs, jnp.full_like(outputs, np.log(2.0))) if self.continuous else Categorical(outputs)


def sample(observations, actions, weights=None, legal=None) -> Sample:
    """A sample of sequences of one step."""
    size = len(observations)
    ends, x = jnp.zeros((1, size), bool), jnp.asarray(observations, jnp.float32)[None]
    legal = None if legal is None else jnp.asarray(legal)[None]
    steps = Transition(x, jnp.asarray(actions)[None], jnp.zeros((1, size)), ends, ends, x, legal, legal)
    return Sample(steps, jnp.ones(size) if weights is None else jnp.asarray(weights, jnp.float32))


def sgd(hparams, env_steps):
    return optax.sgd(hparams.learning_rate)


def update(network, batch: Sample, times: int = 1, rate: float = HPARAMS.learning_rate):
    """The parameters after some updates, and the first metrics."""
    agent = behaviour_cloning(network, sgd)

    def body(state, _):
        return agent.update(state, batch, jax.random.key(1), jnp.float32(0))[:2]

    @quick_jit
    def train():
        state = agent.init(
            jax.random.key(0), dataclasses.replace(HPARAMS, learning_rate=rate), batch.transitions.observation[0, 0]
        )
        return jax.lax.scan(body, state, length=times)

    state, metrics = jax.device_get(train())
    return state.params, {name: float(mean.value()[0]) for name, mean in metrics.items()}


def softmax(x, legal=True):
    p = np.exp(x) * legal
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize("masked", [False, True])
def test_the_first_step_is_the_gradient_of_the_likelihood(masked: bool) -> None:
    """∇_W −log π(a | s) = x (π − e_a), weighted, with the probability of illegal actions 0."""
    x, w, weights = RNG.normal(size=(B, S)), RNG.normal(size=(S, A)), RNG.uniform(0.5, 2, B)
    actions = RNG.integers(A, size=B).astype(np.int32)
    legal = RNG.random((B, A)) < 0.5
    legal[np.arange(B), actions] = True
    p = softmax(x @ w, legal if masked else True)
    grad = x.T @ (weights[:, None] * (p - np.eye(A)[actions])) / B
    params, metrics = update(Linear(w), sample(x, actions, weights, legal if masked else None))
    np.testing.assert_allclose(params, w - HPARAMS.learning_rate * grad, atol=1e-5)
    own = p[np.arange(B), actions]
    assert metrics["loss"] == pytest.approx(-(weights * np.log(own)).mean(), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx((p.argmax(-1) == actions).mean())


def test_a_weight_is_of_all_steps_of_a_sequence() -> None:
    """Sequences of two steps are two samples with the same weights."""
    x, w, weights = RNG.normal(size=(2, B, S)), RNG.normal(size=(S, A)), RNG.uniform(0.5, 2, B)
    actions = RNG.integers(A, size=(2, B)).astype(np.int32)
    alone = sample(x.reshape(-1, S), actions.reshape(-1), np.tile(weights, 2))
    steps = jax.tree.map(lambda x: x.reshape(2, B, *x.shape[2:]), alone.transitions)
    for one, other in zip(
        *(update(Linear(w), batch) for batch in (alone, Sample(steps, alone.weights[:B]))), strict=True
    ):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), one, other)


def test_the_first_step_with_continuous_actions() -> None:
    """∇_W −log N(a | x W, σ) = x (x W − a) / σ²; there is no accuracy."""
    x, w, actions = RNG.normal(size=(B, S)), RNG.normal(size=(S, 2)), RNG.normal(size=(B, 2)).astype(np.float32)
    params, metrics = update(Linear(w, continuous=True), sample(x, actions))
    np.testing.assert_allclose(params, w - HPARAMS.learning_rate * x.T @ (x @ w - actions) / 4 / B, atol=1e-5)
    density = ((x @ w - actions) ** 2 / 8 + np.log(2) + 0.5 * np.log(2 * np.pi)).sum(1)
    assert metrics == {"loss": pytest.approx(density.mean(), rel=1e-5)}


def test_a_tabular_policy_becomes_the_frequencies_of_the_actions() -> None:
    """One-hot states: the likelihood is largest where π(a | s) = N(s, a) / N(s)."""
    states, actions = RNG.integers(S, size=200), RNG.integers(A, size=200).astype(np.int32)
    counts = np.zeros((S, A))
    np.add.at(counts, (states, actions), 1)
    params, _ = update(Linear(np.zeros((S, A))), sample(np.eye(S)[states], actions), times=2000)
    np.testing.assert_allclose(softmax(params), counts / counts.sum(1, keepdims=True), atol=1e-5)


def test_a_normal_policy_becomes_the_most_likely_one() -> None:
    """Its mean is the least-squares fit of a linear expert, and its deviation that of what is left."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(64, S))
    actions = x @ rng.normal(size=(S, 2)) + [0.5, -1] + rng.normal(size=(64, 2)) * [0.8, 1.2]
    space = Box(np.float32([-1, 0]), np.float32([3, 1]))
    network = policy_network(jax.ShapeDtypeStruct((S,), jnp.float32), space, hidden_sizes=())
    params, _ = update(network, sample(x, jnp.float32(actions)), times=3000, rate=0.05)
    learned: Any = network.apply(params, jnp.float32(x))
    features = np.c_[x, np.ones(64)]
    fitted = features @ np.linalg.lstsq(features, actions, rcond=None)[0]
    np.testing.assert_allclose(learned.mode(), fitted, atol=1e-4)
    np.testing.assert_allclose(np.exp(learned.log_std[0]), ((actions - fitted) ** 2).mean(0) ** 0.5, rtol=1e-4)


def test_it_samples_when_it_acts_and_takes_the_mode_in_evaluation() -> None:
    agent = behaviour_cloning(Linear(np.log([[0.6, 0.3, 0.1]])))
    state = agent.init(jax.random.key(0), HPARAMS, jnp.ones(1))
    given = Input(jnp.ones((3000, 1)))
    assert set(np.asarray(quick_jit(agent.policy)(state, given, jax.random.key(1)).action)) == {0}
    drawn = np.bincount(quick_jit(agent.act)(state, given, jax.random.key(1), 0.0).action, minlength=3) / 3000
    np.testing.assert_allclose(drawn, [0.6, 0.3, 0.1], atol=0.03)


class Logits(Table):
    def apply(self, params, observations, *, rngs=None):
        return Categorical(super().apply(params, observations))


def test_it_takes_legal_actions_only() -> None:
    """Through doors that are open, though it prefers the others."""
    agent = behaviour_cloning(Logits(np.where(LEGAL, 0.0, 50.0)))
    state = agent.init(jax.random.key(0), HPARAMS, jnp.zeros(len(LEGAL)))
    rooms = np.repeat(np.arange(len(LEGAL) - 1), 100)
    given = Input(jnp.asarray(np.eye(len(LEGAL))[rooms]), jnp.asarray(LEGAL[rooms]))
    for decision in (
        quick_jit(agent.policy)(state, given, jax.random.key(1)),
        quick_jit(agent.act)(state, given, jax.random.key(1), 0.0),
    ):
        assert LEGAL[rooms, decision.action].all()


class WithValues(Linear):
    """The same policy, and values of parameters of their own."""

    def init(self, key, observations):
        return self.w, jnp.ones(S)

    def apply(self, params, observations, *, rngs=None):
        return super().apply(params[0], observations), observations @ params[1]


def test_values_beside_the_policy_are_not_trained() -> None:
    batch = sample(RNG.normal(size=(B, S)), RNG.integers(A, size=B).astype(np.int32))
    w = RNG.normal(size=(S, A))
    (policy, values), metrics = update(WithValues(w), batch)
    alone, same = update(Linear(w), batch)
    np.testing.assert_array_equal(policy, alone)
    np.testing.assert_array_equal(values, 1)
    assert metrics == same


def test_the_learning_rate_falls_to_zero() -> None:
    agent = behaviour_cloning(Linear(np.zeros((S, A))))
    hparams = BehaviourCloningHparams(learning_rate=0.1, learning_rate_decay_steps=100.0)
    state = agent.init(jax.random.key(0), hparams, jnp.zeros(S))
    learn, batch = quick_jit(agent.update), sample(np.ones((B, S)), np.zeros(B, np.int32))
    moved = [abs(learn(state, batch, jax.random.key(0), jnp.float32(t))[0].params).max() for t in (0, 50, 100)]
    np.testing.assert_allclose(moved, [0.1, 0.05, 0], rtol=1e-3, atol=1e-7)


def test_bad_arguments() -> None:
    agent = behaviour_cloning(Linear(np.zeros((S, A))))
    with pytest.raises(ArgumentError, match=r"network must have init and apply, .* got str"):
        behaviour_cloning("a network")
    table = behaviour_cloning(Table(np.zeros((S, A))))
    with pytest.raises(ArgumentError, match=r"network must return a jaxrl.distributions.Distribution, .* got Shape"):
        table.init(jax.random.key(0), HPARAMS, jnp.zeros(S))
    with pytest.raises(ArgumentError, match=r"hparams must be of the kind BehaviourCloningHparams, got tuple"):
        agent.init(jax.random.key(0), (), jnp.zeros(S))
    state = agent.init(jax.random.key(0), HPARAMS, jnp.zeros(S))
    with pytest.raises(ArgumentError, match=r"batch must be of the kind Sample, as in jaxrl.offline"):
        agent.update(state, sample(np.zeros((B, S)), np.zeros(B, int)).transitions, jax.random.key(0), 0.0)
