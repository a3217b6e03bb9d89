"""Random keys: where they come from, and JAX's numbers lowered so that a loop may draw a few of them at little cost.

All keys are typed keys of JAX's default generator, threefry2x32, whatever `jax_default_prng_impl` says: of others JAX
promises neither the same numbers under `vmap` nor on another machine, and so an agent in a population would not be the
one that it is alone.
"""

from numbers import Integral
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

from jaxrl.arguments import ArgumentError
from jaxrl.types import Array

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))

Stream = Literal["training", "evaluation", "video", "later evaluation", "play", "initial values"]
"""What a seed's random numbers are for. The order is part of every recorded result."""


def key_stream(seed: Any, use: Stream) -> Array:
    """The key of one use of a seed: no two of them share a number.

    Everything that begins with a seed takes its key from here, because `jax.random.split(key, n)[i]` is the same key
    for every `n`: two splits of one key have keys in common.

    Args:
        seed: an int, or ints under `vmap`.
        use: what for.
    """
    return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), get_args(Stream).index(use))


def as_keys(key: Any, name: str = "key") -> Array:
    """Typed threefry keys `[...]`, or those of `inline`, from anything that JAX takes for keys, or from a seed.

    Args:
        key: an int from 0 to 2^32 - 1; typed keys `[...]`; or old keys, uint32 `[..., 2]`. Keys of the generator rbg
            become those that threefry makes of the same seed.
        name: of the argument.

    Raises:
        ArgumentError: it is none of these.
    """
    if isinstance(key, Integral) and not isinstance(key, bool):
        if not 0 <= int(key) < 2**32:  # of others JAX takes more or fewer bits, with x64 and without
            raise ArgumentError(f"{name} must be >= 0 and < 2^32 if it is a seed, got {key}")
        return jax.random.key(np.uint32(key), impl="threefry2x32")
    if not isinstance(key, jax.Array | np.ndarray):
        raise ArgumentError(f"{name} must be a random key such as jax.random.key(0), got {key!r}")
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        data = jax.random.key_data(key)
        if data.shape[-1] == 2:
            return jnp.asarray(key)
        key = data
    elif jnp.issubdtype(key.dtype, jnp.integer) and key.ndim == 0:
        return jax.random.key(key, impl="threefry2x32")
    if key.dtype != jnp.uint32 or key.ndim == 0 or key.shape[-1] not in (2, 4):
        raise ArgumentError(f"{name} must be a random key such as jax.random.key(0), got {key.dtype}{list(key.shape)}")
    # Of rbg's four words the last two repeat the first.
    return jax.random.wrap_key_data(jnp.asarray(key[..., :2]), impl="threefry2x32")


def inline(key: Array) -> Array:
    """The same key, of a generator that gives the same numbers as JAX's threefry2x32.

    JAX lowers threefry on CPUs to a loop of some eighty kernels, which draw four numbers no faster than four thousand.
    Written out, the twenty rounds fuse with whatever uses the numbers. Use it for keys inside of a rollout's loop; keep
    ordinary keys for large draws, and in states.

    Args:
        key: typed keys `[...]`, or anything else that `as_keys` takes.
    """
    return jax.random.wrap_key_data(jax.random.key_data(as_keys(key)), impl=_INLINE_THREEFRY)


def ordinary(key: Array) -> Array:
    """The same keys, of JAX's own generator again: for code that is not ours, and may keep them in its state."""
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
    """The position of each element, as the high and low words of its index in row-major order."""
    size = int(np.prod(shape))
    if size >= 2**32:
        raise ValueError(f"shape must be of fewer than 2^32 elements, got {shape}")
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
