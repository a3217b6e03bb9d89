"""A2C and PPO: gradients by hand on tables, truncation, schedules, and minibatches."""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrl.agents import A2CHparams, MinibatchConfig, PPOHparams, a2c, ppo
from jaxrl.agents.minibatches import shuffle
from jaxrl.agents.policy_gradient import NetworkState, advantages_and_returns, default_optimizer, gradient_step
from jaxrl.agents.ppo import clipped_values
from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Categorical
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import Transition
from tests.agents.control import TIME_LIMITS, NormalAndConstant, trained_with_time_limits
from tests.compiling import quick_jit

VALUES = np.array([1.0, 2.0, -1.0], np.float32)
LOGITS = np.array([[0.2, -0.3], [1.0, 0.5], [-0.4, 0.1]], np.float32)
OLD = {"logits": LOGITS.astype(np.float64), "values": VALUES.astype(np.float64)}
BETA = 0.9
"""Adam's first decay."""


class Table:
    """Logits and values of a few states. Observations are indices of states."""

    def init(self, key, observations):
        return {"logits": jnp.array(LOGITS), "values": jnp.array(VALUES)}

    def apply(self, params, observations):
        return Categorical(params["logits"][observations]), params["values"][observations]


def rollout_of(states, actions, rewards, terminated, truncated, next_states) -> Transition:
    """Leaves `[T, N]` of nested lists `[T][N]`."""
    return Transition(
        jnp.array(states),
        jnp.array(actions),
        jnp.array(rewards, jnp.float32),
        jnp.array(terminated, bool),
        jnp.array(truncated, bool),
        jnp.array(next_states),
    )


# Environment 0 is truncated after its second step in state 2 and starts again in 0; environment 1 ends after its first.
BATCH = rollout_of(
    states=[[0, 1], [1, 0], [0, 2]],
    actions=[[1, 0], [0, 1], [0, 1]],
    rewards=[[1, 2], [3, 4], [5, 6]],
    terminated=[[0, 1], [0, 0], [0, 0]],
    truncated=[[0, 0], [1, 0], [0, 0]],
    next_states=[[1, 2], [2, 2], [1, 0]],
)


def advantages(lambda_: float) -> np.ndarray:
    """By hand, for γ = 0.5: δ = r + γ V(s') - V(s), where V(s') counts after a truncation, not after a termination."""
    deltas = np.array([[1 + 1 - 1, 2 - 2], [3 - 0.5 - 2, 4 - 0.5 - 1], [5 + 1 - 1, 6 + 0.5 + 1]])
    first = [deltas[0, 0] + 0.5 * lambda_ * deltas[1, 0], deltas[0, 1]]  # an end and a cut pass nothing back
    second = [deltas[1, 0], deltas[1, 1] + 0.5 * lambda_ * deltas[2, 1]]
    return np.array([first, second, deltas[2]])


@pytest.mark.parametrize("lambda_", [0.0, 0.9, 1.0])
def test_advantages_by_hand(lambda_: float) -> None:
    table = Table()
    params = table.init(None, None)
    found, returns = jax.jit(lambda batch: advantages_and_returns(table, params, batch, 0.5, lambda_))(BATCH)
    np.testing.assert_allclose(found, advantages(lambda_), rtol=1e-6)
    np.testing.assert_allclose(returns, advantages(lambda_) + VALUES[np.asarray(BATCH.observation)], rtol=1e-6)


def numpy_loss(params, hparams, clip=None, normalize=False) -> float:
    """The whole loss in float64, by its definition; without a `clip`, that of A2C."""

    def log_softmax(logits):
        return logits - np.log(np.exp(logits).sum(-1, keepdims=True))

    states, actions = (np.asarray(x).ravel() for x in (BATCH.observation, BATCH.action))
    adv = advantages(hparams.gae_lambda).ravel()
    returns = adv + VALUES[states]
    log_pi = log_softmax(params["logits"][states])
    taken = log_pi[np.arange(6), actions]
    if normalize:
        adv = (adv - adv.mean()) / adv.std()
    if clip is None:
        policy = -(adv * taken).mean()
    else:
        ratio = np.exp(taken - log_softmax(OLD["logits"][states])[np.arange(6), actions])
        policy = -np.minimum(ratio * adv, np.clip(ratio, 1 - clip, 1 + clip) * adv).mean()
    value = 0.5 * np.square(returns - params["values"][states]).mean()
    entropy = -(np.exp(log_pi) * log_pi).sum(-1).mean()
    return policy + hparams.value_coef * value - hparams.entropy_coef * entropy


def numerical_gradient(loss, params, h=1e-5):
    """By central differences, in float64."""
    params = {name: np.asarray(x, np.float64) for name, x in params.items()}
    gradient = {name: np.zeros_like(x) for name, x in params.items()}
    for name, x in params.items():
        for index in np.ndindex(x.shape):
            at = []
            for step in (h, -h):
                moved = {key: value.copy() for key, value in params.items()}
                moved[name][index] += step
                at.append(loss(moved))
            gradient[name][index] = (at[0] - at[1]) / (2 * h)
    return gradient


def adam_mean(state):
    """Adam's first moment, from which the gradients follow."""
    return {name: np.asarray(x) for name, x in optax.tree_utils.tree_get(state.opt_state, "mu").items()}


def test_clipped_values_by_hand() -> None:
    """The larger of both losses counts: an old value of 0, a return of 1, and a clip of 0.2."""
    values = jnp.array([0.5, 0.1, -0.5, 1.9])
    found = clipped_values(values, jnp.zeros(4), jnp.ones(4), 0.2)
    np.testing.assert_allclose(found, [0.2, 0.1, -0.5, 1.9])
    np.testing.assert_array_equal(clipped_values(values, jnp.zeros(4), jnp.ones(4), 0.0), values)


def updated(agent, hparams, batch=BATCH):
    state = quick_jit(agent.init)(jax.random.key(0), hparams, jnp.int32(0))
    log_probs = jax.vmap(lambda seen, actions: agent.outputs(state, seen).log_prob(actions))
    batch = batch._replace(extras=log_probs(batch.observation, batch.action))  # as PPO stores them
    state, metrics, _ = jax.jit(agent.update)(state, batch, jax.random.key(1), jnp.float32(0))
    return state, metrics


@pytest.mark.parametrize("lambda_", [0.5, 1.0])
def test_a2c_gradient(lambda_: float) -> None:
    hparams = A2CHparams(discount=0.5, gae_lambda=lambda_, max_grad_norm=1e9, entropy_coef=0.1, value_coef=0.7)
    state, _ = updated(a2c(Table()), hparams)
    expected = numerical_gradient(lambda params: numpy_loss(params, hparams), OLD)
    for name, gradient in adam_mean(state).items():
        np.testing.assert_allclose(gradient / (1 - BETA), expected[name], atol=1e-5)


def test_a2c_policy_gradient_by_hand() -> None:
    """∇ log π(a | s) of a softmax is 1 at the action, minus the probabilities."""
    hparams = A2CHparams(discount=0.5, gae_lambda=0.0, max_grad_norm=1e9, entropy_coef=0.0)
    state, _ = updated(a2c(Table()), hparams)
    pi_0 = np.exp(LOGITS[0]) / np.exp(LOGITS[0]).sum()
    # In state 0: action 1 with δ = 1, action 1 with δ = 2.5, action 0 with δ = 5.
    expected = -(3.5 * (np.array([0, 1]) - pi_0) + 5 * (np.array([1, 0]) - pi_0)) / 6
    np.testing.assert_allclose(adam_mean(state)["logits"][0] / (1 - BETA), expected, rtol=1e-5)


PPO_HPARAMS = PPOHparams(
    discount=0.5, gae_lambda=0.9, max_grad_norm=1e9, learning_rate=0.15, clip=0.1, entropy_coef=0.1, value_coef=0.7
)


def test_ppo_begins_at_a_ratio_of_one_and_then_clips() -> None:
    """Two epochs of one minibatch: two gradients, and their metrics."""
    once, first = updated(ppo(Table(), MinibatchConfig(num_epochs=1, num_minibatches=1)), PPO_HPARAMS)
    twice, both = updated(ppo(Table(), MinibatchConfig(num_epochs=2, num_minibatches=1)), PPO_HPARAMS)

    # At a ratio of one the clipped loss has the gradient of the advantages' own.
    at_first = numerical_gradient(lambda params: numpy_loss(params, PPO_HPARAMS, normalize=True), OLD)
    for name, gradient in adam_mean(once).items():
        np.testing.assert_allclose(gradient / (1 - BETA), at_first[name], atol=1e-5)
    assert first["clip_fraction"] == (0, 1)
    assert abs(first["approx_kl"].sum) < 1e-6

    then, unclipped = (
        numerical_gradient(lambda params, clip=clip: numpy_loss(params, PPO_HPARAMS, clip, normalize=True), once.params)
        for clip in (0.1, 1e9)
    )
    assert not np.allclose(then["logits"], unclipped["logits"], atol=1e-2)
    for name, mean in adam_mean(twice).items():
        np.testing.assert_allclose((mean - BETA * adam_mean(once)[name]) / (1 - BETA), then[name], atol=2e-5)
    assert both["clip_fraction"].count == 2
    assert 0 < both["clip_fraction"].sum <= 1
    # E[ρ - 1 - log ρ] of the ratios ρ between the two policies' probabilities, which are softmax(logits).
    states, actions = (np.asarray(x).ravel() for x in (BATCH.observation, BATCH.action))
    new, old = (np.asarray(jax.nn.softmax(logits))[states, actions] for logits in (once.params["logits"], LOGITS))
    assert both["approx_kl"].sum == pytest.approx((new / old - 1 - np.log(new / old)).mean(), rel=1e-3)


class OneValueEach:
    """A value of its own for each observation: its gradient shows when a transition was learned from."""

    def init(self, key, observations):
        return jnp.zeros(24)

    def apply(self, params, observations):
        return Categorical(jnp.zeros((len(observations), 2))), params[observations]


def test_ppo_learns_from_each_transition_once_an_epoch() -> None:
    """At a step size of 0 Adam's mean shows, for each transition, in which of the minibatches it was."""
    numbers, zeros, ones = np.arange(24).reshape(4, 6), np.zeros((4, 6), int), np.ones((4, 6))
    batch = rollout_of(numbers, zeros, ones, terminated=ones, truncated=zeros, next_states=zeros)
    hparams = PPOHparams(learning_rate=0.0, value_coef=1.0, max_grad_norm=1e9)
    state, _ = updated(ppo(OneValueEach(), MinibatchConfig(num_epochs=1, num_minibatches=4)), hparams, batch)
    mean = np.asarray(optax.tree_utils.tree_get(state.opt_state, "mu"))
    minibatch = 3 - np.log(-mean * 6 / (1 - BETA)) / math.log(BETA)  # of its six, one after another
    np.testing.assert_allclose(np.sort(minibatch), np.repeat(np.arange(4), 6), atol=1e-3)
    assert len(set(np.round(minibatch[:6]))) > 1


def test_minibatches_that_do_not_divide_are_refused() -> None:
    with pytest.raises(ArgumentError, match=r"num_minibatches must divide the 6 transitions of a rollout, got 4"):
        updated(ppo(Table(), MinibatchConfig(num_minibatches=4)), PPO_HPARAMS)


@pytest.mark.parametrize("steepness", [1e15, 1e25])
def test_a_gradient_too_large_for_its_clip_shows(steepness: float) -> None:
    params, hparams = jnp.zeros(2), A2CHparams()
    optimizer = default_optimizer(hparams, jnp.float32(0))
    state = NetworkState(params, optimizer.init(params), hparams)
    _, metrics = gradient_step(state, lambda x: ((steepness * x).sum(), {"loss": jnp.float32(1)}), optimizer)
    assert np.isnan(metrics["loss"].sum) == (steepness > 1e19)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_shuffle_is_a_permutation(size: int) -> None:
    np.testing.assert_array_equal(np.sort(shuffle(jax.random.key(0), size)), np.arange(size))


@pytest.mark.parametrize("size", [2**16, 2**21])
def test_minibatches_of_a_large_rollout_are_from_all_of_it(size: int) -> None:
    """The mean index of each of 4096 minibatches has the spread of random indices."""
    order = np.asarray(jax.jit(shuffle, static_argnums=1)(jax.random.key(0), size))
    assert order.dtype == np.int32
    assert (np.bincount(order) == 1).all()
    means = order.reshape(4096, -1).mean(1)
    assert means.std() == pytest.approx(size / np.sqrt(12 * size / 4096), rel=0.05)


def test_all_orders_are_equally_likely() -> None:
    keys = jax.random.split(jax.random.key(0), 24_000)
    orders = np.asarray(jax.jit(jax.vmap(lambda key: shuffle(key, 4)))(keys))
    counts = np.unique(orders, axis=0, return_counts=True)[1]
    assert len(counts) == 24
    assert np.square(counts - 1000).sum() / 1000 < 49.7  # the 0.999 quantile of chi² with 23 degrees of freedom


def test_the_step_size_falls_linearly_to_zero() -> None:
    def step(env_steps, decay):
        hparams = dataclasses.replace(PPO_HPARAMS, learning_rate=0.5, learning_rate_decay_steps=decay)
        transformation = default_optimizer(hparams, jnp.float32(env_steps))
        params = jnp.ones(2)
        return float(transformation.update(jnp.ones(2), transformation.init(params), params)[0][0])

    # Adam's first step is the step size, up to its ε.
    assert [step(steps, 100.0) for steps in (0, 25, 100, 200)] == pytest.approx([-0.5, -0.375, 0, 0], rel=1e-4)
    assert [step(steps, 0.0) for steps in (0, 1000)] == pytest.approx([-0.5, -0.5], rel=1e-4)


class Outputs(nn.Module):
    """A network that returns `wrong(logits [N, 2], values [N, 1])`."""

    wrong: Callable

    @nn.compact
    def __call__(self, observations):
        return self.wrong(nn.Dense(2)(observations), nn.Dense(1)(observations))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda logits, values: (Categorical(logits), values), r"network must return values \[N\]"),
        (lambda logits, values: (Categorical(logits), values[:, 0].mean()), r"network must return values \[N\]"),
        (lambda logits, values: (logits, values[:, 0]), "network must return a jaxrl.distributions.Distribution"),
        (lambda logits, values: logits, "network must return a jaxrl.distributions.Distribution"),
    ],
)
def test_networks_with_other_outputs_are_refused(wrong, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        jax.eval_shape(lambda key: ppo(Outputs(wrong)).init(key, PPOHparams(), jnp.zeros(3)), jax.random.key(0))


@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_rewards_are_scaled(scale: float) -> None:
    agent = ppo(Table(), MinibatchConfig(num_epochs=1, num_minibatches=1))
    scaled, _ = updated(agent, dataclasses.replace(PPO_HPARAMS, reward_scale=scale))
    same, _ = updated(agent, PPO_HPARAMS, BATCH._replace(reward=scale * BATCH.reward))
    jax.tree.map(np.testing.assert_array_equal, scaled.params, same.params)


def test_a_time_limit_is_no_end_for_ppo() -> None:
    """An endless reward of 1 is worth 1 / (1 − γ), whatever the time limit."""
    hparams = PPOHparams(learning_rate=0.1, learning_rate_decay_steps=300 * 32.0, discount=0.75, max_grad_norm=1e9)
    agent = ppo(NormalAndConstant(), MinibatchConfig(num_epochs=1, num_minibatches=1))
    params = trained_with_time_limits(
        agent, hparams, 300, on_policy, OnPolicyConfig(num_envs=4, rollout_length=8)
    ).params
    np.testing.assert_allclose(params["value"]["constant"], np.full(len(TIME_LIMITS), 4.0), rtol=0.01)
