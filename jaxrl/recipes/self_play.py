"""The recipe of AlphaZero, whose players are measured against perfect play where a game can be solved."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Gt, Interval

from jaxrl.agents import SearchConfig, alphazero
from jaxrl.arguments import ArgumentError
from jaxrl.envs import action_space_of
from jaxrl.envs.game import GameEnvironment
from jaxrl.games import ILLEGAL, BoardGame, Solution, solve
from jaxrl.networks import actor_critic, example_of
from jaxrl.networks.layers import has_board
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OffPolicyConfig, off_policy
from jaxrl.types import Agent, Input, PyTree, Trainer

MOST_POSITIONS = 4_000_000
"""Games with more are not solved."""
SEARCHED = 20_000
"""Of so many positions, drawn at random, the mistakes of the search are counted."""
BATCH = 4_000


@dataclasses.dataclass(frozen=True)
class AlphaZero(SearchConfig, OffPolicyConfig):
    """Static configuration of AlphaZero."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 256
    rollout_length: Annotated[int, Interval(gt=0, lt=2**31)] = 16
    updates_per_iteration: Annotated[int, Interval(gt=0, lt=2**31)] = 32
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 1024
    replay_capacity: Annotated[int, Interval(gt=0, lt=2**31)] = 120_000
    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (256,)
    """Units of each dense layer, of the policy and of the value."""
    conv_features: Annotated[int, Interval(ge=0, lt=2**16)] = 64
    """Channels of the 3 × 3 convolution before both, 0 for none."""


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
    network = actor_critic(example, action_space_of(env, env_params), config.hidden_sizes, "relu", conv_features)
    return alphazero(network, env.game, config)


def check_is_game(env: Any) -> None:
    """Raises `ArgumentError` if an environment is no game."""
    if not isinstance(env, GameEnvironment):
        raise ArgumentError("env", "must be a game of two players, such as game:connect_four", type(env).__name__)


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
    """How often each seed's player throws away a win or a draw: by its network alone, and with its search."""
    del env_params, directory
    try:
        solution = solve(env.game, MOST_POSITIONS)
    except ArgumentError:
        return {}  # too large: nobody knows the perfect moves
    count = len(solution.values)
    some = np.random.default_rng(0).permutation(count)[:SEARCHED]
    part = Solution(jax.tree.map(lambda x: x[some], solution.states), solution.action_values[some])
    raw, searched = [], []
    for i in range(len(jax.tree.leaves(agent_states)[0])):
        state = jax.tree.map(lambda x, i=i: x[i], agent_states)
        raw.append(int(mistakes(agent, state, env.game, solution, search=False).sum()))
        searched.append(float(mistakes(agent, state, env.game, part, search=True).mean()))
    return {
        "positions": count,
        "mistakes": float(np.mean(raw)),
        "mistakes_per_seed": raw,
        "mistake_rate": float(np.mean(raw)) / count,
        "mistake_rate_search": float(np.mean(searched)),
        "mistake_rate_search_per_seed": searched,
    }


def mistakes(agent: Agent, agent_state: PyTree, game: BoardGame, solution: Solution, search: bool) -> np.ndarray:
    """Whether a player's move is a mistake, in each position of a solution: bool `[P]`."""
    count, actions = len(solution.values), []
    for start in range(0, count, BATCH):
        rows = np.minimum(np.arange(start, start + BATCH), count - 1)
        states = jax.tree.map(lambda x, rows=rows: x[rows], solution.states)
        legal = solution.action_values[rows] != ILLEGAL
        actions.append(np.asarray(_moves(agent, game, search, agent_state, states, legal)))
    return solution.mistakes(np.concatenate(actions)[:count])


@partial(jax.jit, static_argnums=(0, 1, 2))  # compiled once for all seeds
def _moves(
    agent: Agent, game: BoardGame, search: bool, agent_state: PyTree, states: PyTree, legal: jax.Array
) -> jax.Array:
    """The moves of a player in many positions, `[P]`: those of its network alone, or with its search."""
    observations = jax.vmap(game.observe)(states)
    if not search:
        logits = agent.outputs(agent_state, observations).logits  # type: ignore[misc]
        return jnp.where(legal, logits, -jnp.inf).argmax(1)
    last = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), states)
    return agent.policy(agent_state, Input(observations, legal, env_states=last), jax.random.key(0)).action
