"""Othello (Reversi), as bit boards."""

import dataclasses
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check
from jaxrl.games.bit_boards import Bits
from jaxrl.games.grid_game import GridGame
from jaxrl.games.symmetries import turned
from jaxrl.types import Array


class OthelloState(NamedTuple):
    """A position.

    Attributes:
        stones: of Black, who moves first, and of White, a bit for each cell, uint32 `[W, 2]`.
        player: whose turn it is, int32 scalar.
        passed: whether the last move was a pass, bool scalar.
        terminated: whether the game is over, bool scalar.
    """

    stones: Array
    player: Array
    passed: Array
    terminated: Array


@dataclasses.dataclass(frozen=True)
class Othello(GridGame):
    """Othello. Action `a` is row `a // size` from above, column `a % size`; action `size²` passes.

    A stone must turn others over, those that it encloses in a row, a column or a diagonal. Who has no such move, and
    only who has none, passes. The game ends when the board is full, a player has no stones, or both have passed. Who
    has more stones wins.

    Attributes:
        size: rows and columns of the board, even.
    """

    size: Annotated[int, Interval(ge=4, le=16)] = 8

    # Those that keep the first position.
    turns = tuple(partial(turned, transpose=a, up=b, left=b) for a in (False, True) for b in (False, True))
    solvable = False  # a pass leads to a position that another game may reach without passes

    def __post_init__(self) -> None:
        check(self)
        if self.size % 2:
            raise ArgumentError("size", "must be even", self.size)

    @property
    def name(self) -> str:
        return "othello"

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        return self.size**2 + 1

    @property
    def max_moves(self) -> int:  # type: ignore[override]
        return 2 * (self.size**2 - 4) + 1  # a pass after each stone, and two after the last

    def initial(self) -> OthelloState:
        cells, middle = np.zeros((self.size, self.size, 2), bool), self.size // 2
        cells[[middle - 1, middle], [middle, middle - 1], 0] = True
        cells[[middle - 1, middle], [middle - 1, middle], 1] = True
        stones = jnp.asarray(self.grid.pack(cells).stack())
        return OthelloState(stones, jnp.int32(0), jnp.bool(False), jnp.bool(False))

    def step(self, state: OthelloState, action: Array) -> tuple[OthelloState, Array]:
        passes, stone = action == self.size**2, self.grid.cell(action)
        own, other = self._sides(state)
        turned = stone - stone
        for by in self._directions:
            line = self._line(stone, other, by)
            turned = turned | line.where((line.shifted(by) & own).any())
        own, other = own | stone | turned, other - turned
        full = ~(self.grid.all - own - other).any()
        ends = ~state.terminated & (full | ~other.any() | passes & state.passed)
        after = OthelloState(self._stones(own, other, state.player), 1 - state.player, passes, ends)
        after = jax.tree.map(lambda old, new: jnp.where(state.terminated, old, new), state, after)
        return after, jnp.where(ends, jnp.sign(own.count() - other.count()), 0).astype(jnp.float32)

    def legal_actions(self, state: OthelloState) -> Array:
        own, other = self._sides(state)
        empty = self.grid.all - own - other
        found = empty - empty
        for by in self._directions:
            found = found | self._line(own, other, by).shifted(by) & empty
        cells = self.grid.unpack(found).reshape(-1)
        return state.terminated | jnp.append(cells, ~cells.any())

    @property
    def _directions(self) -> tuple[int, ...]:
        down = self.grid.down
        return *self.grid.straight, down + 1, down - 1, -down - 1, 1 - down

    def _line(self, stones: Bits, other: Bits, by: int) -> Bits:
        """The unbroken lines of the other's stones from some stones in one direction."""
        line = stones.shifted(by) & other
        for _ in range(self.size - 3):
            line = line | line.shifted(by) & other
        return line

    def observe(self, state: OthelloState) -> Array:
        """Planes `[size, size, 3]`: own stones, the other's, and in all cells whether the player moves first."""
        return self._colours(state)

    def key(self, state: OthelloState) -> Array:
        flags = state.player.astype(jnp.uint32) * 2 + state.passed
        return jnp.append(state.stones.reshape(-1), flags)
