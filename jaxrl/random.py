"""Random keys and where they come from.

All keys are typed keys of JAX's default generator, threefry2x32, whatever `jax_default_prng_impl` is. For others, JAX
does not promise the same numbers under `vmap` or on another machine, so an agent in a population would differ from the
same agent alone.
"""

from collections.abc import Sequence
from functools import partial
from numbers import Integral
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.types import Array

Stream = Literal[
    "training",
    "evaluation",
    "video",
    "later evaluation",
    "play",
    "initial values",
    "recording",
    "evaluation while training",
    "match",
]
"""The uses of a seed. Their order is part of every recorded result."""


def key_stream(seed: Any, use: Stream) -> Array:
    """The key of one use of a seed. Different uses share no numbers.

    All keys from seeds come from here. Splitting a seed's key instead would repeat keys, because
    `jax.random.split(key, n)[i]` is the same for every `n`.

    Args:
        seed: an int, or ints under `vmap`.
        use: the use of its numbers.
    """
    return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), get_args(Stream).index(use))


def as_keys(key: Any) -> Array:
    """Converts a seed, or anything that JAX accepts as keys, to typed threefry keys `[...]`. Those of `inline` stay.

    Args:
        key: an int from 0 to 2^32 - 1; typed keys `[...]`; or raw keys, uint32 `[..., 2]`. Keys of the generator rbg
            become those that threefry makes of the same seed.

    Raises:
        ArgumentError: it is none of these.
    """
    if isinstance(key, Integral) and not isinstance(key, bool):
        if not 0 <= int(key) < 2**32:  # of larger seeds, JAX takes other bits with x64 than without
            raise ArgumentError("key", "must be >= 0 and < 2^32 if it is a seed", key)
        return jax.random.key(np.uint32(key), impl="threefry2x32")
    rule = "must be a random key such as jax.random.key(0)"
    if not isinstance(key, jax.Array | np.ndarray):
        raise ArgumentError("key", rule, key)
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        data = jax.random.key_data(key)
        if data.shape[-1] == 2:
            return jnp.asarray(key)
        key = data
    elif jnp.issubdtype(key.dtype, jnp.integer) and key.ndim == 0:
        return jax.random.key(key, impl="threefry2x32")
    if key.dtype != jnp.uint32 or key.ndim == 0 or key.shape[-1] not in (2, 4):
        raise ArgumentError("key", rule, key.dtype, got=f"{key.dtype}{list(key.shape)}")
    # The last two of rbg's four words repeat the first two.
    return jax.random.wrap_key_data(jnp.asarray(key[..., :2]), impl="threefry2x32")


def key_streams(seeds: Sequence[int]) -> tuple[Array, Array, Array]:
    """Keys `[A]` of each seed for training, evaluation and the video."""
    numbers = jnp.array(seeds, jnp.uint32)
    training, evaluation, video = (
        jax.vmap(partial(key_stream, use=use))(numbers) for use in ("training", "evaluation", "video")
    )
    return training, evaluation, video
