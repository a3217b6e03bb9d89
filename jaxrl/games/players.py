"""Players that need no learning, and the player of a policy."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError, suggest
from jaxrl.distributions import Distribution, restricted
from jaxrl.games.board_game import BoardGame
from jaxrl.games.judge import MOST_POSITIONS
from jaxrl.games.matches import Player, action_of
from jaxrl.games.solution import Solution, solve
from jaxrl.types import Array, Input, PyTree


def random_player(given: Input, key: Array) -> Array:
    """Draws uniformly among the legal actions."""
    return _any_of(given.legal, key)  # type: ignore[arg-type]  # games know their legal actions


def greedy_player(game: BoardGame, blocks: bool = True) -> Player:
    """A player that looks one move ahead, or two: it wins if it can, else keeps the other one from winning at once.

    It draws among equals. It tries one legal move after another, since positions of chess have hundreds of actions, few
    of them legal, and take kilobytes.

    Args:
        game: the rules.
        blocks: whether it looks at what the other one may answer.
    """

    def wins(state: PyTree) -> Array:
        return _of_each_legal_move(game, state, lambda child, reward: reward > 0)

    def loses(child: PyTree, reward: Array) -> Array:
        return wins(child).any()

    def best(state: PyTree) -> Array:
        legal, winning = game.legal_actions(state), wins(state)
        safe = legal & ~_of_each_legal_move(game, state, loses) if blocks else legal
        return jnp.where(winning.any(), winning, jnp.where(safe.any(), safe, legal))

    def play(given: Input, key: Array) -> Array:
        return _any_of(jax.vmap(best, in_axes=-1)(given.env_states), key)

    return play


def _of_each_legal_move(game: BoardGame, state: PyTree, look: Callable[[PyTree, Array], Array]) -> Array:
    """What `look(position after it, reward)` says of each legal move, bool `[A]`; False of all others.

    In a position where the game is over, no move is legal.
    """
    legal = game.legal_actions(state) & ~state.terminated
    moves = jnp.argsort(~legal, stable=True)  # the legal ones first

    def body(i: Array, found: Array) -> Array:
        return found.at[moves[i]].set(look(*game.step(state, moves[i])))

    nothing = jnp.zeros(game.num_actions, bool)
    return jax.lax.fori_loop(0, legal.sum(), body, nothing)


def perfect_player(game: BoardGame, solution: Solution) -> Player:
    """A player that draws among the best moves of a game's solution.

    Args:
        game: the rules.
        solution: all its positions.

    Raises:
        ArgumentError: the solution is of a game with other actions.
    """
    if solution.action_values.shape[1] != game.num_actions:
        rule = f"must be of this game, which has {game.num_actions} actions"
        raise ArgumentError("solution", rule, got=f"one of {solution.action_values.shape[1]}")
    with jax.core.eval_context():  # also where this is called while tracing
        keys = np.asarray(jax.lax.map(game.key, jax.tree.map(jnp.asarray, solution.states), batch_size=2**14))
        order = np.lexsort(keys.T[::-1])
        table = jnp.asarray(keys[order])
        best = jnp.asarray((solution.action_values == solution.values[:, None])[order])

    def find(key: Array) -> Array:
        """The first row that is not less than a key, by bisection."""

        def halve(_: Array, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = bounds
            middle = (low + high) // 2
            less = _less(table[middle], key)
            return jnp.where(less, middle + 1, low), jnp.where(less, high, middle)

        rows = len(table)
        return jax.lax.fori_loop(0, rows.bit_length(), halve, (jnp.int32(0), jnp.int32(rows - 1)))[1]

    def play(given: Input, key: Array) -> Array:
        rows = jax.vmap(lambda state: find(game.key(state)), in_axes=-1)(given.env_states)
        over = given.env_states.terminated
        return _any_of(best[rows] | over[:, None], key)

    return play


def policy_player(outputs: Callable[[PyTree], Distribution], sample: bool = False) -> Player:
    """A player that takes the most probable legal action of a policy, or draws from it.

    Args:
        outputs: observations `[N, ...]` to a `jaxrl.distributions.Distribution`, such as
            `partial(agent.outputs, agent_state)`.
        sample: whether it draws.
    """

    def play(given: Input, key: Array) -> Array:
        policy = restricted(outputs(given.observation), given.legal)
        return policy.sample(key) if sample else policy.mode()

    return play


def noisy_player(player: Player, probability: float) -> Player:
    """A player that makes a random move with some probability, in [0, 1]."""

    def play(given: Input, key: Array) -> Array:
        own_key, random_key, choice_key = jax.random.split(key, 3)
        action = action_of(player(given, own_key))
        random = jax.random.uniform(choice_key, action.shape, jnp.float32) < probability
        return jnp.where(random, random_player(given, random_key), action)

    return play


PLAYERS: dict[str, Callable[[BoardGame], Player]] = {
    "random": lambda game: random_player,
    "greedy": greedy_player,
    "perfect": lambda game: perfect_player(game, solve(game, MOST_POSITIONS)),
}


def make_player(name: str, game: BoardGame) -> Player:
    """A player by its name: `random`, `greedy`, or `perfect` for a game that can be solved.

    Raises:
        ArgumentError: an unknown name (the message suggests the nearest), or the game has too many positions.
    """
    if name not in PLAYERS:
        raise ArgumentError("player", f"must be a known one ({suggest(name, PLAYERS)})", name)
    return PLAYERS[name](game)


def _any_of(actions: Array, key: Array) -> Array:
    """One of some actions `[N, A]`, drawn uniformly: int32 `[N]`."""
    return jax.random.categorical(key, jnp.where(actions, jnp.float32(0), -jnp.inf)).astype(jnp.int32)


def _less(x: Array, y: Array) -> Array:
    """Whether words `[K]` come before others, the first word counting most."""
    less = jnp.bool(False)
    for a, b in reversed(list(zip(x, y, strict=True))):
        less = (a < b) | ((a == b) & less)
    return less
