"""The network of board games, against its definition in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.networks import board_network
from tests.compiling import quick_jit

BOARDS = np.random.default_rng(0).random((5, 3, 6, 2)) < 0.5


def test_the_policy_and_the_value_share_all_but_the_last_layer() -> None:
    network = board_network(jax.ShapeDtypeStruct((3, 6, 2), bool), 6, (8, 9))
    params = quick_jit(network.init)(jax.random.key(0), BOARDS)
    params = jax.tree.map(lambda x: x + 0.1, params)  # with a bias too
    policy, values = network.apply(params, BOARDS)
    layers = {name: (np.asarray(x["kernel"]), np.asarray(x["bias"])) for name, x in params["params"].items()}
    assert set(layers) == {"Dense_0", "Dense_1", "policy", "value"}
    x = BOARDS.reshape(5, -1).astype(np.float32)
    for name in ("Dense_0", "Dense_1"):
        x = np.maximum(x @ layers[name][0] + layers[name][1], 0)
    np.testing.assert_allclose(policy.logits, x @ layers["policy"][0] + layers["policy"][1], rtol=1e-4)
    np.testing.assert_allclose(values, (x @ layers["value"][0] + layers["value"][1])[:, 0], rtol=1e-4)
    begun = network.apply(network.init(jax.random.key(1), BOARDS), BOARDS)
    assert np.abs(begun[0].logits).max() < 0.1
    assert np.abs(begun[1]).max() < 0.1


def test_a_convolution_comes_first() -> None:
    network = board_network(jax.ShapeDtypeStruct((3, 6, 2), bool), 6, (8,), conv_features=4)
    params = quick_jit(network.init)(jax.random.key(0), BOARDS)["params"]
    assert params["BoardConv_0"]["Dense_0"]["kernel"].shape == (9 * 2, 4)
    assert params["Dense_0"]["kernel"].shape == (1 * 4 * 4, 8)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^observation must be a board \[H, W, C\], got \[4\]$"):
        board_network(jnp.zeros(4), 2)
    with pytest.raises(ArgumentError, match=r"^conv_features must not be given"):
        board_network(jnp.zeros((2, 3, 2)), 2, conv_features=8)
