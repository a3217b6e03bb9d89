"""JAX's random numbers, lowered so that drawing a few of them in a loop is cheap."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

from jaxrl.random import as_keys
from jaxrl.types import Array
from jaxrl.xla.fusion import no_fuse

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def inline(key: Array) -> Array:
    """The same keys for a generator that gives the same numbers as JAX's threefry2x32, with its rounds unrolled.

    On CPUs, JAX lowers threefry to a loop of some eighty kernels, which draw four numbers no faster than four thousand.
    Unrolled, the twenty rounds fuse with whatever uses the numbers. Use such keys in the loop of a rollout, and
    ordinary ones for large draws and in states.

    Args:
        key: typed keys `[...]`, or anything else that `as_keys` accepts.
    """
    return jax.random.wrap_key_data(jax.random.key_data(as_keys(key)), impl=_INLINE_THREEFRY)


def drawn_once(key: Array) -> Array:
    """As `inline`, for code that uses its numbers many times over, such as the environments of other libraries.

    XLA's CPU compiler repeats unrolled rounds in every loop that uses a number. These keys keep what they draw.
    """
    return jax.random.wrap_key_data(jax.random.key_data(as_keys(key)), impl=_THREEFRY_ONCE)


def ordinary(key: Array) -> Array:
    """The same keys for JAX's own generator, for foreign code, which may keep them in its state."""
    return jax.random.wrap_key_data(jax.random.key_data(as_keys(key)), impl="threefry2x32")


def _threefry2x32(key: Array, count: tuple[Array, Array]) -> tuple[Array, Array]:
    """Threefry-2x32 with 20 rounds (Salmon et al. 2011, https://doi.org/10.1145/2063384.2063405), elementwise."""
    k0, k1 = key[0], key[1]
    schedule = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = count[0] + k0, count[1] + k1
    for i in range(5):
        for rotation in ROTATIONS[i % 2]:
            x0 = x0 + x1
            x1 = x0 ^ (x1 << np.uint32(rotation) | x1 >> np.uint32(32 - rotation))
        x0, x1 = x0 + schedule[(i + 1) % 3], x1 + schedule[(i + 2) % 3] + np.uint32(i + 1)
    return x0, x1


def _counts(shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The high and low words of each element's row-major index."""
    size = int(np.prod(shape))
    if size >= 2**32:
        raise ValueError(f"shape must have fewer than 2^32 elements, got {shape}")
    low = jax.lax.iota(jnp.uint32, size).reshape(shape)
    return jnp.zeros_like(low), low


def _seed(seed: Array) -> Array:
    return jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))


def _split(key: Array, shape: tuple[int, ...]) -> Array:
    return jnp.stack(_threefry2x32(key, _counts(shape)), axis=-1)


def _fold_in(key: Array, data: Any) -> Array:
    return jnp.stack(_threefry2x32(key, (jnp.uint32(0), jnp.asarray(data).astype(jnp.uint32))))


def _random_bits(key: Array, bit_width: int, shape: tuple[int, ...]) -> Array:
    x0, x1 = _threefry2x32(key, _counts(shape))
    if bit_width == 64:
        return x0.astype(jnp.uint64) << 32 | x1.astype(jnp.uint64)
    return (x0 ^ x1).astype({8: jnp.uint8, 16: jnp.uint16, 32: jnp.uint32}[bit_width])


_INLINE_THREEFRY = define_prng_impl(
    key_shape=(2,), seed=_seed, split=_split, random_bits=_random_bits, fold_in=_fold_in, name="inline_threefry2x32"
)


def _once(function: Callable[..., Array]) -> Callable[..., Array]:
    return lambda *args: no_fuse(function(*args))


_THREEFRY_ONCE = define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_once(_split),
    random_bits=_once(_random_bits),
    fold_in=_once(_fold_in),
    name="threefry2x32_drawn_once",
    tag="once",
)
