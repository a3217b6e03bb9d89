"""DQN: one update by hand, its schedules and targets, and exact values where they are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from jaxrl import DQNHparams, Input, RainbowHparams, Sample, Transition, dqn, make
from jaxrl.agents.action_values import expected_value
from jaxrl.agents.dqn import default_optimizer
from jaxrl.agents.value_based import epsilon_at
from jaxrl.distributions import epsilon_greedy
from jaxrl.recipes.deep_q import DQN, build_dqn
from tests.compiling import quick_jit


class Table(nn.Module):
    """Q as a table over three one-hot states and two actions."""

    @nn.compact
    def __call__(self, observations):
        return observations @ self.param("q", lambda _: jnp.array([[1.0, 2.0], [3.0, 5.0], [0.5, -1.0]]))


def batch_of(states, actions, rewards, terminated, truncated, next_states, weights=1.0) -> Sample:
    """A batch of sequences `[n][B]`."""
    one_hot = jnp.eye(3)
    transitions = Transition(
        one_hot[jnp.array(states)],
        jnp.array(actions),
        jnp.array(rewards, jnp.float32),
        jnp.array(terminated, bool),
        jnp.array(truncated, bool),
        one_hot[jnp.array(next_states)],
    )
    return Sample(transitions, jnp.broadcast_to(jnp.float32(weights), len(states[0])))


BATCH = batch_of([[0, 1, 2]], [[1, 0, 1]], [[1, 2, 4]], [[0, 1, 0]], [[0, 0, 1]], [[1, 2, 1]])


def state_of(agent, target=None, **hparams):
    state = quick_jit(agent.init)(jax.random.key(0), DQNHparams(discount=0.5, **hparams), jnp.zeros(3))
    return state if target is None else state._replace(target_params={"params": {"q": jnp.array(target)}})


def test_td_errors_by_hand() -> None:
    """A truncation bootstraps, a termination does not."""
    agent = dqn(Table())
    _, metrics, td_error = agent.update(state_of(agent), BATCH, jax.random.key(0), 0.0)
    expected = np.array([1 + 0.5 * 5 - 2, 2 - 3, 4 + 0.5 * 5 - -1])
    np.testing.assert_allclose(td_error, expected, rtol=1e-6)
    assert metrics["loss"].sum == pytest.approx(np.mean([1.5 - 0.5, 0.5, 7.5 - 0.5]))
    assert metrics["q_mean"].sum == pytest.approx((2 + 3 - 1) / 3)
    _, metrics, _ = agent.update(
        state_of(agent), BATCH._replace(weights=jnp.array([1.0, 3.0, 0.0])), jax.random.key(0), 0.0
    )
    assert metrics["q_mean"].sum == pytest.approx((2 + 3 * 3) / 4)


def test_n_step_errors_by_hand() -> None:
    """A sequence ends with its episode: a truncation bootstraps, a termination does not; later steps are ignored."""
    batch = batch_of(
        states=[[0, 0, 0], [1, 1, 1], [2, 0, 0]],
        actions=[[1, 1, 1], [0, 0, 0], [1, 0, 0]],
        rewards=[[1, 1, 1], [2, 2, 2], [4, 100, 100]],
        terminated=[[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        truncated=[[0, 0, 0], [0, 0, 1], [0, 0, 0]],
        next_states=[[1, 1, 1], [2, 2, 2], [1, 1, 1]],
    )
    agent = dqn(Table())
    _, _, td_error = agent.update(state_of(agent), batch, jax.random.key(0), 0.0)
    q, gamma = 2.0, 0.5
    expected = [1 + gamma * (2 + gamma * (4 + gamma * 5)), 1 + gamma * 2, 1 + gamma * (2 + gamma * 0.5)]
    np.testing.assert_allclose(td_error, np.array(expected) - q, rtol=1e-6)


def test_weights_scale_the_loss() -> None:
    agent = dqn(Table())
    weighted = BATCH._replace(weights=jnp.float32([1, 0, 0.5]))
    _, metrics, td_error = agent.update(state_of(agent), weighted, jax.random.key(0), 0.0)
    np.testing.assert_allclose(td_error, agent.update(state_of(agent), BATCH, jax.random.key(0), 0.0)[2])
    assert metrics["loss"].sum == pytest.approx((1.5 - 0.5 + 0.5 * (7.5 - 0.5)) / 3)


def test_double_dqn_selects_online_and_values_with_the_target() -> None:
    target = [[0.0, 0.0], [10.0, 20.0], [0.0, 0.0]]
    for double, online, value in ((True, 1, 20.0), (False, 1, 20.0)):
        agent = dqn(Table(), double=double)
        _, _, td_error = agent.update(state_of(agent, target), BATCH, jax.random.key(0), 0.0)
        assert td_error[0] == pytest.approx(1 + 0.5 * value - 2), online
    target = [[0.0, 0.0], [30.0, 20.0], [0.0, 0.0]]  # now the target's favourite is not the online one
    for double, value in ((True, 20.0), (False, 30.0)):
        agent = dqn(Table(), double=double)
        _, _, td_error = agent.update(state_of(agent, target), BATCH, jax.random.key(0), 0.0)
        assert td_error[0] == pytest.approx(1 + 0.5 * value - 2)


@pytest.mark.parametrize(
    ("loss", "gradient_of_error", "epsilon"),
    [("l2", lambda e: e, 1e-8), ("huber", lambda e: np.clip(e, -1, 1), 0.2)],
)
def test_the_update_is_adam_on_the_bellman_loss(loss, gradient_of_error, epsilon: float) -> None:
    agent = dqn(Table(), expected_value(loss))
    state = state_of(agent, learning_rate=0.01, max_grad_norm=0.7, adam_epsilon=epsilon)
    new, _, td_error = agent.update(state, BATCH, jax.random.key(0), 0.0)
    grads = np.zeros((3, 2), np.float32)
    for (s, a), error in zip([(0, 1), (1, 0), (2, 1)], np.asarray(td_error), strict=True):
        grads[s, a] = -gradient_of_error(error) / 3
    reference = optax.chain(optax.clip_by_global_norm(0.7), optax.adam(0.01, eps=epsilon))
    q = state.params["params"]["q"]
    updates, _ = reference.update(jnp.asarray(grads), reference.init(q), q)
    np.testing.assert_allclose(new.params["params"]["q"], q + updates, rtol=1e-6)


@pytest.mark.parametrize("steepness", [1e15, 1e25])
def test_a_gradient_too_large_for_its_clip_shows(steepness: float) -> None:
    class Steep:
        def init(self, key, observations):
            return jnp.zeros((3, 2))

        def apply(self, params, observations, *, rngs=None):
            return steepness * observations @ params

    agent = dqn(Steep())
    _, metrics, _ = agent.update(state_of(agent), BATCH, jax.random.key(0), 0.0)
    assert np.isnan(metrics["loss"].sum) == (steepness > 1e19)


@pytest.mark.parametrize(("rate", "period", "moves"), [(0.1, 1, [0.1, 0.1, 0.1]), (1.0, 2, [0.0, 1.0, 0.0])])
def test_target_network(rate: float, period: int, moves: list[float]) -> None:
    agent = dqn(Table())
    state = state_of(agent, [[0.0, 0.0]] * 3, tau=rate, target_update_period=period)
    for move in moves:
        before = state.target_params["params"]["q"]
        state, _, _ = agent.update(state, BATCH, jax.random.key(0), 0.0)
        expected = before + move * (state.params["params"]["q"] - before)
        np.testing.assert_allclose(state.target_params["params"]["q"], expected, rtol=1e-5)


def test_exploration() -> None:
    hparams = DQNHparams(epsilon_start=0.8, epsilon_end=0.2, epsilon_decay_steps=100)
    assert epsilon_at(hparams, 50.0) == pytest.approx(0.5)
    q_values = jnp.tile(jnp.array([0.0, 3.0, 1.0]), (60_000, 1))
    actions = np.asarray(epsilon_greedy(q_values, 0.3).sample(jax.random.key(0)))
    np.testing.assert_allclose(np.bincount(actions) / 60_000, [0.1, 0.8, 0.1], atol=0.01)
    assert set(np.asarray(epsilon_greedy(q_values, 0.0).sample(jax.random.key(0)))) == {1}
    assert set(np.asarray(epsilon_greedy(q_values, 1.0).sample(jax.random.key(0)))) == {0, 1, 2}


def test_changing_a_hyperparameter_compiles_nothing() -> None:
    agent = dqn(Table())
    update = jax.jit(agent.update)
    state = state_of(agent)
    for rate in (1e-3, 1e-2):
        hparams = jax.tree.map(jnp.float32, dataclasses.replace(state.hparams, learning_rate=rate, discount=rate))
        hparams = dataclasses.replace(hparams, target_update_period=jnp.int32(1))
        state = state._replace(hparams=hparams)
        update(state, BATCH, jax.random.key(0), jnp.float32(0))
    assert update._cache_size() == 1  # type: ignore[attr-defined]


def test_an_optimizer_of_ones_own() -> None:
    """It knows the hyperparameters and the clock; the target network counts gradient steps without its help."""
    agent = dqn(Table(), expected_value("l2"), optimizer=lambda h, env_steps: optax.sgd(h.learning_rate * env_steps))
    state = state_of(agent, learning_rate=0.1, target_update_period=2, tau=1.0)
    resting, _, errors = agent.update(state, BATCH, jax.random.key(0), jnp.float32(0))
    before = np.asarray(state.params["params"]["q"])
    np.testing.assert_array_equal(resting.params["params"]["q"], before)
    once, _, _ = agent.update(state, BATCH, jax.random.key(0), jnp.float32(3))
    expected = before.copy()
    expected[[0, 1, 2], [1, 0, 1]] += 0.1 * 3 * np.asarray(errors) / 3
    np.testing.assert_allclose(once.params["params"]["q"], expected, rtol=1e-6)
    np.testing.assert_array_equal(once.target_params["params"]["q"], before)
    twice, _, _ = agent.update(once, BATCH, jax.random.key(0), jnp.float32(0))
    np.testing.assert_array_equal(twice.target_params["params"]["q"], once.params["params"]["q"])


def test_the_optimizers_state_does_not_depend_on_the_values() -> None:
    params = {"w": jnp.zeros(3)}
    a, b = (default_optimizer(DQNHparams(learning_rate=rate), jnp.float32(0)).init(params) for rate in (1e-4, 1.0))
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_a_network_of_ones_own() -> None:
    env, params = make("CartPole-v1")
    agent, trainer = build_dqn(env, params, DQN(num_envs=4, batch_size=4, warmup_steps=8, hidden_sizes=(8,)))
    state, _ = jax.jit(trainer.step)(jax.jit(trainer.init)(jax.random.key(0), RainbowHparams()))
    assert agent.policy(state.agent, Input(jnp.zeros((3, 4))), jax.random.key(0)).action.shape == (3,)
