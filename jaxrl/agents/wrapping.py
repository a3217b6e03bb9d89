"""Agents around other agents, whose states contain those of the agents inside."""

from collections.abc import Callable
from typing import Any

from jaxrl.types import Agent


def around(agent: Agent, inner: Callable[[Any], Any], *, init: Callable, update: Callable, **fields: Any) -> Agent:
    """The same agent with another state: it does what the agent inside does with `inner(state)`.

    Args:
        agent: the agent inside.
        inner: `(state) -> state` of the agent inside, with which it acts.
        init, update: as in `Agent`, of the state outside.
        fields: other fields of `Agent` that differ from those of the agent inside.
    """
    outputs = agent.outputs
    same = agent._replace(
        act=lambda state, *inputs: agent.act(inner(state), *inputs),
        policy=lambda state, *inputs: agent.policy(inner(state), *inputs),
        memory=lambda state, num_envs: agent.memory(inner(state), num_envs),
        prepare=lambda state, transitions: agent.prepare(inner(state), transitions),
        outputs=None if outputs is None else lambda state, observations: outputs(inner(state), observations),
    )
    return same._replace(init=init, update=update, **fields)
