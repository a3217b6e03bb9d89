"""Hex, as bit boards."""

import dataclasses
from functools import cached_property, partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.arguments import check
from jaxrl.games.bit_boards import Bits, bits_of, flood
from jaxrl.games.grid_game import GridGame
from jaxrl.games.symmetries import turned
from jaxrl.types import Array


class HexState(NamedTuple):
    """A position.

    Attributes:
        stones: of the first player and of the second, a bit for each cell, uint32 `[W, 2]`.
        player: whose turn it is, int32 scalar.
        terminated: whether the game is over, bool scalar.
    """

    stones: Array
    player: Array
    terminated: Array


@dataclasses.dataclass(frozen=True)
class Hex(GridGame):
    """Hex. Action `a` is row `a // size` from above, column `a % size`.

    The first player wins by connecting the first row with the last one, the second player with columns. Cells touch
    those beside them in rows, columns and the diagonal from above right to below left. There are no draws.

    Attributes:
        size: rows and columns of the board.
        swap: whether the second player's first move may be to take over the stone of the first player, mirrored in
            the long diagonal: action `size²`. It makes the game fairer.
    """

    size: Annotated[int, Interval(ge=2, le=19)] = 11
    swap: bool = True

    turns = (turned, partial(turned, up=True, left=True))  # others exchange the players' edges

    def __post_init__(self) -> None:
        check(self)

    @property
    def name(self) -> str:
        return "hex"

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        return self.size**2 + self.swap

    @property
    def max_moves(self) -> int:  # type: ignore[override]
        return self.size**2 + self.swap

    def initial(self) -> HexState:
        stones = jnp.zeros((len(self.grid.all.words), 2), jnp.uint32)
        return HexState(stones, jnp.int32(0), jnp.bool(False))

    def step(self, state: HexState, action: Array) -> tuple[HexState, Array]:
        own, other = self._sides(state)
        own = own | self.grid.cell(action)
        if self.swap:
            swaps, cells = action == self.size**2, jnp.arange(self.size**2)
            mirrored = (self.grid.unpack(other).T.reshape(-1) * cells).sum()  # where the only stone is
            own, other = own.where(~swaps, self.grid.cell(mirrored)), other.where(~swaps)
        first = state.player == 0
        begin, end = (row.where(first, column) for row, column in zip(*self._edges, strict=True))
        directions = (*self.grid.straight, self.grid.down - 1, 1 - self.grid.down)
        won = (flood(begin & own, [own], directions) & end).any() & ~state.terminated
        after = HexState(self._stones(own, other, state.player), 1 - state.player, won)
        after = jax.tree.map(lambda old, new: jnp.where(state.terminated, old, new), state, after)
        return after, won.astype(jnp.float32)

    @cached_property
    def _edges(self) -> tuple[tuple[Bits, Bits], tuple[Bits, Bits]]:
        """The first and the last row, and the first and the last column."""
        rows = np.indices((self.size, self.size))[0]
        first, last = rows == 0, rows == self.size - 1
        return (self.grid.pack(first), self.grid.pack(last)), (self.grid.pack(first.T), self.grid.pack(last.T))

    def legal_actions(self, state: HexState) -> Array:
        own, other = self._sides(state)
        cells = self.grid.unpack(self.grid.all - own - other).reshape(-1)
        return state.terminated | (jnp.append(cells, self._may_swap(state)) if self.swap else cells)

    def _may_swap(self, state: HexState) -> Array:
        return (state.player == 1) & (bits_of(state.stones).count().sum() == 1)

    def observe(self, state: HexState) -> Array:
        """Planes `[size, size, 3]`: own stones, the other's, and in all cells whether the player moves first."""
        return self._colours(state)

    def key(self, state: HexState) -> Array:
        return jnp.append(state.stones.reshape(-1), state.player.astype(jnp.uint32))
