"""Games held to pgx, move by move."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.games import BoardGame
from tests.games.random_games import play


def same_as_in_pgx(game: BoardGame, env: Any, num_games: int, last: float = 1.0) -> None:
    """Random games of ours in pgx: the same stones, legal moves, ends and rewards of who moves."""
    games = play(game, num_games, game.max_moves, last=last)

    def move(state: Any, action: jax.Array) -> tuple[Any, Any]:
        after = jax.vmap(env.step)(state, action)
        reward = jnp.take_along_axis(after.rewards, state.current_player[:, None], 1)[:, 0]
        return after, (state.legal_action_mask, state.observation[..., :2], reward, after.terminated)

    state = jax.jit(jax.vmap(env.init))(jax.random.split(jax.random.key(0), num_games))
    legal, stones, reward, terminated = jax.jit(lambda *x: jax.lax.scan(move, *x)[1])(state, games.action)
    goes_on = ~np.concatenate([np.zeros((1, num_games), bool), games.terminated[:-1]])
    np.testing.assert_array_equal(games.terminated, terminated)
    np.testing.assert_array_equal(games.legal[goes_on], np.asarray(legal)[goes_on])
    np.testing.assert_array_equal(games.observation[..., :2][goes_on], np.asarray(stones)[goes_on])
    np.testing.assert_array_equal(games.reward[goes_on], np.asarray(reward)[goes_on])
    assert games.terminated[-1].all()
