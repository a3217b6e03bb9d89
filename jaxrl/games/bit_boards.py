"""Bit boards of any size: sets of cells as a few 32-bit words, on which all cells are looked at at once.

Cell `(row, column)` of a board of `width` columns is bit `row (width + 1) + column` of one long number. The column in
between is never set, so that moving all cells by one in any direction, diagonals included, is one shift of the number
whose result stays within the board after a mask.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bits:
    """Sets of cells: words uint32 `[...]`, the lowest first. One set for each element of a word.

    A tuple of words, not an axis, so that XLA sees nothing but elementwise operations.
    """

    words: tuple[Array, ...]

    def __and__(self, other: "Bits") -> "Bits":
        return self._map(jnp.bitwise_and, other)

    def __or__(self, other: "Bits") -> "Bits":
        return self._map(jnp.bitwise_or, other)

    def __xor__(self, other: "Bits") -> "Bits":
        return self._map(jnp.bitwise_xor, other)

    def __sub__(self, other: "Bits") -> "Bits":
        """What is in this set and not in the other."""
        return self._map(lambda x, y: x & ~y, other)

    def _map(self, function: Callable[..., Array], *others: "Bits") -> "Bits":
        return Bits(tuple(map(function, self.words, *(other.words for other in others))))

    def shifted(self, by: int) -> "Bits":
        """The number times 2^by, 0 < |by| < 32; bits above the last word are lost."""
        none = jnp.zeros_like(self.words[0])
        if by > 0:
            return self._map(lambda x, lower: x << by | lower >> (32 - by), Bits((none, *self.words[:-1])))
        return self._map(lambda x, higher: x >> -by | higher << (32 + by), Bits((*self.words[1:], none)))

    def where(self, condition: Array, other: "Bits | None" = None) -> "Bits":
        """The set where a condition holds, and another or nothing elsewhere."""
        return self._map(lambda x, y: jnp.where(condition, x, y), other or self - self)

    def any(self) -> Array:
        """Whether there is a cell: bool `[...]`."""
        return self.stack().any(0)

    def reduce_or(self) -> "Bits":
        """All sets of the last axis together."""
        return self._map(lambda x: jnp.bitwise_or.reduce(x, axis=-1))

    def count(self) -> Array:
        """How many cells there are: int32 `[...]`."""
        counts = [jax.lax.population_count(word).astype(jnp.int32) for word in self.words]
        return sum(counts[1:], start=counts[0])

    def stack(self) -> Array:
        """The words in an axis, uint32 `[W, ...]`."""
        return jnp.stack(self.words)

    def __getitem__(self, index: Any) -> "Bits":
        """Some of the sets."""
        return self._map(lambda x: x[index])


def bits_of(words: Array) -> Bits:
    """Sets from words in the first axis, uint32 `[W, ...]`."""
    return Bits(tuple(words[i] for i in range(len(words))))


@dataclasses.dataclass(frozen=True)
class Grid:
    """A board of `height` × `width` cells, at most 29 wide."""

    height: int
    width: int

    @property
    def down(self) -> int:
        """The shift to the next row; 1 is that to the next column."""
        return self.width + 1

    @property
    def straight(self) -> tuple[int, ...]:
        """The shifts to the neighbours in rows and columns."""
        return 1, -1, self.down, -self.down

    @cached_property
    def all(self) -> Bits:
        """All cells."""
        return self.pack(np.ones((self.height, self.width), bool))

    def pack(self, cells: np.ndarray) -> Bits:
        """The sets of given cells, bool `[height, width, ...]`."""
        sets = cells.shape[2:]
        flat = np.concatenate([cells, np.zeros((self.height, 1, *sets), bool)], 1).reshape(-1, *sets)
        words = -(-len(flat) // 32)
        flat = np.concatenate([flat, np.zeros((32 * words - len(flat), *sets), bool)]).reshape(words, 32, *sets)
        values = np.moveaxis(flat, 1, -1) @ (2 ** np.arange(32)).astype(np.uint32)
        return Bits(tuple(values.astype(np.uint32)))

    def unpack(self, bits: Bits) -> Array:
        """Which cells are in a set: bool `[height, width]`."""
        flat = (bits.stack()[:, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1 == 1
        return flat.reshape(-1)[: self.height * self.down].reshape(self.height, self.down)[:, :-1]

    def cell(self, action: Array) -> Bits:
        """Cell `action // width, action % width`; none for larger numbers."""
        place = (action + action // self.width).astype(jnp.uint32)
        one = jnp.uint32(1) << place % 32
        return Bits(tuple(jnp.where(place // 32 == i, one, 0) for i in range(len(self.all.words)))) & self.all

    def beside(self, bits: Bits) -> Bits:
        """The cells beside those of a set, in rows and columns; some may be in the set."""
        near = bits.shifted(1) | bits.shifted(-1) | bits.shifted(self.down) | bits.shifted(-self.down)
        return near & self.all


def flood(seeds: Bits, areas: Sequence[Bits], directions: Sequence[int]) -> Bits:
    """All cells that are connected with seeds within the same of some disjoint areas.

    Args:
        seeds: where to begin, within the areas: words `[...]`.
        areas: words that broadcast against the seeds'.
        directions: the shifts to neighbours, each with its opposite.
    """
    links = []
    for by in directions:
        link = areas[0] & areas[0].shifted(by)
        for area in areas[1:]:
            link = link | area & area.shifted(by)
        links.append((by, link))

    def grow(carry: tuple[Bits, Array]) -> tuple[Bits, Array]:
        before = bits = carry[0]
        for _ in range(4):  # to see whether anything changed costs as much as to grow
            for by, link in links:
                bits = bits | bits.shifted(by) & link
        return bits, (bits ^ before).stack().any()

    return jax.lax.while_loop(lambda carry: carry[1], grow, (seeds, seeds.stack().any()))[0]
