"""Matches: many games between two players at once, in which each of them moves first in one half."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError
from jaxrl.games.board_game import BoardGame, random_move
from jaxrl.types import Array, Decision, Input, PyTree

Player = Callable[[Input, Array], Decision | Array]
"""`(Input [N], key) -> actions [N]`, or a `Decision`, such as `partial(agent.policy, agent_state)`."""


class Match(NamedTuple):
    """The outcomes of a match.

    Attributes:
        outcomes: of each game for the first player: 1 if it won, 0 for a draw, −1 if it lost. int32 `[2, N]`: of the
            games in which it moved first, and of those in which the other one did.
    """

    outcomes: Array

    @property
    def counts(self) -> Array:
        """Wins, draws and losses of the first player, moving first and second: int32 `[2, 3]`."""
        return jnp.stack([(self.outcomes == outcome).sum(1, dtype=jnp.int32) for outcome in (1, 0, -1)], axis=1)

    @property
    def points(self) -> Array:
        """What the first player scored and what the other one did, a draw as half for both: float32 `[2]`."""
        wins, draws, losses = self.counts.sum(0)
        return jnp.stack([wins + draws / 2, losses + draws / 2])


def play_match(game: BoardGame, first: Player, second: Player, key: Array, openings: PyTree) -> Match:
    """Plays each opening twice, with colours exchanged, until all games are over.

        first = partial(agent.policy, agent_state)
        match = play_match(game, first, random_player, key, random_openings(game, other_key, 100, moves=2))
        wins, draws, losses = match.counts.sum(0)

    Pure and traceable. The games are one loop: in each step each player moves in half of them. A player that makes an
    illegal move loses.

    Args:
        game: the rules. A player whose turn it is moves once, then the other one.
        first: a player without memory.
        second: another one.
        key: of the players' draws.
        openings: the positions where the games begin, `[N, ...]`. Two players that draw nothing play the same game from
            the same position, so openings should differ.

    Returns:
        The outcomes of 2 N games.
    """
    sides, number = jnp.array([[1], [-1]], jnp.int32), len(openings.player)

    def unfinished(at: tuple[Array, Any, Array]) -> Array:
        return (at[0] < game.max_moves) & ~at[1].terminated.all()

    def move(at: tuple[Array, Any, Array]) -> tuple[Array, Any, Array]:
        t, states, outcomes = at
        keys = jax.random.split(jax.random.fold_in(key, t))
        rows = [jax.tree.map(lambda x, i=i: x[i], states) for i in range(2)]
        moved = [_move(game, *row) for row in zip((first, second), rows, keys, strict=True)]
        states, rewards = jax.tree.map(lambda *x: jnp.stack(x)[::-1], *moved)  # it is the other player's turn
        return t + 1, states, outcomes[::-1] + sides[::-1] * rewards

    # Row 0 has the games in which it is the turn of the first player, row 1 the others.
    start = jax.tree.map(lambda x: jnp.stack([x, x]), openings)
    t, _, outcomes = jax.lax.while_loop(unfinished, move, (jnp.int32(0), start, jnp.zeros((2, number), jnp.int32)))
    return Match(jnp.where(t % 2 == 0, outcomes, outcomes[::-1]))


def _move(game: BoardGame, player: Player, states: Any, key: Array) -> tuple[Any, Array]:
    """The positions `[N, ...]` after a player's moves, and its rewards, int32 `[N]`."""
    legal = jax.vmap(game.legal_actions)(states)
    actions = action_of(player(input_of(game, states, legal), key))
    if actions.shape != states.player.shape or not jnp.issubdtype(actions.dtype, jnp.integer):
        rule = f"must return an action for each game, integers of shape {list(states.player.shape)}"
        raise ArgumentError("player", rule, got=f"{actions.dtype}{list(actions.shape)}")
    inside = jnp.clip(actions, 0, game.num_actions - 1)
    allowed = legal[jnp.arange(len(actions)), inside] & (inside == actions)
    after, rewards = jax.vmap(game.step)(states, inside)
    lost = ~allowed & ~states.terminated
    return after._replace(terminated=after.terminated | lost), jnp.where(lost, -1, rewards.astype(jnp.int32))


def input_of(game: BoardGame, states: Any, legal: Array) -> Input:
    """What a player acts on in positions `[N, ...]` with legal actions bool `[N, A]`."""
    last = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), states)  # as the states of `GameEnvironment`
    return Input(jax.vmap(game.observe)(states), legal, env_states=last)


def action_of(decision: Decision | Array) -> Array:
    """The actions of a player, `[N]`."""
    return jnp.asarray(decision.action if isinstance(decision, Decision) else decision)


def random_openings(game: BoardGame, key: Array, number: int, moves: int) -> PyTree:
    """Positions after so many random moves, `[N, ...]`: fewer where a move would end the game.

    Raises:
        ArgumentError: no game is that long.
    """
    if not 0 <= moves <= game.max_moves:
        raise ArgumentError("moves", f"must be from 0 to the {game.max_moves} moves of the longest game", moves)
    words = jax.random.bits(key, (number, moves), jnp.uint32)
    return jax.vmap(partial(after_random_moves, game, moves=moves))(words)


def after_random_moves(game: BoardGame, words: Array, moves: Array | int) -> Any:
    """The position after random moves, before the first that would end the game.

    Args:
        game: the rules.
        words: random, uint32 `[W]`.
        moves: how many, at most W.
    """
    if not len(words):
        return game.initial()

    def move(i: Array, state: Any) -> Any:
        after, _ = game.step(state, random_move(game, state, words[i]))
        goes_on = (i < moves) & ~after.terminated
        return jax.tree.map(lambda new, old: jnp.where(goes_on, new, old), after, state)

    return jax.lax.fori_loop(0, len(words), move, game.initial())
