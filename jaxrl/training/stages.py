"""A trainer in stages: what it does before and after its environments step.

Where environments are pure functions, `init` and `step` join the stages to those of a `Trainer`. Where they step on the
host, `jaxrl.training.host_program` calls the stages around their steps.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.envs import VectorEnv, VectorState
from jaxrl.envs.source import Source
from jaxrl.random import as_keys
from jaxrl.training.collect import collect
from jaxrl.training.hparams import as_arrays
from jaxrl.types import Agent, Array, Hparams, Metrics, PyTree, TrainState, Transition


class Plan(NamedTuple):
    """How to act for T steps, and the keys of what follows.

    Attributes:
        keys: of the agent's decision and of the environments in each step, `[T, 2]`.
        env_steps: the clock at each step, float32 `[T]`.
        reset_key: of new episodes before the first step; None if the environments go on.
        learning_keys: of what `Stages.learn` draws.
    """

    keys: Array
    env_steps: Array
    reset_key: Array | None = None
    learning_keys: Any = None


class Stages(NamedTuple):
    """The pure functions of a trainer, and whose they are.

    Attributes:
        agent, envs: who acts, and in what.
        split: `(key) -> (env_key, keys)`, the key of the first reset and those of `start`.
        start: `(keys, hparams, VectorState) -> (TrainState, Plan)`: the state before the warm-up, and how to act in it
            for W steps; a plan of None without a warm-up.
        plan: `(TrainState) -> Plan` of the next iteration.
        learn: `(TrainState, Plan, Transition [T, N], constants) -> (TrainState, Metrics)`: all that follows the steps.
            The transitions are in stored form.
        store: `(agent_state, replay, Transition [1, N], row) -> replay`, for each step of a warm-up; None without.
        cut: `(TrainState) -> replay`, when all environments begin new episodes although none may have ended, as on the
            host after a restart; None if the replay does not mind.
    """

    agent: Agent
    envs: VectorEnv
    split: Callable[[Array], tuple[Array, PyTree]]
    start: Callable[[PyTree, Hparams, VectorState], tuple[TrainState, Plan | None]]
    plan: Callable[[TrainState], Plan]
    learn: Callable[[TrainState, Plan, Transition, PyTree], tuple[TrainState, Metrics]]
    store: Callable[[PyTree, PyTree, Transition, Array], PyTree] | None = None
    cut: Callable[[TrainState], PyTree] | None = None


def init(stages: Stages, key: Array, hparams: Hparams, constants: PyTree = ()) -> TrainState:
    """`Trainer.init`, with the warm-up."""
    env_key, keys = stages.split(as_keys(key))
    state, plan = stages.start(keys, as_arrays(hparams), _begin(stages.envs, env_key))
    return state if plan is None else _warm_up(stages, state, plan, constants)


def _begin(envs: VectorEnv, key: Array) -> VectorState:
    """The first states, at random times of their episodes: environments that end together give data of one phase."""
    reset_key, stagger_key = jax.random.split(key)
    return envs.stagger(envs.reset(reset_key), stagger_key)


def _warm_up(stages: Stages, state: TrainState, plan: Plan, constants: PyTree) -> TrainState:
    """Adds each row as it comes, since all of them may be as large as the replay."""
    agent, envs, store = stages.agent, stages.envs, stages.store
    assert store is not None

    def body(carry: PyTree, x: PyTree) -> tuple[PyTree, None]:
        (source, replay), (row, keys, clock) = carry, x
        source, transitions, _ = collect(agent, envs, state.agent, source, keys[None], clock[None], constants)
        return (source, store(state.agent, replay, transitions, row)), None

    rows = jnp.arange(len(plan.keys), dtype=jnp.int32)
    (source, replay), _ = jax.lax.scan(body, (state.source, state.replay), (rows, plan.keys, plan.env_steps))
    return state._replace(source=source, replay=replay)


def step(stages: Stages, state: TrainState, constants: PyTree = ()) -> tuple[TrainState, Metrics]:
    """`Trainer.step`."""
    agent, envs, plan, source = stages.agent, stages.envs, stages.plan(state), state.source
    if plan.reset_key is not None:
        source = Source(envs.reset(plan.reset_key), agent.memory(state.agent, envs.num_envs))
    source, transitions, acting = collect(agent, envs, state.agent, source, plan.keys, plan.env_steps, constants)
    state, learning = stages.learn(state._replace(source=source), plan, transitions, constants)
    return state, acting | learning
