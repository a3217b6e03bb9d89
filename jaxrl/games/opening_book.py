"""Connect Four on 6 × 7 cells after 11 moves, judged by the opening book of the package bitbully-databases.

The book has the exact value of every position after 12 moves in which the mover cannot win at once. Its file is a
table of 5 bytes an entry, sorted by the first four, a big-endian int32: the position, column by column from the left,
each from below, a stone of the first player as the bits 10, one of the second as 11, and 0 above the stones; one more 0
at the end. A position stands for its mirror image too. The last byte is an int8: 0 for a draw, 100 less the number of
moves to the end if the mover wins, and the same negative if the mover loses.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.games.board_game import random_move
from jaxrl.games.lines import ConnectFour, LineState
from jaxrl.games.solution import ILLEGAL, Solution, UnsolvedError, expand
from jaxrl.types import Array

MOVES = 12
"""After so many, the book knows the value."""
ENTRY = np.dtype([("position", ">i4"), ("value", "i1")])


def solve_openings(count: int = 20_000) -> Solution:
    """The value of each move after 11 moves, in positions that random moves lead to: all different, always the same.

    Args:
        count: how many.

    Raises:
        UnsolvedError: bitbully-databases is not installed.
    """
    book, game = read_book(), ConnectFour()
    states = _random_positions(game, count)
    children, _, legal, reward = expand(game, states)
    goes_on = legal & ~children.terminated
    worth = reward.copy()
    worth[goes_on] = -values_of(book, game, jax.tree.map(lambda x: x[goes_on], children))
    return Solution(states, np.where(legal, worth, ILLEGAL).astype(np.int8))


def read_book() -> np.ndarray:
    """The entries of the book, `[P]`, sorted by position.

    Raises:
        UnsolvedError: bitbully-databases is not installed.
    """
    try:
        from bitbully_databases import BitBullyDatabases
    except ImportError as error:
        rule = "is judged by an opening book that is not installed (pip install bitbully-databases)"
        raise UnsolvedError("game", rule, got="Connect Four of 6 × 7 cells") from error
    return np.fromfile(BitBullyDatabases.get_database_path("12-ply-dist"), ENTRY)


def values_of(book: np.ndarray, game: ConnectFour, states: LineState) -> np.ndarray:
    """1, 0 or −1 for the mover, the first player, in positions after 12 moves `[P, ...]`: int8 `[P]`.

    Raises:
        LookupError: the book does not have a position that it should have.
    """
    _, _, legal, reward = expand(game, states)
    wins = np.any(legal & (reward > 0), axis=1)
    positions, found = book["position"], np.full(len(wins), -1)
    ours = np.asarray(states.stones)
    for stones in (ours, ours[..., ::-1]):
        key = book_key(stones)
        at = np.minimum(np.searchsorted(positions, key), len(positions) - 1)
        found = np.where(positions[at] == key, at, found)
    if (missing := ~wins & (found < 0)).any():
        raise LookupError(f"the opening book has no value of {missing.sum()} positions after {MOVES} moves")
    return np.where(wins, 1, np.sign(book["value"][found])).astype(np.int8)


def book_key(stones: np.ndarray) -> np.ndarray:
    """The position in the book's code, int32 `[P]`, from 12 stones as in `LineState`, uint8 `[P, 2, 7]`."""
    taken: np.ndarray = stones[:, 0] | stones[:, 1]
    key: np.ndarray = np.zeros(len(stones), np.uint32)
    for column in range(stones.shape[2]):
        for row in range(6):
            stone, second = (x[:, column] >> row & 1 for x in (taken, stones[:, 1]))
            key = np.where(stone == 1, key << 2 | 2 | second, key)
        key = key << 1
    return (key << 1).astype(np.uint32).view(np.int32)


def _random_positions(game: ConnectFour, count: int) -> Any:
    """Positions one move before those of the book, `[count, ...]`, from random games that are not over by then."""
    words = jax.random.bits(jax.random.key(0, impl="threefry2x32"), (2 * count, MOVES - 1), jnp.uint32)
    states = jax.device_get(jax.jit(jax.vmap(partial(_play, game)))(words))
    keys = states.stones.reshape(len(words), -1)
    _, first = np.unique(keys, axis=0, return_index=True)
    rows = np.sort(first)
    rows = rows[~states.terminated[rows]][:count]
    return jax.tree.map(lambda x: x[rows], states)


def _play(game: ConnectFour, words: Array) -> LineState:
    """The position after as many random moves as there are words, or the end of the game before."""

    def move(i: Array, state: LineState) -> LineState:
        return game.step(state, random_move(game, state, words[i]))[0]

    return jax.lax.fori_loop(0, len(words), move, game.initial())
