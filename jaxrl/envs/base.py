"""The base of jaxrl's own environments: a deterministic transition inside, gymnax 1.0's interface outside.

A transition is a pure, elementwise function of (state, action, random words). The same function serves a single
environment (scalar leaves) and `N` of them (leaves with a last axis `[N]`), and tests feed the same random words to an
original. The gymnax-style `reset` and `step` draw the words from a key.
"""

import dataclasses
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import check
from jaxrl.precision import single
from jaxrl.random import as_keys
from jaxrl.types import Array, Box, PyTree
from jaxrl.xla.fusion import no_fuse


def uniform(bits: Array) -> Array:
    """Multiples of 2^-24 in [0, 1) from the upper 24 bits of each word: float32 `[...]` from uint32 `[...]`."""
    return (bits >> 8).astype(jnp.float32) * 2.0**-24


def clipped(actions: Array, box: Box | None) -> Array:
    """Actions `[..., D]` inside the box; discrete ones, without a box, as they are."""
    return actions if box is None else jnp.clip(actions, *map(jnp.asarray, box))


class EnvParams:
    """Traced parameters of an environment: a registered dataclass, with `max_steps_in_episode` for `is_truncated`."""

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed, as in gymnax.

        Raises:
            ArgumentError: a value is out of its field's bounds.
        """
        params = dataclasses.replace(self, **changes)  # type: ignore[type-var]
        check(params)
        return params


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NoParams(EnvParams):
    """The parameters of an environment without any."""


def describe_params(params: Any, defaults: Any) -> str:
    """The numbers that differ from the default parameters, and the step cap, in one line."""
    cap = getattr(params, "max_steps_in_episode", None)
    comparable = dataclasses.is_dataclass(params) and type(params) is type(defaults)
    names = [field.name for field in dataclasses.fields(params)] if comparable else []
    values = {name: getattr(params, name) for name in names if name != "max_steps_in_episode"}
    changed = [f"{k} {v}" for k, v in values.items() if np.ndim(v) == 0 and v != getattr(defaults, k)]
    return f"{', '.join(changed) or 'default rules'}, {'no step cap' if cap is None else f'{int(cap)}-step cap'}"


class Environment(ABC):
    """An environment of arrays. Instances are immutable and hashable, and equal if built equally.

    Its actions are discrete, or with a `box` continuous: then an action is float32 `[D, ...]`, inside the box.

    The observation of a state has two forms: packed by `encode` (uint32 words, stored in replays) and decoded by
    `decode` (what networks and people see).
    """

    random_words: int
    """`W`: 32-bit random words of one step, or of one reset."""
    num_actions: int
    """Of discrete actions."""
    box: Box | None = None
    """The bounds of continuous actions, `[D]`; None if they are discrete."""

    @property
    @abstractmethod
    def default_params(self) -> EnvParams:
        """The default parameters, traced."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    def describe_rules(self, params: Any) -> str:
        """The rules of the game in one line, printed beside every score."""
        return describe_params(params, self.default_params)

    @abstractmethod
    def initial(self, bits: Array, params: Any) -> PyTree:
        """The first state, from `bits` uint32 `[W, ...]`."""

    @abstractmethod
    def transition(self, state: PyTree, action: Array, bits: Array, params: Any) -> tuple[PyTree, Array, Array]:
        """`(state, reward float32 [...], terminated bool [...])` after `action` int `[...]`, with `bits` `[W, ...]`.

        A continuous `action` is float32 `[D, ...]`, clipped to the box.

        A terminated state must be restarted, not stepped.
        """

    @abstractmethod
    def encode(self, state: PyTree) -> Array:
        """The packed observation, uint32 `[words, ...]`."""

    @abstractmethod
    def decode(self, words: Array) -> Array:
        """The observation `[..., *observation]` of packed words `[..., words]` (words last, as stored)."""

    def legal_actions(self, state: PyTree, params: Any) -> Array | None:
        """Which actions are legal in a state, bool `[num_actions, ...]`, at least one; None if all always are."""
        del state, params
        return None

    def has_failed(self, state: PyTree) -> Array | None:
        """Whether numbers of a state are of no use, such as NaN, bool `[...]`; None if that cannot be.

        Then the episode ends as truncated where it was before the step, with a reward of 0.
        """
        del state
        return None

    def restart(self, state: PyTree, bits: Array, params: Any) -> PyTree:
        """The first state of the episode after the one that ended in `state`. It may use the `bits` of the step."""
        del state
        return self.initial(bits, params)

    def is_truncated(self, state: Any, params: Any) -> Array:
        """Whether the episode reached its time limit, bool `[...]`."""
        return state.time >= params.max_steps_in_episode

    def time_limit(self, params: Any) -> Array | None:
        """Steps after which every episode has ended, int32 scalar, if it may begin at any of them; else None.

        Trainers then begin at random times of the first episodes, with `elapse`: environments that reach their limit
        together would give data of one phase. Return `params.max_steps_in_episode` if only `is_truncated` uses the
        clock.
        """
        del params
        return None

    def elapse(self, state: Any, steps: Array) -> Any:
        """The state, as if its episode had begun so many `steps` `[...]` earlier: it ends so much sooner."""
        return state._replace(time=state.time + steps.astype(state.time.dtype))

    def observe(self, state: PyTree) -> Array:
        """The decoded observation of a state."""
        return self.decode(jnp.moveaxis(self.encode(state), 0, -1))

    def advance(
        self, state: PyTree, action: Array, bits: Array, params: Any
    ) -> tuple[PyTree, PyTree, Array, Array, Array]:
        """One step with auto-reset: `(state, final_state, reward, terminated, truncated)`.

        `final_state` is the state after the action. The next action starts from `state`: the same, or the first state
        of a new episode.
        """
        final, reward, terminated = no_fuse(self.transition(state, action, bits, params))
        truncated = self.is_truncated(final, params) & ~terminated
        if (failed := self.has_failed(final)) is not None:
            final = jax.tree.map(partial(jnp.where, failed), state, final)
            reward, terminated, truncated = jnp.where(failed, 0.0, reward), terminated & ~failed, truncated | failed
        done = terminated | truncated
        fresh = self.restart(final, bits, params)
        state = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, final)
        return no_fuse(state), final, reward, terminated, truncated

    # gymnax 1.0's interface

    @partial(jax.jit, static_argnames="self")
    def reset(self, key: Array, params: Any = None) -> tuple[Array, PyTree]:
        """`(observation, state)` of a new environment."""
        params = single(self.default_params if params is None else params)
        state = self.initial(jax.random.bits(as_keys(key), (self.random_words,), jnp.uint32), params)
        return self.observe(state), state

    @partial(jax.jit, static_argnames="self")
    def step(
        self, key: Array, state: PyTree, action: Array, params: Any = None
    ) -> tuple[Array, PyTree, Array, Array, Array, dict[str, Array]]:
        """`(observation, state, reward, terminated, truncated, info)` with auto-reset.

        After the end of an episode, `observation` and `state` start the next one. `info["final_observation"]` is always
        the observation after the action, from which to bootstrap.
        """
        params = single(self.default_params if params is None else params)
        bits = jax.random.bits(as_keys(key), (self.random_words,), jnp.uint32)
        action = clipped(single(jnp.asarray(action)), self.box)
        state, final, reward, terminated, truncated = self.advance(state, action, bits, params)
        info = {"terminated": terminated, "truncated": truncated, "final_observation": self.observe(final)}
        return self.observe(state), state, reward, terminated, truncated, info

    def action_space(self, params: Any = None) -> Any:
        """gymnax's `Discrete(num_actions)`, or its `Box`."""
        from gymnax.environments import spaces  # here, because importing gymnax takes seconds

        del params
        if self.box is not None:
            return spaces.Box(*map(jnp.asarray, self.box), self.box.low.shape, jnp.float32)
        return spaces.Discrete(self.num_actions)

    def observation_space(self, params: Any = None) -> Any:
        """gymnax's `Box` of the observation's shape and dtype."""
        from gymnax.environments import spaces

        observation, _ = jax.eval_shape(self.reset, jax.random.key(0), params)
        return spaces.Box(0, 1, observation.shape, observation.dtype)
