"""What games with stones of two colours on a square board have in common."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from jaxrl.games.bit_boards import Bits, Grid, bits_of
from jaxrl.games.board_game import BoardGame
from jaxrl.games.symmetries import Symmetry, Turn, symmetries_of_cells, turns_of
from jaxrl.types import Array


class GridGame(BoardGame):
    """A game whose states have `stones`: of the first player and of the second, uint32 `[W, 2]`, as in `Bits`."""

    size: int
    """Rows and columns of the board."""

    @cached_property
    def grid(self) -> Grid:
        return Grid(self.size, self.size)

    def _sides(self, state: Any) -> tuple[Bits, Bits]:
        """The stones of whose turn it is, and the other's."""
        stones, first = bits_of(state.stones), state.player == 0
        return stones[0].where(first, stones[1]), stones[1].where(first, stones[0])

    def _stones(self, own: Bits, other: Bits, player: Array) -> Array:
        """The stones of a state, uint32 `[W, 2]`, from those of a player and of the other one."""
        first, second = own.where(player == 0, other), other.where(player == 0, own)
        return jnp.stack([first.stack(), second.stack()], axis=-1)

    def _colours(self, state: Any) -> Array:
        """The first planes of an observation, bool `[size, size, 3]`: own stones, the other's, and in all cells whether
        the player moves first in the game."""
        own, other = (self.grid.unpack(side) for side in self._sides(state))
        return jnp.stack([own, other, jnp.full(own.shape, state.player == 0)], axis=-1)

    turns: ClassVar[Sequence[Turn]] = turns_of(1, 1)
    """Those that leave the game the same: by default, all of a square."""

    def symmetries(self) -> Sequence[Symmetry]:
        return symmetries_of_cells(self.turns, self.size, self.size, self.num_actions)

    def board(self, observation: np.ndarray) -> np.ndarray:
        own, other, moves_first = np.asarray(observation).transpose(2, 0, 1)[:3]
        first, second = (own, other) if moves_first.any() else (other, own)
        return np.where(first, 1, np.where(second, 2, 0))
