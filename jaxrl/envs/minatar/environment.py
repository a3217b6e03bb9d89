"""What all MinAtar games share: action sets, sticky actions, the step cap, and the environment's interface."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.envs.base import Environment, EnvParams, uniform
from jaxrl.envs.minatar import bits as bit_boards
from jaxrl.types import Array, PyTree

NOOP, LEFT, UP, RIGHT, DOWN, FIRE = range(6)
"""MinAtar's actions with the original numbers."""
ACTION_NAMES = ("no-op", "left", "up", "right", "down", "fire")

NO_CAP = 2**31 - 1


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MinAtarParams(EnvParams):
    """Traced parameters of every MinAtar game."""

    sticky_action_prob: Annotated[float, Interval(ge=0, le=1)] = 0.1
    """Probability that the last executed action is executed again instead of the chosen one."""
    difficulty_ramping: bool = True
    """Whether the game becomes harder over time (Asterix, Seaquest and Space Invaders)."""
    max_steps_in_episode: Annotated[int, Interval(ge=1, le=NO_CAP)] = NO_CAP
    """Steps after which an episode is truncated, by default none."""


class Game(NamedTuple):
    """The rules of one game: pure, elementwise functions of arrays with any trailing batch axes.

    Attributes:
        channels: names of the observation's channels.
        minimal_actions: the actions that do something, with MinAtar's numbers; all others are no-ops.
        random_words: `W`, 32-bit random words of one step. The game may use the low 8 bits of word 0; its upper 24
            decide whether the action sticks.
        initial: `(bits[W, ...]) -> state`.
        step: `(state, action, bits, params) -> (state, reward, terminated)`.
        boards: `(state) -> uint32 [words, ...]`, the observation packed by `jaxrl.envs.minatar.bits`.
        gymnax_cap: gymnax's step cap.
        time_limit: steps after which every episode has ended.
        elapse: `(state, steps) -> state`, whose episode ends so many steps sooner.
    """

    name: str
    channels: tuple[str, ...]
    minimal_actions: tuple[int, ...]
    random_words: int
    initial: Callable[[Array], PyTree]
    step: Callable[[PyTree, Array, Array, MinAtarParams], tuple[PyTree, Array, Array]]
    boards: Callable[[PyTree], Array]
    gymnax_cap: int = 1000
    time_limit: int = NO_CAP
    elapse: Callable[[PyTree, Array], PyTree] = lambda state, steps: state


class MinAtarState(NamedTuple):
    """The state of a MinAtar game.

    Attributes:
        game: the game's own state.
        last_action: the last executed action, which may stick, even across the end of an episode; int32 `[...]`.
        time: steps since the start of the episode, int32 `[...]`.
    """

    game: PyTree
    last_action: Array
    time: Array


@dataclasses.dataclass(frozen=True)
class MinAtar(Environment):
    """A MinAtar game.

    Args:
        game: the rules.
        rules: "original" are those of MinAtar's authors (6 actions, sticky 0.1, ramping, no cap), "gymnax" those of
            gymnax (minimal actions, no sticky actions, episodes truncated after 1000 steps, in Freeway after 2500).

    An action outside `0 .. num_actions - 1` is a no-op.
    """

    game: Game
    rules: Literal["original", "gymnax"] = "original"

    @property
    def name(self) -> str:
        return self.game.name

    @property
    def actions(self) -> tuple[int, ...]:
        """MinAtar's number of each action."""
        return tuple(range(6)) if self.rules == "original" else self.game.minimal_actions

    @property
    def action_names(self) -> tuple[str, ...]:
        """The name of each action."""
        return tuple(ACTION_NAMES[action] for action in self.actions)

    @property
    def num_actions(self) -> int:  # type: ignore[override]
        return len(self.actions)

    @property
    def random_words(self) -> int:  # type: ignore[override]
        return self.game.random_words

    def describe_rules(self, params: MinAtarParams) -> str:
        sticky = f"sticky actions {params.sticky_action_prob:g}" if params.sticky_action_prob else "no sticky actions"
        ramping = "difficulty ramping" if params.difficulty_ramping else "no difficulty ramping"
        cap = params.max_steps_in_episode
        capped = "no step cap" if cap == NO_CAP else f"{cap}-step cap"
        return f"{self.rules}: {self.num_actions} actions, {sticky}, {ramping}, {capped}"

    @property
    def default_params(self) -> MinAtarParams:
        if self.rules == "original":
            return MinAtarParams()
        return MinAtarParams(sticky_action_prob=0.0, max_steps_in_episode=self.game.gymnax_cap)

    def initial(self, bits: Array, params: MinAtarParams) -> MinAtarState:
        del params
        zero = jnp.zeros(bits.shape[1:], jnp.int32)
        return MinAtarState(self.game.initial(bits), last_action=zero, time=zero)

    def restart(self, state: MinAtarState, bits: Array, params: MinAtarParams) -> MinAtarState:
        return self.initial(bits, params)._replace(last_action=state.last_action)

    def transition(
        self, state: MinAtarState, action: Array, bits: Array, params: MinAtarParams
    ) -> tuple[MinAtarState, Array, Array]:
        chosen = sum((jnp.where(action == i, code, 0) for i, code in enumerate(self.actions)), jnp.int32(NOOP))
        drawn = uniform(bits[0])
        executed = jnp.where(drawn < params.sticky_action_prob, state.last_action, chosen)
        game, reward, terminated = self.game.step(state.game, executed, bits, params)
        return MinAtarState(game, executed, state.time + 1), reward, terminated

    def time_limit(self, params: MinAtarParams) -> Array:
        return jnp.minimum(params.max_steps_in_episode, self.game.time_limit)

    def elapse(self, state: MinAtarState, steps: Array) -> MinAtarState:
        return state._replace(game=self.game.elapse(state.game, steps), time=state.time + steps)

    def encode(self, state: MinAtarState) -> Array:
        return self.game.boards(state.game)

    def decode(self, words: Array) -> Array:
        """bool `[..., 10, 10, C]` (y, x, channel) from uint32 `[..., words]`."""
        return bit_boards.unpack(words, len(self.game.channels))
