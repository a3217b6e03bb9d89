"""The recipe of Q-learning in a Grid World, whose agent is measured against Q*."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxrl import planning
from jaxrl.agents.q_learning import QLearningHparams, QLearningState, q_learning
from jaxrl.arguments import ArgumentError
from jaxrl.envs.grid_world import GridWorld, GridWorldParams
from jaxrl.plots.learning_curve import draw_error
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.plots.q_iteration import draw_learned
from jaxrl.runs import run_directory
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import MDP, Agent, Array, Mean, Metrics, PyTree, Trainer, Transition

VALUES, ERROR = "values.png", "error.png"


class MeasuredState(NamedTuple):
    """The state of an agent whose error is measured.

    Attributes:
        learner: the state of Q-learning.
        best: `Q*(s, a)` for the learner's discount, `[S, A]`; zero in states where it never acts.
    """

    learner: QLearningState
    best: Array


def build(env: Any, env_params: Any, config: OnPolicyConfig) -> tuple[Agent, Trainer]:
    """Q-learning in a Grid World, measured.

    Raises:
        ArgumentError: the environment is not a Grid World.
    """
    if not isinstance(env, GridWorld):
        raise ArgumentError("env", "must be GridWorld, whose states are numbered for a table", type(env).__name__)
    learner = q_learning(env.grid.wall.size, env.num_actions, env.state_of)
    agent = measured(learner, lambda discount: env.mdp(env_params.replace(discount=discount)))
    return agent, on_policy(agent, env, env_params, config)


def measured(agent: Agent, mdp_of: Callable[[ArrayLike], MDP]) -> Agent:
    """Adds a metric to Q-learning, `max_error`: the largest |Q(s, a) − Q*(s, a)| in states where it acts.

    Args:
        agent: Q-learning.
        mdp_of: `(discount) -> MDP` of its environment.
    """

    def init(key: Array, hparams: QLearningHparams, observation: PyTree) -> MeasuredState:
        mdp = mdp_of(hparams.discount)
        best = planning.q_value_iteration(mdp, tolerance=1e-9).q_values
        acts = acting_states(mdp)[:, None]
        best = jnp.where(acts, best, 0.0).astype(jnp.float32)
        return MeasuredState(agent.init(key, hparams, observation), best)

    def update(
        state: MeasuredState, batch: Transition, key: Array, env_steps: Array
    ) -> tuple[MeasuredState, Metrics, PyTree]:
        learner, metrics, extras = agent.update(state.learner, batch, key, env_steps)
        # Both are zero in states where it never acts.
        error = Mean(abs(learner.q_values - state.best).max(), jnp.int32(1))
        return MeasuredState(learner, state.best), metrics | {"max_error": error}, extras

    return Agent(
        init,
        act=lambda state, *inputs: agent.act(state.learner, *inputs),
        policy=lambda state, *inputs: agent.policy(state.learner, *inputs),
        update=update,
    )


def acting_states(mdp: MDP) -> Array:
    """The states that are not terminal and can be reached from an initial state, bool `[S]`."""
    leads = (mdp.transition > 0).any(1) & ~mdp.terminal[:, None]

    def spread(_: Array, reached: Array) -> Array:
        return reached | (reached[:, None] & leads).any(0)

    return jax.lax.fori_loop(0, len(leads), spread, mdp.initial > 0) & ~mdp.terminal


def report(env: GridWorld, env_params: GridWorldParams, agent_states: MeasuredState, directory: Path) -> dict[str, Any]:
    """The error of each seed's table, over the actions of all cells where the agent may act.

    Draws the first seed's table beside Q*, and the errors during training.
    """
    learner, best = jax.device_get(agent_states)
    acts = np.asarray(acting_states(env.mdp(env_params)))
    errors = abs(learner.q_values - best)[:, acts].max((1, 2))
    discount = learner.hparams.discount[0]
    heading = f"{env.describe_rules(env_params)}, $\\gamma$ = {discount:.6g}"
    with errors_as_notes(directory / VALUES):
        draw_learned(env, learner.q_values[0], best[0], acts, heading, directory / VALUES)
    with errors_as_notes(directory / ERROR):
        draw_error(directory / run_directory.METRICS, heading, directory / ERROR)
    return {
        "max_error": float(errors.max()),
        "max_error_per_seed": errors.tolist(),
        "least_visits": int(learner.visits[:, acts].min()),
    }
