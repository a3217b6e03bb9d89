"""The on-policy trainer: act in N environments for T steps, then learn from these transitions once."""

import dataclasses
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check_config
from jaxrl.envs import VectorEnv, VectorState, action_space_of, check_resets, vectorize
from jaxrl.envs.source import Source
from jaxrl.training.checks import check_is_agent, check_update, init_agent
from jaxrl.training.collect import train_state_axes
from jaxrl.training.stages import Plan, Stages, init, step
from jaxrl.types import Agent, Array, Box, Discrete, Hparams, Metrics, PyTree, StateT, Trainer, TrainState, Transition
from jaxrl.xla.threefry import inline, ordinary


@dataclasses.dataclass(frozen=True)
class OnPolicyConfig:
    """The sizes of the on-policy trainer, which are static."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 64
    """N, environments stepped side by side."""
    rollout_length: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """T, steps of every environment between two updates."""
    reset_each_rollout: bool = False
    """Reset the environments before every rollout."""


class _Parts(NamedTuple):
    """The arguments of `on_policy`, with `envs` vectorized, and the actions of the environment."""

    agent: Agent
    envs: VectorEnv
    config: OnPolicyConfig
    space: Discrete | Box


def on_policy(agent: Agent[StateT], env: Any, env_params: Any, config: OnPolicyConfig) -> Trainer[StateT]:
    """A trainer for agents that learn from what they have just done.

    Each iteration steps all environments `rollout_length` times, and then calls `Agent.update` once with the rollout, a
    `Transition` of `[T, N]`.

    Raises:
        ArgumentError: a size is out of bounds, a rollout has 2^31 transitions or more, the environment does not reset
            itself, the agent needs whole episodes and `reset_each_rollout` is False, or an argument is of the wrong
            kind; from `init`, the agent's actions do not fit the environment; from `step`, its update returns something
            else than `Agent.update` should.
    """
    check_is_agent(agent)
    check_config(config, OnPolicyConfig)
    if agent.whole_episodes and not config.reset_each_rollout:
        rule = "must be True, because this agent needs whole episodes"
        raise ArgumentError("reset_each_rollout", rule, config.reset_each_rollout)
    envs, space = vectorize(env, env_params, config.num_envs), action_space_of(env, env_params)
    check_resets(env, env_params)
    steps_per_iteration = config.num_envs * config.rollout_length
    if steps_per_iteration >= 2**31:  # transitions are numbered
        raise ArgumentError("num_envs", f"must keep the transitions of a rollout < {2**31}", steps_per_iteration)
    parts = _Parts(agent, envs, config, space)
    stages = Stages(
        agent,
        envs,
        split=_split,
        start=partial(_start, parts),
        plan=partial(_plan, parts),
        learn=partial(_learn, parts),
    )
    return Trainer(
        init=partial(init, stages),
        step=partial(step, stages),
        steps_per_iteration=steps_per_iteration,
        warmup_steps=0,
        max_iterations=2**31 - 1,
        num_envs=config.num_envs,
        env_axes=train_state_axes(envs),
        constants=agent.constants,
        stages=stages,
    )


def _split(key: Array) -> tuple[Array, PyTree]:
    agent_key, env_key, run_key = jax.random.split(key, 3)
    return env_key, (agent_key, run_key)


def _start(parts: _Parts, keys: PyTree, hparams: Hparams, env_states: VectorState) -> tuple[TrainState, None]:
    agent_key, run_key = keys
    agent_state = init_agent(parts.agent, agent_key, hparams, parts.envs, env_states, parts.space)
    source = Source(env_states, parts.agent.memory(agent_state, parts.envs.num_envs))
    return TrainState(jnp.int32(0), run_key, agent_state, source), None


def _env_steps(parts: _Parts, state: TrainState) -> Array:
    """The clock before the rollout. Schedules change between rollouts only."""
    return state.iteration.astype(jnp.float32) * (parts.config.num_envs * parts.config.rollout_length)


def _plan(parts: _Parts, state: TrainState) -> Plan:
    config = parts.config
    reset_key, update_key, rollout_key = jax.random.split(inline(jax.random.fold_in(state.key, state.iteration)), 3)
    keys = jax.random.split(rollout_key, (config.rollout_length, 2))
    env_steps = jnp.broadcast_to(_env_steps(parts, state), config.rollout_length)
    return Plan(keys, env_steps, reset_key if config.reset_each_rollout else None, update_key)


def _learn(
    parts: _Parts, state: TrainState, plan: Plan, transitions: Transition, constants: PyTree
) -> tuple[TrainState, Metrics]:
    agent, update_key = parts.agent, plan.learning_keys
    batch = parts.envs.decode(transitions)
    batch = batch._replace(extras=agent.prepare(state.agent, batch))
    results = agent.update(state.agent, batch, ordinary(update_key), _env_steps(parts, state), constants)
    agent_state, metrics, _ = check_update(results)
    return state._replace(iteration=state.iteration + 1, agent=agent_state), metrics
