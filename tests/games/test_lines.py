"""Tic-tac-toe and Connect Four against boards that are looked at cell by cell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.games import ConnectFour, TicTacToe, make
from jaxrl.games.lines import has_line
from tests.compiling import quick_jit

GAMES = [TicTacToe(), TicTacToe(3, 4, 3), ConnectFour(), ConnectFour(4, 5), ConnectFour(5, 3, 4), ConnectFour(8, 8)]


def line_on(board: np.ndarray, length: int) -> bool:
    """Whether cells `[rows, columns]` have a line, by walking from each of them in each direction."""
    rows, columns = board.shape

    def cell(row: int, column: int) -> bool:
        return 0 <= row < rows and 0 <= column < columns and bool(board[row, column])

    return any(
        all(cell(row + i * down, column + i * right) for i in range(length))
        for row in range(rows)
        for column in range(columns)
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1))
    )


@pytest.mark.parametrize("size", [(3, 3, 3), (6, 7, 4), (8, 8, 4), (5, 3, 4), (3, 5, 4), (8, 2, 2)])
def test_lines_are_found_in_every_direction(size) -> None:
    rows, columns, length = size
    boards = np.random.default_rng(0).random((400, rows, columns)) < 0.45
    stones = (boards[:, ::-1] * (1 << np.arange(rows))[:, None]).sum(1).astype(np.uint8)
    found = quick_jit(jax.vmap(lambda x: has_line(x, length)))(stones)
    expected = [line_on(board, length) for board in boards]
    assert 0 < sum(expected) < 400
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("game", GAMES, ids=str)
def test_games_go_as_on_a_board(game) -> None:
    """Random games against a board of characters: the same moves, lines, ends and rewards."""
    step, legal, observe = (quick_jit(f) for f in (game.step, game.legal_actions, game.observe))
    rng, falls, ends = np.random.default_rng(1), isinstance(game, ConnectFour), set()
    for _ in range(12):
        state, board, player = game.initial(), np.full((game.rows, game.columns), "."), 0
        for move in range(game.max_moves):
            empty = (board == ".").any(0) if falls else (board == ".").reshape(-1)
            np.testing.assert_array_equal(legal(state), empty)
            own, other = np.asarray(observe(state)).transpose(2, 0, 1)
            np.testing.assert_array_equal(own, board == "XO"[player])
            np.testing.assert_array_equal(other, board == "OX"[player])
            assert (int(state.player), bool(state.terminated)) == (player, False)
            action = rng.choice(np.flatnonzero(empty))
            row = np.flatnonzero(board[:, action] == ".").max() if falls else action // game.columns
            board[row, action if falls else action % game.columns] = "XO"[player]
            state, reward = step(state, jnp.int32(action))
            won = line_on(board == "XO"[player], game.length)
            assert float(reward) == won
            assert bool(state.terminated) == (won or move + 1 == game.max_moves)
            np.testing.assert_array_equal(game.board(observe(state)), np.char.find(".XO", board))
            player = 1 - player
            if state.terminated:
                ends.add("win" if won else "draw")
                break
        after, reward = step(state, jnp.int32(0))
        assert float(reward) == 0
        jax.tree.map(np.testing.assert_array_equal, after, state)
        assert legal(state).all()
    assert "win" in ends


def test_games_have_names_and_sizes() -> None:
    assert make("connect_four", rows=4, columns=5) == ConnectFour(4, 5)
    assert hash(make("tic_tac_toe")) == hash(TicTacToe())
    with pytest.raises(
        ArgumentError, match=r"^name must be a known game \(the nearest is connect_four\), got 'conect_four'"
    ):
        make("conect_four")
    with pytest.raises(ArgumentError, match=r"^foo is not an option of connect_four, which has rows, columns, length"):
        make("connect_four", foo=9)
    with pytest.raises(ArgumentError, match=r"^rows must be .*<= 8, got 9"):
        ConnectFour(rows=9)
    with pytest.raises(ArgumentError, match=r"^length must fit into a row or a column of a board of 3 × 3, got 4"):
        ConnectFour(3, 3)
