"""Q-learning that measures its error, the distance of its table from Q*."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl import planning
from jaxrl.agents.q_learning import QLearningHparams, QLearningState
from jaxrl.agents.wrapping import around
from jaxrl.types import MDP, Agent, Array, Mean, Metrics, PyTree, Transition


class MeasuredState(NamedTuple):
    """The state of an agent whose error is measured.

    Attributes:
        learner: the state of Q-learning.
        best: `Q*(s, a)` for the learner's discount, `[S, A]`; zero in states where it never acts.
    """

    learner: QLearningState
    best: Array


def measured(agent: Agent[QLearningState], mdp_of: Callable[[ArrayLike], MDP]) -> Agent[MeasuredState]:
    """Adds a metric to Q-learning, `max_error`: the largest |Q(s, a) − Q*(s, a)| in states where it acts.

    Args:
        agent: Q-learning.
        mdp_of: `(discount) -> MDP` of its environment.
    """

    def init(key: Array, hparams: QLearningHparams, observation: PyTree) -> MeasuredState:
        mdp = mdp_of(hparams.discount)
        best = planning.q_value_iteration(mdp, tolerance=1e-9).q_values
        acts = planning.acting_states(mdp)[:, None]
        best = jnp.where(acts, best, 0.0).astype(jnp.float32)
        return MeasuredState(agent.init(key, hparams, observation), best)

    def update(
        state: MeasuredState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[MeasuredState, Metrics, PyTree]:
        learner, metrics, errors = agent.update(state.learner, batch, key, env_steps, constants)
        # Both are zero in states where it never acts.
        error = Mean.of(abs(learner.q_values - state.best).max())
        return MeasuredState(learner, state.best), metrics | {"max_error": error}, errors

    return around(agent, lambda state: state.learner, init=init, update=update)
