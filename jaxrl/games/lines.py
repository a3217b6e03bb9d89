"""Games won by a line of stones, as bit boards: tic-tac-toe and Connect Four.

The stones of a player are one byte for each column of the board, whose bit `i` is the cell of row `i`, counted from
below. Lines then are a few shifts of whole columns, and a board of any width takes one short vector.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check
from jaxrl.games.board_game import BoardGame
from jaxrl.games.symmetries import Symmetry, symmetries_of_cells, turned, turns_of
from jaxrl.types import Array

SIDE = Annotated[int, Interval(ge=1, le=8)]


class LineState(NamedTuple):
    """A position.

    Attributes:
        stones: of the first player and of the second, a bit for each cell, uint8 `[2, columns]`.
        player: whose turn it is, int32 scalar.
        terminated: whether the game is over, bool scalar.
    """

    stones: Array
    player: Array
    terminated: Array


@dataclasses.dataclass(frozen=True)
class LineGame(BoardGame):
    """A game that is won by `length` stones in a row, a column or a diagonal.

    Attributes:
        rows: of the board.
        columns: of the board.
        length: of a winning line.
    """

    rows: SIDE
    columns: SIDE
    length: SIDE

    def __post_init__(self) -> None:
        check(self)
        if self.length > max(self.rows, self.columns):
            rule = f"must fit into a row or a column of a board of {self.rows} × {self.columns}"
            raise ArgumentError("length", rule, self.length)

    @property
    def max_moves(self) -> int:  # type: ignore[override]
        return self.rows * self.columns

    def initial(self) -> LineState:
        return LineState(jnp.zeros((2, self.columns), jnp.uint8), jnp.int32(0), jnp.bool(False))

    def step(self, state: LineState, action: Array) -> tuple[LineState, Array]:
        stone = jnp.where(state.terminated, 0, self._stone(state, action))
        own = state.stones[state.player] | stone
        stones = state.stones.at[state.player].set(own)
        won = has_line(own, self.length) & ~state.terminated
        full = (stones[0] | stones[1] == (1 << self.rows) - 1).all()
        player = jnp.where(state.terminated, state.player, 1 - state.player)
        return LineState(stones, player, state.terminated | won | full), won.astype(jnp.float32)

    def _stone(self, state: LineState, action: Array) -> Array:
        """The cell of a move, uint8 `[columns]`."""
        raise NotImplementedError

    def observe(self, state: LineState) -> Array:
        stones = jnp.stack([state.stones[state.player], state.stones[1 - state.player]], axis=-1)
        rows = jnp.arange(self.rows - 1, -1, -1, dtype=jnp.uint8)  # from above, as on a screen
        return (stones[None] >> rows[:, None, None]) & 1 == 1

    def key(self, state: LineState) -> Array:
        cells = (state.stones[:, :, None] >> jnp.arange(self.rows, dtype=jnp.uint8)) & 1
        return packed(cells.reshape(-1))

    def board(self, observation: np.ndarray) -> np.ndarray:
        own, other = np.asarray(observation).transpose(2, 0, 1)
        first, second = (own, other) if own.sum() == other.sum() else (other, own)  # each move adds a stone
        return np.where(first, 1, np.where(second, 2, 0))


@dataclasses.dataclass(frozen=True)
class TicTacToe(LineGame):
    """Stones may be placed on any empty cell. Action `a` is row `a // columns` from above, column `a % columns`."""

    rows: SIDE = 3
    columns: SIDE = 3
    length: SIDE = 3

    @property
    def name(self) -> str:
        return "tic_tac_toe"

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        return self.rows * self.columns

    def _stone(self, state: LineState, action: Array) -> Array:
        row, column = self.rows - 1 - action // self.columns, action % self.columns
        return jnp.where(jnp.arange(self.columns) == column, 1 << row, 0).astype(jnp.uint8)

    def legal_actions(self, state: LineState) -> Array:
        return state.terminated | ~self.observe(state).any(-1).reshape(-1)

    def symmetries(self) -> Sequence[Symmetry]:
        return symmetries_of_cells(turns_of(self.rows, self.columns), self.rows, self.columns, self.num_actions)


@dataclasses.dataclass(frozen=True)
class ConnectFour(LineGame):
    """Stones fall to the lowest empty cell of a column. Action `a` is the column, from the left."""

    rows: SIDE = 6
    columns: SIDE = 7
    length: SIDE = 4

    @property
    def name(self) -> str:
        return "connect_four"

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        return self.columns

    def _stone(self, state: LineState, action: Array) -> Array:
        taken = state.stones[0] | state.stones[1]
        lowest = (taken + 1) & ~taken  # a column of stones is 2^height - 1
        return jnp.where(jnp.arange(self.columns) == action, lowest, 0).astype(jnp.uint8)

    def legal_actions(self, state: LineState) -> Array:
        return state.terminated | ((state.stones[0] | state.stones[1]) >> (self.rows - 1) == 0)

    def symmetries(self) -> Sequence[Symmetry]:
        columns = np.arange(self.columns)
        return [Symmetry(turned, columns), Symmetry(partial(turned, left=True), columns[::-1])]


def has_line(stones: Array, length: int) -> Array:
    """Whether a player's stones, uint8 `[columns]`, have a line of some length: bool scalar."""
    columns = len(stones)
    upright = stones
    for i in range(1, length):
        upright = upright & (stones >> i)
    found = (upright != 0).any()
    if length > columns:
        return found
    starts = columns - length + 1
    level, rising, falling = (stones[:starts] for _ in range(3))
    for i in range(1, length):
        beside = jax.lax.slice_in_dim(stones, i, i + starts)
        level, rising, falling = level & beside, rising & (beside >> i), falling & (beside << i)
    return found | (level != 0).any() | (rising != 0).any() | (falling != 0).any()


def packed(bits: Array) -> Array:
    """Bits `[B]` of numbers 0 and 1 as uint32 words `[ceil(B / 32)]`."""
    padded = jnp.pad(bits.astype(jnp.uint32), (0, -len(bits) % 32)).reshape(-1, 32)
    return (padded << jnp.arange(32, dtype=jnp.uint32)).sum(-1, dtype=jnp.uint32)
