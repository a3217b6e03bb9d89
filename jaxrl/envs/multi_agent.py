"""Environments in which several agents act at once, each with its own observations and rewards.

The interface is that of gymnax 1.0 (see `jaxrl.envs.foreign`) with an axis for the M agents first:

    reset(key, params) -> (observations [M, ...], state)
    step(key, state, actions [M], params) -> (observations [M, ...], state, rewards [M], terminated, truncated, info)

An episode ends for all agents at once: `terminated` and `truncated` are scalars. `info["final_observation"]` is
`[M, ...]`, and so are `legal_actions(state, params)` and `info["final_legal_actions"]`, where not all are legal.

All agents of one environment are lanes of a vectorised one, as M environments would be. An agent that learns from these
learns one policy that all share, from what each of them sees and earns. With PPO, this is IPPO with shared parameters
(de Witt et al. 2020, https://arxiv.org/abs/2011.09533).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl.random import as_keys
from jaxrl.types import Array, PyTree
from jaxrl.xla.threefry import inline, ordinary


class MultiAgentEnvironment(ABC):
    """An environment of M agents with equal observations and actions."""

    name: str
    num_agents: int
    """M."""
    default_params: Any

    @property
    def rules(self) -> str:
        """The rules in one line, printed beside every score."""
        return f"{self.num_agents} agents that share a policy"

    @abstractmethod
    def reset(self, key: Array, params: Any = None) -> tuple[PyTree, PyTree]:
        """`(observations [M, ...], state)` of a new episode."""

    @abstractmethod
    def step(
        self, key: Array, state: PyTree, action: Array, params: Any = None
    ) -> tuple[PyTree, PyTree, Array, Array, Array, dict[str, Any]]:
        """One step of all agents, with automatic reset."""

    @abstractmethod
    def action_space(self, params: Any = None) -> Any:
        """The actions of one agent."""

    def legal_actions(self, state: PyTree, params: Any = None) -> Array | None:
        """Which actions are legal for each agent, bool `[M, num_actions]`; None if all always are."""
        del state, params
        return None


def lanes(env: MultiAgentEnvironment, params: Any, num_envs: int) -> tuple[Callable, Callable]:
    """`reset` and `step` of E environments for `jaxrl.vectorize`: N = E M lanes, those of one environment together.

    States of environments are `[E, ...]`.
    """

    def legal_in(states: PyTree) -> Array | None:
        return _flat(jax.vmap(lambda state: env.legal_actions(state, params))(states))

    def reset(key: Array) -> tuple[PyTree, PyTree, Array | None]:
        observations, states = jax.vmap(lambda key: env.reset(ordinary(key), params))(
            jax.random.split(as_keys(key), num_envs)
        )
        return states, _flat(observations), legal_in(states)

    def step(states: PyTree, actions: Array, key: Array) -> tuple:
        own = actions.reshape(num_envs, env.num_agents, *actions.shape[1:])
        observations, states, rewards, terminated, truncated, info = jax.vmap(
            lambda key, state, action: env.step(ordinary(key), state, action, params)
        )(jax.random.split(inline(key), num_envs), states, own)
        ends = [jnp.repeat(x, env.num_agents) for x in (terminated, truncated & ~terminated)]
        legal = legal_in(states)
        last = None if legal is None else _flat(info["final_legal_actions"]) if "final_legal_actions" in info else legal
        final = _flat(info["final_observation"]), last
        return (states, _flat(observations), legal), [_flat(rewards).astype(jnp.float32), *ends], final, None

    return reset, step


def _flat(x: PyTree) -> PyTree:
    """`[E M, ...]` of `[E, M, ...]`."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), x)
