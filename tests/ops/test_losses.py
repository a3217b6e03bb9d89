"""Losses of one error: values worked out by hand, and rlax."""

import jax
import jax.numpy as jnp
import numpy as np
import rlax

from jaxrl import ops


def test_losses() -> None:
    errors = jnp.array([-3.0, -1.0, 0.0, 0.5, 2.0])
    np.testing.assert_allclose(ops.squared_loss(errors), [4.5, 0.5, 0.0, 0.125, 2.0])
    np.testing.assert_allclose(ops.huber_loss(errors), [2.5, 0.5, 0.0, 0.125, 1.5])
    np.testing.assert_allclose(ops.huber_loss(errors, 2.0), rlax.huber_loss(errors, 2.0))
    np.testing.assert_allclose(jax.vmap(jax.grad(ops.huber_loss))(errors), [-1, -1, 0, 0.5, 1])
