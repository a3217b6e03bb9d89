"""The networks of MuZero's model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.networks import learned_model
from tests.compiling import quick_jit


def test_states_stay_in_their_range_and_dynamics_change_them() -> None:
    """All states span [0, 1]. Without a change from the network, an action leaves its state as it is."""
    network = learned_model(jnp.zeros(3), 4, 5, state_size=6, hidden_sizes=(8, 7))
    params = quick_jit(network.init)(jax.random.key(0), jnp.zeros(3))
    states = network.representation(params, jax.random.normal(jax.random.key(1), (10, 3)))
    actions = jnp.arange(10) % 4
    after, rewards = network.dynamics(params, states, actions)
    for x in (states, after):
        np.testing.assert_allclose(x.min(-1), 0, atol=1e-6)
        np.testing.assert_allclose(x.max(-1), 1, atol=1e-6)
    assert rewards.shape == (10, 5)
    policy, values = network.prediction(params, after)
    assert (policy.logits.shape, values.shape) == ((10, 4), (10, 5))
    others, _ = network.dynamics(params, states, (actions + 1) % 4)
    assert (np.abs(others - after).max(-1) > 1e-3).all()
    params["g"]["params"]["change"] = jax.tree.map(jnp.zeros_like, params["g"]["params"]["change"])
    np.testing.assert_allclose(network.dynamics(params, states, actions)[0], states, atol=1e-6)


def test_a_convolution_needs_a_board() -> None:
    with pytest.raises(ArgumentError, match=r"^conv_features must not be given"):
        learned_model(jnp.zeros(3), 4, 5, conv_features=2)
