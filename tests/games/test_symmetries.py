"""Symmetries of games: the changed moves lead to the changed board."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.games import ConnectFour, Go, Hex, Othello, TicTacToe
from tests.compiling import quick_jit

GAMES = [
    *((TicTacToe(), 8), (TicTacToe(2, 3, 3), 4), (ConnectFour(), 2), (ConnectFour(4, 5), 2)),
    *((Go(3), 8), (Othello(4), 4), (Hex(3), 2)),
]


@pytest.mark.parametrize(("game", "count"), GAMES, ids=str)
def test_symmetries_leave_a_game_the_same(game, count: int) -> None:
    """The changed moves lead to the changed board, with the changed legal actions, through a whole game."""
    rng, step = np.random.default_rng(2), quick_jit(game.step)
    symmetries = game.symmetries()
    states, boards = [game.initial()] * count, set()
    np.testing.assert_array_equal(symmetries[0].actions, np.arange(game.num_actions))
    for _ in range(game.max_moves - 3):
        action = rng.choice(np.flatnonzero(game.legal_actions(states[0])))
        moves = [int(np.flatnonzero(symmetry.actions == action)[0]) for symmetry in symmetries]
        states = [step(state, jnp.int32(move))[0] for state, move in zip(states, moves, strict=True)]
        observation, legal = game.observe(states[0]), game.legal_actions(states[0])
        for state, symmetry in zip(states, symmetries, strict=True):
            np.testing.assert_array_equal(game.observe(state), symmetry.turn(observation))
            np.testing.assert_array_equal(game.legal_actions(state), legal[symmetry.actions])
        boards |= {len({np.asarray(game.observe(state)).tobytes() for state in states})}
    assert max(boards) == count
