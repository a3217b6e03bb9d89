"""The judge of Connect Four on 6 × 7 cells: the book's code, its values, and who has none."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.games import ILLEGAL, ConnectFour, TicTacToe, UnsolvedError, judge, solve
from jaxrl.games.lines import LineState
from jaxrl.games.opening_book import book_key, read_book, solve_openings, values_of
from jaxrl.games.solution import expand
from jaxrl.types import PyTree
from tests.compiling import quick_jit

GAME = ConnectFour()
STEP = quick_jit(GAME.step)

DOCUMENTED = {
    "...1... .1.2... .2.1.2. .1.2.1. .2.1.2.": 71,
    "..11... ..22... .121... .112.22": -88,
    ".1..... .22.1.. .21.2.. 1121211 ": None,
    ".1..... .22.1.. .21.2.. 11212..": 73,
    "..11... ..22... ..212.. .11212.": 0,
}
"""Positions of the package's own documentation, rows from above, and what it says of them; None: it has 14 stones."""


def stones_of(rows: list[str]) -> np.ndarray:
    """Stones as in `LineState`, uint8 `[2, 7]`, from the rows of a board from above."""
    board = np.array([list(row) for row in rows[::-1]])
    bits = 1 << np.arange(len(rows))[:, None]
    return np.stack([((board == player) * bits).sum(0) for player in "12"]).astype(np.uint8)


@pytest.fixture(scope="module")
def book() -> np.ndarray:
    pytest.importorskip("bitbully_databases")
    return read_book()


@pytest.fixture(scope="module")
def openings():
    pytest.importorskip("bitbully_databases")
    return solve_openings(2_000)


def after_12_moves(openings) -> PyTree:
    """Positions of which the book knows the value."""
    children, _, legal, _ = expand(GAME, openings.states)
    goes_on = legal & ~children.terminated
    return jax.tree.map(lambda x: x[goes_on], children)


def within(states: PyTree, depth: int) -> np.ndarray:
    """What the book says of positions `[P, ...]`, for those that end in at most `depth` moves; 0 for others."""
    children, _, legal, reward = expand(GAME, states)
    worth = 99 * reward.astype(int)
    goes_on = legal & ~children.terminated
    if depth > 1:
        after = within(jax.tree.map(lambda x: x[goes_on], children), depth - 1)
        worth[goes_on] = np.sign(after) - after  # one move later, for the other player
    return np.where(legal, worth, -100).max(1)


def test_the_book_is_as_its_package_documents(book) -> None:
    """Its code is that of the package, and so are the values of the examples, also of their mirror images."""
    from bitbully_databases import BitBullyDatabases

    assert len(book) == 4_200_899
    assert (np.diff(book["position"].astype(np.int64)) > 0).all()
    counts = [(np.sign(book["value"]) == sign).sum() for sign in (1, 0, -1)]
    assert counts == [2_464_954, 270_947, 1_464_998]
    for text, value in DOCUMENTED.items():
        stones = stones_of(text.split())
        if value is None:
            assert np.bitwise_count(stones).sum() != 12
            continue
        rows = text.split()
        board = [[0] * 7] * (6 - len(rows)) + [[int(cell.replace(".", "0")) for cell in row] for row in rows]
        assert book_key(stones[None])[0] == BitBullyDatabases._to_huffman(board)
        for side in (stones, stones[:, ::-1]):
            states = LineState(side[None], np.zeros(1, np.int32), np.zeros(1, bool))
            assert values_of(book, GAME, states) == np.sign(value)


def test_values_are_those_of_a_search(book, openings) -> None:
    """Who wins within three moves, by our own rules, is who the book says, and in as many moves."""
    states = jax.tree.map(lambda x: x[:1500:12], after_12_moves(openings))
    found = np.full(len(states.player), 99)  # absent: the mover wins at once
    for side in (states.stones, states.stones[..., ::-1]):
        at = np.searchsorted(book["position"], key := book_key(side)).clip(max=len(book) - 1)
        found = np.where(book["position"][at] == key, book["value"][at], found)
    known = within(states, 3)
    np.testing.assert_array_equal(known, np.where(np.abs(found) >= 97, found, 0))
    assert {99, -98, 97, 0} == set(known)
    book = book.copy()
    book["value"][-1] = -80  # no position here, so it stands for none that is missing
    np.testing.assert_array_equal(values_of(book, GAME, states), np.sign(found))


def test_a_position_that_the_book_lacks_is_an_error(book, openings) -> None:
    with pytest.raises(LookupError, match=r"no value of \d+ positions after 12 moves"):
        values_of(book, GAME, openings.states)


def test_openings_are_judged_by_what_follows(openings) -> None:
    """Different positions after 11 moves, always the same; each move is worth what a search says that sees its end."""
    states, values = openings.states, openings.action_values
    assert len(values) == 2_000
    assert (np.bitwise_count(states.stones).sum((1, 2)) == 11).all()
    assert (states.player == 1).all()
    assert not states.terminated.any()
    assert len(np.unique(states.stones.reshape(2_000, -1), axis=0)) == 2_000
    heights = np.bitwise_count(states.stones).sum(1).mean(0)  # as of random moves, not the first of a sorted list
    np.testing.assert_allclose(heights, np.full(7, 11 / 7), atol=0.1)
    np.testing.assert_array_equal(states.stones, solve_openings(2_000).states.stones)
    np.testing.assert_array_equal(values != ILLEGAL, jax.vmap(GAME.legal_actions)(states))
    some = jax.tree.map(lambda x: x[:200], states)
    children, _, legal, reward = expand(GAME, some)
    worth = reward.astype(int)
    goes_on = legal & ~children.terminated
    worth[goes_on] = -np.sign(within(jax.tree.map(lambda x: x[goes_on], children), 2))
    assert (worth == -1).sum() > 50
    assert (values[:200][worth != 0] == worth[worth != 0]).all()
    legal = values != ILLEGAL
    random = np.where(legal, values < openings.values[:, None], 0).sum(1) / legal.sum(1)
    assert random.mean() == pytest.approx(0.38, abs=0.02)


def test_each_game_has_its_judge(monkeypatch) -> None:
    assert len(judge(TicTacToe()).values) == 4520
    assert judge(TicTacToe()) is judge(TicTacToe(3, 3, 3))
    with pytest.raises(UnsolvedError, match=r"^game has no exact judge: it takes up to 25 moves, got connect_four$"):
        judge(ConnectFour(5, 5))
    monkeypatch.setitem(sys.modules, "bitbully_databases", None)
    judge.cache_clear()
    with pytest.raises(UnsolvedError, match=r"^game is judged .* \(pip install bitbully-databases\), got Connect Four"):
        judge(ConnectFour())
    assert issubclass(UnsolvedError, ArgumentError)


def test_a_sample_of_a_solution_is_part_of_it() -> None:
    solution = solve(TicTacToe(2, 3, 3))
    part = solution.sample(50)
    assert part.action_values.shape == (50, 6)
    position = {tuple(x.ravel().tolist()): i for i, x in enumerate(solution.states.stones)}
    rows = [position[tuple(x.ravel().tolist())] for x in part.states.stones]
    assert len(set(rows)) == 50
    assert rows != sorted(rows)
    np.testing.assert_array_equal(part.action_values, solution.action_values[rows])
    assert len(solution.sample(1000).values) == len(solution.values)


def test_values_after_8_moves_are_those_of_another_book(book) -> None:
    """By our own rules, from the values after 12 moves. The book of 8 moves lacks what the first player wins."""
    from bitbully_databases import BitBullyDatabases

    rng = np.random.default_rng(5)
    states: list[PyTree] = []
    while len(states) < 12:
        state = GAME.initial()
        for _ in range(8):
            state, _ = STEP(state, jnp.int32(rng.choice(np.flatnonzero(GAME.legal_actions(state)))))
        states += [] if state.terminated else [state]
    other = BitBullyDatabases("8-ply")
    boards = [GAME.board(np.asarray(GAME.observe(state))).tolist() for state in states]
    expected = [np.sign(other.get_book_value(board)) for board in boards]
    assert len(set(expected)) > 1
    np.testing.assert_array_equal(_value(book, jax.tree.map(lambda *x: np.stack(x), *states), 4), expected)


def _value(book: np.ndarray, states: PyTree, moves: int) -> np.ndarray:
    """The values of positions from which so many moves lead to those of the book: `[P]`."""
    if moves == 0:
        return values_of(book, GAME, states)
    children, _, legal, reward = expand(GAME, states)
    goes_on, worth = legal & ~children.terminated, reward.copy()
    worth[goes_on] = -_value(book, jax.tree.map(lambda x: x[goes_on], children), moves - 1)
    return np.where(legal, worth, ILLEGAL).max(1)
