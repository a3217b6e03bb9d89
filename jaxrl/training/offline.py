"""The offline trainer: learn from recorded transitions, without an environment."""

import dataclasses
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check, check_kind
from jaxrl.random import as_keys
from jaxrl.replay.datasets import check_dataset, num_actions_seen, sample_dataset
from jaxrl.training.checks import check_is_agent
from jaxrl.training.hparams import as_arrays
from jaxrl.training.learn import learn
from jaxrl.types import (
    GRADIENT_STEPS,
    Agent,
    Array,
    Decision,
    Hparams,
    Input,
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
class OfflineConfig:
    """The sizes of the offline trainer, which are static."""

    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """Transitions per gradient step."""


class OfflineConstants(NamedTuple):
    """The constants of an offline trainer.

    Attributes:
        dataset: the recorded transitions, `[M, ...]`.
        agent: `Agent.constants`.
    """

    dataset: Transition
    agent: PyTree


def offline(agent: Agent[StateT], dataset: Transition, config: OfflineConfig) -> Trainer[StateT]:
    """A trainer for agents that learn from recorded transitions.

    Each iteration is one gradient step: it draws `batch_size` transitions uniformly, with replacement, and calls
    `Agent.update` once with them, a `Sample` of sequences of one step. A run counts gradient steps. The dataset is a
    constant: a population shares it, and no checkpoint holds it.

    Args:
        agent: who learns.
        dataset: transitions `[M, ...]`, such as `load_dataset(path).transitions`. Of `jax.ShapeDtypeStruct`s, the
            trainer can only be traced, as to load what it has trained.
        config: the sizes.

    Raises:
        ArgumentError: a size is out of bounds, the dataset is empty, smaller than a batch, has NaNs or lacks a field,
            or an argument is of the wrong kind; from `init`, the agent's actions do not fit those of the dataset; from
            `step`, its update needs a rollout, or returns something else than `Agent.update` should.
    """
    check_is_agent(agent)
    check_kind("config", config, OfflineConfig)
    check(config)
    if agent.whole_episodes:
        rule = "must not need whole episodes, which a batch of transitions does not provide"
        raise ArgumentError("agent", rule, None, got="one that does")
    dataset = check_dataset(dataset)
    if config.batch_size > (size := len(dataset.reward)):
        raise ArgumentError("batch_size", f"must be at most {size}, the transitions of the dataset", config.batch_size)
    return Trainer(
        init=partial(_init, agent, num_actions_seen(dataset)),
        step=partial(_step, agent, config),
        steps_per_iteration=1,
        warmup_steps=0,
        max_iterations=2**31 - 1,
        num_envs=0,
        env_axes=TrainState(None, None, None, None, None),  # type: ignore[arg-type]
        constants=OfflineConstants(dataset, agent.constants),
        unit=GRADIENT_STEPS,
    )


def _init(agent: Agent, num_actions: int, key: Array, hparams: Hparams, constants: PyTree = ()) -> TrainState:
    dataset = _dataset(constants)
    agent_key, run_key = jax.random.split(as_keys(key))
    agent_state = agent.init(agent_key, as_arrays(hparams), jax.tree.map(lambda x: x[0], dataset.observation))
    _check_actions(agent, agent_state, dataset, num_actions)
    return TrainState(jnp.int32(0), run_key, agent_state, ())


def _step(agent: Agent, config: OfflineConfig, state: TrainState, constants: PyTree = ()) -> tuple[TrainState, Metrics]:
    dataset = _dataset(constants)

    def sample(sampler: PyTree, key: Array) -> tuple[Array, Sample]:
        del sampler
        return sample_dataset(dataset, key, config.batch_size)

    keys = jax.random.split(inline(jax.random.fold_in(state.key, state.iteration)), (1, 2))
    clock = state.iteration.astype(jnp.float32)
    (agent_state, _), metrics = learn(
        agent, (state.agent, ()), sample, lambda sampler, *_: sampler, keys, clock, constants.agent
    )
    return TrainState(state.iteration + 1, state.key, agent_state, ()), metrics


def _dataset(constants: PyTree) -> Transition:
    check_kind("constants", constants, OfflineConstants, ", as Trainer.constants are")
    return jax.tree.map(jnp.asarray, constants.dataset)


def _check_actions(agent: Agent, agent_state: PyTree, dataset: Transition, num_actions: int) -> None:
    """Checks that an agent acts as those who were recorded.

    Raises:
        ArgumentError: it has another kind of actions, or chooses among too few, or among others than the legal ones.
    """
    observations, legal, recorded = jax.tree.map(lambda x: x[:2], (dataset.observation, dataset.legal, dataset.action))
    discrete = jnp.issubdtype(recorded.dtype, jnp.integer)
    if agent.outputs is not None and discrete:
        outputs = jax.eval_shape(agent.outputs, agent_state, observations)
        shape = getattr(getattr(outputs, "logits", outputs), "shape", ())
        number = num_actions if legal is None else legal.shape[-1]
        if shape and (shape[-1] < number or (legal is not None and shape[-1] > number)):
            rule = f"must give {number} values{' or more' * (legal is None)}, one for each action in the dataset"
            raise ArgumentError("agent", rule, shape[-1])
    given = Input(observations, legal, agent.memory(agent_state, len(recorded)))
    decision = jax.eval_shape(agent.policy, agent_state, given, jax.random.key(0))
    if not isinstance(decision, Decision):
        raise ArgumentError("agent", "must return a jaxrl.Decision from policy", decision, got=type(decision).__name__)
    action = decision.action
    if action.shape != recorded.shape or jnp.issubdtype(action.dtype, jnp.integer) != discrete:
        rule = f"must act with {recorded.dtype}{list(recorded.shape)}, as in the dataset"
        raise ArgumentError("agent", rule, action, got=f"{action.dtype}{list(action.shape)}")
