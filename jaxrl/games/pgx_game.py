"""Games of pgx (Koyama et al. 2023, https://arxiv.org/abs/2303.17503): chess, shogi and their small relatives.

pgx is an extra, `pip install 'jaxrl[games]'`, and loaded when such a game is made.
"""

import dataclasses
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.games.board_game import BoardGame
from jaxrl.games.lines import packed
from jaxrl.types import Array


class PgxState(NamedTuple):
    """A position.

    Attributes:
        arrays: those of pgx's state, without the observation and without legal actions, which it has up to twice.
        legal: actions, a bit for each, uint32 words.
        player: whose turn it is, int32 scalar. pgx draws by lot who moves first; here that is player 0.
        terminated: whether the game is over, bool scalar.
    """

    arrays: tuple[Array, ...]
    legal: Array
    player: Array
    terminated: Array


@dataclasses.dataclass(frozen=True)
class PgxGame(BoardGame):
    """A game of pgx, with pgx's rules, actions and observations.

    Observations are pgx's planes, from the player's side of the board, float32 where some of them are fractions, and
    one more: whether the player moves first in the game.
    """

    solvable = False
    letters: ClassVar[tuple[str, ...]]
    """The names of the pieces, in the order of their planes."""
    first_of_other: ClassVar[int]
    """The first plane of the other's pieces; those of the player begin at 0."""
    turns: ClassVar[bool]
    """Whether the second player sees the board turned around, not mirrored."""

    def __post_init__(self) -> None:
        if find_spec("pgx") is None:
            raise ArgumentError("name", "must be a game that is installed (pip install 'jaxrl[games]')", self.name)
        _load(self.name)  # pgx has arrays of its own, which must not be made while a function is compiled

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        return _load(self.name).first.legal_action_mask.shape[0]

    def initial(self) -> PgxState:
        return jax.jit(self._packed)(_load(self.name).first)

    def step(self, state: PgxState, action: Array) -> tuple[PgxState, Array]:
        before = self._unpacked(state)
        after = _load(self.name).env.step(before, action)
        return self._packed(after), after.rewards[before.current_player].astype(jnp.float32)

    def _packed(self, state: Any) -> PgxState:
        player = state.current_player ^ _load(self.name).first.current_player
        arrays = tuple(x for x in jax.tree.leaves(_bare(state)) if not self._is_mask(x))
        return PgxState(arrays, packed(state.legal_action_mask), player, state.terminated)

    def _unpacked(self, state: PgxState) -> Any:
        """pgx's state, in which all actions are legal: pgx ends a game in which an illegal one is taken."""
        leaves, tree = jax.tree.flatten(_bare(_load(self.name).first))
        kept = iter(state.arrays)
        env_state = jax.tree.unflatten(tree, [jnp.ones_like(x) if self._is_mask(x) else next(kept) for x in leaves])
        return env_state.replace(terminated=state.terminated)  # also if an illegal move has ended a match

    def _is_mask(self, leaf: Array) -> bool:
        return leaf.shape == (self.num_actions,) and leaf.dtype == bool

    def legal_actions(self, state: PgxState) -> Array:
        bits = (state.legal[:, None] >> jnp.arange(32, dtype=jnp.uint32)) & 1 == 1
        return bits.reshape(-1)[: self.num_actions]

    def observe(self, state: PgxState) -> Array:
        planes = _load(self.name).env.observe(self._unpacked(state))
        first = jnp.full(planes.shape[:2], state.player == 0, planes.dtype)
        return jnp.concatenate([planes, first[..., None]], axis=-1)

    def key(self, state: PgxState) -> Array:
        """The whole state, with its past."""
        return jnp.concatenate([x.astype(jnp.uint32).reshape(-1) for x in jax.tree.leaves(state)])

    def board(self, observation: np.ndarray) -> np.ndarray:
        return np.sign(self._kinds(observation)) % 3

    def pieces(self, observation: np.ndarray) -> np.ndarray:
        return np.array(["", *self.letters])[np.abs(self._kinds(observation))]

    def hands(self, state: PgxState) -> tuple[list[str], list[str]]:
        held = np.asarray(self._held(self._unpacked(state)))
        own, other = (np.repeat(self.letters[: len(row)], row).tolist() for row in held)
        return (other, own) if state.player else (own, other)

    def _held(self, env_state: Any) -> Any:
        """How many of each piece who moves and the other player have in hand, `[2, P]`."""
        del env_state
        return np.zeros((2, 0), int)

    def _kinds(self, observation: np.ndarray) -> np.ndarray:
        """The pieces as the first player sees them, by their number from 1, and negative for the second player's."""
        planes, numbers = np.asarray(observation), np.arange(len(self.letters))
        own, other = ((planes[..., first + numbers] > 0) @ (numbers + 1) for first in (0, self.first_of_other))
        if planes[0, 0, -1]:
            return own - other
        return np.rot90(other - own, 2) if self.turns else (other - own)[::-1]


class Chess(PgxGame):
    """Chess. A draw after 100 moves without a capture or a pawn's move, a third repetition, or 512 moves."""

    name, max_moves = "chess", 512
    letters, first_of_other, turns = tuple("PNBRQK"), 6, False


class GardnerChess(PgxGame):
    """Chess on 5 × 5 cells (Gardner 1969)."""

    name, max_moves = "gardner_chess", 256
    letters, first_of_other, turns = tuple("PNBRQK"), 6, False


class Shogi(PgxGame):
    """Shogi. A draw after 512 moves; repetitions and entering kings do not end the game."""

    name, max_moves = "shogi", 512
    letters = (*"PLNSBRGK", "+P", "+L", "+N", "+S", "+B", "+R")
    first_of_other, turns = 31, True

    def _held(self, env_state: Any) -> Any:
        return env_state._x.hand

    def moves(self, state: PgxState) -> tuple[Array, Array, Array, Array]:
        """From where each action goes, to where, whether it promotes, and which piece it drops, or −1. `[A]`.

        Cells are counted from above and then from the right, as who moves sees them.
        """
        from pgx._src.games.shogi import Action

        position = self._unpacked(state)._x
        move = jax.vmap(partial(Action._from_dlshogi_action, position))(jnp.arange(self.num_actions))
        return move.from_, move.to, move.is_promotion, jnp.where(move.is_drop, move.piece, -1)


class AnimalShogi(PgxGame):
    """Dobutsu shogi, on 4 × 3 cells, with a chick, an elephant, a giraffe, a lion, and a hen."""

    name, max_moves = "animal_shogi", 256
    letters, first_of_other, turns = tuple("CEGLH"), 5, True

    def _held(self, env_state: Any) -> Any:
        return env_state._hand

    def moves(self, state: PgxState) -> tuple[Array, Array, Array, Array]:
        """As in `Shogi`. A chick that arrives at the last rank becomes a hen."""
        from pgx.animal_shogi import Action

        move = jax.vmap(Action._from_label)(jnp.arange(self.num_actions))
        promotes = (self._unpacked(state)._board[move.from_] == 0) & (move.from_ % 4 == 1) & (move.to % 4 == 0)
        return move.from_, move.to, promotes & ~move.is_drop, move.drop_piece


class _Loaded(NamedTuple):
    """pgx's environment, and its first state."""

    env: Any
    first: Any


@cache
def _load(name: str) -> _Loaded:
    import pgx

    with jax.core.eval_context():
        env = pgx.make(name)
        return _Loaded(env, jax.jit(env.init)(jax.random.key(0)))


def _bare(state: Any) -> Any:
    """pgx's state without the observation, and with no rewards."""
    return state.replace(observation=(), rewards=jnp.zeros(2))
