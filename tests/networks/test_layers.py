"""Layers with the batch last, against flax's and their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrl.networks import Network
from jaxrl.networks.layers import BoardConv, Dense, LayerNorm, NoisyDense


def test_board_conv_is_a_convolution() -> None:
    x = jax.random.normal(jax.random.key(0), (10, 8, 4, 3))
    conv = BoardConv(5)
    params = conv.init(jax.random.key(1), x)
    kernel = params["params"]["Dense_0"]["kernel"].reshape(3, 3, 4, 5)
    numbers = ("HWCN", "HWIO", "CHWN")
    expected = jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=numbers)
    np.testing.assert_allclose(conv.apply(params, x), expected, rtol=1e-4, atol=1e-5)


def test_layer_norm_is_that_of_flax() -> None:
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (6, 4, 5))
    ours, theirs = LayerNorm(), nn.LayerNorm(use_fast_variance=False)
    scale, bias = jax.random.normal(jax.random.key(1), (2, 6))
    params = {"params": {"scale": scale, "bias": bias}}

    def value(layer, axis, params, x):
        return jnp.moveaxis(layer.apply(params, jnp.moveaxis(x, 0, axis)), axis, 0)

    def gradient(layer, axis, params, x):
        return jax.grad(lambda *args: jnp.sum(jnp.sin(value(layer, axis, *args))), argnums=(0, 1))(params, x)

    for of in (value, gradient):
        result, expected = of(ours, 0, params, x), of(theirs, -1, params, x)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), result, expected)


def test_noisy_weights_have_their_means_and_deviations() -> None:
    """Factorised noise: f(ε) = sign(ε) √|ε| has variance E|ε| = √(2/π), a product of two of them 2/π."""
    layer: Network = NoisyDense(2)
    x = jnp.eye(3)
    params = layer.init(jax.random.key(0), x)
    kernel, bias = params["params"]["kernel"], params["params"]["bias"]
    assert abs(kernel).max() <= 3**-0.5
    np.testing.assert_allclose(layer.apply(params, x), kernel.T + bias[:, None], rtol=1e-6)
    keys = jax.random.split(jax.random.key(1), 20_000)
    drawn = jax.vmap(lambda key: layer.apply(params, x, rngs={"noise": key}))(keys)
    np.testing.assert_allclose(drawn.mean(0), kernel.T + bias[:, None], atol=0.02)
    deviation = 0.5 / 3**0.5
    # A weight's noise f(ε_i) f(ε_j) and its bias's f(ε_j) are not correlated, since f(ε_i) has mean 0.
    expected = deviation**2 * (2 / np.pi + (2 / np.pi) ** 0.5)
    np.testing.assert_allclose(drawn.var(0), np.full((2, 3), expected), rtol=0.05)


def test_noise_is_the_same_for_the_whole_batch_and_learns() -> None:
    layer: Network = NoisyDense(2)
    x = jnp.ones((3, 4))
    params = layer.init(jax.random.key(0), x)
    noisy = layer.apply(params, x, rngs={"noise": jax.random.key(1)})
    np.testing.assert_array_equal(noisy, noisy[:, :1].repeat(4, axis=1))
    grads = jax.grad(lambda p: layer.apply(p, x, rngs={"noise": jax.random.key(1)}).sum())(params)["params"]
    assert all(abs(grads[name]).max() > 0 for name in ("kernel_deviation", "bias_deviation"))
    plain = {"params": {name: params["params"][name] for name in ("kernel", "bias")}}
    np.testing.assert_allclose(layer.apply(params, x), Dense(2).apply(plain, x), rtol=1e-6)
