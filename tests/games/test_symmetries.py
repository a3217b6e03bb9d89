"""Symmetries of games: the changed moves lead to the changed board."""

import jax
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
    rng, step = np.random.default_rng(2), quick_jit(jax.vmap(game.step))
    look = quick_jit(lambda states: (jax.vmap(game.observe)(states), jax.vmap(game.legal_actions)(states)))
    symmetries = game.symmetries()
    states = jax.tree.map(lambda x: jnp.stack([x] * count), game.initial())
    np.testing.assert_array_equal(symmetries[0].actions, np.arange(game.num_actions))
    observations, legal = map(np.asarray, look(states))
    most = 0
    for _ in range(game.max_moves - 3):
        action = rng.choice(np.flatnonzero(legal[0]))
        moves = [int(np.flatnonzero(symmetry.actions == action)[0]) for symmetry in symmetries]
        states, _ = step(states, jnp.array(moves))
        observations, legal = map(np.asarray, look(states))
        for i, symmetry in enumerate(symmetries):
            np.testing.assert_array_equal(observations[i], symmetry.turn(observations[0]))
            np.testing.assert_array_equal(legal[i], legal[0][symmetry.actions])
        most = max(most, len({board.tobytes() for board in observations}))
    assert most == count
