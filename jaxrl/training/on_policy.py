"""The rollout trainer: act in N environments for T steps, then learn from what happened, once."""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check, check_kind
from jaxrl.envs import VectorState, action_space_of, check_resets, vectorize
from jaxrl.random import as_keys
from jaxrl.training import metrics as metrics_lib
from jaxrl.training.contract import check_acts, check_is_agent, updated
from jaxrl.training.hparams import as_arrays
from jaxrl.types import Agent, Array, Hparams, Metrics, Trainer, TrainState, Transition
from jaxrl.xla.threefry import inline, ordinary


@dataclasses.dataclass(frozen=True)
class OnPolicyConfig:
    """What decides the program: static values."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 64
    """N, environments stepped side by side."""
    rollout_length: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """T, steps of every environment between two rounds of learning."""
    reset_each_rollout: bool = False
    """Begin every rollout in fresh environments, instead of where the last one stopped."""


def on_policy(agent: Agent, env: Any, env_params: Any, config: OnPolicyConfig) -> Trainer:
    """A trainer for agents that learn from what they have just done.

    Each iteration steps all environments `rollout_length` times and then calls `Agent.update` once, with the whole
    rollout: a `Transition` of `[T, N]`.

    Raises:
        ArgumentError: a size is out of bounds, a rollout is of 2^31 transitions or more, the environment does not reset
            itself, the agent learns from whole episodes and `reset_each_rollout` is False, or the agent or the config
            is something else; from `init`: the agent does not act as the environment takes it, or among more or fewer
            actions; from `step`: its update returns something else.
    """
    check_is_agent(agent)
    check_kind("config", config, OnPolicyConfig)
    check(config)
    if agent.whole_episodes and not config.reset_each_rollout:
        raise ArgumentError(
            "reset_each_rollout", "must be True, because this agent needs whole episodes", config.reset_each_rollout
        )
    envs, space = vectorize(env, env_params, config.num_envs), action_space_of(env, env_params)
    check_resets(env, env_params)
    steps_per_iteration = config.num_envs * config.rollout_length
    if steps_per_iteration >= 2**31:  # transitions are numbered
        raise ArgumentError("num_envs", f"must keep num_envs * rollout_length < {2**31}", steps_per_iteration)

    def rollout(state: TrainState, keys: Array, env_steps: Array) -> tuple[VectorState, Transition, Metrics]:
        def body(env_states: VectorState, keys: Array) -> tuple[VectorState, tuple[Transition, Metrics]]:
            act_key, env_key = keys
            actions = agent.act(state.agent, envs.decode(env_states.observation), ordinary(act_key), env_steps)
            env_states, transition, metrics = envs.step(env_states, actions, env_key)
            return env_states, (transition, metrics)

        env_states, (batch, metrics) = jax.lax.scan(body, state.envs, keys)
        batch = batch._replace(
            observation=envs.decode(batch.observation), next_observation=envs.decode(batch.next_observation)
        )
        return env_states, batch, metrics_lib.total(metrics)

    def init(key: Array, hparams: Hparams) -> TrainState:
        agent_key, env_key, run_key = jax.random.split(as_keys(key), 3)
        env_states = envs.reset(env_key)
        observations = envs.decode(env_states.observation)
        agent_state = agent.init(agent_key, as_arrays(hparams), jax.tree.map(lambda x: x[0], observations))
        check_acts(agent, agent_state, observations, agent_key, space)
        return TrainState(jnp.int32(0), run_key, agent_state, env_states)

    def step(state: TrainState) -> tuple[TrainState, Metrics]:
        reset_key, update_key, rollout_key = jax.random.split(inline(jax.random.fold_in(state.key, state.iteration)), 3)
        if config.reset_each_rollout:
            state = state._replace(envs=envs.reset(reset_key))
        env_steps = state.iteration.astype(jnp.float32) * steps_per_iteration
        keys = jax.random.split(rollout_key, (config.rollout_length, 2))
        env_states, batch, acting = rollout(state, keys, env_steps)
        agent_state, learning, _ = updated(agent, state.agent, batch, ordinary(update_key), env_steps)
        return state._replace(iteration=state.iteration + 1, agent=agent_state, envs=env_states), acting | learning

    return Trainer(init, step, steps_per_iteration, warmup_steps=0)
