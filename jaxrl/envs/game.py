"""A two-player game as an environment, in which one agent moves for both players."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl import games
from jaxrl.arguments import check, renaming
from jaxrl.envs.base import Environment, NoParams
from jaxrl.games import BoardGame
from jaxrl.games.board_game import random_move
from jaxrl.games.lines import packed
from jaxrl.games.matches import after_random_moves
from jaxrl.types import Array, PyTree

PREFIX = "game"


@dataclasses.dataclass(frozen=True)
class GameEnvironment(Environment):
    """A game of which every move is a step. Observations and rewards are those of the player who moves.

    An agent moves for both players, or its opponent answers each of its moves in the same step.

    Self-play from the first position alone sees ever fewer positions as it becomes better. With `random_moves`, a game
    begins after a random number of random moves, from none to so many, but never with its end.

    Attributes:
        game: which.
        random_moves: the most random moves before a game.
        opponent: who answers: the agent itself, or a player whose moves are uniformly random.
    """

    game: BoardGame
    random_moves: Annotated[int, Interval(ge=0, le=1000)] = 0
    opponent: Literal["itself", "random"] = "itself"

    def __post_init__(self) -> None:
        check(self)

    @property
    def name(self) -> str:
        return f"{PREFIX}:{self.game.name}"

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        return self.game.num_actions

    @property
    def random_words(self) -> int:  # type: ignore[override]
        return 1 + self.random_moves + (self.opponent == "random")

    @property
    def default_params(self) -> NoParams:
        return NoParams()

    def describe_rules(self, params: Any) -> str:
        begins = f", beginning with 0 to {self.random_moves} random moves" if self.random_moves else ""
        game: Any = self.game
        fields = [x.name for x in dataclasses.fields(game)] if dataclasses.is_dataclass(game) else []
        sizes = [f"{field.replace('_', ' ')} {getattr(game, field)}" for field in fields]
        name = ", ".join([game.name.replace("_", " "), *sizes])
        who = "one agent moves for both players" if self.is_self_play else "against a random player"
        return f"{name}{begins}; {who}"

    @property
    def is_self_play(self) -> bool:
        """Whether one agent moves for both players."""
        return self.opponent == "itself"

    def against_random(self) -> "GameEnvironment":
        """The same game against a random player, who begins half of the games."""
        return dataclasses.replace(self, random_moves=1, opponent="random")

    def initial(self, bits: Array, params: Any) -> PyTree:
        del params
        return self._each(self._begin, 1)(bits)

    def _begin(self, bits: Array) -> PyTree:
        """The first position, from the words `[W]`."""
        return after_random_moves(self.game, bits[1:], bits[0] % (self.random_moves + 1))

    def transition(self, state: PyTree, action: Array, bits: Array, params: Any) -> tuple[PyTree, Array, Array]:
        del params
        state, reward = self._each(self.game.step)(state, action)
        if self.opponent == "random":
            state, lost = self._each(self._answer)(state, bits[-1])
            reward = reward - lost
        return state, reward, state.terminated

    def _answer(self, state: PyTree, word: Array) -> tuple[PyTree, Array]:
        """The state after a random move, which changes nothing if the game is over, and the reward of who moved."""
        return self.game.step(state, random_move(self.game, state, word))

    def encode(self, state: PyTree) -> Array:
        return self._each(lambda state: self._encode(self.game.observe(state)))(state)

    def _encode(self, planes: Array) -> Array:
        """A bit for each cell, and the number of each plane if they are not bool."""
        bits = packed((planes != 0).reshape(-1))
        if planes.dtype == bool:
            return bits
        return jnp.concatenate([bits, jax.lax.bitcast_convert_type(planes.max((0, 1)), jnp.uint32)])

    def decode(self, words: Array) -> Array:
        planes = jax.eval_shape(self.game.observe, self.game.initial())
        *_, channels = shape = planes.shape
        bits = (words[..., None] >> jnp.arange(32, dtype=jnp.uint32)) & 1 == 1
        bits = bits.reshape(*words.shape[:-1], -1)[..., : np.prod(shape)].reshape(*words.shape[:-1], *shape)
        if planes.dtype == bool:
            return bits
        return bits * jax.lax.bitcast_convert_type(words[..., None, None, -channels:], jnp.float32)

    def legal_actions(self, state: PyTree, params: Any) -> Array:
        del params
        return self._each(self.game.legal_actions)(state)

    def is_truncated(self, state: PyTree, params: Any) -> Array:
        del params
        return jnp.zeros_like(state.terminated)

    def _each(self, function: Callable, axes: int = 0) -> Callable:
        """Applies a function to one game, whose last leaf has so many axes, or to N in one axis more, the last."""

        def apply(*arguments: PyTree) -> PyTree:
            if jnp.ndim(jax.tree.leaves(arguments)[-1]) == axes:
                return function(*arguments)
            first = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), arguments)  # faster than a map over the last axis
            return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), jax.vmap(function)(*first))

        return apply


def game_environment(
    name: str, random_moves: int = 0, opponent: Literal["itself", "random"] = "itself", **options: Any
) -> GameEnvironment:
    """The environment of a game by its name, without the prefix; `options` are those of the game."""
    with renaming(name="env_id"):
        return GameEnvironment(games.make(name, **options), random_moves, opponent)
