"""Symmetries of games: changes of the board, such as to its mirror image, after which the game is the same."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import numpy as np

Turn = Callable[[Any], Any]
"""Maps boards `[..., H, W, C]` to changed ones."""


class Symmetry(NamedTuple):
    """A change of the board that leaves the game the same.

    Attributes:
        turn: maps observations to those of the changed board.
        actions: which action becomes each action of the changed board, int `[A]`: a policy `p` becomes `p[actions]`.
    """

    turn: Turn
    actions: np.ndarray


def turned(x: Any, transpose: bool = False, up: bool = False, left: bool = False) -> Any:
    """Boards `[..., H, W, C]`, transposed, upside down, or with left and right exchanged, in this order."""
    x = x.swapaxes(-3, -2) if transpose else x
    x = x[..., ::-1, :, :] if up else x
    return x[..., ::-1, :] if left else x


def turns_of(rows: int, columns: int) -> list[Turn]:
    """The rotations and reflections of a board, first that which changes nothing: 8 of a square, 4 of another."""
    both = (False, True)
    choices = product(both if rows == columns else (False,), both, both)
    return [partial(turned, transpose=transpose, up=up, left=left) for transpose, up, left in choices]


def symmetries_of_cells(turns: Iterable[Turn], rows: int, columns: int, num_actions: int) -> list[Symmetry]:
    """The symmetries of a game whose first actions are the cells, row by row; others, such as a pass, stay the same."""
    cells, others = np.arange(rows * columns).reshape(rows, columns, 1), np.arange(rows * columns, num_actions)
    return [Symmetry(turn, np.append(turn(cells), others)) for turn in turns]
