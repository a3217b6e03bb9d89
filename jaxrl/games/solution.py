"""The exact solution of a game by retrograde analysis: what every move is worth, in every position.

From the positions of each number of moves come those of one more. From the last to the first, a position is worth what
the best move brings, and a move what the next position costs the other player (Zermelo 1913; backward induction).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.games.board_game import BoardGame
from jaxrl.types import PyTree

ILLEGAL = -2
CHUNK = 2**14
"""Positions that are expanded at once: one shape, and one compilation, for all."""


class UnsolvedError(ArgumentError):
    """Nobody knows here what the moves of a game are worth."""


class Solution(NamedTuple):
    """Positions of a game, and the value of each move: of `solve`, all in which there is a move to make.

    Attributes:
        states: the positions, `[P, ...]`, in the order of the number of moves.
        action_values: 1 for a move that wins against every answer, 0 for a draw, −1 for one that loses, for who moves;
            `ILLEGAL` for others. int8 `[P, A]`.
    """

    states: PyTree
    action_values: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The value of each position for who moves, int8 `[P]`."""
        return self.action_values.max(1)

    def mistakes(self, actions: np.ndarray) -> np.ndarray:
        """Whether a move throws something away, in each position: there is a better one. Illegal moves do too.

        Args:
            actions: an action in each position, int `[P]`.

        Returns:
            bool `[P]`.
        """
        actions = np.asarray(actions)
        if actions.shape != (shape := self.action_values.shape[:1]) or not np.issubdtype(actions.dtype, np.integer):
            raise ArgumentError(
                "actions", f"must be integers of shape {list(shape)}", got=f"{actions.dtype}{list(actions.shape)}"
            )
        known = (actions >= 0) & (actions < self.action_values.shape[1])
        worth = self.action_values[np.arange(len(actions)), np.where(known, actions, 0)]
        return ~known | (worth < self.values)

    def sample(self, size: int) -> "Solution":
        """Some of the positions, drawn at random without replacement, always the same; all if there are not so many."""
        rows = np.random.default_rng(0).permutation(len(self.action_values))[:size]
        return Solution(jax.tree.map(lambda x: x[rows], self.states), self.action_values[rows])


def solve(game: BoardGame, max_positions: int = 10_000_000) -> Solution:
    """Solves a game completely.

        solution = solve(TicTacToe())
        solution.values[0]  # 0: the first player can only draw against perfect play

    Args:
        game: with `BoardGame.solvable`: no move leads to a position that a shorter game reaches.
        max_positions: give up beyond.

    Raises:
        UnsolvedError: the game has more positions, or passes or captures.
    """
    if not game.solvable:
        rule = "must be one with a solver, in which no move leads back, as captures and passes may"
        raise UnsolvedError("game", rule, game, got=game.name)
    level = jax.tree.map(lambda x: np.asarray(x)[None], game.initial())
    levels, moves, total = [], [], 0
    while len(jax.tree.leaves(level)[0]):
        total += len(jax.tree.leaves(level)[0])
        if total > max_positions:
            raise UnsolvedError("game", f"must have at most {max_positions} positions", game, got=game.name)
        following, found = _expand(game, level)
        levels.append(level)
        moves.append(found)
        level = following
    values = np.zeros(0, np.int8)
    action_values: list[np.ndarray] = []
    for legal, reward, child in reversed(moves):
        worth = reward.copy()
        worth[child >= 0] = -values[child[child >= 0]]
        action_values.append(np.where(legal, worth, ILLEGAL).astype(np.int8))
        values = action_values[-1].max(1)
    states = jax.tree.map(lambda *parts: np.concatenate(parts), *levels)
    return Solution(states, np.concatenate(action_values[::-1]))


def _expand(game: BoardGame, level: PyTree) -> tuple[PyTree, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The positions after one more move, and for each move whether it is legal, its reward, and which of them follows.

    The number is −1 where the game is over.
    """
    children, keys, legal, reward = expand(game, level)
    goes_on = legal & ~children.terminated
    words = np.ascontiguousarray(keys[goes_on])
    # One number for each position, if its words fit into one: sorting rows of words takes several times as long.
    numbers = words.view(np.uint64)[:, 0] if words.shape[1] == 2 else words[:, 0] if words.shape[1] == 1 else words
    _, first, number = np.unique(numbers, return_index=True, return_inverse=True, axis=0)
    child = np.full(legal.shape, -1)
    child[goes_on] = number.reshape(-1)
    return jax.tree.map(lambda x: x[goes_on][first], children), (legal, reward, child)


def expand(game: BoardGame, states: PyTree) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    """The states after each action in positions `[P, ...]`, `[P, A, ...]`, and their keys, `[P, A, K]`.

    Also which actions are legal, bool `[P, A]`, and their rewards, int8 `[P, A]`.
    """
    count = len(jax.tree.leaves(states)[0])
    parts = [_children(game, jax.tree.map(partial(_rows, start=i), states)) for i in range(0, count, CHUNK)]
    return jax.tree.map(lambda *x: np.concatenate(x)[:count], *parts)


def _rows(x: np.ndarray, start: int) -> np.ndarray:
    """`CHUNK` rows from some row on; the last one is repeated beyond the end."""
    return x[np.minimum(np.arange(start, start + CHUNK), len(x) - 1)]


@partial(jax.jit, static_argnums=0)
def _children(game: BoardGame, states: PyTree) -> tuple[Any, jax.Array, jax.Array, jax.Array]:
    """The states after each action, `[CHUNK, A]`, their keys `[CHUNK, A, K]`, which are legal, and their rewards."""

    def after(state: Any, action: jax.Array) -> tuple[Any, jax.Array, jax.Array]:
        child, reward = game.step(state, action)
        return child, game.key(child), reward.astype(jnp.int8)

    def of_all(state: Any) -> tuple[Any, jax.Array, jax.Array, jax.Array]:
        child, key, reward = jax.vmap(partial(after, state))(jnp.arange(game.num_actions))
        return child, key, game.legal_actions(state), reward

    return jax.vmap(of_all)(states)
