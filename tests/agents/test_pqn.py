"""PQN: its λ-returns against a trajectory by hand and rlax, and its update against RAdam on them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import rlax

from jaxrl.agents import MinibatchConfig, PQNHparams, pqn
from jaxrl.agents.minibatches import apply_in_chunks, learn_in_minibatches
from jaxrl.arguments import ArgumentError
from jaxrl.networks import QNetwork, actor_critic
from jaxrl.types import Discrete, Mean, Transition
from tests.compiling import quick_jit

Q = np.array([[1.0, 2.0], [3.0, 5.0], [0.5, -1.0]], np.float32)
GAMMA, LAMBDA = 0.5, 0.8
HPARAMS = PQNHparams(learning_rate=0.01, discount=GAMMA, q_lambda=LAMBDA, epsilon_start=0.0, epsilon_end=0.0)


class Table:
    """Q of three states. Observations are indices of states."""

    def init(self, key, observations):
        return jnp.array(Q)

    def apply(self, params, observations, *, rngs=None):
        return params[observations]


# Environment 0 never ends, environment 1 is truncated after its first step, environment 2 terminates after its second.
BATCH = Transition(
    observation=jnp.array([[0, 0, 0], [1, 2, 1], [2, 1, 0]]),
    action=jnp.array([[0, 1, 0], [1, 0, 1], [0, 1, 1]]),
    reward=jnp.float32([[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
    terminated=jnp.array([[0, 0, 0], [0, 0, 1], [0, 0, 0]], bool),
    truncated=jnp.array([[0, 1, 0], [0, 0, 0], [0, 0, 0]], bool),
    next_observation=jnp.array([[1, 1, 1], [2, 1, 2], [0, 2, 1]]),
)


@pytest.mark.parametrize("steepness", [1e15, 1e25])
def test_a_gradient_too_large_for_its_clip_shows(steepness: float) -> None:
    """The norm overflows float32, and the clip turns the gradient into zeros: the loss becomes NaN."""

    class Steep(Table):
        def init(self, key, observations):
            return jnp.zeros((3, 2))

        def apply(self, params, observations, *, rngs=None):
            return steepness * params[observations]

    agent = pqn(Steep(), MinibatchConfig(num_epochs=1, num_minibatches=1))
    state = quick_jit(agent.init)(jax.random.key(0), HPARAMS, jnp.int32(0))
    _, metrics, _ = agent.update(state, BATCH, jax.random.key(1), jnp.float32(0))
    assert np.isnan(metrics["loss"].sum) == (steepness > 1e19)


def returns_by_hand() -> np.ndarray:
    """V = max Q is 2, 5, 0.5."""
    far = 1 - LAMBDA
    a2 = 7 + GAMMA * 2
    a1 = 4 + GAMMA * (far * 0.5 + LAMBDA * a2)
    a0 = 1 + GAMMA * (far * 5 + LAMBDA * a1)
    b2 = 8 + GAMMA * 0.5
    b1 = 5 + GAMMA * (far * 5 + LAMBDA * b2)
    b0 = 2 + GAMMA * 5
    c2 = 9 + GAMMA * 5
    c1 = 6
    c0 = 3 + GAMMA * (far * 5 + LAMBDA * c1)
    return np.array([[a0, b0, c0], [a1, b1, c1], [a2, b2, c2]], np.float32)


def updated(batch=BATCH, config=MinibatchConfig(num_epochs=1, num_minibatches=1)):  # noqa: B008
    agent = pqn(Table(), config)
    state = quick_jit(agent.init)(jax.random.key(0), HPARAMS, jnp.int32(0))
    return agent.update(state, batch, jax.random.key(1), jnp.float32(0))


def test_the_targets_bootstrap_at_the_right_step() -> None:
    expected = returns_by_hand()
    chosen = Q[BATCH.observation, BATCH.action]
    _, metrics, _ = updated()
    assert metrics["loss"].sum == pytest.approx(0.5 * np.square(expected - chosen).mean(), rel=1e-6)
    # And rlax, for the environments without a truncation.
    for environment in (0, 2):
        v_t = Q.max(-1)[BATCH.next_observation[:, environment]]
        discount = GAMMA * (1 - np.float32(BATCH.terminated[:, environment]))
        theirs = rlax.lambda_returns(BATCH.reward[:, environment], discount, v_t, LAMBDA)
        np.testing.assert_allclose(theirs, expected[:, environment], rtol=1e-6)


def test_the_update_is_radam_on_the_squared_error() -> None:
    grads = np.zeros_like(Q)
    error = returns_by_hand() - Q[BATCH.observation, BATCH.action]
    np.add.at(grads, (np.array(BATCH.observation), np.array(BATCH.action)), -error / error.size)
    reference = optax.chain(optax.clip_by_global_norm(HPARAMS.max_grad_norm), optax.radam(HPARAMS.learning_rate))
    updates, _ = reference.update(jnp.array(grads), reference.init(jnp.array(Q)), jnp.array(Q))
    np.testing.assert_allclose(updated()[0].params, Q + updates, rtol=1e-5)


def test_the_step_size_falls_linearly_to_zero() -> None:
    agent = pqn(Table(), MinibatchConfig(num_epochs=1, num_minibatches=1))
    hparams = dataclasses.replace(HPARAMS, learning_rate_decay_steps=100.0)
    state, update = agent.init(jax.random.key(0), hparams, jnp.int32(0)), quick_jit(agent.update)
    moved = [
        abs(update(state, BATCH, jax.random.key(1), jnp.float32(t))[0].params - Q).max() for t in (0, 25, 100, 200)
    ]
    np.testing.assert_allclose(np.array(moved) / moved[0], [1, 0.75, 0, 0], rtol=1e-4)


def test_every_epoch_learns_from_each_transition_once_in_another_order() -> None:
    def step(seen, rows):
        orders, minibatch = seen
        return (orders.at[minibatch].set(rows), minibatch + 1), {"first": Mean(rows[0], jnp.int32(1))}

    config = MinibatchConfig(num_epochs=3, num_minibatches=3)
    begin = jnp.zeros((9, 3), jnp.int32), 0
    (orders, _), _ = learn_in_minibatches(step, begin, jnp.arange(9), jax.random.key(0), config)
    by_epoch = np.asarray(orders).reshape(3, 9)
    np.testing.assert_array_equal(np.sort(by_epoch), [np.arange(9)] * 3)
    assert len({tuple(order) for order in by_epoch}) == 3
    with pytest.raises(ArgumentError, match=r"num_minibatches must divide the 9 transitions of a rollout, got 2"):
        updated(config=MinibatchConfig(num_minibatches=2))


@pytest.mark.parametrize("shape", [(3, 4), (8, 64), (7, 41), (1, 600)])
def test_a_network_is_applied_in_chunks_to_all_of_a_rollout(shape: tuple[int, int]) -> None:
    x = jax.random.normal(jax.random.key(0), (*shape, 2))
    np.testing.assert_allclose(apply_in_chunks(lambda x: x.sum(-1), x), x.sum(-1), rtol=1e-6)


@pytest.mark.parametrize("network", [QNetwork(2, (4,), outputs=(3,)), actor_critic(jnp.zeros(3), Discrete(2))])
def test_a_network_with_other_outputs_is_refused(network) -> None:
    with pytest.raises(ArgumentError, match=r"network must return \[N, num_actions\], got .* for N = 2"):
        pqn(network).init(jax.random.key(0), HPARAMS, jnp.zeros(3))
