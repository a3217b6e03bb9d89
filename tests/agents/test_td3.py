"""TD3 against a loop in NumPy, the optimal regulator, and an endless reward of 1 under time limits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl import Input, Sample, TD3Hparams, Transition, td3
from jaxrl.arguments import ArgumentError
from jaxrl.networks import DeterministicPolicy
from jaxrl.types import Box, Discrete
from tests.agents.control import (
    DISCOUNT,
    ENV,
    TIME_LIMITS,
    Constant,
    Linear,
    OneState,
    Quadratic,
    cost_ratio,
    trained_on_lqr,
    trained_with_time_limits,
)

SPACE = Box(np.float32([-1.0]), np.float32([3.0]))
BATCH = 6


class Line:
    """Q(s, a) = w · (s, a, 1)."""

    def init(self, key: Any, pairs: Any) -> Any:
        return jax.random.normal(key, (3,))

    def apply(self, params: Any, pairs: Any) -> Any:
        return jnp.concatenate([*pairs, jnp.ones_like(pairs[1])], axis=1) @ params


class Slope:
    """The action k s."""

    def init(self, key: Any, observations: Any) -> Any:
        return jnp.float32(0.7)

    def apply(self, params: Any, observations: Any) -> Any:
        return params * observations


def sample(seed: int) -> Sample:
    """Two steps of a few episodes, some of which end."""
    rng = np.random.default_rng(seed)
    s, a, after = (rng.normal(size=(2, BATCH, 1)).astype(np.float32) for _ in range(3))
    ends = rng.integers(0, 3, (2, BATCH))
    steps = Transition(s, a, rng.normal(size=(2, BATCH)).astype(np.float32), ends == 1, ends == 2, after)
    return Sample(jax.tree.map(jnp.asarray, steps), jnp.asarray(rng.uniform(0.5, 1, BATCH), jnp.float32))


def by_hand(params, target, batch: Sample, noise: np.ndarray, step: int, hparams: TD3Hparams):
    """One update with gradient descent, of (k, [w1, w2]), in float64; with the errors and the metrics."""
    (k, w), (k_target, w_target) = params, target
    x = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), batch.transitions)
    y = np.zeros(BATCH)
    for i in range(BATCH):
        discount = 1.0
        for t in range(2):
            y[i] += discount * hparams.reward_scale * x.reward[t, i]
            discount *= hparams.discount
            if x.terminated[t, i] or x.truncated[t, i]:
                break
        if not x.terminated[t, i]:
            after = x.next_observation[t, i, 0]
            shift = np.clip(hparams.target_noise * noise[i, 0], -hparams.target_noise_clip, hparams.target_noise_clip)
            action = np.clip(k_target * after + 2 * shift, -1, 3)  # 2 is half the range
            y[i] += discount * min(v @ [after, action, 1] for v in w_target)
    features = np.stack([x.observation[0, :, 0], x.action[0, :, 0], np.ones(BATCH)], 1)
    weights = np.asarray(batch.weights, np.float64)
    errors = y - features @ w[0]
    loss = sum((weights * (y - features @ v) ** 2 / 2).mean() for v in w)
    metrics = {"loss": loss, "q_mean": np.average(features @ np.mean(w, 0), weights=weights)}
    w = [v + hparams.learning_rate * (weights * (y - features @ v)) @ features / BATCH for v in w]
    if step % hparams.policy_delay == 0:
        k = k + hparams.learning_rate * w[0][1] * (weights * x.observation[0, :, 0]).mean()
        k_target = k_target + hparams.tau * (k - k_target)
        w_target = [old + hparams.tau * (new - old) for old, new in zip(w_target, w, strict=True)]
    return (k, w), (k_target, w_target), errors, metrics


def test_updates_by_hand() -> None:
    hparams = TD3Hparams(
        learning_rate=0.1, discount=0.8, tau=0.3, target_noise=0.6, target_noise_clip=0.2, policy_delay=3,
        reward_scale=1.5,
    )  # fmt: skip
    agent = td3(Slope(), Line(), SPACE, optimizer=lambda hparams, env_steps: optax.sgd(hparams.learning_rate))
    state = agent.init(jax.random.key(0), hparams, jnp.zeros(1))
    params = float(state.params.actor), [np.asarray(w, np.float64) for w in state.params.critics]
    assert not np.array_equal(*params[1])
    clipped: set[float] = set()
    target, update = params, jax.jit(agent.update)
    for step in range(1, 8):
        key, batch = jax.random.key(step), sample(step)
        noise = np.asarray(jax.random.normal(key, (BATCH, 1)), np.float64)
        clipped |= {*np.sign(noise[abs(0.6 * noise) > 0.2]).tolist()}
        params, target, errors, expected = by_hand(params, target, batch, noise, step, hparams)
        state, metrics, found = update(state, batch, key, jnp.float32(0), ())
        np.testing.assert_allclose(found, errors, rtol=1e-4, atol=1e-5)
        for ours, theirs in ((state.params, params), (state.target_params, target)):
            np.testing.assert_allclose(ours.actor, theirs[0], rtol=1e-5)
            np.testing.assert_allclose(np.stack(ours.critics), np.stack(theirs[1]), rtol=1e-4, atol=1e-5)
        assert {name: x.value() for name, x in metrics.items()} == pytest.approx(expected, rel=1e-4)
    assert clipped == {-1, 1}


def check_that_learning_rates_decay(agent, hparams) -> None:
    """All parameters move half as far in the middle of `learning_rate_decay_steps=100`, and not at all at the end."""
    state, update = agent.init(jax.random.key(0), hparams, jnp.zeros(1)), jax.jit(agent.update)

    def moved(env_steps: float) -> list[np.ndarray]:
        after = update(state, sample(0), jax.random.key(0), jnp.float32(env_steps), ())[0].params
        return jax.tree.leaves(jax.tree.map(lambda x, y: np.asarray(x - y), after, state.params))

    for start, half, end in zip(moved(0), moved(50), moved(100), strict=True):
        np.testing.assert_allclose(half, start / 2, rtol=0.01, atol=1e-6)
        assert start.any()
        assert not end.any()


def check_that_too_large_gradients_show(agent, hparams) -> None:
    """Where the square of their norm overflows, though the loss does not."""
    batch = sample(0)
    steps = batch.transitions._replace(
        observation=1e6 * batch.transitions.observation, reward=jnp.full((2, BATCH), 1e17)
    )
    state, update = agent.init(jax.random.key(0), hparams, jnp.zeros(1)), jax.jit(agent.update)
    for given, shows in ((batch, False), (batch._replace(transitions=steps), True)):
        metrics = update(state, given, jax.random.key(1), jnp.float32(0), ())[1]
        assert bool(jnp.isnan(metrics["loss"].value())) == shows


def test_too_large_gradients_show() -> None:
    check_that_too_large_gradients_show(td3(Slope(), Line(), SPACE), TD3Hparams())


def test_both_learning_rates_decay() -> None:
    hparams = TD3Hparams(learning_rate_decay_steps=100.0, policy_delay=1)
    check_that_learning_rates_decay(td3(Slope(), Line(), SPACE), hparams)


def check_that_nothing_follows_a_termination(agent, hparams) -> None:
    """The observation after it may be NaN, as where physics explode, and changes no bit of an update."""
    batch, key = sample(0), jax.random.key(1)
    steps = batch.transitions
    ends = steps.terminated[..., None]
    assert ends.any()
    nans = batch._replace(transitions=steps._replace(next_observation=jnp.where(ends, jnp.nan, steps.next_observation)))
    state = agent.init(jax.random.key(0), hparams, jnp.zeros(1))
    plain, other = (agent.update(state, x, key, jnp.float32(0), ()) for x in (batch, nans))
    jax.tree.map(np.testing.assert_array_equal, other, plain)


def test_nothing_follows_a_termination() -> None:
    check_that_nothing_follows_a_termination(td3(Slope(), Line(), SPACE), TD3Hparams())


def test_the_policy_s_optimizer_counts_its_own_steps() -> None:
    agent = td3(Slope(), Line(), SPACE)
    state = agent.init(jax.random.key(0), TD3Hparams(policy_delay=3), jnp.zeros(1))
    for step in range(7):
        state, _, _ = agent.update(state, sample(step), jax.random.key(step), jnp.float32(0), ())
    actor, critics = (optax.tree_utils.tree_get(part, "count") for part in state.opt_state)
    assert (int(actor), int(critics)) == (2, 7)


def test_its_cost_on_the_regulator_is_optimal() -> None:
    agent = td3(Linear(), Quadratic(), ENV.box)
    hparams = TD3Hparams(
        learning_rate=1e-2, learning_rate_decay_steps=1500 * 16.0, discount=DISCOUNT, tau=0.05, random_steps=0.0,
        exploration_noise=0.05, target_noise=0.02, target_noise_clip=0.05,
    )  # fmt: skip
    state = trained_on_lqr(agent, jax.tree.map(lambda x: jnp.asarray(x)[None], hparams), 1500)
    state = jax.tree.map(lambda x: x[0], state)
    assert cost_ratio(lambda x: agent.policy(state, Input(x), None).action) < 1.001


def test_a_time_limit_is_no_end() -> None:
    """An endless reward of 1 is worth 1 / (1 − γ), whatever the time limit."""
    hparams = TD3Hparams(
        learning_rate=0.1, learning_rate_decay_steps=2400.0, tau=1.0, discount=0.75, policy_delay=1, random_steps=0.0
    )
    agent = td3(Linear(), Constant(), OneState.box)
    for critic in trained_with_time_limits(agent, hparams).params.critics:
        np.testing.assert_allclose(critic["constant"], np.full(len(TIME_LIMITS), 4.0), rtol=0.01)


def test_it_explores_with_noise_inside_the_box() -> None:
    agent = td3(Slope(), Line(), SPACE)
    state = agent.init(jax.random.key(0), TD3Hparams(exploration_noise=0.25, random_steps=10.0), jnp.zeros(1))
    given = Input(jnp.repeat(jnp.array([[0.0], [1.0], [10.0]]), 2000, 0))
    early, late = (agent.act(state, given, jax.random.key(1), jnp.float32(t)).action for t in (9, 10))
    assert (np.histogram(early[:, 0], 10, (-1, 3))[0] > 450).all()
    first, second, third = np.asarray(late[:, 0]).reshape(3, -1)
    assert first.std() == pytest.approx(0.5, rel=0.1)
    assert second.mean() == pytest.approx(0.7, abs=0.05)
    assert third.max() == 3
    np.testing.assert_allclose(agent.policy(state, given, None).action[::2000, 0], [0, 0.7, 7.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"action_space": Discrete(3)}, "action_space must be of the kind Box, since this agent learns continuous"),
        ({"critic": "no network"}, "network must have init and apply"),
        ({"optimizer": 3}, "optimizer must be a function"),
        ({"actor": Constant()}, r"actor must return actions \[N, 1\]"),
        ({"critic": DeterministicPolicy(SPACE, (2,))}, r"critic must return values \[N\]"),
    ],
)
def test_bad_arguments(change, message: str) -> None:
    arguments = {"actor": Slope(), "critic": Line(), "action_space": SPACE, **change}
    with pytest.raises((ArgumentError, ValueError), match=message):
        td3(**arguments).init(jax.random.key(0), TD3Hparams(), jnp.zeros(1))
