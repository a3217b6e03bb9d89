"""A small game of `jaxrl.game_theory` as an environment, in which one agent moves for both players."""

import dataclasses
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrl import game_theory
from jaxrl.arguments import renaming
from jaxrl.envs.base import Environment, NoParams, uniform
from jaxrl.game_theory import Game
from jaxrl.game_theory.rules import ACTION_NAMES
from jaxrl.game_theory.sequence_form import CHANCE, END
from jaxrl.types import Array


class TensorGameState(NamedTuple):
    """The position, a row of `Game.tree`, int32 `[...]`."""

    position: Array


@dataclasses.dataclass(frozen=True, eq=False)
class TensorGame(Environment):
    """A game of which every decision is a step. Observations and rewards are those of the player who moves.

    An observation is the number of the information set, int32. The reward, at the end, is what the player wins that
    moved last; its opponent loses as much.
    """

    game: Game

    video_steps = 60
    """Steps of a video, which shows some twenty games."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorGame) and self.game is other.game  # `make_game` returns one for equal arguments

    def __hash__(self) -> int:
        return hash((TensorGame, id(self.game)))

    @property
    def name(self) -> str:
        return f"game:{self.game.name}"

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        return self.game.legal.shape[1]

    @property
    def random_words(self) -> int:  # type: ignore[override]
        return max(_most_outcomes(self.game), 1)

    @property
    def default_params(self) -> NoParams:
        return NoParams()

    @property
    def action_names(self) -> tuple[str, ...]:
        """What the actions are called; empty if they have no names."""
        return ACTION_NAMES.get(self.game.name, ())

    def describe_rules(self, params: Any) -> str:
        del params
        return f"{self.game.name.replace('_', ' ')}; one agent moves for both players"

    def observation_space(self, params: Any = None) -> Any:
        from gymnax.environments import spaces

        del params
        return spaces.Discrete(len(self.game.labels))

    def initial(self, bits: Array, params: Any) -> TensorGameState:
        del params
        return self._after_chance(jnp.zeros(bits.shape[1:], jnp.int32), bits)

    def _after_chance(self, position: Array, bits: Array) -> TensorGameState:
        """The next position where a player decides, or the end."""
        tree = self.game.tree
        bounds = np.cumsum(tree.chance, axis=-1)
        bounds = np.where(bounds >= bounds[:, -1:] - 1e-9, 2, bounds).astype(np.float32)  # the last one takes the rest
        for word in bits:
            outcome = (uniform(word)[..., None] >= jnp.asarray(bounds)[position]).sum(-1)
            after = jnp.asarray(tree.child)[position, outcome]
            position = jnp.where(jnp.asarray(tree.player)[position] == CHANCE, after, position)
        return TensorGameState(position)

    def transition(
        self, state: TensorGameState, action: Array, bits: Array, params: Any
    ) -> tuple[TensorGameState, Array, Array]:
        del params
        tree = self.game.tree
        mover = jnp.asarray(tree.player)[state.position]
        after = self._after_chance(jnp.asarray(tree.child)[state.position, action], bits)
        utility = jnp.asarray(tree.utility, jnp.float32)[after.position]
        return after, jnp.where(mover == 0, utility, -utility), jnp.asarray(tree.player)[after.position] == END

    def encode(self, state: TensorGameState) -> Array:
        return jnp.asarray(self.game.tree.set)[state.position].astype(jnp.uint32)[None]

    def decode(self, words: Array) -> Array:
        return words[..., 0].astype(jnp.int32)

    def legal_actions(self, state: TensorGameState, params: Any) -> Array:
        del params
        return jnp.moveaxis(jnp.asarray(self.game.legal)[jnp.asarray(self.game.tree.set)[state.position]], -1, 0)

    def is_truncated(self, state: TensorGameState, params: Any) -> Array:
        del params
        return jnp.zeros(state.position.shape, bool)


def _most_outcomes(game: Game) -> int:
    """The most outcomes of chance in a row."""
    tree, row = game.tree, np.zeros(len(game.tree.player), np.int32)
    for position in range(len(row)):  # children come after their parents
        if tree.player[position] == CHANCE:
            below = np.asarray(tree.child)[position]
            row[below[below > 0]] = row[position] + 1
    return int(row.max())


def tensor_game(name: str, **options: Any) -> TensorGame:
    """The environment of a game by its name, without the prefix; `options` are those of the game."""
    with renaming(name="env_id"):
        return TensorGame(game_theory.make_game(name, **options))
