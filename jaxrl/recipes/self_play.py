"""The recipe of AlphaZero, whose players are measured against perfect play where a game can be solved."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from annotated_types import Gt, Interval

from jaxrl.agents import SearchConfig, alphazero, averaged
from jaxrl.arguments import ArgumentError
from jaxrl.envs.game import GameEnvironment
from jaxrl.envs.spaces import name_of
from jaxrl.games import UnsolvedError, judge
from jaxrl.networks import board_network, example_of
from jaxrl.networks.layers import has_board
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OffPolicyConfig, off_policy
from jaxrl.training.measure import mistakes, without_search
from jaxrl.types import Agent, PyTree, Trainer

SEARCHED = 20_000
"""Of so many positions, drawn at random, the mistakes of the search are counted."""


@dataclasses.dataclass(frozen=True)
class AlphaZero(SearchConfig, OffPolicyConfig):
    """Static configuration of AlphaZero."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 256
    rollout_length: Annotated[int, Interval(gt=0, lt=2**31)] = 16
    updates_per_iteration: Annotated[int, Interval(gt=0, lt=2**31)] = 32
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 1024
    replay_capacity: Annotated[int, Interval(gt=0, lt=2**31)] = 120_000
    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (512, 512)
    """Units of each dense layer, which the policy and the value share."""
    conv_features: Annotated[int, Interval(ge=0, lt=2**16)] = 0
    """Channels of a 3 × 3 convolution before them, 0 for none."""
    average_decay: Annotated[float, Interval(ge=0, lt=1)] = 0.99
    """How much of the mean of the parameters, with which it plays, each gradient step keeps; 0 plays with the last."""


def build_alphazero(env: Any, env_params: Any, config: AlphaZero) -> tuple[Agent, Trainer]:
    """AlphaZero for a game.

    Raises:
        ArgumentError: the environment is no game.
    """
    agent = alphazero_agent(env, env_params, config)
    return agent, self_play(agent, env, env_params, config)


def alphazero_agent(env: Any, env_params: Any, config: AlphaZero) -> Agent:
    """The agent alone."""
    check_is_game(env)
    example = example_of(env, env_params)
    conv_features = config.conv_features if has_board(example) else 0
    network = board_network(example, env.num_actions, config.hidden_sizes, conv_features)
    return averaged(alphazero(network, env.game, config), config.average_decay)


def check_is_game(env: Any) -> None:
    """Raises `ArgumentError` if an environment is no game in which one agent moves for both players."""
    if not isinstance(env, GameEnvironment):
        raise ArgumentError("env", "must be a game of two players, such as game:connect_four", name_of(env))
    if not env.is_self_play:
        raise ArgumentError("env", "must be a game in which one agent moves for both players", env, got="an opponent")


def self_play(agent: Agent, env: Any, env_params: Any, config: OffPolicyConfig) -> Trainer:
    """The trainer of an agent that learns from positions of its own games."""
    return off_policy(agent, env, env_params, dataclasses.replace(config, n_step=1, replay="uniform"))


def ignored_by_alphazero(options: Options, observation: Any) -> dict[str, str]:
    """The settings that AlphaZero ignores, and why."""
    return ignored_settings(
        (not has_board(observation), f"env {options.task.env} of fewer than 3 × 3 cells", ("config.conv_features",)),
        (True, "AlphaZero, which learns from one position at a time", ("config.n_step", "config.replay")),
    )


def report(
    agent: Agent, env: GameEnvironment, env_params: Any, agent_states: PyTree, directory: Path
) -> dict[str, Any]:
    """How often each seed's player throws away a win or a draw: by its network alone, and with its search, if any."""
    del env_params, directory
    try:
        solution = judge(env.game)
    except UnsolvedError as error:
        return {"not_judged": str(error)}
    alone, part = without_search(agent), solution.sample(SEARCHED)
    raw, searched = [], []
    for i in range(len(jax.tree.leaves(agent_states)[0])):
        state = jax.tree.map(lambda x, i=i: x[i], agent_states)
        raw.append(int(mistakes(alone, state, env.game, solution).sum()))
        if agent.searches:
            searched.append(float(mistakes(agent, state, env.game, part).mean()))
    entries = {
        "positions": len(solution.action_values),
        "mistakes": float(np.mean(raw)),
        "mistakes_per_seed": raw,
        "mistake_rate": float(np.mean(raw)) / len(solution.action_values),
    }
    if agent.searches:
        entries |= {"mistake_rate_search": float(np.mean(searched)), "mistake_rate_search_per_seed": searched}
    return entries
