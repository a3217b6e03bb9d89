"""The offline trainer: learn from recorded transitions, or from those that a function draws, without an environment."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check_config, check_kind
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
from jaxrl.xla.sharding import shard_batch
from jaxrl.xla.threefry import inline, ordinary


@dataclasses.dataclass(frozen=True)
class OfflineConfig:
    """The sizes of the offline trainer, which are static."""

    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """Transitions per gradient step."""


Draw = Callable[[Array, int], Transition]
"""`(key, batch_size) -> Transition [n, batch_size]`: sequences of n steps, as in `Sample`, drawn afresh."""


class OfflineConstants(NamedTuple):
    """The constants of an offline trainer.

    Attributes:
        dataset: the recorded transitions, `[M, ...]`; `()` if they are drawn.
        agent: `Agent.constants`.
    """

    dataset: Transition
    agent: PyTree


def offline(agent: Agent[StateT], dataset: Transition | Draw, config: OfflineConfig) -> Trainer[StateT]:
    """A trainer for agents that learn from recorded transitions.

    Each iteration is one gradient step: it draws `batch_size` transitions uniformly, with replacement, and calls
    `Agent.update` once with them, a `Sample` of sequences of one step. A run counts gradient steps. The dataset is a
    constant: a population shares it, and no checkpoint holds it.

    Args:
        agent: who learns.
        dataset: transitions `[M, ...]`, such as `load_dataset(path).transitions`. Of `jax.ShapeDtypeStruct`s, the
            trainer can only be traced, as to load what it has trained. Or a pure function
            `(key, batch_size) -> Transition [n, batch_size]` that draws each batch of sequences afresh.
        config: the sizes.

    Raises:
        ArgumentError: a size is out of bounds, the dataset is empty, smaller than a batch, has NaNs or lacks a field,
            or an argument is of the wrong kind; from `init`, the agent's actions do not fit those of the dataset; from
            `step`, its update needs a rollout, or returns something else than `Agent.update` should.
    """
    check_is_agent(agent)
    check_config(config, OfflineConfig)
    if agent.whole_episodes:
        rule = "must not need whole episodes, which a batch of transitions does not provide"
        raise ArgumentError("agent", rule, None, got="one that does")
    draw, num_actions = None, 0
    if callable(dataset):
        draw = partial(_draw, dataset, config)
        num_actions = num_actions_drawn(draw)
    else:
        dataset = check_dataset(dataset)
        num_actions, size = num_actions_seen(dataset), len(dataset.reward)
        if config.batch_size > size:
            rule = f"must be at most {size}, the transitions of the dataset"
            raise ArgumentError("batch_size", rule, config.batch_size)
    return Trainer(
        init=partial(_init, agent, draw, num_actions),
        step=partial(_step, agent, draw, config),
        steps_per_iteration=1,
        warmup_steps=0,
        max_iterations=2**31 - 1,
        num_envs=0,
        env_axes=TrainState(None, None, None, None, None),  # type: ignore[arg-type]
        constants=OfflineConstants(() if draw else dataset, agent.constants),  # type: ignore[arg-type]
        unit=GRADIENT_STEPS,
    )


def _draw(dataset: Draw, config: OfflineConfig, key: Array) -> Transition:
    batch = dataset(ordinary(key), config.batch_size)
    check_kind("dataset", batch, Transition, " [n, batch_size], which it draws")
    for name, x in batch._asdict().items():
        for leaf in jax.tree.leaves(x):
            if leaf.ndim < 2 or leaf.shape[1] != config.batch_size:
                rule = f"must draw transitions [n, {config.batch_size}, ...] in every field"
                raise ArgumentError("dataset", rule, got=f"{leaf.dtype}{list(leaf.shape)} in {name}")
    return batch


def num_actions_drawn(draw: Callable[[Array], Transition]) -> int:
    """`num_actions_seen` of one batch. Only what its actions need is computed."""
    if not jnp.issubdtype(jax.eval_shape(draw, jax.random.key(0)).action.dtype, jnp.integer):
        return 0
    with jax.ensure_compile_time_eval():
        return int(jax.jit(lambda key: draw(key).action.max())(jax.random.key(0))) + 1


def _init(
    agent: Agent, draw: Callable | None, num_actions: int, key: Array, hparams: Hparams, constants: PyTree = ()
) -> TrainState:
    if draw is None:
        examples = jax.tree.map(lambda x: x[:2], _dataset(constants))
    else:
        drawn = jax.eval_shape(draw, jax.random.key(0))
        examples = jax.tree.map(lambda x: jnp.zeros((min(x.shape[1], 2), *x.shape[2:]), x.dtype), drawn)
    agent_key, run_key = jax.random.split(as_keys(key))
    agent_state = agent.init(agent_key, as_arrays(hparams), jax.tree.map(lambda x: x[0], examples.observation))
    _check_actions(agent, agent_state, examples, num_actions)
    return TrainState(jnp.int32(0), run_key, agent_state, ())


def _step(
    agent: Agent, draw: Callable | None, config: OfflineConfig, state: TrainState, constants: PyTree = ()
) -> tuple[TrainState, Metrics]:
    dataset = _dataset(constants)

    def sample(sampler: PyTree, key: Array) -> tuple[Array, Sample]:
        del sampler
        if draw is None:
            return sample_dataset(dataset, key, config.batch_size)
        batch = shard_batch(draw(key), axis=1)
        return jnp.arange(config.batch_size), Sample(batch, jnp.ones(config.batch_size, jnp.float32))

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
