"""Bit boards: 10 x 10 cells in four uint32 words, so that a few operations move or intersect whole boards.

y is the row (0 at the top), x the column (0 at the left). All words of a board have the shape of the batch, `[...]`.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.types import Array

StateT = TypeVar("StateT")

CELLS = 100
ROW = 0x3FF
"""The ten cells of one row."""
THREE_ROWS = 0x3FFFFFFF
EVERY_ROW = 0x00100401
"""The leftmost cell of each row of a word. Its product with the bits of a row repeats them in every row."""
LEFT_EDGE, RIGHT_EDGE = EVERY_ROW, EVERY_ROW << 9


class Board(NamedTuple):
    """Three rows in each word: cell (y, x) is bit `y % 3 * 10 + x` of word `y // 3`. All other bits are 0."""

    rows_0_to_2: Array
    rows_3_to_5: Array
    rows_6_to_8: Array
    row_9: Array

    def __and__(self, other: "Board") -> "Board":
        return Board(*(a & b for a, b in zip(self, other, strict=True)))

    def __or__(self, other: "Board") -> "Board":
        return Board(*(a | b for a, b in zip(self, other, strict=True)))

    def __sub__(self, other: "Board") -> "Board":
        """The cells that are not in `other`."""
        return Board(*(a & ~b for a, b in zip(self, other, strict=True)))

    def where(self, condition: Array, otherwise: "Board | None" = None) -> "Board":
        """This board where `condition` holds, elsewhere `otherwise`, by default an empty board."""
        others: Sequence[Array | int] = (0, 0, 0, 0) if otherwise is None else otherwise
        return Board(*(jnp.where(condition, a, b) for a, b in zip(self, others, strict=True)))

    def up(self) -> "Board":
        """Moves all rows up by one; row 0 is lost, row 9 becomes empty."""
        a, b, c, d = self
        return Board(a >> 10 | (b & ROW) << 20, b >> 10 | (c & ROW) << 20, c >> 10 | d << 20, jnp.zeros_like(d))

    def down(self) -> "Board":
        """Moves all rows down by one; row 9 is lost, row 0 becomes empty."""
        a, b, c, _ = self
        return Board(a << 10 & THREE_ROWS, b << 10 & THREE_ROWS | a >> 20, c << 10 & THREE_ROWS | b >> 20, c >> 20)

    def left(self) -> "Board":
        """Moves all cells left by one; column 0 is lost."""
        return Board(*((word & ~jnp.uint32(LEFT_EDGE)) >> 1 for word in self))

    def right(self) -> "Board":
        """Moves all cells right by one; column 9 is lost."""
        return Board(*((word & ~jnp.uint32(RIGHT_EDGE)) << 1 for word in self))

    def any(self) -> Array:
        """Whether any cell is set, bool `[...]`."""
        return _or(self) != 0

    def columns(self) -> Array:
        """The columns with a set cell, as the ten bits of a row, uint32 `[...]`."""
        word = _or(self)
        return (word | word >> 10 | word >> 20) & ROW

    def size(self) -> Array:
        """The number of set cells, int32 `[...]`."""
        return reduce(jnp.add, (jax.lax.population_count(word) for word in self)).astype(jnp.int32)


def _or(words: Sequence[Array]) -> Array:
    return reduce(jnp.bitwise_or, words)


EMPTY = Board(*(np.uint32(0),) * 4)  # type: ignore[arg-type]
"""A board without a set cell."""


def start_with(state: StateT) -> Callable[[Array], StateT]:
    """The `initial` of a game that always starts in the same state.

    It broadcasts the numbers of the state, scalars or `[K]`, to a batch `[...]` or `[K, ...]`. Integers become int32.
    """

    def initial(bits: Array) -> StateT:
        def broadcast(x: Any) -> Array:
            x = np.asarray(x, np.int32 if type(x) is int else None)
            return jnp.broadcast_to(x.reshape((*x.shape, *[1] * len(shape))), (*x.shape, *shape))

        shape = bits.shape[1:]
        return jax.tree.map(broadcast, state)

    return initial


def cell(y: Array, x: Array) -> Board:
    """A board with one set cell at int32 `[...]` coordinates; empty for y = 12."""
    word, bit = locate(y, x)
    return Board(*(jnp.where(word == i, bit, jnp.uint32(0)) for i in range(4)))


def locate(y: Array, x: Array) -> tuple[Array, Array]:
    """The index of a cell's word, and that word with its bit set."""
    word = y * 11 >> 5  # y // 3
    return word, jnp.uint32(1) << ((y - 3 * word) * 10 + x).astype(jnp.uint32)


def from_rows(rows: Array) -> Board:
    """A board from the ten bits of each of rows 1 to 8, uint32 `[8, ...]`; rows 0 and 9 are empty."""
    nothing = jnp.zeros_like(rows[0])
    words = [nothing, *rows, nothing]
    return Board(*(_or([bits << 10 * k for k, bits in enumerate(words[i : i + 3])]) for i in range(0, 10, 3)))


def num_words(channels: int) -> int:
    """The number of uint32 words of `channels` packed boards."""
    return -(-channels * CELLS // 32)


def pack(boards: Sequence[Board]) -> Array:
    """The packed observation: all boards without gaps, uint32 `[words, ...]`.

    Cell (y, x) of board c is bit `b = c * 100 + y * 10 + x`, which is bit `b % 32` of word `b // 32`.
    """
    words = [jnp.zeros_like(boards[0].row_9)] * num_words(len(boards))
    for c, board in enumerate(boards):
        for i, bits in enumerate(board):
            word, shift = divmod(c * CELLS + i * 30, 32)
            words[word] |= bits << shift
            if shift + (30 if i < 3 else 10) > 32:
                words[word + 1] |= bits >> (32 - shift)
    return jnp.stack(words)


def unpack(words: Array, channels: int) -> Array:
    """The observation: uint32 `[..., words]` to bool `[..., 10, 10, channels]` (y, x, channel).

    The batch stays the innermost axis until the end. Networks move it back there, and XLA drops both transpositions.
    """
    batch = words.shape[:-1]
    words = words.reshape(-1, words.shape[-1]).T
    bits = ((words[:, None] >> jnp.arange(32, dtype=jnp.uint32)[:, None]) & 1).astype(bool)
    boards = bits.reshape(-1, words.shape[1])[: channels * CELLS].reshape(channels, 10, 10, -1)
    return boards.transpose(3, 1, 2, 0).reshape(*batch, 10, 10, channels)
