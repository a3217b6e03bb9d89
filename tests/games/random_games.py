"""Random games in one compiled program."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.games import BoardGame
from tests.compiling import quick_jit


class Games(NamedTuple):
    """Moves `[T, N]` of N games: what was seen and legal before each, and what came of it."""

    observation: Any
    legal: Any
    player: Any
    action: Any
    reward: Any
    terminated: Any


def play(game: BoardGame, num_games: int, num_moves: int, seed: int = 0, last: float = 1.0) -> Games:
    """Games of random legal moves, beyond their ends; `last` is how much likelier the last action is than others."""

    def move(states: Any, key: jax.Array) -> tuple[Any, Games]:
        legal, seen = jax.vmap(game.legal_actions)(states), jax.vmap(game.observe)(states)
        weights = jnp.where(legal, jnp.ones(game.num_actions).at[-1].set(last), 0)
        actions = jax.random.categorical(key, jnp.log(weights))
        after, reward = jax.vmap(game.step)(states, actions)
        return after, Games(seen, legal, states.player, actions, reward, after.terminated)

    states = jax.tree.map(lambda x: jnp.broadcast_to(x, (num_games, *x.shape)), game.initial())
    keys = jax.random.split(jax.random.key(seed), num_moves)
    return Games(*map(np.asarray, quick_jit(lambda: jax.lax.scan(move, states, keys))()[1]))
