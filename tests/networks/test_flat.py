"""Networks with their parameters in one vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxrl.networks import ActorCritic, Flat
from jaxrl.types import Box
from tests.compiling import quick_jit

NETWORK = ActorCritic(Box(np.float32([-1, 0]), np.float32([1, 4])), hidden_sizes=(5,))
OBSERVATIONS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def loss(network, params):
    policy, values = network.apply(params, OBSERVATIONS)
    return policy.log_prob(jnp.ones((6, 2))).sum() + jnp.square(values).sum()


@pytest.fixture(scope="module")
def params():
    """Parameters of the network, and of the flat one."""
    return (quick_jit(network.init)(jax.random.key(0), OBSERVATIONS) for network in (NETWORK, Flat(NETWORK)))


def test_it_is_the_network(params) -> None:
    tree, vector = params
    flat = Flat(NETWORK)
    np.testing.assert_array_equal(vector, ravel_pytree(tree)[0])
    jax.tree.map(np.testing.assert_array_equal, flat.unravel(vector, OBSERVATIONS), tree)
    jax.tree.map(np.testing.assert_array_equal, flat.apply(vector, OBSERVATIONS), NETWORK.apply(tree, OBSERVATIONS))
    jax.tree.map(  # the number of observations does not matter
        np.testing.assert_array_equal, flat.unravel(vector, OBSERVATIONS[:1]), tree
    )
    gradient = quick_jit(jax.grad(lambda p: loss(NETWORK, p)))(tree)
    flat_gradient = quick_jit(jax.grad(lambda p: loss(flat, p)))(vector)
    np.testing.assert_allclose(flat_gradient, ravel_pytree(gradient)[0], rtol=1e-6)
    assert np.count_nonzero(flat_gradient) > 0.9 * len(vector)


def test_many_at_once() -> None:
    flat = Flat(NETWORK)
    vectors = quick_jit(jax.vmap(flat.init, (0, None)))(jax.random.split(jax.random.key(1), 3), OBSERVATIONS)
    policies, values = jax.vmap(flat.apply, (0, None))(vectors, OBSERVATIONS)
    assert (policies.mean.shape, values.shape) == ((3, 6, 2), (3, 6))
    for i in range(3):
        np.testing.assert_allclose(values[i], flat.apply(vectors[i], OBSERVATIONS)[1], rtol=1e-5, atol=1e-6)


def test_equal_networks_are_equal() -> None:
    assert Flat(ActorCritic(NETWORK.action_space, (5,))) == Flat(NETWORK)
