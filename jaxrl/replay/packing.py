"""Packing a pytree into uint32 words and back, bit for bit. Booleans take one bit each."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.types import Array, PyTree

UNSIGNED = {8: jnp.uint8, 16: jnp.uint16}


class Packing(NamedTuple):
    """How one pytree is laid out in words.

    Attributes:
        num_words: words of one packed element.
        pack: pytree of leaves `[..., *shape]` to uint32 `[..., num_words]`.
        unpack: the inverse; every bit pattern comes back as it was.
    """

    num_words: int
    pack: Callable[[PyTree], Array]
    unpack: Callable[[Array], PyTree]


def packing(example: PyTree) -> Packing:
    """The packing for pytrees like `example`: arrays or `ShapeDtypeStruct`s of one element, without batch axes.

    Every leaf starts on a word of its own.
    """
    leaves, treedef = jax.tree.flatten(example)
    sizes = [_leaf_words(leaf) for leaf in leaves]

    def pack(tree: PyTree) -> Array:
        parts = [_to_words(x, leaf) for x, leaf in zip(jax.tree.leaves(tree), leaves, strict=True)]
        return jnp.concatenate(parts, axis=-1)

    def unpack(words: Array) -> PyTree:
        ends = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        parts = [
            _from_words(words[..., end - size : end], leaf) for end, size, leaf in zip(ends, sizes, leaves, strict=True)
        ]
        return jax.tree.unflatten(treedef, parts)

    return Packing(sum(sizes), pack, unpack)


def _bits(dtype: jnp.dtype) -> int:
    return 1 if dtype == jnp.bool_ else dtype.itemsize * 8


def _leaf_words(leaf: jax.ShapeDtypeStruct) -> int:
    return -(-math.prod(leaf.shape) * _bits(leaf.dtype) // 32)


def _to_words(x: Array, leaf: jax.ShapeDtypeStruct) -> Array:
    """Array `[..., *leaf.shape]` to uint32 `[..., _leaf_words(leaf)]`."""
    x = jnp.asarray(x, leaf.dtype)
    batch = x.shape[: x.ndim - len(leaf.shape)]
    bits = _bits(leaf.dtype)
    if bits in (8, 16):  # as integers before anything else moves them: copies of small floats may change a NaN
        x = jax.lax.bitcast_convert_type(x, UNSIGNED[bits])
    x = x.reshape(*batch, -1)
    if bits < 32:
        per_word = 32 // bits
        x = jnp.pad(x, [(0, 0)] * len(batch) + [(0, -x.shape[-1] % per_word)]).reshape(*batch, -1, per_word)
    if bits == 1:
        return (x.astype(jnp.uint32) << jnp.arange(32, dtype=jnp.uint32)).sum(-1, dtype=jnp.uint32)
    return jax.lax.bitcast_convert_type(x, jnp.uint32).reshape(*batch, -1)


def _from_words(words: Array, leaf: jax.ShapeDtypeStruct) -> Array:
    """The inverse of `_to_words`."""
    batch, size, bits = words.shape[:-1], math.prod(leaf.shape), _bits(leaf.dtype)
    if bits == 1:
        x = ((words[..., None] >> jnp.arange(32, dtype=jnp.uint32)) & 1).astype(bool)
        return x.reshape(*batch, -1)[..., :size].reshape(*batch, *leaf.shape)
    if bits < 32:
        words = jax.lax.bitcast_convert_type(words, UNSIGNED[bits]).reshape(*batch, -1)[..., :size]
    elif bits == 64:
        words = words.reshape(*batch, -1, 2)
    return jax.lax.bitcast_convert_type(words, leaf.dtype).reshape(*batch, *leaf.shape)
