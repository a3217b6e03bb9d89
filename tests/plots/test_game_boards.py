from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import games
from jaxrl.plots.game_boards import draw_position, moved, outcome
from jaxrl.plots.palette import BACKGROUND, INK, PALETTE

FIRST, SECOND = PALETTE[0], PALETTE[1]


def play(game, *moves: int) -> tuple[np.ndarray, float]:
    """What is observed before each move and at the end, and the last reward."""
    state, reward, seen = game.initial(), 0.0, []
    for move in moves:
        seen.append(np.asarray(game.observe(state)))
        state, reward = game.step(state, jnp.int32(move))
    return np.stack([*seen, np.asarray(game.observe(state))]), float(reward)


@pytest.mark.parametrize(
    ("name", "moves", "who"),
    [
        ("connect_four", (0, 1, 0, 1, 0, 1, 0), "first player wins"),
        ("connect_four", (0, 1, 0, 1, 0, 1, 2, 1), "second player wins"),
        ("tic_tac_toe", (0, 1, 2, 4, 3, 5, 7, 6, 8), "a draw"),
        ("go", (0, 4, 4), "second player wins"),  # two passes, and white has the komi
    ],
)
def test_who_won(name: str, moves: tuple[int, ...], who: str) -> None:
    """Also if games begin in the middle, where the moves alone do not say who moves first."""
    options = {"rows": 4, "columns": 4} if name == "connect_four" else {"size": 2} if name == "go" else {}
    game = games.make(name, **options)
    seen, reward = play(game, *moves)
    for start in (0, 1):
        if name != "go" or start == 0:
            assert outcome(game, seen[start:-1], seen[-1], reward) == who


def test_the_last_move_has_a_ring_and_pieces_have_letters() -> None:
    boards = np.array([[[1, 2], [1, 0]], [[1, 2], [0, 1]]])
    letters = np.where(boards > 0, "K", "")
    game = SimpleNamespace(board=lambda i: boards[i], pieces=lambda i: letters[i])
    np.testing.assert_array_equal(moved(game, 0, 1), [[0, 0], [0, 1]])
    picture = np.asarray(draw_position(game, 1, before=0))
    corners = [(200 * y, 200 * x) for y, x in np.ndindex(2, 2)]
    cells = [set(map(tuple, picture[y : y + 200, x : x + 200].reshape(-1, 3).tolist())) for y, x in corners]
    assert [FIRST in cell for cell in cells] == [True, False, False, True]
    assert [SECOND in cell for cell in cells] == [False, True, False, False]
    assert [INK in cell for cell in cells] == [False, False, False, True]
    middles = [set(map(tuple, picture[y + 80 : y + 120, x + 80 : x + 120].reshape(-1, 3).tolist())) for y, x in corners]
    assert [len(middle) > 1 for middle in middles] == [True, True, False, True]  # a letter


def test_hex_is_a_rhombus_of_hexagons() -> None:
    game = games.make("hex", size=3, swap=False)
    seen, _ = play(game, 0, 8)
    picture = draw_position(game, seen[-1], before=seen[-2])
    width = 396 / 4
    x, y = 2 + width / 2, 2 + width / 3**0.5
    assert picture.getpixel((round(x), round(y))) == FIRST
    assert picture.getpixel((round(x + 3 * width), round(y + width * 3**0.5))) == SECOND
    assert picture.getpixel((round(x + width), round(y))) == BACKGROUND
