"""The trainer of agents that need no data: they know the rules of what they learn."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError
from jaxrl.random import as_keys
from jaxrl.training.checks import check_is_agent, check_update
from jaxrl.training.hparams import as_arrays
from jaxrl.types import ITERATIONS, Agent, Array, Hparams, Metrics, PyTree, StateT, Trainer, TrainState
from jaxrl.xla.threefry import inline, ordinary


def from_rules(agent: Agent[StateT], observation: PyTree, iterations: int = 1) -> Trainer[StateT]:
    """A trainer that calls `Agent.update` without data: its batch is `()`. A run counts iterations.

    Args:
        agent: who learns.
        observation: an example, without a batch axis, for `Agent.init`.
        iterations: how many one update counts as.

    Raises:
        ArgumentError: not an agent, or not a whole number of iterations; from `step`, its update returns something else
            than `Agent.update` should.
    """
    check_is_agent(agent)
    if not isinstance(iterations, int) or not 1 <= iterations < 2**31:
        raise ArgumentError("iterations", "must be a whole number >= 1", iterations)
    return Trainer(
        init=partial(_init, agent, observation),
        step=partial(_step, agent, iterations),
        steps_per_iteration=iterations,
        warmup_steps=0,
        max_iterations=2**31 - 1,
        num_envs=0,
        env_axes=TrainState(None, None, None, None, None),  # type: ignore[arg-type]
        constants=agent.constants,
        unit=ITERATIONS,
    )


def _init(agent: Agent, observation: PyTree, key: Array, hparams: Hparams, constants: PyTree = ()) -> TrainState:
    del constants
    agent_key, run_key = jax.random.split(as_keys(key))
    return TrainState(jnp.int32(0), run_key, agent.init(agent_key, as_arrays(hparams), observation), ())


def _step(agent: Agent, iterations: int, state: TrainState, constants: PyTree = ()) -> tuple[TrainState, Metrics]:
    key = ordinary(inline(jax.random.fold_in(state.key, state.iteration)))
    clock = state.iteration.astype(jnp.float32) * iterations
    agent_state, metrics, _ = check_update(agent.update(state.agent, (), key, clock, constants))
    return TrainState(state.iteration + 1, state.key, agent_state, ()), metrics
