"""How moves are written in Go, in chess and in shogi."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.games.board_game import BoardGame
from jaxrl.games.go import Go
from jaxrl.games.pgx_game import AnimalShogi, Chess, GardnerChess, Shogi

Notation = Callable[[Any], Callable[[int], str]]
"""`(state) -> (action) -> text`: writes the legal actions of a position."""


def find(text: str, state: Any, legal: np.ndarray, notation: Notation) -> int | None:
    """The legal action that is written as `text`, in large or small letters, if there is one.

    Args:
        text: a move.
        state: the position.
        legal: which actions are legal, bool `[A]`.
        notation: of the game.
    """
    write = notation(state)
    return next((action for action in map(int, np.flatnonzero(legal)) if write(action).lower() == text.lower()), None)


def notation_of(game: BoardGame) -> Notation | None:
    """How a person writes the moves of a game; None where the numbers of actions are columns or cells."""
    if isinstance(game, Shogi | AnimalShogi):
        return shogi_notation(game)
    return chess_notation(game) if isinstance(game, Chess | GardnerChess) else None


def edges_of(game: BoardGame) -> tuple[str, str] | None:
    """The names of the columns from the left and of the rows from above; None where moves have no such names."""
    if isinstance(game, Shogi | AnimalShogi):
        width, height = (9, 9) if isinstance(game, Shogi) else (3, 4)
        return "987654321"[-width:], "abcdefghi"[:height]
    if isinstance(game, Chess | GardnerChess):
        size = 8 if isinstance(game, Chess) else 5
        return "abcdefgh"[:size], "87654321"[-size:]
    return None


def go_notation(game: Go) -> Notation:
    """Columns are letters from the left, without i; rows are numbers from below: e5, or pass."""

    def write(action: int) -> str:
        row, column = divmod(action, game.size)
        return "pass" if action == game.size**2 else f"{'abcdefghjklmnopqrst'[column]}{game.size - row}"

    return lambda state: write


def chess_notation(game: Chess | GardnerChess) -> Notation:
    """The cell of the piece, the cell where it goes, and what a pawn becomes: e2e4, e7e8q."""
    size = 8 if isinstance(game, Chess) else 5
    origin, target, under = _cells(game.name)
    observe = jax.jit(game.observe)

    def notation(state: Any) -> Callable[[int], str]:
        pieces, second = game.pieces(np.asarray(observe(state))), bool(state.player)

        def cell(index: int) -> tuple[int, int]:
            """File and rank, which pgx counts from the player's side of the board."""
            file, rank = divmod(index, size)
            return file, size - 1 - rank if second else rank

        def write(action: int) -> str:
            (file, rank), (to_file, to_rank) = cell(origin[action]), cell(target[action])
            promotes = pieces[size - 1 - rank, file] == "P" and to_rank in (0, size - 1)
            becomes = ("rbn"[under[action]] if under[action] >= 0 else "q") if promotes else ""
            return f"{'abcdefgh'[file]}{rank + 1}{'abcdefgh'[to_file]}{to_rank + 1}{becomes}"

        return write

    return notation


def shogi_notation(game: Shogi | AnimalShogi) -> Notation:
    """The cell of the piece, the cell where it goes, and + if it is promoted: 7g7f, 8h2b+; a drop is P*5e.

    As in the Universal Shogi Interface, files are numbers from the right of who moves first, ranks are letters from
    above.
    """
    height, last = (9, 80) if isinstance(game, Shogi) else (4, 11)
    moves = jax.jit(game.moves)

    def notation(state: Any) -> Callable[[int], str]:
        origin, target, promotes, dropped = (np.asarray(x).tolist() for x in moves(state))

        def cell(index: int) -> str:
            file, rank = divmod(last - index if state.player else index, height)
            return f"{file + 1}{'abcdefghi'[rank]}"

        def write(action: int) -> str:
            begins = f"{game.letters[dropped[action]]}*" if dropped[action] >= 0 else cell(origin[action])
            return f"{begins}{cell(target[action])}{'+' if promotes[action] else ''}"

        return write

    return notation


@cache
def _cells(name: str) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """pgx's table of actions `[A]`: from where, to where, and the number of what a pawn becomes, −1 if a queen."""
    if name == "chess":
        from pgx._src.games.chess import Action
    else:
        from pgx.gardner_chess import Action
    count = 64 * 73 if name == "chess" else 25 * 49
    with jax.core.eval_context():
        actions: Any = jax.vmap(Action._from_label)(jnp.arange(count))
        return tuple(np.asarray(x).tolist() for x in (actions.from_, actions.to, actions.underpromotion))
