"""Exact solutions, against published counts and a search without memory."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.games import ILLEGAL, ConnectFour, TicTacToe, UnsolvedError, solve
from jaxrl.games.solution import _expand
from tests.compiling import quick_jit


@pytest.fixture(scope="module")
def tic_tac_toe():
    return solve(TicTacToe())


def test_tic_tac_toe_is_a_draw(tic_tac_toe) -> None:
    """5,478 positions, of which 958 are ends, as is well known.

    Up to rotations and reflections, by moves, they are 1, 3, 12, 38, 108, 174, 204, 153, 57 and 15
    (https://oeis.org/A008907), of which 0, 0, 0, 0, 0, 21, 21, 58, 23 and 15 are ends (https://oeis.org/A317576).
    """
    assert len(tic_tac_toe.values) == 5478 - 958
    classes = set()
    for plane in np.asarray(jax.vmap(TicTacToe().observe)(tic_tac_toe.states)):
        board = TicTacToe().board(plane)
        turned = [np.rot90(side, i) for side in (board, board.T) for i in range(4)]
        classes.add(min(tuple(x.ravel().tolist()) for x in turned))
    moves = [sum(cell > 0 for cell in board) for board in classes]
    assert np.bincount(moves).tolist() == [1, 3, 12, 38, 108, 174 - 21, 204 - 21, 153 - 58, 57 - 23]
    assert tic_tac_toe.values[0] == 0
    np.testing.assert_array_equal(tic_tac_toe.action_values[0], np.zeros(9))


def test_values_are_those_of_a_search(tic_tac_toe) -> None:
    """A negamax on boards of characters that knows nothing of the game's code."""
    lines = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]

    @cache
    def best(board: str, own: str, other: str) -> int:
        if any(all(board[i] == other for i in line) for line in lines):
            return -1
        empty = [i for i in range(9) if board[i] == "."]
        return max((-best(board[:i] + own + board[i + 1 :], other, own) for i in empty), default=0)

    planes = np.asarray(jax.vmap(TicTacToe().observe)(tic_tac_toe.states)).reshape(4520, 9, 2)
    for plane, values in zip(planes, tic_tac_toe.action_values, strict=True):
        board = "".join("X" if own else "O" if other else "." for own, other in plane)
        for action, value in enumerate(values):
            after = board[:action] + "X" + board[action + 1 :]
            assert value == (-best(after, "O", "X") if board[action] == "." else ILLEGAL)


def test_a_move_is_a_mistake_if_there_is_a_better_one(tic_tac_toe) -> None:
    values = tic_tac_toe.action_values
    assert not tic_tac_toe.mistakes(values.argmax(1)).any()
    worst = tic_tac_toe.mistakes(values.argmin(1))
    np.testing.assert_array_equal(worst, values.min(1) < values.max(1))
    assert tic_tac_toe.mistakes(np.full(4520, 9)).all()
    assert tic_tac_toe.mistakes(np.full(4520, -1)).all()
    with pytest.raises(ArgumentError, match=r"^actions must be integers of shape \[4520\], got int32\[9\]$"):
        tic_tac_toe.mistakes(np.zeros(9, np.int32))


def test_small_boards_of_connect_four_are_known() -> None:
    """All positions of 4 × 4 cells, 161,029, and their value, as John Tromp counted (https://tromp.github.io/c4/c4.html).

    By moves, those of 6 × 7 cells are 1, 7, 49, 238, 1120, 4263 (https://oeis.org/A212693).
    """
    game = ConnectFour(4, 4)
    solution = solve(game)
    assert solution.values[0] == 0

    def ends(state):
        children, _ = jax.vmap(partial(game.step, state))(jnp.arange(4))
        return game.legal_actions(state) & children.terminated, jax.vmap(game.key)(children)

    over, keys = map(np.asarray, quick_jit(jax.vmap(ends))(solution.states))
    assert len(solution.values) + len(np.unique(keys[over], axis=0)) == 161_029
    game, level, counts = ConnectFour(), jax.tree.map(lambda x: np.asarray(x)[None], ConnectFour().initial()), []
    for _ in range(6):
        counts.append(len(level.player))
        level, _ = _expand(game, level)
    assert counts == [1, 7, 49, 238, 1120, 4263]
    with pytest.raises(UnsolvedError, match=r"^game must have at most 1000 positions, got connect_four"):
        solve(game, max_positions=1000)


def test_positions_in_two_words_differ() -> None:
    """On a board of 18 cells nobody has a line early: positions are choices of cells for both players."""
    game, counts = TicTacToe(3, 6, 6), []
    level = jax.tree.map(lambda x: np.asarray(x)[None], game.initial())
    assert game.key(game.initial()).shape == (2,)
    for _ in range(4):
        counts.append(len(level.player))
        level, _ = _expand(game, level)
    assert counts == [1, 18, 18 * 17, 18 * 17 // 2 * 16]


def test_as_many_positions_as_allowed_are_solved() -> None:
    game = TicTacToe(1, 3, 3)
    assert len(solve(game, max_positions=1 + 3 + 3 * 2).values) == 10
    with pytest.raises(UnsolvedError, match=r"^game must have at most 9 positions"):
        solve(game, max_positions=9)
