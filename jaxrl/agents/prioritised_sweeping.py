"""Prioritised sweeping with tables (Moore & Atkeson 1993, https://doi.org/10.1007/BF00993104; Peng & Williams 1993).

Sutton & Barto 2018, section 8.4, for deterministic environments. Dyna-Q plans from pairs drawn at random, most of which
would learn nothing. Prioritised sweeping always backs up the pair whose value would change most. A change of Q(s, a)
changes the targets of all pairs that lead to s, and their priorities with them: from a reward that was just found, the
values sweep backwards.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.agents.dyna_q import DynaQHparams, DynaQState, TabularModel, numbered, tabular_agent
from jaxrl.agents.minibatches import check_rollout
from jaxrl.agents.q_learning import QLearningState, q_learning
from jaxrl.arguments import check_kind
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PrioritisedSweepingHparams(DynaQHparams):
    """Hyperparameters of prioritised sweeping, which ignores the exploration bonus of Dyna-Q+."""

    priority_threshold: Annotated[float, Interval(ge=0, lt=1e30)] = 1e-4
    """θ: a pair waits to be backed up if its value would change by more than this."""


def prioritised_sweeping(num_states: int, num_actions: int, state_of: Callable[[PyTree], Array]) -> Agent[DynaQState]:
    """Learns from the transitions of a model whose errors are largest. It acts ε-greedily.

    At most `planning_steps` pairs are backed up for each batch. The others keep their priorities.

    Args:
        num_states, num_actions, state_of: as in `jaxrl.dyna_q`.

    Returns:
        An agent for rollouts `[T, N]`, with hyperparameters `PrioritisedSweepingHparams`. Its `update` returns the TD
        errors of the real transitions; its metrics are `td_error` (the mean of their sizes) and `backups`.
    """
    learner = q_learning(num_states, num_actions, lambda states: states)
    pairs = jnp.arange(num_states)[:, None], jnp.arange(num_actions)[None]

    def init(key: Array, hparams: PrioritisedSweepingHparams, observation: PyTree) -> DynaQState:
        check_kind("hparams", hparams, PrioritisedSweepingHparams)
        learned = learner.init(key, hparams, observation)
        return DynaQState(learned, TabularModel.empty(num_states, num_actions), jnp.zeros_like(learned.q_values))

    def update(
        state: DynaQState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[DynaQState, Metrics, PyTree]:
        del constants
        check_rollout(batch)
        batch, hparams = numbered(batch, state_of), state.hparams
        model, threshold = state.model.learn(batch, env_steps), hparams.priority_threshold
        everything = model.imagine(*pairs)
        errors = errors_of(state.learner, batch)
        waiting = jnp.where(abs(errors) > threshold, abs(errors), 0.0)

        def sweep(loop: tuple) -> tuple:
            learned, priorities, backups = loop
            first, action = jnp.unravel_index(priorities.argmax(), priorities.shape)
            learned = learner.update(learned, model.imagine(first, action), key, env_steps)[0]
            change = abs(errors_of(learned, everything))
            raised = model.tried & (model.next_state == first) & (change > threshold)
            priorities = priorities.at[first, action].set(0.0)
            return learned, jnp.where(raised, jnp.maximum(priorities, change), priorities), backups + 1

        def continues(loop: tuple) -> Array:
            _, priorities, backups = loop
            return (backups < hparams.planning_steps) & (priorities > 0).any()

        priorities = state.priorities.at[batch.observation, batch.action].max(waiting)
        learned, priorities, backups = jax.lax.while_loop(continues, sweep, (state.learner, priorities, jnp.int32(0)))
        metrics = {"td_error": Mean.of(abs(errors).mean()), "backups": Mean.of(backups.astype(jnp.float32))}
        return DynaQState(learned, model, priorities), metrics, errors

    return tabular_agent(init, update, state_of)


def errors_of(learned: QLearningState, step: Transition) -> Array:
    """The TD errors of transitions between states, `[...]`."""
    discount_t = jnp.where(step.terminated, 0.0, learned.hparams.discount)
    targets = step.reward + discount_t * learned.q_values[step.next_observation].max(-1)
    return targets - learned.q_values[step.observation, step.action]
