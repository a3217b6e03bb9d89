"""The recipe of Q-learning in a Grid World, whose agent is measured against Q*."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl.agents.measured import MeasuredState, measured
from jaxrl.agents.q_learning import q_learning
from jaxrl.arguments import ArgumentError
from jaxrl.envs.grid_world import GridWorld, GridWorldParams
from jaxrl.envs.spaces import name_of
from jaxrl.planning import acting_states
from jaxrl.plots.learning_curve import draw_error
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.plots.q_iteration import draw_learned
from jaxrl.runs import run_directory
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import Agent, Trainer

VALUES, ERROR = "values.png", "error.png"


def build(env: Any, env_params: Any, config: OnPolicyConfig) -> tuple[Agent, Trainer]:
    """Q-learning in a Grid World, measured.

    Raises:
        ArgumentError: the environment is not a Grid World.
    """
    check_is_grid_world(env)
    learner = q_learning(env.grid.wall.size, env.num_actions, env.state_of)
    agent = measured(learner, lambda discount: env.mdp(env_params.replace(discount=discount)))
    return agent, on_policy(agent, env, env_params, config)


def check_is_grid_world(env: Any) -> None:
    """Raises `ArgumentError` if an environment is no Grid World."""
    if not isinstance(env, GridWorld):
        raise ArgumentError("env", "must be GridWorld, whose states are numbered for a table", name_of(env))


def report(
    agent: Agent, env: GridWorld, env_params: GridWorldParams, agent_states: MeasuredState, directory: Path
) -> dict[str, Any]:
    """The error of each seed's table, over the actions of all cells where the agent may act.

    Draws the first seed's table beside Q*, and the errors during training.
    """
    del agent
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
