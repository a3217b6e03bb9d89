"""Losses of one error: values worked out by hand, and rlax."""

import jax
import numpy as np
import rlax

from jaxrl import ops


def test_losses() -> None:
    errors = np.array([-3, -1, 0, 0.5, 2], np.float32)

    @jax.jit
    def losses(errors):
        gradients = jax.vmap(jax.grad(ops.huber_loss))(errors)
        return ops.l2_loss(errors), ops.huber_loss(errors), gradients, ops.huber_loss(errors, delta=2.0)

    squared, huber, huber_gradients, huber_2 = losses(errors)
    np.testing.assert_allclose(squared, [4.5, 0.5, 0.0, 0.125, 2.0])
    np.testing.assert_allclose(huber, [2.5, 0.5, 0.0, 0.125, 1.5])
    np.testing.assert_allclose(huber_gradients, [-1, -1, 0, 0.5, 1])
    np.testing.assert_allclose(huber_2, jax.jit(rlax.huber_loss)(errors, 2.0))
