"""The network of board games, against its definition in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.networks import board_network

BOARDS = np.random.default_rng(0).random((5, 3, 6, 2)) < 0.5


@pytest.mark.parametrize(("conv_features", "window"), [(0, 4), (7, 2), (7, 4)])
def test_it_is_a_convolution_and_dense_layers_that_both_share(conv_features: int, window: int) -> None:
    """A window of four cells is as high as the board, three."""
    network = board_network(jax.ShapeDtypeStruct((3, 6, 2), bool), 6, (8, 9), conv_features, window)
    params = network.init(jax.random.key(0), BOARDS)
    params = jax.tree.map(lambda x: x + 0.1, params)  # with a bias too
    policy, values = network.apply(params, BOARDS)
    named = params["params"]
    x = BOARDS.astype(np.float32)
    if conv_features:
        high, wide = min(window, 3), window
        windows = np.lib.stride_tricks.sliding_window_view(x, (high, wide), axis=(1, 2))  # [N, H, W, C, high, wide]
        windows = windows.transpose(0, 1, 2, 4, 5, 3).reshape(*windows.shape[:3], -1)
        dense = named["BoardConv_0"]["Dense_0"]
        x = np.maximum(windows @ dense["kernel"] + dense["bias"], 0).transpose(0, 3, 1, 2)
    x = x.reshape(5, -1)
    for name in ("Dense_0", "Dense_1"):
        x = np.maximum(x @ named[name]["kernel"] + named[name]["bias"], 0)
    np.testing.assert_allclose(policy.logits, x @ named["policy"]["kernel"] + named["policy"]["bias"], rtol=1e-4)
    expected = x @ named["value"]["kernel"] + named["value"]["bias"]
    np.testing.assert_allclose(values, expected[:, 0], rtol=1e-4)
    begun = network.apply(network.init(jax.random.key(1), BOARDS), jnp.asarray(BOARDS))
    assert np.abs(begun[0].logits).max() < 0.1
    assert np.abs(begun[1]).max() < 0.1


def test_what_is_no_board_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^observation must be a board \[H, W, C\], got \[4\]$"):
        board_network(jnp.zeros(4), 2)
