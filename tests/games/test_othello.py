"""Othello against published counts of its games, a board that is looked at cell by cell, and pgx."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.games import Othello, make, solve
from tests.compiling import quick_jit
from tests.games.as_in_pgx import same_as_in_pgx
from tests.games.random_games import play


def turned(board: np.ndarray, row: int, column: int, player: int) -> list[tuple[int, int]]:
    """The stones that a stone turns over, by walking in each direction; none if the cell is taken."""
    found = []
    for down, right in ((0, 1), (1, 0), (1, 1), (1, -1), (0, -1), (-1, 0), (-1, -1), (-1, 1)):
        line, r, c = [], row + down, column + right
        while 0 <= r < len(board) and 0 <= c < len(board) and board[r, c] == 2 - player:
            line.append((r, c))
            r, c = r + down, c + right
        if 0 <= r < len(board) and 0 <= c < len(board) and board[r, c] == 1 + player:
            found += line
    return found if board[row, column] == 0 else []


@pytest.mark.parametrize(("size", "num_games"), [(4, 60), (8, 3)])
def test_games_go_as_on_a_board(size: int, num_games: int) -> None:
    """Random games: moves, turned stones, passes, ends and results."""
    game, ends = Othello(size), set()
    games = play(game, num_games, game.max_moves + 1, size)
    for n in range(num_games):
        board, player, passed, over = np.zeros((size, size), int), 0, False, False
        middle = size // 2
        board[middle - 1 : middle + 1, middle - 1 : middle + 1] = [[2, 1], [1, 2]]
        for t in range(len(games.action)):
            np.testing.assert_array_equal(game.board(games.observation[t, n]), board)
            assert games.player[t, n] == player
            if over:
                assert (games.legal[t, n].all(), games.reward[t, n], games.terminated[t, n]) == (True, 0, True)
                continue
            legal = [bool(turned(board, *divmod(cell, size), player)) for cell in range(size**2)]
            np.testing.assert_array_equal(games.legal[t, n], [*legal, not any(legal)])
            row, column = divmod(int(games.action[t, n]), size)
            passes = row == size
            if not passes:
                for cell in [*turned(board, row, column, player), (row, column)]:
                    board[cell] = 1 + player
            kept = [(board == 1 + player).sum(), (board == 2 - player).sum()]
            over = bool((board > 0).all() or kept[1] == 0 or (passes and passed))
            ends.add((over and passes, over and kept[1] == 0, over and kept[0] == kept[1]))
            assert (games.reward[t, n], games.terminated[t, n]) == (np.sign(kept[0] - kept[1]) if over else 0, over)
            player, passed = 1 - player, passes
        assert over
    assert size == 8 or np.array(list(ends)).any(0).all()  # two passes, no stones of the other, a draw


def test_games_are_counted() -> None:
    """So many games of each number of moves: https://www.aartbik.com/strategy.php."""
    game, counts = Othello(), []

    @quick_jit
    def expand(states):
        after = jax.vmap(jax.vmap(lambda state, action: game.step(state, action)[0], (None, 0)), (0, None))
        return after(states, jnp.arange(65)), jax.vmap(game.legal_actions)(states)

    level = jax.tree.map(lambda x: np.asarray(x)[None], game.initial())
    for _ in range(5):
        count = len(level.player)
        children, legal = expand(jax.tree.map(lambda x: np.resize(x, (244, *x.shape[1:])), level))  # one shape for all
        legal = np.asarray(legal) & (np.arange(244) < count)[:, None]
        level = jax.tree.map(lambda x, legal=legal: np.asarray(x)[legal], children)
        counts.append(len(level.player))
    assert counts == [4, 12, 56, 244, 1396]


def test_it_has_no_solver() -> None:
    with pytest.raises(ArgumentError, match=r"^game must be one with a solver, .*, got othello$"):
        solve(make("othello", size=4))
    with pytest.raises(ArgumentError, match=r"^size must be .*got 5"):
        Othello(5)


@pytest.mark.slow
def test_games_go_as_in_pgx() -> None:
    pgx = pytest.importorskip("pgx.othello", reason="pgx is not installed: pip install pgx")
    same_as_in_pgx(Othello(), pgx.Othello(), 300)
