"""Hex against a board that is looked at cell by cell, known values, and pgx."""

from functools import cache

import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.games import Hex, solve
from tests.games.as_in_pgx import same_as_in_pgx
from tests.games.random_games import play


def is_won(stones: np.ndarray) -> bool:
    """Whether stones `[size, size]` connect the first row with the last one."""
    size = len(stones)
    found = {(0, column) for column in range(size) if stones[0, column]}
    todo = list(found)
    while todo:
        row, column = todo.pop()
        for near in ((row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column),
                     (row - 1, column + 1), (row + 1, column - 1)):  # fmt: skip
            if all(0 <= x < size for x in near) and stones[near] and near not in found:
                found.add(near)
                todo.append(near)
    return any(row == size - 1 for row, _ in found)


@pytest.mark.parametrize(("game", "num_games"), [(Hex(2), 30), (Hex(6), 12)])
def test_games_go_as_on_a_board(game: Hex, num_games: int) -> None:
    """Random games: cells, the swap, connections and ends."""
    games = play(game, num_games, game.max_moves + 1, game.size, 3.0)
    swaps, winners = 0, set()
    for n in range(num_games):
        board, player, over = np.zeros((game.size, game.size), int), 0, False
        for t in range(len(games.action)):
            np.testing.assert_array_equal(game.board(games.observation[t, n]), board)
            assert games.player[t, n] == player
            if over:
                assert (games.legal[t, n].all(), games.reward[t, n], games.terminated[t, n]) == (True, 0, True)
                continue
            legal = [*(board == 0).reshape(-1), t == 1]
            np.testing.assert_array_equal(games.legal[t, n], legal)
            action = int(games.action[t, n])
            if action == game.size**2:
                board, swaps = 2 * board.T, swaps + 1
            else:
                board[divmod(action, game.size)] = 1 + player
            over = is_won(board == 1) if player == 0 else is_won((board == 2).T)
            assert (games.reward[t, n], games.terminated[t, n]) == (over, over)
            winners |= {player} if over else set()
            player = 1 - player
        assert over
    assert swaps
    assert winners == {0, 1}


def test_values_are_those_of_a_search() -> None:
    """A negamax on boards of numbers that knows nothing of the game's code; with the swap, the second player wins."""

    @cache
    def best(board: tuple[int, ...], player: int) -> int:
        cells = np.array(board).reshape(3, 3)
        if is_won(cells == 1) or is_won((cells == 2).T):
            return -1
        moves = [(*board[:i], 1 + player, *board[i + 1 :]) for i in range(9) if not board[i]]
        return max(-best(after, 1 - player) for after in moves)

    first = [-best((*[0] * i, 1, *[0] * (8 - i)), 1) for i in range(9)]
    np.testing.assert_array_equal(solve(Hex(3, swap=False)).action_values[0], first)
    assert max(first) == 1
    assert solve(Hex(3)).values[0] == -1
    with pytest.raises(ArgumentError, match=r"^size must be .*got 1"):
        Hex(1)


@pytest.mark.slow
def test_games_go_as_in_pgx() -> None:
    pgx = pytest.importorskip("pgx.hex", reason="pgx is not installed: pip install pgx")
    same_as_in_pgx(Hex(), pgx.Hex(), 200, last=20.0)
