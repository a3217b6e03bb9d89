"""The replay trainer: act in N worlds, store every transition, learn from random ones."""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl import replay
from jaxrl.arguments import ArgumentError, check
from jaxrl.envs import Box, Discrete, VectorEnv, VectorState, action_space_of, check_actions, vectorize
from jaxrl.random import inline
from jaxrl.training import metrics as metrics_lib
from jaxrl.training.hparams import traced
from jaxrl.types import Agent, Array, Hparams, Metrics, PyTree, Trainer, TrainState


@dataclasses.dataclass(frozen=True)
class OffPolicyConfig:
    """What decides the program: static values."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """N, worlds stepped side by side."""
    rollout_length: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Steps of every world between two rounds of learning."""
    updates_per_iteration: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Gradient steps in a round of learning."""
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """Transitions per gradient step."""
    replay_capacity: Annotated[int, Interval(gt=0, lt=2**31)] = 100_000
    """Transitions kept, rounded up to whole slabs of num_envs."""
    warmup_steps: Annotated[int, Interval(ge=0, lt=2**31)] = 5_000
    """Environment steps taken before learning starts, rounded up to whole slabs of num_envs."""


def _layout(envs: VectorEnv, space: Discrete | Box) -> replay.Packing:
    """How one transition of these worlds is packed."""
    worlds = jax.eval_shape(envs.reset, jax.random.key(0))
    if isinstance(space, Discrete):
        actions = jax.ShapeDtypeStruct((envs.num_envs,), jnp.int32)
    else:
        actions = jax.ShapeDtypeStruct((envs.num_envs, *space.low.shape), jnp.float32)
    _, transitions, _ = jax.eval_shape(envs.step, worlds, actions, jax.random.key(0))
    return replay.packing(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), transitions))


def _check_sizes(config: OffPolicyConfig) -> None:
    check(config)
    if config.batch_size > config.replay_capacity:
        raise ArgumentError(
            f"batch_size must be at most replay_capacity, got {config.batch_size} and {config.replay_capacity}"
        )


def off_policy(agent: Agent, env: Any, env_params: Any, config: OffPolicyConfig) -> Trainer:
    """A trainer for agents that learn from a replay.

    Each iteration steps all worlds `rollout_length` times and then learns `updates_per_iteration` times.
    Its `TrainState.replay` is the packed ring `[slots, N, words]`.

    Raises:
        ArgumentError: a size is out of bounds, a batch larger than the replay, or the world's actions are neither
            discrete nor a box of them (see `action_space_of`); from `init`: the agent acts with something else.
    """
    _check_sizes(config)
    envs = vectorize(env, env_params, config.num_envs)
    slab = config.num_envs
    warmup_slabs = -(-max(config.warmup_steps, config.batch_size) // slab)
    space = action_space_of(env, env_params)
    layout = _layout(envs, space)

    def rollout(state: TrainState, slabs: Array, keys: Array) -> tuple[TrainState, Metrics]:
        def body(carry: tuple[VectorState, Array], x: tuple[Array, Array]) -> tuple[tuple[VectorState, Array], Metrics]:
            (worlds, memory), (slabs, (act_key, env_key)) = carry, x
            env_steps = slabs.astype(jnp.float32) * slab
            actions = agent.act(state.agent, envs.decode(worlds.observation), act_key, env_steps)
            worlds, transition, metrics = envs.step(worlds, actions, env_key)
            return (worlds, replay.write(memory, layout.pack(transition), slabs)), metrics

        inputs = (slabs + jnp.arange(len(keys)), keys)
        (worlds, memory), metrics = jax.lax.scan(body, (state.envs, state.replay), inputs)
        return state._replace(envs=worlds, replay=memory), metrics_lib.total(metrics)

    def learn(state: TrainState, slabs: Array, keys: Array) -> tuple[TrainState, Metrics]:
        def body(agent_state: PyTree, keys: Array) -> tuple[PyTree, Metrics]:
            sample_key, update_key = keys
            batch = layout.unpack(replay.sample(state.replay, sample_key, slabs, config.batch_size))
            batch = batch._replace(
                observation=envs.decode(batch.observation), next_observation=envs.decode(batch.next_observation)
            )
            env_steps = slabs.astype(jnp.float32) * slab
            agent_state, metrics, _ = agent.update(agent_state, batch, update_key, env_steps)
            return agent_state, metrics

        agent_state, metrics = jax.lax.scan(body, state.agent, keys)
        return state._replace(agent=agent_state), metrics_lib.total(metrics)

    def init(key: Array, hparams: Hparams) -> TrainState:
        agent_key, env_key, warmup_key, run_key = jax.random.split(key, 4)
        worlds = envs.reset(env_key)
        observations = envs.decode(worlds.observation)
        agent_state = agent.init(agent_key, traced(hparams), jax.tree.map(lambda x: x[0], observations))
        check_actions(jax.eval_shape(agent.act, agent_state, observations, agent_key, 0.0), space, slab)
        memory = replay.allocate(config.replay_capacity, slab, layout.num_words)
        state = TrainState(jnp.int32(0), run_key, agent_state, worlds, memory)
        # Warm-up is acting at the start of the exploration schedule, without learning.
        return rollout(state, jnp.int32(0), jax.random.split(inline(warmup_key), (warmup_slabs, 2)))[0]

    def step(state: TrainState) -> tuple[TrainState, Metrics]:
        key = inline(jax.random.fold_in(state.key, state.iteration))
        keys = jax.random.split(key, (config.rollout_length + config.updates_per_iteration, 2))
        slabs = warmup_slabs + state.iteration * config.rollout_length
        state, acting = rollout(state, slabs, keys[: config.rollout_length])
        state, learning = learn(state, slabs + config.rollout_length, keys[config.rollout_length :])
        return state._replace(iteration=state.iteration + 1), acting | learning

    return Trainer(init, step, slab * config.rollout_length, warmup_slabs * slab)
