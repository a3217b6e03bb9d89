"""Environments of JaxMARL (Rutherford et al. 2024, https://arxiv.org/abs/2311.10090) whose agents are alike.

JaxMARL does not say whether an episode reached its time limit or its end. Here it is truncated if its clock has reached
the environment's `max_steps`, so that learners bootstrap from its last observation, and else terminated.
"""

import contextlib
import dataclasses
import inspect
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError, check_known, first_line, suggest
from jaxrl.envs.base import NoParams
from jaxrl.envs.multi_agent import MultiAgentEnvironment
from jaxrl.types import Array, PyTree

PREFIX = "jaxmarl"
MOVES = ("no-op", "left", "right", "down", "up")
INSTALL = "pip install 'jaxrl[multiagent]'"


@dataclasses.dataclass(frozen=True)
class JaxMARL(MultiAgentEnvironment):
    """An environment of JaxMARL.

    Attributes:
        name: such as "jaxmarl:MPE_simple_spread_v3".
        env: JaxMARL's own, with `reset(key)` and `step_env(key, state, actions)`.
        masks: whether it says which actions are legal.
    """

    name: str
    env: Any
    masks: bool
    default_params = NoParams()

    @property
    def num_agents(self) -> int:  # type: ignore[override]
        return len(self.env.agents)

    @property
    def rules(self) -> str:
        cap = getattr(self.env, "max_steps", None)
        return f"{super().rules}; {'no step cap' if cap is None else f'{cap}-step cap'}"

    def _stack(self, of_agents: dict[str, PyTree]) -> PyTree:
        return jax.tree.map(lambda *x: jnp.stack(x), *(of_agents[agent] for agent in self.env.agents))

    def reset(self, key: Array, params: Any = None) -> tuple[PyTree, PyTree]:
        del params
        observations, state = self.env.reset(key)
        return self._stack(observations), state

    def step(self, key: Array, state: PyTree, action: Array, params: Any = None) -> tuple:
        del params
        key, reset_key = jax.random.split(key)  # as in JaxMARL's own `step`, which drops the last observations
        actions = {agent: action[i] for i, agent in enumerate(self.env.agents)}
        observations, after, rewards, dones, _ = self.env.step_env(key, state, actions)
        done, final = dones["__all__"], self._stack(observations)
        truncated = done & self._reached_limit(after)
        first, fresh = self.reset(reset_key)
        seen, begun = jax.tree.map(partial(jnp.where, done), (first, fresh), (final, after))
        info = {"final_observation": final}
        if self.masks:
            info["final_legal_actions"] = self._legal(after)
        return seen, begun, self._stack(rewards), done & ~truncated, truncated, info

    def _reached_limit(self, state: Any) -> Array:
        clock, limit = getattr(state, "step", getattr(state, "time", None)), getattr(self.env, "max_steps", None)
        return jnp.bool_(False) if clock is None or limit is None else jnp.asarray(clock >= limit)

    def _legal(self, state: PyTree) -> Array:
        return self._stack(self.env.get_avail_actions(state)) != 0

    def legal_actions(self, state: PyTree, params: Any = None) -> Array | None:
        del params
        return self._legal(state) if self.masks else None

    def action_space(self, params: Any = None) -> Any:
        del params
        return self.env.action_space(self.env.agents[0])

    @property
    def action_names(self) -> tuple[str, ...]:
        """What the actions are called in a particle environment whose agents only move; empty elsewhere."""
        moves = hasattr(self.env, "rad") and getattr(self.action_space(), "n", 0) == len(MOVES)
        return MOVES if moves else ()

    def discs(self, state: Any) -> tuple[Array, Array] | None:
        """What a picture shows: the places `[D, 2]` and radii `[D]` of agents and landmarks; None if there are none."""
        if not hasattr(state, "p_pos") or not hasattr(self.env, "rad"):
            return None
        return state.p_pos, jnp.asarray(self.env.rad)


def find_jaxmarl(env_id: str) -> Callable[..., JaxMARL]:
    """A function of options that makes JaxMARL's environment of that id, such as "jaxmarl:MPE_simple_spread_v3".

    Raises:
        ArgumentError: JaxMARL is not installed, or knows no such environment.
    """
    try:
        with _quiet():
            import jaxmarl
    except ImportError as error:
        raise ArgumentError("env_id", f"needs JaxMARL ({INSTALL})", env_id) from error
    name, known = env_id.removeprefix(f"{PREFIX}:"), jaxmarl.registered_envs
    if name not in known:
        nearest = suggest(env_id, [f"{PREFIX}:{each}" for each in known])
        raise ArgumentError("env_id", f"must be an environment that JaxMARL knows ({nearest})", env_id)

    def environment(**options: Any) -> JaxMARL:
        try:
            with _quiet():
                env = jaxmarl.make(name, **options)
        except Exception as error:
            if options:  # which the caller names
                raise
            raise ArgumentError("env_id", f"must be one that JaxMARL makes ({first_line(error)})", env_id) from error
        if name.startswith("MPE_"):  # these take any option, and ignore those that they do not know
            check_known(options, _options_of(type(env)), env_id)
        return from_jaxmarl(env, env_id)

    return environment


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes of JaxMARL about modules that it has not found, and of what these import."""
    with warnings.catch_warnings(), mock.patch("builtins.print"):  # an import puts a redirected stdout back
        warnings.simplefilter("ignore")
        yield


def _options_of(kind: type) -> list[str]:
    """The names of the arguments of a class and of those that it extends."""
    made = [inspect.signature(each.__init__).parameters.values() for each in kind.__mro__[:-1]]  # type: ignore[misc]
    return sorted({x.name for each in made for x in each if x.kind is x.POSITIONAL_OR_KEYWORD} - {"self"})


def from_jaxmarl(env: Any, name: str) -> JaxMARL:
    """An environment of JaxMARL.

    Args:
        env: with JaxMARL's interface.
        name: of it.

    Raises:
        ArgumentError: its agents see or do different things, so that they cannot share a policy.
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    observations, state = jax.eval_shape(env.reset, key)
    seen = {str(jax.tree.map(lambda x: (x.shape, x.dtype), observations[agent])) for agent in env.agents}
    done = {(getattr(x, "n", None), getattr(x, "shape", None)) for x in map(env.action_space, env.agents)}
    if len(seen) > 1 or len(done) > 1:
        rule = "must have agents with equal observations and actions, which can share a policy"
        raise ArgumentError("env_id", rule, name)
    try:
        jax.eval_shape(env.get_avail_actions, state)
    except (NotImplementedError, AttributeError):
        return JaxMARL(name, env, False)
    return JaxMARL(name, env, True)
