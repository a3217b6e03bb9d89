"""Bit boards: a 10 x 10 board with C channels as a bit string of C * 100 bits in uint32 words.

Bit `channel * 100 + y * 10 + x` is cell (y, x) of a channel; bit `b` lives in word `b // 32` at position `b % 32`.
"""

import jax.numpy as jnp

from jaxrl.types import Array

CELLS = 100


def num_words(channels: int) -> int:
    """uint32 words that hold `channels` boards."""
    return -(-channels * CELLS // 32)


def set_bit(index: Array, words: int) -> Array:
    """A bit string with one bit set: uint32 `[words, ...]` for int `[...]` indices."""
    word = jnp.arange(words).reshape(words, *[1] * jnp.ndim(index))
    bit = jnp.uint32(1) << (index & 31).astype(jnp.uint32)
    return jnp.where(word == index >> 5, bit, jnp.uint32(0))


def place(bits: Array, offset: int, words: int) -> Array:
    """Up to 32 bits, uint32 `[...]`, placed from bit `offset` on: uint32 `[words, ...]`."""
    first, shift = divmod(offset, 32)
    rows = [jnp.zeros_like(bits)] * words
    rows[first] = bits << shift
    if shift and first + 1 < words:
        rows[first + 1] = bits >> (32 - shift)
    return jnp.stack(rows)


def to_boards(words: Array, channels: int) -> Array:
    """The boards of a bit string: uint32 `[..., words]` to bool `[..., 10, 10, channels]` (y, x, channel).

    The batch stays the innermost axis until the end: networks put it there again, and XLA drops both transpositions.
    """
    batch = words.shape[:-1]
    words = words.reshape(-1, words.shape[-1]).T
    bits = ((words[:, None] >> jnp.arange(32, dtype=jnp.uint32)[:, None]) & 1).astype(bool)
    boards = bits.reshape(-1, words.shape[1])[: channels * CELLS].reshape(channels, 10, 10, -1)
    return boards.transpose(3, 1, 2, 0).reshape(*batch, 10, 10, channels)
