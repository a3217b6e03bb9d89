"""Kinds of action values: by hand, the same fixed point for all kinds, and bad arguments."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl import ops
from jaxrl.agents.action_values import ActionValues, categorical, expected_value, quantiles
from jaxrl.arguments import ArgumentError

KINDS = {
    "huber": expected_value("huber"),
    "l2": expected_value("l2"),
    "categorical": categorical(-4.0, 4.0, 11),
    "quantiles": quantiles(5),
}
every_kind = pytest.mark.parametrize("values", KINDS.values(), ids=KINDS.keys())


def test_q_values_by_hand() -> None:
    numbers = jnp.array([[1.0, 5.0], [2.0, -3.0]])
    np.testing.assert_array_equal(expected_value().q_values(numbers), numbers)
    np.testing.assert_allclose(quantiles(2).q_values(numbers), [3, -0.5])
    logits = jnp.log(jnp.array([[1.0, 1.0, 2.0], [1e-9, 1.0, 1e-9]]))
    np.testing.assert_allclose(categorical(-1.0, 3.0, 3).q_values(logits), [-0.25 + 0.25 + 1.5, 1], rtol=1e-5)


@every_kind
def test_q_values_of_any_batch(values: ActionValues) -> None:
    outputs = jnp.array(np.random.default_rng(0).normal(size=(2, 3, 4, *values.shape)), jnp.float32)
    q_values = jax.jit(values.q_values)(outputs)
    assert q_values.shape == (2, 3, 4)
    np.testing.assert_allclose(q_values[1, 2], values.q_values(outputs[1, 2]), rtol=1e-5, atol=1e-6)


def test_losses_and_errors_by_hand() -> None:
    """Action 1 is taken; action 0 is selected in s', although its value is not the largest."""
    transition = (1, 2.0, 0.5, jnp.array([4.0, 9.0]), jnp.array([1.0, 0.0]))
    for loss, size in (("huber", 2.5), ("l2", 4.5)):
        np.testing.assert_allclose(expected_value(loss).loss(jnp.array([7.0, 1.0]), *transition), [size, 3])

    numbers_tm1, numbers_t = jnp.array([[9.0, 9.0], [0.0, 1.0]]), jnp.array([[0.0, 4.0], [9.0, 9.0]])
    transition = (1, 1.0, 0.5, numbers_t, jnp.array([1.0, 0.0]))
    value, error = quantiles(2).loss(numbers_tm1, *transition)  # targets 1 and 3, errors [[1, 3], [0, 2]]
    assert value == pytest.approx((0.25 * 0.5 + 0.25 * 2.5) / 2 + 0.75 * 1.5 / 2)
    assert error == pytest.approx(2 - 0.5)
    value, error = categorical(0.0, 4.0, 2).loss(numbers_tm1, *transition)
    expected = ops.categorical_q_learning_loss(jnp.array([0.0, 4.0]), numbers_tm1, *transition)
    assert value == error == pytest.approx(expected)


# (s, a, r, terminated, s') of two states, and Q* with γ = 1/2. In state 0 it is best to wait for the 2 of state 1.
STATE, ACTION = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
REWARD, TERMINATED = np.array([1, 0.5, 2, -1], np.float32), np.array([True, False, True, False])
NEXT_STATE = np.array([0, 1, 0, 1])
OPTIMAL = [[1, 0.5 + 0.5 * 2], [2, -1 + 0.5 * 2]]


@every_kind
def test_every_kind_learns_the_same_values(values: ActionValues) -> None:
    optimizer = optax.adam(0.03)

    def loss(outputs):
        q_values = values.q_values(outputs)[NEXT_STATE]
        discount = np.where(TERMINATED, 0.0, 0.5)
        losses, errors = jax.vmap(values.loss)(outputs[STATE], ACTION, REWARD, discount, outputs[NEXT_STATE], q_values)
        return losses.mean(), errors

    def step(_, carry):
        outputs, state, _ = carry
        gradient, errors = jax.grad(loss, has_aux=True)(outputs)
        updates, state = optimizer.update(gradient, state)
        return outputs + updates, state, errors

    @jax.jit
    def learn(outputs):
        outputs, _, errors = jax.lax.fori_loop(0, 1000, step, (outputs, optimizer.init(outputs), jnp.zeros(4)))
        return values.q_values(outputs), errors

    q_values, errors = learn(jnp.zeros((2, 2, *values.shape)))
    np.testing.assert_allclose(q_values, OPTIMAL, atol=0.02)
    np.testing.assert_allclose(errors, 0, atol=0.02)


@every_kind
def test_gradients_flow_into_the_prediction_only(values: ActionValues) -> None:
    outputs_tm1, outputs_t = jnp.array(np.random.default_rng(1).normal(size=(2, 3, *values.shape)), jnp.float32)

    def loss_and_error(outputs_tm1, r_t, discount_t, outputs_t, q_t_selector):
        return jnp.stack(values.loss(outputs_tm1, 1, r_t, discount_t, outputs_t, q_t_selector))

    arguments = (outputs_tm1, 0.3, 0.9, outputs_t, jnp.array([0.0, 2.0, 1.0]))
    prediction, *targets = jax.jit(jax.jacrev(loss_and_error, argnums=range(5)))(*arguments)
    for gradient in targets:
        np.testing.assert_array_equal(gradient, 0)
    assert np.any(prediction[:, 1])
    np.testing.assert_array_equal(prediction[:, ::2], 0)


SUPPORTS = [(0, 20, 51), (-10, 10, 51), (1000, 1020, 51), (-1e4, -9980, 51), (-1e7, 1e7, 51), (0, 1e-30, 51), (3, 5, 2),
            (0, 1, 400), (1e30, 2e30, 51)]  # fmt: skip


@pytest.mark.parametrize(("v_min", "v_max", "num_atoms"), SUPPORTS)
def test_categorical_targets_are_right_on_any_support(v_min: float, v_max: float, num_atoms: int) -> None:
    """Against algorithm 1 of Bellemare et al. 2017 in float64. A gradient is the prediction minus the target."""
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(2, num_atoms)), jnp.float32)
    values, width = categorical(v_min, v_max, num_atoms), v_max - v_min
    discount = np.float32([0.0, 0.99, 1.0, 0.5] * 4)
    reward = ((1 - discount) * v_min + width * rng.uniform(-0.3, 0.3, 16) + (discount == 0) * width / 2).astype(
        np.float32
    )

    def loss(outputs, r, discount):
        return values.loss(outputs, 0, r, discount, logits, jnp.array([0.0, 1.0]))[0]

    gradients = jax.jit(jax.vmap(jax.grad(loss), (None, 0, 0)))(jnp.zeros((2, num_atoms)), reward, discount)
    targets = 1 / num_atoms - np.asarray(gradients, np.float64)[:, 0]
    p = np.exp(np.float64(logits[1]) - np.logaddexp.reduce(np.float64(logits[1])))
    atoms = np.linspace(v_min, v_max, num_atoms)
    for r, gamma, target in zip(np.array(reward, float), np.array(discount, float), targets, strict=True):
        place = (np.clip(r + gamma * atoms, v_min, v_max) - v_min) / (width / (num_atoms - 1))
        expected = np.maximum(1 - abs(place - np.arange(num_atoms)[:, None]), 0) @ p
        np.testing.assert_allclose(target, expected, atol=2e-3)


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: categorical(1.0, 1.0, 51), "v_min must be less than the highest return, 1.0, got 1.0"),
        (lambda: categorical(2.0, 1.0, 51), "v_min must be less than the highest return, 1.0, got 2.0"),
        (lambda: categorical(-math.inf, 1.0, 51), "v_min must be finite, got -inf"),
        (lambda: categorical(0.0, math.nan, 51), "v_max must be finite, got nan"),
        (
            lambda: categorical(1e6, 1e6 + 20, 51),
            "v_min must differ enough from the highest return, 1000020.0, for 51 atoms in float32, got 1000000.0",
        ),
        (
            lambda: categorical(-3e38, 3e38, 51),
            "v_min must differ enough from the highest return, 3e+38, for 51 atoms in float32, got -3e+38",
        ),
        (lambda: categorical(0.0, 1.0, 1), "num_atoms must be >= 2, got 1"),
        (lambda: quantiles(1), "num_atoms must be >= 2, got 1"),
    ],
)
def test_bad_arguments_are_named(construct, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        construct()
    assert str(error.value) == message
