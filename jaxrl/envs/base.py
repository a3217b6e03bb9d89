"""The base of jaxrl's own environments: a deterministic transition inside, gymnax 1.0's interface outside.

An environment's transition is a pure function of (state, action, random words), written elementwise, so that one
function serves a single environment (scalar leaves) and `N` of them (leaves with a last axis `[N]`), and so that a test
can feed the same draws to an original. The gymnax-style `reset` and `step` below wrap it with a key.
"""

import dataclasses
from abc import ABC, abstractmethod
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl.arguments import check
from jaxrl.precision import single
from jaxrl.random import as_keys
from jaxrl.types import Array, PyTree
from jaxrl.xla.fusion import no_fuse


def uniform(bits: Array) -> Array:
    """A multiple of 2^-24 in [0, 1) from the upper 24 bits of each word: float32 `[...]` of uint32 `[...]`."""
    return (bits >> 8).astype(jnp.float32) * 2.0**-24


class EnvParams:
    """Traced parameters of an environment: a registered dataclass with at least `max_steps_in_episode`."""

    def replace(self, **changes: Any) -> Any:
        """A copy with some fields changed, as gymnax's parameters offer it.

        Raises:
            ArgumentError: a value is out of the bounds that its field declares.
        """
        params = dataclasses.replace(self, **changes)  # type: ignore[type-var]
        check(params)
        return params


class Environment(ABC):
    """An environment with discrete actions. Instances are immutable, hashable, and equal when made equally.

    The observation of a state comes in two forms: packed (`encode`: uint32 words, what replays store) and whole
    (`decode`: what networks and people see).
    """

    random_words: int
    """`W`: 32-bit random words one environment uses a step (and a reset)."""
    num_actions: int

    @property
    @abstractmethod
    def default_params(self) -> EnvParams:
        """The traced parameters of the environment."""

    @property
    @abstractmethod
    def name(self) -> str: ...

    @abstractmethod
    def describe_rules(self, params: Any) -> str:
        """One line that says under which rules scores are taken; always printed beside a score."""

    @abstractmethod
    def initial(self, bits: Array, params: Any) -> PyTree:
        """The first state ever. `bits`: uint32 `[W, ...]`."""

    @abstractmethod
    def transition(self, state: PyTree, action: Array, bits: Array, params: Any) -> tuple[PyTree, Array, Array]:
        """`(state, reward float32 [...], terminated bool [...])` after `action`, int `[...]`, with `bits` `[W, ...]`.

        A state that has terminated must be restarted, not stepped.
        """

    @abstractmethod
    def encode(self, state: PyTree) -> Array:
        """The packed observation: uint32 `[words, ...]`."""

    @abstractmethod
    def decode(self, words: Array) -> Array:
        """The whole observation `[..., *observation]` of packed words `[..., words]` (words last, as stored)."""

    def restart(self, state: PyTree, bits: Array, params: Any) -> PyTree:
        """The first state of the episode after the one that ended in `state`; may use the same `bits` as the step."""
        del state
        return self.initial(bits, params)

    def is_truncated(self, state: Any, params: Any) -> Array:
        """Whether the episode reached its time limit: bool `[...]`."""
        return state.time >= params.max_steps_in_episode

    def observe(self, state: PyTree) -> Array:
        """The whole observation of a state."""
        return self.decode(jnp.moveaxis(self.encode(state), 0, -1))

    def advance(
        self, state: PyTree, action: Array, bits: Array, params: Any
    ) -> tuple[PyTree, PyTree, Array, Array, Array]:
        """One step with auto-reset: `(state, final_state, reward, terminated, truncated)`.

        `final_state` is what the action led to, `state` where the next action starts: the same, or a fresh episode.
        """
        final, reward, terminated = no_fuse(self.transition(state, action, bits, params))
        truncated = self.is_truncated(final, params) & ~terminated
        done = terminated | truncated
        fresh = self.restart(final, bits, params)
        state = jax.tree.map(lambda new, old: jnp.where(done, new, old), fresh, final)
        return no_fuse(state), final, reward, terminated, truncated

    # gymnax 1.0's interface ----------------------------------------------------------------------------------------

    @partial(jax.jit, static_argnames="self")
    def reset(self, key: Array, params: Any = None) -> tuple[Array, PyTree]:
        """`(observation, state)` of a fresh environment."""
        params = single(self.default_params if params is None else params)
        state = self.initial(jax.random.bits(as_keys(key), (self.random_words,), jnp.uint32), params)
        return self.observe(state), state

    @partial(jax.jit, static_argnames="self")
    def step(
        self, key: Array, state: PyTree, action: Array, params: Any = None
    ) -> tuple[Array, PyTree, Array, Array, Array, dict[str, Array]]:
        """`(observation, state, reward, terminated, truncated, info)` with auto-reset.

        `observation` opens the next episode when this one has ended; `info["final_observation"]` is always what the
        action led to, the one to bootstrap from.
        """
        params = single(self.default_params if params is None else params)
        bits = jax.random.bits(as_keys(key), (self.random_words,), jnp.uint32)
        state, final, reward, terminated, truncated = self.advance(state, single(jnp.asarray(action)), bits, params)
        info = {"terminated": terminated, "truncated": truncated, "final_observation": self.observe(final)}
        return self.observe(state), state, reward, terminated, truncated, info

    def action_space(self, params: Any = None) -> Any:
        """gymnax's `Discrete(num_actions)`."""
        from gymnax.environments import spaces  # here, because importing gymnax takes seconds

        del params
        return spaces.Discrete(self.num_actions)

    def observation_space(self, params: Any = None) -> Any:
        """gymnax's `Box` of the observation's shape and dtype."""
        from gymnax.environments import spaces

        observation, _ = jax.eval_shape(self.reset, jax.random.key(0), params)
        return spaces.Box(0, 1, observation.shape, observation.dtype)
