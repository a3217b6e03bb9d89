"""Networks of images: glimpses by hand, convolutions as flax's, and places that no gradient flows through."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrl import ArgumentError
from jaxrl.networks.glimpses import GlimpseNetwork, take_glimpse
from jaxrl.networks.image_classifier import ImageClassifier, StridedConv
from tests.compiling import quick_jit


@pytest.mark.parametrize("shape", [(6, 8), (5, 7)])
def test_strided_convolution_is_flaxs(shape) -> None:
    x = np.random.default_rng(0).normal(size=(2, *shape, 3)).astype(np.float32)
    params = StridedConv(4).init(jax.random.key(0), x)
    kernel = params["params"]["kernel"].reshape(3, 3, 3, 4)
    theirs = nn.Conv(4, (3, 3), (2, 2)).apply({"params": {"kernel": kernel, "bias": jnp.zeros(4)}}, x)
    np.testing.assert_allclose(StridedConv(4).apply(params, x), theirs, atol=1e-5)
    assert ImageClassifier(3, (2, 2), 4).init_with_output(jax.random.key(0), x)[0].logits.shape == (2, 3)


def test_glimpses_by_hand() -> None:
    """Of 2 × 2 pixels in an image of 4 × 6, at two scales: around the middle, a corner, and outside."""
    image = np.arange(24, dtype=np.float32).reshape(4, 6)
    places = np.array([[0, 0], [-1, -1], [1, 1], [0, 1 / 3], [-9, 0]], np.float32)
    pieces = take_glimpse(np.tile(image, (5, 1, 1)), places, 2, 2)
    around = np.pad(image, 4)
    for piece, (y, x) in zip(pieces, [(2, 3), (0, 0), (4, 6), (2, 4), (0, 3)], strict=True):
        np.testing.assert_array_equal(piece[0], around[y + 3 : y + 5, x + 3 : x + 5])
        wide = around[y + 2 : y + 6, x + 2 : x + 6]
        np.testing.assert_allclose(piece[1], wide.reshape(2, 2, 2, 2).mean((1, 3)))


def test_no_gradient_flows_through_a_place() -> None:
    """Neither into what chose it, nor by way of the features of a place; nor from the baselines into the rest."""
    network = GlimpseNetwork(3, glimpses=3, size=4, hidden_size=6)
    images = np.random.default_rng(0).integers(256, size=(5, 10, 10, 1)).astype(np.uint8)
    params = network.init(jax.random.key(0), images)
    apply: Callable[..., Any] = network.apply

    @quick_jit
    def gradients(params):
        looked = lambda params: apply(params, images, lambda t, mean: 2 * mean)  # noqa: E731
        of = [
            lambda p: looked(p).logits[-1, :, 0].sum(),
            lambda p: looked(p).values.sum(),
            lambda p: looked(p).means.sum(),
        ]
        return [jax.grad(f)(params)["params"] for f in of]

    of_logits, of_values, of_means = gradients(params)

    def used(tree):
        return {name for name, leaves in tree.items() if any(np.abs(x).max() > 0 for x in jax.tree.leaves(leaves))}

    locate, expect = "Dense_5", "Dense_6"
    assert params["params"][locate]["kernel"].shape == (6, 2)
    assert params["params"][expect]["kernel"].shape == (6, 1)
    assert used(of_logits) == set(params["params"]) - {locate, expect}
    assert used(of_values) == {expect}
    assert used(of_means) == {locate}


def test_an_image_smaller_than_a_glimpse() -> None:
    with pytest.raises(ArgumentError, match="size must be at most the image's 6 × 9 pixels, for a glimpse, got 8"):
        GlimpseNetwork(3).init(jax.random.key(0), jnp.zeros((1, 6, 9, 1)))
