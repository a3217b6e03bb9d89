"""The recipe of leagues in board games, whose players are measured against perfect play and rated by matches."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Gt, Interval

from jaxrl.agents.board_league import BoardLeagueConfig, BoardLeagueState, board_league, shares
from jaxrl.agents.league import check_league
from jaxrl.envs.game import GameEnvironment
from jaxrl.game_theory import matrix_equilibrium
from jaxrl.games import elo_ratings, play_match, policy_player, random_openings
from jaxrl.networks import board_network, example_of
from jaxrl.networks.layers import has_board
from jaxrl.plots.nash_conv import draw_league
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.random import key_stream
from jaxrl.recipes.exact_games import LEAGUE_PICTURE, roles_of
from jaxrl.recipes.self_play import check_is_game, report
from jaxrl.runs import run_directory
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import Agent, Trainer

RATED = 24
"""Of about so many copies, at equal distances in time, each meets each other."""
OPENINGS = 50
"""Of each of these matches, after so many random moves; each is played twice, with colours exchanged."""
OPENING_MOVES = 2


@dataclasses.dataclass(frozen=True)
class BoardLeague(BoardLeagueConfig):
    """Static configuration of a league in a board game."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 384
    """Games side by side of all learners together."""
    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (128, 128)
    """Units of each dense layer, which the policy and the value share."""
    conv_features: Annotated[int, Interval(ge=0, lt=2**16)] = 0
    """Channels of a 3 × 3 convolution before them, 0 for none."""


def build_board_league(env: Any, env_params: Any, config: BoardLeague) -> tuple[Agent, Trainer]:
    """A league in a board game. A run counts the moves of all learners, so that it compares with fewer learners.

    Raises:
        ArgumentError: the environment is no game, the league has no main agent, or it cannot share out the games.
    """
    check_is_game(env)
    check_league(config)
    shares(config, config.num_envs)
    example = example_of(env, env_params)
    conv_features = config.conv_features if has_board(example) else 0
    agent = board_league(board_network(example, env.num_actions, config.hidden_sizes, conv_features), config)
    rollouts = OnPolicyConfig(config.num_envs, env.game.max_moves, reset_each_rollout=True)
    return agent, on_policy(agent, env, env_params, rollouts)


def ignored_by_board_league(options: Options, observation: Any) -> dict[str, str]:
    """The settings that a league in a board game ignores, and why."""
    config = options.config
    return ignored_settings(
        (True, "a game, whose end is its only reward", ("hparams.discount", "hparams.reward_scale")),
        (not has_board(observation), f"env {options.task.env} of fewer than 3 × 3 cells", ("config.conv_features",)),
        (not config.league_exploiters, "config.league_exploiters 0", ("hparams.restart_probability",)),
    )


def report_board_league(
    agent: Agent, env: GameEnvironment, env_params: Any, agent_states: BoardLeagueState, directory: Path
) -> dict[str, Any]:
    """The mistakes of the first main agent, and the Elo rating of its last copy above its first, of those rated.

    Draws who beats whom among the copies of the first seed.
    """
    entries = report(agent, env, env_params, agent_states, directory)
    roles, ratings = roles_of(run_directory.read_config(directory)["options"]), []
    scored = jax.jit(partial(score_copies, agent, env))
    for seed in range(len(agent_states.size)):
        state = jax.tree.map(lambda x, seed=seed: x[seed], agent_states)
        places = rated_places(np.asarray(state.numbers), len(roles))
        points = np.asarray(scored(state, places), np.float64)
        elo = elo_ratings(points, prior_draws=1.0).elo
        numbers = np.asarray(state.numbers)[places]
        mains = np.flatnonzero(numbers % len(roles) == 0)
        ratings.append(float(elo[mains[-1]] - elo[mains[0]]))
        if seed == 0:
            payoffs = (points - points.T) / (2 * OPENINGS)
            weights = np.asarray(matrix_equilibrium(jnp.asarray(payoffs), jnp.ones(len(places), bool))[0])
            title, names = f"A league in {env.game.name.replace('_', ' ')}", [roles[i % len(roles)] for i in numbers]
            with errors_as_notes(directory / LEAGUE_PICTURE):
                draw_league(payoffs, weights, elo, names, title, directory / LEAGUE_PICTURE)
    return entries | {"elo": float(np.mean(ratings)), "elo_per_seed": ratings, "copies_rated": len(places)}


def rated_places(numbers: np.ndarray, learners: int) -> np.ndarray:
    """The places of some copies in the order of time: those of rounds at equal distances in time, of at least two.

    They are at most `RATED`, if two rounds are not more.
    """
    order = np.argsort(numbers)[np.count_nonzero(numbers < 0) :]
    rounds = np.unique(numbers[order] // learners)
    few = rounds[np.unique(np.linspace(0, len(rounds) - 1, max(RATED // learners, 2)).round().astype(int))]
    return order[np.isin(numbers[order] // learners, few)]


def score_copies(agent: Agent, env: GameEnvironment, state: BoardLeagueState, places: np.ndarray) -> jax.Array:
    """What each of some copies scores against each other, which draw their moves: `[P, P]`, 0 on the diagonal."""
    outputs: Any = agent.outputs
    openings = random_openings(env.game, key_stream(0, "match"), OPENINGS, min(OPENING_MOVES, env.game.max_moves))

    def player(place: jax.Array) -> Any:
        alone = jax.tree.map(lambda x: x[place][None], state.copies)
        return policy_player(partial(outputs, state._replace(params=alone)), sample=True)

    def meet(pair: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        number, first, second = pair
        key = jax.random.fold_in(key_stream(0, "match"), number + 1)
        return play_match(env.game, player(first), player(second), key, openings).points

    rows, columns = np.triu_indices(len(places), 1)
    found = jax.lax.map(meet, (jnp.arange(len(rows)), places[rows], places[columns]), batch_size=16)
    nothing = jnp.zeros((len(places), len(places)))
    return nothing.at[rows, columns].set(found[:, 0]).at[columns, rows].set(found[:, 1])
