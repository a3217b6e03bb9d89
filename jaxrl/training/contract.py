"""What a trainer asks of its agent, found out from shapes while tracing: it costs nothing later."""

from typing import Any

import jax

from jaxrl.arguments import ArgumentError, check_is_no_class
from jaxrl.spaces import Box, Discrete, check_actions
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree


def check_is_agent(agent: Any) -> None:
    """Refuses what has not the functions of an agent.

    Raises:
        ArgumentError: one of them is missing.
    """
    check_is_no_class("agent", agent)
    for name in ("init", "act", "policy", "update"):
        if not callable(getattr(agent, name, None)):
            raise ArgumentError(
                "agent", f"must have a function {name}, as jaxrl.Agent has", agent, got=type(agent).__name__
            )


def check_acts(agent: Agent, agent_state: PyTree, observations: PyTree, key: Array, space: Discrete | Box) -> None:
    """Refuses an agent that does not act as the environment takes it, or that chooses among more or fewer actions.

    Args:
        agent, agent_state: who acts.
        observations: `[N, ...]`.
        key: any.
        space: the environment's actions.

    Raises:
        ArgumentError: it does not fit.
    """
    actions = jax.eval_shape(agent.act, agent_state, observations, key, 0.0)
    check_actions(actions, space, len(jax.tree.leaves(observations)[0]))
    if not agent.outputs or not isinstance(space, Discrete):
        return
    outputs = jax.eval_shape(agent.outputs, agent_state, observations)
    shape = getattr(getattr(outputs, "logits", outputs), "shape", ())
    if shape and shape[-1] != space.num_actions:
        raise ArgumentError(
            "agent", f"must give {space.num_actions} values, one for each action of the environment", shape[-1]
        )


def updated(
    agent: Agent, agent_state: PyTree, batch: PyTree, key: Array, env_steps: Array
) -> tuple[PyTree, Metrics, PyTree]:
    """`Agent.update`, whose results are what they should be.

    Raises:
        ArgumentError: they are not.
    """
    results = agent.update(agent_state, batch, key, env_steps)
    if not (isinstance(results, tuple) and len(results) == 3):
        given = f"{len(results)} values" if isinstance(results, tuple) else type(results).__name__
        raise ArgumentError("agent", "must return (agent_state, metrics, extras) from update", results, got=given)
    metrics = results[1]
    if not isinstance(metrics, dict):
        raise ArgumentError("agent", "must return metrics as a dict", metrics, got=type(metrics).__name__)
    for name, metric in metrics.items():
        if not isinstance(metric, Mean):
            raise ArgumentError(
                "agent",
                "must return each metric as a jaxrl.Mean(sum, count)",
                type(metric).__name__,
                got=f"{type(metric).__name__} for {name!r}",
            )
    return results
