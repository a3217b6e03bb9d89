"""The interface of games: two players move in turn, see everything, and one wins what the other loses."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrl.games.symmetries import Symmetry
from jaxrl.types import Array


class BoardGame(ABC):
    """A game as pure functions of one state; `jax.vmap` plays thousands of games at once.

    States are NamedTuples of arrays with at least

    - `player`: whose turn it is, 0 or 1, int32 scalar,
    - `terminated`: whether the game is over, bool scalar.

    Instances are immutable and hashable, and equal if built equally.
    """

    num_actions: int
    max_moves: int
    """No game takes more moves."""
    solvable: bool = True
    """Each move leads to a position that no shorter game reaches, as placing stones does: `solve` needs that."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def initial(self) -> Any:
        """The state before the first move."""

    @abstractmethod
    def step(self, state: Any, action: Array) -> tuple[Any, Array]:
        """`(state, reward)` after a legal move: float32 scalar, 1 if it wins the game, −1 if it loses it, else 0.

        The reward is that of the player who moved. A terminated state stays as it is, with reward 0, so that a search
        may step beyond the end. An illegal action gives a state that means nothing: mask it with `legal_actions`.
        """

    @abstractmethod
    def legal_actions(self, state: Any) -> Array:
        """Which actions are legal, bool `[num_actions]`; all of them once the game is over."""

    @abstractmethod
    def observe(self, state: Any) -> Array:
        """What the player whose turn it is sees: planes `[H, W, C]`, its own before the other's.

        bool, or float32, where each plane is 0 or one positive number in all its cells that are not 0.
        """

    @abstractmethod
    def key(self, state: Any) -> Array:
        """The position in uint32 words `[K]`: equal for equal positions only.

        In games that can be solved, it does not depend on the moves that led to the position.
        """

    @abstractmethod
    def board(self, observation: np.ndarray) -> np.ndarray:
        """Who has each cell of an observed position: 1 who moved first, 2 the other one, 0 nobody; int `[H, W]`."""

    def pieces(self, observation: np.ndarray) -> np.ndarray:
        """The letters of what stands in each cell, in games with several kinds of pieces; str `[H, W]`."""
        return np.full(np.shape(observation)[:2], "")

    def hands(self, state: Any) -> tuple[list[str], list[str]]:
        """The letters of the pieces that the first player, and the second, may put on the board again."""
        del state
        return [], []

    def symmetries(self) -> Sequence[Symmetry]:
        """The symmetries of the game, first that which changes nothing."""
        return [Symmetry(lambda x: x, np.arange(self.num_actions))]


def random_move(game: BoardGame, state: Any, word: Array) -> Array:
    """A legal action, each as likely, from a random word: int32 scalar from uint32."""
    legal = game.legal_actions(state)
    rank = word % legal.sum(dtype=jnp.uint32)  # which of the legal actions
    return (jnp.cumsum(legal) > rank).argmax().astype(jnp.int32)
