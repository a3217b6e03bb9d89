"""The off-policy trainer: act in N environments, store every transition, and learn from sampled ones."""

import dataclasses
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Gt, Interval

from jaxrl import replay
from jaxrl.arguments import ArgumentError, check_config
from jaxrl.envs import MultiAgentEnvironment, VectorEnv, VectorState, action_space_of, check_resets, vectorize
from jaxrl.envs.source import Source
from jaxrl.training.checks import check_is_agent, check_update, init_agent
from jaxrl.training.collect import collect, train_state_axes
from jaxrl.training.learn import learn
from jaxrl.training.stages import Plan, Stages, init, step
from jaxrl.types import (
    Agent,
    Array,
    Box,
    Discrete,
    Hparams,
    Mean,
    Metrics,
    PyTree,
    Sample,
    StateT,
    Trainer,
    TrainState,
    Transition,
)
from jaxrl.xla.threefry import inline


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


RING_AXES = replay.BufferState(rings=2, agent=None, sampler=None)  # type: ignore[arg-type]
"""The axes of the replay that count environments."""
SAMPLERS = {"uniform": replay.uniform, "prioritised": replay.prioritised}


class _Parts(NamedTuple):
    """What the functions of an off-policy trainer share.

    Attributes:
        agent, envs, config: the arguments of `off_policy`, with `envs` vectorized.
        space: the actions of the environment.
        slots, sampler: rows of the replay buffer, and its sampler.
        warmup_rows: rows in the buffer before the first update.
    """

    agent: Agent
    envs: VectorEnv
    config: OffPolicyConfig
    space: Discrete | Box
    slots: int
    sampler: replay.Sampler
    warmup_rows: int


def off_policy(agent: Agent[StateT], env: Any, env_params: Any, config: OffPolicyConfig) -> Trainer[StateT]:
    """A trainer for agents that learn from a replay buffer.

    Each iteration steps all environments `rollout_length` times, and then updates the agent `updates_per_iteration`
    times. `TrainState.replay` is a `jaxrl.replay.BufferState`. A prioritised replay reads the hyperparameters in
    `PrioritisedHparams` from the agent's record, and errors from the result of `Agent.update`.

    With stacks of frames there is one metric more, `unused`: the share of sampled sequences that hold a truncation.
    Nothing is learned from them (see `jaxrl.replay.frame_buffer`). If `n_step` is as long as episodes, it is near 1.

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
    if isinstance(env, MultiAgentEnvironment):
        raise ArgumentError("env", "must be of one agent: only the on-policy trainer knows several", got=env.name)
    envs = vectorize(env, env_params, config.num_envs)
    check_resets(env, env_params)
    space = action_space_of(env, env_params)
    slots = replay.num_slots(config.replay_capacity, config.num_envs)
    rows_read = replay.rows_read(config.n_step, envs.frame_stack)
    if envs.frame_stack > 1 and slots < rows_read:
        rule = f"must hold at least {rows_read * config.num_envs} transitions for stacks of {envs.frame_stack} frames"
        raise ArgumentError("replay_capacity", rule, config.replay_capacity)
    sampler = SAMPLERS[config.replay](slots, config.num_envs, rows_read)
    warmup_rows = -(-max(config.warmup_steps, config.batch_size) // config.num_envs) + rows_read - 1
    # int32 counters count rows, and in many agents gradient steps.
    most = min((2**31 - 1 - warmup_rows) // config.rollout_length, (2**31 - 1) // config.updates_per_iteration)
    parts = _Parts(agent, envs, config, space, slots, sampler, warmup_rows)
    stages = Stages(
        agent,
        envs,
        split=_split,
        start=partial(_start, parts),
        store=partial(_store, parts),
        plan=partial(_plan, parts),
        learn=partial(_learn, parts),
        cut=partial(_cut, parts) if envs.frame_stack > 1 else None,
    )
    return Trainer(
        init=partial(init, stages),
        step=partial(step, stages),
        steps_per_iteration=config.num_envs * config.rollout_length,
        warmup_steps=warmup_rows * config.num_envs,
        max_iterations=most,
        num_envs=config.num_envs,
        env_axes=train_state_axes(envs, RING_AXES),
        constants=agent.constants,
        stages=stages,
    )


def _check_config(config: OffPolicyConfig) -> None:
    check_config(config, OffPolicyConfig)
    if (batch := config.batch_size) > config.replay_capacity:
        rule = f"must be at most {config.replay_capacity}, the capacity of the replay buffer"
        raise ArgumentError("batch_size", rule, batch)
    if (stored := replay.num_slots(config.replay_capacity, config.num_envs) * config.num_envs) >= 2**31:
        raise ArgumentError("replay_capacity", f"must, in whole rows of all environments, be < {2**31}", stored)


def _buffer(parts: _Parts, transitions: Transition) -> replay.Buffer:
    """The replay buffer for transitions `[T, N]` in stored form, of which only the shapes matter."""
    example = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[2:], x.dtype), transitions)
    sizes = parts.sampler, parts.slots, parts.config.num_envs, parts.config.n_step
    if parts.envs.frame_stack > 1:
        return replay.frame_buffer(example, *sizes, parts.envs.frame_stack)
    return replay.ring_buffer(replay.packing(example, parts.envs.decode), *sizes)


def _split(key: Array) -> tuple[Array, PyTree]:
    agent_key, env_key, warmup_key, run_key = jax.random.split(key, 4)
    return env_key, (agent_key, warmup_key, run_key)


def _start(parts: _Parts, keys: PyTree, hparams: Hparams, env_states: VectorState) -> tuple[TrainState, Plan]:
    """The warm-up acts as the exploration schedule starts, without learning."""
    agent, envs = parts.agent, parts.envs
    agent_key, warmup_key, run_key = keys
    agent_state = init_agent(agent, agent_key, hparams, envs, env_states, parts.space)
    source = Source(env_states, agent.memory(agent_state, envs.num_envs))
    warmup_keys = jax.random.split(inline(warmup_key), (parts.warmup_rows, 2))
    plan = Plan(warmup_keys, _env_steps(parts, jnp.int32(0), parts.warmup_rows))
    stored = _buffer(parts, _one_row(parts, agent_state, source, plan)).init(hparams)
    return TrainState(jnp.int32(0), run_key, agent_state, source, stored), plan


def _one_row(parts: _Parts, agent_state: PyTree, source: Source, plan: Plan) -> Transition:
    """The shapes of transitions `[1, N]` in stored form."""

    def row(constants: PyTree) -> Transition:
        start, keys, env_steps = source, plan.keys[:1], plan.env_steps[:1]
        _, transitions, _ = collect(parts.agent, parts.envs, agent_state, start, keys, env_steps, constants)
        return _prepare(parts, agent_state, transitions)

    shapes: Transition = jax.eval_shape(row, parts.agent.constants)
    return shapes


def _env_steps(parts: _Parts, rows_written: Array, rows: int) -> Array:
    """The clock at each of the next rows, float32 `[rows]`."""
    return (rows_written + jnp.arange(rows, dtype=jnp.int32)).astype(jnp.float32) * parts.config.num_envs


def _rows_written(parts: _Parts, state: TrainState) -> Array:
    return parts.warmup_rows + state.iteration * parts.config.rollout_length


def _store(
    parts: _Parts, agent_state: PyTree, stored: replay.BufferState, transitions: Transition, rows_written: Array
) -> replay.BufferState:
    transitions = _prepare(parts, agent_state, transitions)
    return _buffer(parts, transitions).add(stored, transitions, rows_written)


def _cut(parts: _Parts, state: TrainState) -> replay.BufferState:
    """The replay, when new episodes follow its newest row."""
    buffer = _buffer(parts, _one_row(parts, state.agent, state.source, _plan(parts, state)))
    return buffer.cut(state.replay, _rows_written(parts, state))


def _prepare(parts: _Parts, agent_state: PyTree, transitions: Transition) -> Transition:
    """Transitions `[T, N]` in stored form, with what the agent prepares."""
    return transitions._replace(extras=parts.agent.prepare(agent_state, parts.envs.decode(transitions)))


def _plan(parts: _Parts, state: TrainState) -> Plan:
    config = parts.config
    key = inline(jax.random.fold_in(state.key, state.iteration))
    keys = jax.random.split(key, (config.rollout_length + config.updates_per_iteration, 2))
    acting_keys, learning_keys = keys[: config.rollout_length], keys[config.rollout_length :]
    env_steps = _env_steps(parts, _rows_written(parts, state), config.rollout_length)
    return Plan(acting_keys, env_steps, learning_keys=learning_keys)


def _learn(
    parts: _Parts, state: TrainState, plan: Plan, transitions: Transition, constants: PyTree
) -> tuple[TrainState, Metrics]:
    """Stores the transitions, and updates the agent once for each pair of keys `[K, 2]`, from sampled batches."""
    config, rows = parts.config, _rows_written(parts, state)
    transitions = _prepare(parts, state.agent, transitions)
    buffer = _buffer(parts, transitions)
    stored = buffer.add(state.replay, transitions, rows)
    rows += config.rollout_length

    def sample(sampler: PyTree, key: Array) -> tuple[Array, Sample]:
        # The ring is no part of the loop's state: it does not change.
        return buffer.sample(stored._replace(sampler=sampler), key, rows, config.batch_size)

    def set_priorities(sampler: PyTree, index: Array, errors: PyTree) -> PyTree:
        if config.replay == "prioritised" and jnp.shape(errors) != index.shape:
            raise ArgumentError("agent", f"must return one error of each sample, {index.shape}", errors)
        return buffer.set_priorities(stored._replace(sampler=sampler), index, errors).sampler

    env_steps = rows.astype(jnp.float32) * config.num_envs
    start = (state.agent, stored.sampler)
    keys = plan.learning_keys
    agent = _counting_unused(parts.agent) if parts.envs.frame_stack > 1 else parts.agent
    (agent_state, sampler), metrics = learn(agent, start, sample, set_priorities, keys, env_steps, constants)
    stored = stored._replace(sampler=sampler)
    return state._replace(iteration=state.iteration + 1, agent=agent_state, replay=stored), metrics


def _counting_unused(agent: Agent) -> Agent:
    """An agent that counts the sequences of weight 0. Their errors are 0, so that a replay seldom draws them again."""

    def update(
        state: PyTree, batch: Sample, key: Array, env_steps: Array, constants: PyTree
    ) -> tuple[PyTree, Metrics, PyTree]:
        state, metrics, errors = check_update(agent.update(state, batch, key, env_steps, constants))
        unused = batch.weights == 0
        if jnp.shape(errors) == unused.shape:
            errors = jnp.where(unused, 0.0, errors)
        return state, metrics | {"unused": Mean(unused.sum(dtype=jnp.float32), jnp.int32(unused.size))}, errors

    return agent._replace(update=update)
