"""The exact judge of a game: positions in which the value of every move is known."""

from functools import lru_cache

from jaxrl.games.board_game import BoardGame
from jaxrl.games.lines import ConnectFour
from jaxrl.games.opening_book import solve_openings
from jaxrl.games.solution import Solution, UnsolvedError, solve

MOST_MOVES = 20
"""Longer games have too many positions to solve."""
MOST_POSITIONS = 4_000_000
"""Games with more are not solved, here and for perfect play."""


@lru_cache(maxsize=1)
def judge(game: BoardGame) -> Solution:
    """Positions of a game with the value of each move: all if the game is small, else some.

    Of Connect Four on 6 × 7 cells, these are 20,000 after 11 random moves, which an opening book judges.

    Raises:
        UnsolvedError: no judge is known, or its package is not installed.
    """
    if game == ConnectFour():
        return solve_openings()
    if game.max_moves > MOST_MOVES:
        raise UnsolvedError("game", f"has no exact judge: it takes up to {game.max_moves} moves", game, got=game.name)
    return solve(game, MOST_POSITIONS)
