"""What recovered rewards are worth: the policies that are planned and learned on them, beside a linear program's.

The numbers are expected discounted returns under the true reward; see `reward_recovery`, which finds the rewards.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import inverse, planning
from jaxrl.agents import QLearningHparams, q_learning
from jaxrl.agents.policy_gradient import NetworkState
from jaxrl.envs.grid_world import GridWorld, GridWorldParams
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.plots.recovered_reward import Column, draw_recovered
from jaxrl.random import key_stream
from jaxrl.recipes.reward_recovery import RewardRecovery, best_policy, demonstrations, make_planner
from jaxrl.runs import run_directory
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import MDP, Agent, Array

REWARDS, PICTURE = "rewards.npz", "rewards.png"


def report(
    agent: Agent, env: GridWorld, env_params: GridWorldParams, agent_states: NetworkState, directory: Path
) -> dict[str, Any]:
    """How much less than the best policy those earn that are planned and learned on the recovered rewards.

    Writes the rewards, and draws that of the first seed and the policy planned on it beside the true ones.
    """
    del agent
    options = run_directory.read_config(directory)["options"]
    fields = [field.name for field in dataclasses.fields(RewardRecovery)]
    config = RewardRecovery(**{name: options[f"config.{name}"] for name in fields})
    planner = make_planner(env, env_params, config)
    mdp, expert = best_policy(env, env_params, config.discount)
    recovered = np.asarray(jax.vmap(planner.cells)(agent_states.params), np.float64)
    plans = [plan_on(mdp, planner.entered @ cells) for cells in recovered]
    losses = [value_difference(mdp, expert, policy) for policy in plans]
    rewards = {"true": np.ravel(env_params.reward), "recovered": recovered}
    random = np.full(expert.shape, 1 / expert.shape[1])
    entries = {
        "expected_value_difference": float(np.mean(losses)),
        "expected_value_difference_per_seed": losses,
        "expected_value_difference_random": value_difference(mdp, expert, random),
    }
    columns = [
        make_column("true reward", mdp, rewards["true"], expert),
        make_column("recovered", mdp, recovered[0], plans[0]),
    ]
    if config.linear_program:
        cells = simplest_reward(mdp, expert, planner.entered)
        columns.append(make_column("linear program", mdp, cells, plan_on(mdp, planner.entered @ cells)))
        loss = value_difference(mdp, expert, columns[-1].policy)
        entries["expected_value_difference_linear_program"], rewards["linear_program"] = loss, cells
    if config.rl_steps:
        key = key_stream(options["seed"], "later evaluation")
        learned = learn_policy(env, env_params, recovered[0], config.discount, key, config.rl_steps)
        entries["expected_value_difference_q_learning"] = value_difference(mdp, expert, learned)
    np.savez(directory / REWARDS, **rewards)  # type: ignore[arg-type]  # numpy's stub takes names for flags
    heading = f"{env.describe_rules(env_params)}, $\\gamma$ = {config.discount:g}"
    with errors_as_notes(directory / PICTURE):
        draw_recovered(env, columns, heading, directory / PICTURE)
    return demonstrations(env, env_params, config)[1] | entries


def plan_on(mdp: MDP, reward: np.ndarray) -> np.ndarray:
    """The best policy `[S, A]` for another reward `[S, A]`."""
    with jax.enable_x64(True):
        return np.asarray(planning.policy_iteration(mdp._replace(reward=jnp.asarray(reward))).policy)


def value_difference(mdp: MDP, expert: np.ndarray, policy: np.ndarray) -> float:
    """How much less than the expert's the expected discounted return of a policy is."""
    with jax.enable_x64(True):
        returns = [planning.expected_return(mdp, jnp.asarray(x)) for x in (expert, policy)]
        return round(float(returns[0] - returns[1]), 12)  # rounding errors are no difference


def make_column(title: str, mdp: MDP, reward: np.ndarray, policy: np.ndarray) -> Column:
    """A column of the picture: a reward `[S]`, and a policy `[S, A]` with its values under the true reward."""
    with jax.enable_x64(True):
        return Column(title, reward, policy, np.asarray(planning.policy_evaluation(mdp, jnp.asarray(policy))))


def simplest_reward(mdp: MDP, policy: np.ndarray, entered: np.ndarray) -> np.ndarray:
    """The reward of each cell, `[S]`, that sets the policy apart (Ng & Russell 2000); see `inverse.linear_program`.

    The paper advises to choose λ just below the one that makes the reward zero. It is 75 % of that here.
    """
    l1_penalty = 0.75 * inverse.critical_l1_penalty(mdp, policy, entered)
    weights = inverse.linear_program(mdp, policy, entered, l1_penalty=l1_penalty).weights
    return np.round(weights, 12)  # without what is left of zeros


def learn_policy(
    env: GridWorld, params: GridWorldParams, cells: np.ndarray, discount: float, key: Array, num_steps: int
) -> np.ndarray:
    """The greedy policy `[S, A]` of Q-learning in the environment, with another reward for each cell `[S]`."""
    rewarded = params.replace(reward=np.asarray(cells, np.float32).reshape(env.grid.wall.shape))
    agent = q_learning(env.grid.wall.size, env.num_actions, env.state_of)
    trainer = on_policy(agent, env, rewarded, OnPolicyConfig(num_envs=16, rollout_length=1))
    hparams = QLearningHparams(discount=discount, epsilon=0.3)

    def train(key: Array) -> Array:
        state = trainer.init(key, hparams)
        state, _ = jax.lax.scan(lambda state, _: (trainer.step(state)[0], None), state, length=-(-num_steps // 16))
        return state.agent.q_values

    return np.eye(env.num_actions)[np.asarray(jax.jit(train)(key)).argmax(1)]
