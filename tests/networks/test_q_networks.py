"""Networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.networks import q_network
from jaxrl.networks.q_networks import BoardConv


def test_board_conv_is_a_convolution() -> None:
    x = jax.random.normal(jax.random.key(0), (10, 8, 4, 3))
    conv = BoardConv(5)
    params = conv.init(jax.random.key(1), x)
    kernel = params["params"]["Dense_0"]["kernel"].reshape(3, 3, 4, 5)
    numbers = ("HWCN", "HWIO", "CHWN")
    expected = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=numbers)
    np.testing.assert_allclose(conv.apply(params, x), expected, rtol=1e-4, atol=1e-5)


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
