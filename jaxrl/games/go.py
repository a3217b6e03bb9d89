"""Go on boards of up to 19 × 19 points, as bit boards.

The rules are those of Tromp and Taylor (https://tromp.github.io/go.html) without suicide: stones without a liberty are
captured, two passes end the game, and each player has the stones and the empty points that reach only its own. Who
repeats an earlier position of the board, other than by passing, loses. Where the rules of Tromp and Taylor forbid such
a move (positional superko), every position has the same value: the move is never better than a pass. It is found by
one comparison with the past instead of one for each point. Only retaking a ko at once is illegal, as usual.

These are the rules of pgx, too, but for a tie, which there White wins.
"""

import dataclasses
from functools import cached_property
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.arguments import check
from jaxrl.games.bit_boards import Bits, bits_of, flood
from jaxrl.games.grid_game import GridGame
from jaxrl.types import Array


class GoState(NamedTuple):
    """A position and its past.

    Attributes:
        stones: of Black, who moves first, and of White, a bit for each point, uint32 `[W, 2]`.
        ko: the point of the one stone that was just captured, if taking it back would repeat the position; uint32
            `[W]`.
        player: whose turn it is, int32 scalar.
        passed: whether the last move was a pass, bool scalar.
        moves: how many there were, int32 scalar.
        hashes: of the boards so far, uint32 `[max_moves, 2]`.
        terminated: whether the game is over, bool scalar.
    """

    stones: Array
    ko: Array
    player: Array
    passed: Array
    moves: Array
    hashes: Array
    terminated: Array


@dataclasses.dataclass(frozen=True)
class Go(GridGame):
    """Go. Action `a` is row `a // size` from above, column `a % size`; action `size²` passes.

    A game ends after two passes in a row, by a repetition, or after `2 size²` moves.

    Attributes:
        size: rows and columns of the board.
        komi: points that White gets for moving second. A tie is possible if it is a whole number.
    """

    size: Annotated[int, Interval(ge=2, le=19)] = 9
    komi: Annotated[float, Interval(ge=-361, le=361)] = 7.5

    solvable = False

    def __post_init__(self) -> None:
        check(self)

    @property
    def name(self) -> str:
        return "go"

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        return self.size**2 + 1

    @property
    def max_moves(self) -> int:  # type: ignore[override]
        return 2 * self.size**2

    def initial(self) -> GoState:
        words = len(self.grid.all.words)
        stones, ko = jnp.zeros((words, 2), jnp.uint32), jnp.zeros(words, jnp.uint32)
        hashes = jnp.zeros((self.max_moves, 2), jnp.uint32)
        return GoState(stones, ko, jnp.int32(0), jnp.bool(False), jnp.int32(0), hashes, jnp.bool(False))

    def step(self, state: GoState, action: Array) -> tuple[GoState, Array]:
        passes, stone = action == self.size**2, self.grid.cell(action)
        own, other = self._sides(state)
        own = own | stone
        alive = flood(self.grid.beside(self.grid.all - own - other) & other, [other], self.grid.straight)
        captured = other - alive
        is_ko = (captured.count() == 1) & ~(self.grid.beside(stone) - other).any()
        stones = self._stones(own, alive, state.player)
        board = hash_of(stones)
        repeats = ~passes & (state.hashes == board).all(-1).any()
        ends = ~state.terminated & (repeats | passes & state.passed | (state.moves + 1 == self.max_moves))
        after = GoState(
            stones=stones,
            ko=captured.stack() * is_ko,
            player=1 - state.player,
            passed=passes,
            moves=state.moves + 1,
            hashes=state.hashes.at[state.moves].set(board),
            terminated=ends,
        )
        lead = self._lead(bits_of(stones), ends)
        result = jnp.where(repeats, -1.0, jnp.sign(jnp.where(state.player == 0, lead, -lead)))
        after = jax.tree.map(lambda old, new: jnp.where(state.terminated, old, new), state, after)
        return after, jnp.where(ends, result, 0.0).astype(jnp.float32)

    def _lead(self, stones: Bits, ends: Array) -> Array:
        """By how many points Black is ahead, float32 scalar, if the game ends; else a number that means nothing."""
        empty = self.grid.all - stones[0] - stones[1]
        seeds = (self.grid.beside(stones) & empty[None]).where(ends)  # no game that goes on is waited for
        reached = flood(seeds, [empty[None]], self.grid.straight)
        points = (stones | reached).count()  # what both reach counts for both
        return points[0] - points[1] - jnp.float32(self.komi)

    def legal_actions(self, state: GoState) -> Array:
        black, white = bits_of(state.stones)[0], bits_of(state.stones)[1]
        own, other = self._sides(state)
        empty, taken = self.grid.all - own - other, own | other
        # Two different liberties of a chain differ in a digit of their numbers: it touches a 0 and a 1 of this digit.
        zeros, ones = (
            flood(self.grid.beside(empty[None] & marks) & taken[None], [black[None], white[None]], self.grid.straight)
            for marks in self._digits
        )
        atari = taken - (zeros & ones).reduce_or()
        near = self.grid.beside(empty | own - atari | other & atari)
        legal = self.grid.unpack((empty & near) - bits_of(state.ko)).reshape(-1)
        return state.terminated | jnp.append(legal, True)

    @cached_property
    def _digits(self) -> tuple[Bits, Bits]:
        """The points whose number has a 0, and a 1, in each binary digit: words `[D]`."""
        number = np.arange(self.size**2).reshape(self.size, self.size, 1)
        digits = number >> np.arange((self.size**2 - 1).bit_length()) & 1
        return self.grid.pack(digits == 0), self.grid.pack(digits == 1)

    def observe(self, state: GoState) -> Array:
        """Planes `[size, size, 5]`: own stones, the other's, and in all cells whether the player moves first in the
        game; where the ko forbids a stone; in all cells whether the other one has just passed. Earlier boards, which
        repetitions depend on, are left to a search."""
        ko = self.grid.unpack(bits_of(state.ko))
        passed = jnp.full(ko.shape, state.passed)
        return jnp.concatenate([self._colours(state), ko[..., None], passed[..., None]], axis=-1)

    def key(self, state: GoState) -> Array:
        """The board, the ko, whose turn it is and whether the other has passed; not the rest of the past."""
        flags = state.player.astype(jnp.uint32) * 2 + state.passed
        return jnp.concatenate([state.stones.reshape(-1), state.ko, flags[None]])


def hash_of(words: Array) -> Array:
    """64 bits as two words, uint32 `[2]`, from the words of a board, as MurmurHash3 mixes them (Appleby 2011)."""
    mixed = jnp.array([0x9747B28C, 0x3C6EF372], jnp.uint32)
    for word in words.reshape(-1):
        mixed = (mixed ^ word) * jnp.array([0x85EBCA6B, 0xCC9E2D51], jnp.uint32)
        mixed = (mixed ^ mixed >> 15) * jnp.array([0xC2B2AE35, 0x1B873593], jnp.uint32)
        mixed = mixed ^ mixed >> 13
    return mixed
