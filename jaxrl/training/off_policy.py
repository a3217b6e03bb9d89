"""The off-policy trainer: act in N environments, store every transition, and learn from sampled ones."""

import dataclasses
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Gt, Interval

from jaxrl import replay
from jaxrl.arguments import ArgumentError, check, check_kind
from jaxrl.envs import VectorEnv, VectorState, action_space_of, check_resets, vectorize
from jaxrl.random import as_keys
from jaxrl.training.checks import check_is_agent, check_update, init_agent
from jaxrl.training.hparams import as_arrays
from jaxrl.types import Agent, Array, Box, Discrete, Hparams, Metrics, PyTree, Trainer, TrainState, total
from jaxrl.xla.threefry import inline, ordinary


@dataclasses.dataclass(frozen=True)
class OffPolicyConfig:
    """The sizes of the off-policy trainer, which are static."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """N, environments stepped side by side."""
    rollout_length: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Steps of every environment in one iteration."""
    updates_per_iteration: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Gradient steps in one iteration."""
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """Transitions per gradient step."""
    replay_capacity: Annotated[int, Interval(gt=0, lt=2**31)] = 100_000
    """Transitions stored, rounded up to a multiple of num-envs."""
    warmup_steps: Annotated[int, Interval(ge=0, lt=2**31)] = 5_000
    """Environment steps before learning starts, at least batch-size, rounded up to a multiple of num-envs."""
    n_step: Annotated[int, Gt(0)] = 1
    """n of the n-step targets (Sutton 1988)."""
    replay: Literal["uniform", "prioritised"] = "uniform"
    """How the replay is sampled; prioritised (Schaul et al. 2016) prefers transitions with large errors."""


SAMPLERS = {"uniform": replay.uniform, "prioritised": replay.prioritised}


class _Parts(NamedTuple):
    """What the functions of an off-policy trainer share.

    Attributes:
        agent, envs, config: the arguments of `off_policy`, with `envs` vectorized.
        space: the actions of the environment.
        buffer: the replay buffer.
        warmup_rows: rows in the buffer before the first update.
    """

    agent: Agent
    envs: VectorEnv
    config: OffPolicyConfig
    space: Discrete | Box
    buffer: replay.Buffer
    warmup_rows: int


def off_policy(agent: Agent, env: Any, env_params: Any, config: OffPolicyConfig) -> Trainer:
    """A trainer for agents that learn from a replay buffer.

    Each iteration steps all environments `rollout_length` times, and then updates the agent `updates_per_iteration`
    times. `TrainState.replay` is a `jaxrl.replay.BufferState`. A prioritised replay reads the hyperparameters in
    `PrioritisedHparams` from the agent's record, and errors from the result of `Agent.update`.

    Raises:
        ArgumentError: a size is out of bounds, the batch or `n_step` is larger than the replay, the environment does
            not reset itself or has actions that `action_space_of` refuses, the agent needs whole episodes, or an
            argument is of the wrong kind; from `init`, the agent's actions do not fit the environment; from `step`, its
            update returns something else than `Agent.update` should.
    """
    check_is_agent(agent)
    _check_config(config)
    if agent.whole_episodes:
        rule = "must not need whole episodes, which a replay does not provide"
        raise ArgumentError("agent", rule, None, got="one that does")
    envs = vectorize(env, env_params, config.num_envs)
    check_resets(env, env_params)
    space = action_space_of(env, env_params)
    sizes = replay.num_slots(config.replay_capacity, config.num_envs), config.num_envs, config.n_step
    sampler = SAMPLERS[config.replay](*sizes)
    buffer = replay.ring_buffer(replay.packing(_example(envs, space), envs.decode), sampler, *sizes)
    warmup_rows = -(-max(config.warmup_steps, config.batch_size) // config.num_envs) + config.n_step - 1
    parts = _Parts(agent, envs, config, space, buffer, warmup_rows)
    # int32 counters count rows, and in many agents gradient steps.
    most = min((2**31 - 1 - warmup_rows) // config.rollout_length, (2**31 - 1) // config.updates_per_iteration)
    return Trainer(
        init=partial(_init, parts),
        step=partial(_step, parts),
        steps_per_iteration=config.num_envs * config.rollout_length,
        warmup_steps=warmup_rows * config.num_envs,
        max_iterations=most,
        env_axis=envs.axis,
    )


def _check_config(config: OffPolicyConfig) -> None:
    check_kind("config", config, OffPolicyConfig)
    check(config)
    if (batch := config.batch_size) > config.replay_capacity:
        rule = f"must be at most {config.replay_capacity}, the capacity of the replay buffer"
        raise ArgumentError("batch_size", rule, batch)
    if (stored := replay.num_slots(config.replay_capacity, config.num_envs) * config.num_envs) >= 2**31:
        raise ArgumentError("replay_capacity", f"must, in whole rows of all environments, be < {2**31}", stored)


def _example(envs: VectorEnv, space: Discrete | Box) -> PyTree:
    """The shapes of one transition in stored form."""
    shape, dtype = ((), jnp.int32) if isinstance(space, Discrete) else (space.low.shape, jnp.float32)

    def transitions(key: Array) -> PyTree:
        return envs.step(envs.reset(key), jnp.zeros((envs.num_envs, *shape), dtype), key)[1]

    example = jax.eval_shape(transitions, jax.random.key(0))
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), example)


def _init(parts: _Parts, key: Array, hparams: Hparams) -> TrainState:
    agent_key, env_key, warmup_key, run_key = jax.random.split(as_keys(key), 4)
    env_states = parts.envs.reset(env_key)
    hparams = as_arrays(hparams)
    agent_state = init_agent(parts.agent, agent_key, hparams, parts.envs.observe(env_states), parts.space)
    state = TrainState(jnp.int32(0), run_key, agent_state, env_states, parts.buffer.init(hparams))
    # The warm-up acts as the exploration schedule starts, without learning.
    return collect(parts, state, jnp.int32(0), jax.random.split(inline(warmup_key), (parts.warmup_rows, 2)))[0]


def _step(parts: _Parts, state: TrainState) -> tuple[TrainState, Metrics]:
    config = parts.config
    key = inline(jax.random.fold_in(state.key, state.iteration))
    keys = jax.random.split(key, (config.rollout_length + config.updates_per_iteration, 2))
    rows = parts.warmup_rows + state.iteration * config.rollout_length
    state, acting = collect(parts, state, rows, keys[: config.rollout_length])
    state, learning = learn(parts, state, rows + config.rollout_length, keys[config.rollout_length :])
    return state._replace(iteration=state.iteration + 1), acting | learning


def collect(parts: _Parts, state: TrainState, rows_written: Array, keys: Array) -> tuple[TrainState, Metrics]:
    """Steps all environments, and adds each row of transitions to the replay buffer.

    Args:
        parts: the trainer.
        state: where it is.
        rows_written: rows in the replay buffer so far, int32 scalar.
        keys: two for each step, `[T, 2]`.
    """
    agent, envs = parts.agent, parts.envs

    def body(carry: tuple[VectorState, replay.BufferState], x: PyTree) -> tuple[PyTree, Metrics]:
        (env_states, buffer), (rows, (act_key, env_key)) = carry, x
        env_steps = rows.astype(jnp.float32) * envs.num_envs
        actions = agent.act(state.agent, envs.observe(env_states), ordinary(act_key), env_steps)
        env_states, transitions, metrics = envs.step(env_states, actions, env_key)
        return (env_states, parts.buffer.add(buffer, transitions, rows)), metrics

    inputs = (rows_written + jnp.arange(len(keys), dtype=jnp.int32), keys)
    (env_states, buffer), metrics = jax.lax.scan(body, (state.envs, state.replay), inputs)
    return state._replace(envs=env_states, replay=buffer), total(metrics)


def learn(parts: _Parts, state: TrainState, rows_written: Array, keys: Array) -> tuple[TrainState, Metrics]:
    """Updates the agent once for each pair of keys `[K, 2]`, from batches of the replay buffer."""
    agent, config, buffer = parts.agent, parts.config, parts.buffer
    env_steps = rows_written.astype(jnp.float32) * config.num_envs

    def body(carry: tuple[PyTree, PyTree], keys: Array) -> tuple[PyTree, Metrics]:
        (agent_state, sampler), (sample_key, update_key) = carry, keys
        stored = state.replay._replace(sampler=sampler)  # the ring is no part of the loop's state: it does not change
        index, batch = buffer.sample(stored, sample_key, rows_written, config.batch_size)
        agent_state, metrics, errors = check_update(agent.update(agent_state, batch, ordinary(update_key), env_steps))
        if config.replay == "prioritised" and jnp.shape(errors) != index.shape:
            raise ArgumentError("agent", f"must return one error of each sample, {index.shape}", errors)
        return (agent_state, buffer.set_priorities(stored, index, errors).sampler), metrics

    (agent_state, sampler), metrics = jax.lax.scan(body, (state.agent, state.replay.sampler), keys)
    return state._replace(agent=agent_state, replay=state.replay._replace(sampler=sampler)), total(metrics)
