"""Values after the end of an episode are ignored, even NaN: targets are as with a number in their place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import ops
from tests.compiling import quick_jit

R_T, DISCOUNT_T, LAMBDA_T = jnp.array([0.0, 1.0, 2.0]), jnp.array([0.9, 0.0, 0.5]), jnp.array([0.7, 0.0, 0.7])
V_TM1 = jnp.array([0.1, 0.2, 0.3])
Q_T, ATOMS = jnp.array([0.5, 2.0]), jnp.array([0.0, 1.0, 2.0])
LOGITS = jnp.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1]])

OF_TRAJECTORIES = {
    "discounted returns": lambda v: ops.discounted_returns(R_T, DISCOUNT_T.at[2].set(0.0), v[1]),
    "lambda returns": lambda v: ops.lambda_returns(R_T, DISCOUNT_T, v, LAMBDA_T),
    "of the next value alone": lambda v: ops.lambda_returns(R_T, DISCOUNT_T, v, 0.0),
    "n-step returns": lambda v: ops.n_step_bootstrapped_returns(R_T, DISCOUNT_T, v, 2, LAMBDA_T),
    "advantages": lambda v: ops.generalized_advantage_estimation(R_T, DISCOUNT_T, LAMBDA_T, V_TM1, v),
}
OF_TRANSITIONS = {
    "Q-learning": lambda q: ops.q_learning_target(1.0, 0.0, q * Q_T),
    "Double Q-learning": lambda q: ops.double_q_learning_target(1.0, 0.0, q * Q_T, Q_T),
    "Sarsa": lambda q: ops.sarsa_target(1.0, 0.0, q * Q_T, 1),
    "Expected Sarsa": lambda q: ops.expected_sarsa_target(1.0, 0.0, q * Q_T, jnp.array([0.5, 0.5])),
    "C51": lambda q: ops.categorical_q_learning_loss(ATOMS, LOGITS, 0, 1.0, 0.0, q * LOGITS, Q_T),
    "QR-DQN": lambda q: ops.quantile_q_learning_loss(LOGITS, 0, 1.0, 0.0, q * LOGITS, Q_T),
}


@quick_jit
def targets(x: jax.Array) -> dict[str, jax.Array]:
    """All targets, where `x` is the value after an end."""
    of_trajectories = {
        name: target(jnp.array([0.5, 0.0, 3.0]).at[1].set(x)) for name, target in OF_TRAJECTORIES.items()
    }
    return of_trajectories | {name: target(x) for name, target in OF_TRANSITIONS.items()}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_follows_an_end_is_ignored(value: float) -> None:
    expected = targets(1.0)
    for name, found in targets(value).items():
        assert np.isfinite(found).all(), name
        np.testing.assert_allclose(found, expected[name], rtol=1e-6, err_msg=name)


def test_by_hand() -> None:
    r_t, discount_t, v_t = jnp.array([0.0, 1.0]), jnp.array([0.9, 0.0]), jnp.array([0.5, jnp.nan])
    np.testing.assert_allclose(ops.lambda_returns(r_t, discount_t, v_t, 0.0), [0.45, 1.0])
    np.testing.assert_allclose(ops.lambda_returns(r_t, discount_t, v_t), [0.9, 1.0])


def test_a_nan_that_counts_is_seen() -> None:
    v_t = jnp.array([jnp.nan, 0.0, 3.0])
    assert np.isnan(ops.lambda_returns(R_T, DISCOUNT_T, v_t, LAMBDA_T)[0])
    assert np.isnan(ops.q_learning_target(1.0, 0.9, jnp.array([0.0, jnp.nan])))


def test_no_gradient_becomes_nan() -> None:
    def loss(discount_t: jax.Array, v_t: jax.Array) -> jax.Array:
        return ops.lambda_returns(R_T, discount_t, v_t, LAMBDA_T).sum()

    v_t = jnp.array([0.5, jnp.nan, 3.0])
    for gradient in quick_jit(jax.grad(loss, (0, 1)))(DISCOUNT_T, v_t):
        assert np.isfinite(gradient).all()
    # Where the value is a number, the gradient with respect to a discount of 0 is that number.
    assert jax.grad(lambda discount: ops.q_learning_target(1.0, discount, Q_T))(0.0) == 2.0
