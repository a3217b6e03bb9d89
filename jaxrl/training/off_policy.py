"""The replay trainer: act in N environments, store every transition, learn from random ones."""

import dataclasses
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from annotated_types import Gt, Interval

from jaxrl import replay
from jaxrl.arguments import ArgumentError, check, check_kind
from jaxrl.envs import VectorEnv, action_space_of, check_resets, vectorize
from jaxrl.random import as_keys
from jaxrl.spaces import Box, Discrete
from jaxrl.training import metrics as metrics_lib
from jaxrl.training.contract import check_acts, check_is_agent, updated
from jaxrl.training.hparams import as_arrays
from jaxrl.types import Agent, Array, Hparams, Metrics, PyTree, Sample, Trainer, TrainState
from jaxrl.xla.sharding import shard_batch
from jaxrl.xla.threefry import inline, ordinary


@dataclasses.dataclass(frozen=True)
class OffPolicyConfig:
    """What decides the program: static values."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """N, environments stepped side by side."""
    rollout_length: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Steps of every environment between two rounds of learning."""
    updates_per_iteration: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Gradient steps in a round of learning."""
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """Transitions per gradient step."""
    replay_capacity: Annotated[int, Interval(gt=0, lt=2**31)] = 100_000
    """Transitions kept, rounded up to a multiple of num_envs."""
    warmup_steps: Annotated[int, Interval(ge=0, lt=2**31)] = 5_000
    """Environment steps before learning starts, at least batch_size, rounded up to a multiple of num_envs."""
    n_step: Annotated[int, Gt(0)] = 1
    """Rewards that each target sums up before it bootstraps (Sutton 1988)."""
    replay: Literal["uniform", "prioritised"] = "uniform"
    """How the replay is sampled; prioritised (Schaul et al. 2016) prefers what was learned least."""


SAMPLERS = {"uniform": replay.uniform, "prioritised": replay.prioritised}


def _layout(envs: VectorEnv, space: Discrete | Box) -> replay.Packing:
    """How one transition of these environments is packed."""
    env_states = jax.eval_shape(envs.reset, jax.random.key(0))
    if isinstance(space, Discrete):
        actions = jax.ShapeDtypeStruct((envs.num_envs,), jnp.int32)
    else:
        actions = jax.ShapeDtypeStruct((envs.num_envs, *space.low.shape), jnp.float32)
    _, transitions, _ = jax.eval_shape(envs.step, env_states, actions, jax.random.key(0))
    return replay.packing(jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), transitions))


def _check_sizes(config: OffPolicyConfig) -> None:
    check_kind("config", config, OffPolicyConfig)
    check(config)
    if config.batch_size > config.replay_capacity:
        raise ArgumentError(
            "batch_size",
            "must be at most replay_capacity",
            config.batch_size,
            got=f"{config.batch_size} and {config.replay_capacity}",
        )
    if (stored := replay.num_slots(config.replay_capacity, config.num_envs) * config.num_envs) >= 2**31:
        raise ArgumentError("replay_capacity", f"must, in whole rows of num_envs, be < {2**31}", stored)


def off_policy(agent: Agent, env: Any, env_params: Any, config: OffPolicyConfig) -> Trainer:
    """A trainer for agents that learn from a replay.

    Each iteration steps all environments `rollout_length` times and then learns `updates_per_iteration` times. Its
    `TrainState.replay` is the packed ring `[slots, N, words]` and the sampler's own state. A prioritised replay takes
    its hyperparameters, those of `PrioritisedHparams`, from the agent's record, and its errors from `Agent.update`.

    Raises:
        ArgumentError: a size is out of bounds, a batch larger than the replay, n_step longer than it, or the
            environment's actions are neither discrete nor a box of them (see `action_space_of`), or it does not reset
            itself, or the agent learns from whole episodes, or it or the config is something else; from `init`: the
            agent acts with something else, or among more or fewer actions; from `step`: the agent's update returns
            something else.
    """
    check_is_agent(agent)
    _check_sizes(config)
    if agent.whole_episodes:
        raise ArgumentError(
            "agent", "must not need whole episodes, which a replay does not give", None, got="one that does"
        )
    envs = vectorize(env, env_params, config.num_envs)
    check_resets(env, env_params)
    row = config.num_envs
    sampler = SAMPLERS[config.replay](replay.num_slots(config.replay_capacity, row), row, config.n_step)
    warmup_rows = -(-max(config.warmup_steps, config.batch_size) // row) + config.n_step - 1
    space = action_space_of(env, env_params)
    layout = _layout(envs, space)

    def rollout(state: TrainState, rows: Array, keys: Array) -> tuple[TrainState, Metrics]:
        def body(carry: PyTree, x: PyTree) -> tuple[PyTree, Metrics]:
            (env_states, (memory, chances)), (rows, (act_key, env_key)) = carry, x
            env_steps = rows.astype(jnp.float32) * row
            actions = agent.act(state.agent, envs.decode(env_states.observation), ordinary(act_key), env_steps)
            env_states, transition, metrics = envs.step(env_states, actions, env_key)
            memory = replay.write(memory, layout.pack(transition), rows)
            return (env_states, (memory, sampler.written(chances, rows + 1))), metrics

        inputs = (rows + jnp.arange(len(keys), dtype=jnp.int32), keys)
        (env_states, memory), metrics = jax.lax.scan(body, (state.envs, state.replay), inputs)
        return state._replace(envs=env_states, replay=memory), metrics_lib.total(metrics)

    def learn(state: TrainState, rows: Array, keys: Array) -> tuple[TrainState, Metrics]:
        memory, chances = state.replay
        env_steps = rows.astype(jnp.float32) * row

        def body(carry: PyTree, keys: Array) -> tuple[PyTree, Metrics]:
            (agent_state, chances), (sample_key, update_key) = carry, keys
            index, weights = sampler.sample(chances, sample_key, rows, config.batch_size)
            steps = layout.unpack(shard_batch(replay.gather(memory, index, config.n_step), axis=1))
            steps = steps._replace(
                observation=envs.decode(steps.observation), next_observation=envs.decode(steps.next_observation)
            )
            batch = Sample(steps, weights)
            agent_state, metrics, errors = updated(agent, agent_state, batch, ordinary(update_key), env_steps)
            if config.replay == "prioritised" and jnp.shape(errors) != index.shape:
                raise ArgumentError("agent", f"must return one error of each sample, {index.shape}", errors)
            return (agent_state, sampler.learned(chances, index, errors)), metrics

        (agent_state, chances), metrics = jax.lax.scan(body, (state.agent, chances), keys)
        return state._replace(agent=agent_state, replay=(memory, chances)), metrics_lib.total(metrics)

    def init(key: Array, hparams: Hparams) -> TrainState:
        agent_key, env_key, warmup_key, run_key = jax.random.split(as_keys(key), 4)
        env_states = envs.reset(env_key)
        observations = envs.decode(env_states.observation)
        hparams = as_arrays(hparams)
        agent_state = agent.init(agent_key, hparams, jax.tree.map(lambda x: x[0], observations))
        check_acts(agent, agent_state, observations, agent_key, space)
        memory = replay.allocate(config.replay_capacity, row, layout.num_words)
        state = TrainState(jnp.int32(0), run_key, agent_state, env_states, (memory, sampler.init(hparams)))
        # Warm-up is acting at the start of the exploration schedule, without learning.
        return rollout(state, jnp.int32(0), jax.random.split(inline(warmup_key), (warmup_rows, 2)))[0]

    def step(state: TrainState) -> tuple[TrainState, Metrics]:
        key = inline(jax.random.fold_in(state.key, state.iteration))
        keys = jax.random.split(key, (config.rollout_length + config.updates_per_iteration, 2))
        rows = warmup_rows + state.iteration * config.rollout_length
        state, acting = rollout(state, rows, keys[: config.rollout_length])
        state, learning = learn(state, rows + config.rollout_length, keys[config.rollout_length :])
        return state._replace(iteration=state.iteration + 1), acting | learning

    # Rows are counted, and by many agents gradient steps.
    most = min((2**31 - 1 - warmup_rows) // config.rollout_length, (2**31 - 1) // config.updates_per_iteration)
    return Trainer(init, step, row * config.rollout_length, warmup_rows * row, most)
