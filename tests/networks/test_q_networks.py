"""Networks of action values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.networks import NoisyDense, QNetwork, q_network


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((4,), jnp.float32),
        ((10, 10, 4), bool),
        ((10, 10, 7), jnp.float32),
        ((10, 5), jnp.float32),
        ((2, 9, 1), jnp.int32),
        ((), jnp.int32),
    ],
)
def test_shapes(shape: tuple[int, ...], dtype) -> None:
    network = q_network(jax.ShapeDtypeStruct(shape, dtype), 6, (16,))
    observations = jnp.ones((5, *shape), dtype)
    params = network.init(jax.random.key(0), observations)
    assert network.apply(params, observations).shape == (5, 6)


def test_an_observation_that_is_no_array_needs_a_network_of_ones_own() -> None:
    with pytest.raises(ValueError, match="no default network for observations that are a dict; pass your own"):
        q_network({"x": jnp.zeros(3)}, 2)


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("outputs", [(), (7,)])
def test_parts_are_composed(dueling: bool, outputs: tuple[int, ...]) -> None:
    network = QNetwork(6, (16, 8), outputs=outputs, dueling=dueling, layer_norm=True, dense=NoisyDense)
    observations = jax.random.normal(jax.random.key(0), (5, 4, 4, 2))
    params = network.init(jax.random.key(0), observations)
    assert network.apply(params, observations).shape == (5, 6, *outputs)
    one = network.apply(params, observations[1:2], rngs={"noise": jax.random.key(3)})
    of_all = network.apply(params, observations, rngs={"noise": jax.random.key(3)})
    np.testing.assert_allclose(one[0], of_all[1], rtol=1e-4, atol=1e-5)  # nothing mixes the observations
    assert not np.allclose(of_all, network.apply(params, observations, rngs={"noise": jax.random.key(4)}))


def test_a_dueling_network_adds_the_advantages_to_the_value() -> None:
    """Equation 9 of Wang et al. 2016, with the streams' own last layers."""
    network = QNetwork(3, (4,), dueling=True)
    observations = jax.random.normal(jax.random.key(0), (5, 2))
    layers = network.init(jax.random.key(1), observations)["params"]
    streams = []
    for hidden, last in (("Dense_0", "Dense_1"), ("Dense_2", "Dense_3")):
        x = np.maximum(observations @ layers[hidden]["kernel"] + layers[hidden]["bias"], 0)
        streams.append(x @ layers[last]["kernel"] + layers[last]["bias"])
    value, advantage = streams
    expected = value + advantage - advantage.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(network.apply({"params": layers}, observations), expected, rtol=1e-5, atol=1e-6)
