"""What a trainer expects of its agent, and a run of its trainer. Checks read shapes, and cost a program nothing."""

from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError, check_is_no_class
from jaxrl.envs import VectorEnv, VectorState, source
from jaxrl.training.checkpoint import fingerprint_of_constants
from jaxrl.training.loggers import CLOCK_COLUMNS
from jaxrl.training.rows import eval_length
from jaxrl.types import Agent, Array, Box, Decision, Discrete, Hparams, Mean, Metrics, PyTree, Trainer

TAKEN = (
    "seed", "agent", "env_steps", "gradient_steps", "iterations", "episodes", "episode_return", "episode_length",
    *CLOCK_COLUMNS,
)  # fmt: skip
"""The columns of `metrics.csv` that are not metrics of an agent."""


def check_is_agent(agent: Any) -> None:
    """Checks that an agent has its functions.

    Raises:
        ArgumentError: one of them is missing.
    """
    check_is_no_class("agent", agent)
    for name in ("init", "act", "policy", "update"):
        if not callable(getattr(agent, name, None)):
            rule = f"must have a function {name}, as jaxrl.Agent has"
            raise ArgumentError("agent", rule, agent, got=type(agent).__name__)


def init_agent(
    agent: Agent, key: Array, hparams: Hparams, envs: VectorEnv, env_states: VectorState, space: Discrete | Box
) -> PyTree:
    """The initial state of an agent, whose actions must fit the environment.

    Args:
        agent, key, hparams: the agent, its random key, and its hyperparameters as arrays.
        envs, env_states: its environments, just reset.
        space: their actions.

    Raises:
        ArgumentError: `Agent.act` or `Agent.policy` does not return a `Decision`, changes the shape of the memory, has
            another kind of actions, or chooses among another number of them, or the agent needs the environments'
            states and they show none.
    """
    check_env_states(agent, env_states)
    observations = envs.observe(env_states)
    agent_state = agent.init(key, hparams, jax.tree.map(lambda x: x[0], observations))
    memory = agent.memory(agent_state, envs.num_envs)
    given = source.seen(envs, source.Source(env_states, memory))
    training = given._replace(constants=agent.constants)
    check_decision("act", jax.eval_shape(agent.act, agent_state, training, key, 0.0), memory, space, envs.num_envs)
    evaluated = jax.eval_shape(agent.policy, agent_state, given, key)  # else refused only after training
    check_decision("policy", evaluated, memory, space, envs.num_envs)
    if not agent.outputs or not isinstance(space, Discrete):
        return agent_state
    outputs = jax.eval_shape(agent.outputs, agent_state, observations)
    shape = getattr(getattr(outputs, "logits", outputs), "shape", ())
    if shape and shape[-1] != space.num_actions:
        rule = f"must give {space.num_actions} values, one for each action of the environment"
        raise ArgumentError("agent", rule, shape[-1])
    return agent_state


def check_env_states(agent: Agent, env_states: VectorState) -> None:
    """Checks that environments show their states, `VectorState.env_states`, to an agent that needs them.

    Raises:
        ArgumentError: it does, and they are `()`, as those of environments that run outside of JAX.
    """
    if agent.needs_env_states and env_states.env_states == ():
        rule = "must act without the environments' states, which these environments do not show"
        raise ArgumentError("agent", rule, None, got="one with needs_env_states")


def check_decision(function: str, decision: Any, memory: PyTree, space: Discrete | Box, num_envs: int) -> None:
    """Checks what an agent decides for `num_envs` observations, in arrays or `jax.ShapeDtypeStruct`s.

    Args:
        function: which of the agent's functions decided, "act" or "policy".
        decision: what it returned.
        memory: the memory that it was given.
        space: the actions of the environment.
        num_envs: N.

    Raises:
        ArgumentError: it is no `Decision`, its actions are not int `[N]` for discrete actions or float `[N, D]` for a
            box, or the memory has other shapes.
    """
    if not isinstance(decision, Decision):
        got = "an array" if hasattr(decision, "shape") else type(decision).__name__
        raise ArgumentError("agent", f"must return a jaxrl.Decision from {function}", decision, got)
    actions, where = decision.action, " in policy" if function == "policy" else ""
    kind, name = (jnp.integer, "int") if isinstance(space, Discrete) else (jnp.floating, "float")
    shape = (num_envs,) if isinstance(space, Discrete) else (num_envs, *space.low.shape)
    if not (hasattr(actions, "shape") and actions.shape == shape and jnp.issubdtype(actions.dtype, kind)):
        got = f"{actions.dtype}{list(actions.shape)}" if hasattr(actions, "shape") else repr(actions)
        rule = f"must act with {name}{list(shape)}{where}, for this environment has the actions {space}"
        raise ArgumentError("agent", rule, actions, got)
    source.check_memory("agent", memory, decision.memory, where)


def check_update(results: Any) -> tuple[PyTree, Metrics, PyTree]:
    """Returns the results of `Agent.update`, which must be `(agent_state, metrics, errors)`.

    Each metric must be a `Mean`, with a name that can head a column of `metrics.csv`.

    Raises:
        ArgumentError: they are something else.
    """
    if not (isinstance(results, tuple) and len(results) == 3):
        given = f"{len(results)} values" if isinstance(results, tuple) else type(results).__name__
        raise ArgumentError("agent", "must return (agent_state, metrics, errors) from update", results, got=given)
    metrics = results[1]
    if not isinstance(metrics, dict):
        raise ArgumentError("agent", "must return metrics as a dict", metrics, got=type(metrics).__name__)
    for name, metric in metrics.items():
        if not (isinstance(name, str) and name and name.isprintable()) or set(name) & set(',"'):
            rule = "must name each metric by a text without commas, double quotes and line ends"
            raise ArgumentError("agent", rule, name, got=repr(name))
        if name in TAKEN:
            raise ArgumentError("agent", f"must not name a metric as one of {', '.join(TAKEN)}", name)
        if not isinstance(metric, Mean):
            rule, kind = "must return each metric as a jaxrl.Mean(sum, count)", type(metric).__name__
            raise ArgumentError("agent", rule, kind, got=f"{kind} for {name!r}")
        if shapes := [jnp.shape(x) for x in metric if jnp.shape(x)]:
            rule = "must return each metric as a mean of single numbers"
            raise ArgumentError("agent", rule, shapes, got=f"the shape {shapes[0]} for {name!r}")
    return results


def check_total_steps(trainer: Trainer, total_steps: int) -> None:
    """Checks that a run of so many steps has at least one iteration, and does not overflow its counters.

    Raises:
        ArgumentError: it does not, or the number is not a whole one.
    """
    if not isinstance(total_steps, Real) or total_steps % 1 != 0:
        raise ArgumentError("total_steps", "must be a whole number", total_steps)
    least = trainer.steps_at(1)
    if total_steps < least:
        raise ArgumentError("total_steps", f"must be at least {least} (warm-up and one iteration)", total_steps)
    too_many = trainer.steps_at(trainer.max_iterations + 1)
    if total_steps >= too_many:
        raise ArgumentError("total_steps", f"must be less than {too_many}, where counters overflow", total_steps)


def check_intervals(log_every: float, checkpoint_every: float, eval_every: float, evaluate: Callable | None) -> None:
    """Checks how often a run logs, saves and evaluates.

    Raises:
        ArgumentError: one of them is out of bounds, or it is to evaluate without a function that does.
    """
    for name, value in (("log_every", log_every), ("checkpoint_every", checkpoint_every)):
        if not isinstance(value, Real) or not value > 0:
            raise ArgumentError(name, "must be a number > 0", value)
    if not isinstance(eval_every, Real) or eval_every < 0:
        raise ArgumentError("eval_every", "must be a number ≥ 0", eval_every)
    if eval_every and evaluate is None:
        raise ArgumentError("evaluate", "must be given with eval_every", got="none")


def check_evaluates(trainer: Trainer, total_steps: int, log_every: int, eval_every: int) -> None:
    """Checks that a run has at least one evaluation while training, to keep the best agents.

    Raises:
        ArgumentError: it has none.
    """
    first = trainer.steps_at(eval_length(trainer, log_every, eval_every))
    if not eval_every or first > total_steps:
        fits = f"fit into the {total_steps} steps of the run in whole rows of metrics"
        rule = f"must be given to keep the best agents, and {fits}"
        raise ArgumentError("eval_every", rule, eval_every)


def check_constants(then: str | None, trainer: Trainer, directory: Path) -> None:
    """Checks that what goes on in a directory has the constants that it began with, such as its dataset.

    Args:
        then: their fingerprint; None if it is not known.
        trainer: has those of now.
        directory: of the run or the sweep.

    Raises:
        ArgumentError: they are others.
    """
    now = fingerprint_of_constants(trainer.constants)
    if then is not None and then != now:
        rule = f"must be the same as in {directory} to resume it: the same dataset, or the same expert"
        raise ArgumentError("constants", rule, now, got=f"others (SHA-256 {now[:12]}, there {then[:12]})")
