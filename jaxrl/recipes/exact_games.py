"""Recipes for small games with exact answers: solvers, and neural self-play, measured by NashConv."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl
from annotated_types import Gt, Interval

from jaxrl import game_theory
from jaxrl.agents.game_tables import game_solver
from jaxrl.agents.league import LeagueConfig, LeagueState, check_league, league
from jaxrl.agents.nfsp import NFSPConfig, nfsp
from jaxrl.agents.self_play_ppo import SelfPlayConfig, self_play_ppo
from jaxrl.arguments import ArgumentError
from jaxrl.envs.spaces import name_of
from jaxrl.envs.tensor_game import TensorGame
from jaxrl.game_theory import Game, Solver
from jaxrl.game_theory.psro import expected_payoffs
from jaxrl.games import elo_ratings
from jaxrl.networks import Network, actor_critic, policy_network, q_network
from jaxrl.networks.adapters import Functions
from jaxrl.plots.nash_conv import draw_league, draw_nash_conv
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.runs import run_directory
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.training.from_rules import from_rules
from jaxrl.types import Agent, Discrete, PyTree, Trainer

PICTURE, LEAGUE_PICTURE = "nash_conv.png", "league.png"
LAST = ("nash_conv_last", "nash_conv_network", "nash_conv_average", "nash_conv_equilibrium", "nash_conv_response")
"""Metrics whose last values are in the summary, of those that there are."""


@dataclasses.dataclass(frozen=True)
class GameSolving:
    """Static configuration of solvers."""

    solver: Literal["cfr", "cfr_plus", "fictitious_play", "mirror_descent", "psro"] = "cfr_plus"
    """The algorithm."""
    measure_every: Annotated[int, Interval(gt=0, lt=2**31)] = 10
    """Iterations between two measurements of NashConv; one step of the run."""
    max_policies: Annotated[int, Interval(gt=1, lt=2**16)] = 256
    """The most policies of a player in PSRO."""


@dataclasses.dataclass(frozen=True)
class SelfPlay(SelfPlayConfig):
    """Static configuration of neural self-play."""

    sampled: bool = True
    """Learn from games that are played; else from all that there could be, with no sampling, and count iterations."""
    num_games: Annotated[int, Interval(gt=0, lt=2**31)] = 1024
    """Games of one iteration, if sampled."""
    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (64, 64)
    """Units of each dense layer, of the policy network and of the value network."""


@dataclasses.dataclass(frozen=True)
class League(LeagueConfig):
    """Static configuration of a league."""

    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (64, 64)
    """Units of each dense layer of a learner's policy network."""


@dataclasses.dataclass(frozen=True)
class NFSP(NFSPConfig):
    """Static configuration of neural fictitious self-play."""

    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (64, 64)
    """Units of each dense layer, of the best response and of the average policy."""


def check_is_exact(env: Any) -> None:
    """Raises `ArgumentError` if an environment is no game of which all positions are known."""
    if not isinstance(env, TensorGame):
        known = ", ".join(f"game:{name}" for name in game_theory.GAMES)
        raise ArgumentError("env", f"must be a game whose NashConv can be computed ({known})", name_of(env))


def make_solver(config: GameSolving) -> Solver:
    """The solver of a configuration."""
    if config.solver == "psro":
        return game_theory.psro(config.max_policies)
    solvers = {
        "cfr": game_theory.cfr,
        "cfr_plus": game_theory.cfr_plus,
        "fictitious_play": game_theory.fictitious_play,
        "mirror_descent": game_theory.magnetic_mirror_descent,
    }
    return solvers[config.solver]()


def build_solver(env: Any, env_params: Any, config: GameSolving) -> tuple[Agent, Trainer]:
    """A solver of a game.

    Raises:
        ArgumentError: the environment is no game of which all positions are known.
    """
    del env_params
    check_is_exact(env)
    agent = game_solver(make_solver(config), env.game, config.measure_every)
    return agent, from_rules(agent, jnp.int32(0), config.measure_every)


def build_self_play(env: Any, env_params: Any, config: SelfPlay) -> tuple[Agent, Trainer]:
    """PPO with entropy as a magnet, against itself and its past.

    Raises:
        ArgumentError: the environment is no game of which all positions are known.
    """
    check_is_exact(env)
    features, space = game_theory.features(env.game), Discrete(env.num_actions)
    network = actor_critic(features[0], space, config.hidden_sizes)
    agent = self_play_ppo(env.game, network, config, config.sampled)
    if not config.sampled:
        return agent, from_rules(agent, jnp.int32(0))
    rollouts = OnPolicyConfig(config.num_games, env.game.longest, reset_each_rollout=True)
    return agent, on_policy(agent, env, env_params, rollouts)


def build_nfsp(env: Any, env_params: Any, config: NFSP) -> tuple[Agent, Trainer]:
    """Neural fictitious self-play.

    Raises:
        ArgumentError: the environment is no game of which all positions are known.
    """
    check_is_exact(env)
    seen, sizes = game_theory.features(env.game), config.hidden_sizes

    def of_sets(network: Network) -> Functions:
        return Functions(
            lambda key, sets: network.init(key, seen[sets]),
            lambda params, sets, **options: network.apply(params, seen[sets], **options),
        )

    response = of_sets(q_network(seen[0], env.num_actions, sizes))
    average = of_sets(policy_network(seen[0], Discrete(env.num_actions), sizes))
    agent = nfsp(env.game, response, average, config)
    rollouts = OnPolicyConfig(config.num_games, env.game.longest, reset_each_rollout=True)
    return agent, on_policy(agent, env, env_params, rollouts)


def ignored_by_nfsp(options: Options, observation: Any) -> dict[str, str]:
    """The settings that NFSP ignores, and why."""
    del options, observation
    reason = "NFSP, which is evaluated with its average policy"
    return ignored_settings((True, reason, ("hparams.epsilon_eval",)))


def build_league(env: Any, env_params: Any, config: League) -> tuple[Agent, Trainer]:
    """A league of learners. A run counts the iterations of all of them, so that it compares with fewer learners.

    Raises:
        ArgumentError: the environment is no game of which all positions are known, or the league has no main agent.
    """
    del env_params
    check_is_exact(env)
    check_league(config)
    features, space = game_theory.features(env.game), Discrete(env.num_actions)
    network = actor_critic(features[0], space, config.hidden_sizes)
    agent = league(env.game, network, config)
    return agent, from_rules(agent, jnp.int32(0), config.copy_every * config.learners)


def ignored_by_solvers(options: Options, observation: Any) -> dict[str, str]:
    """The settings that solvers ignore, and why."""
    del observation
    solver = options.config.solver
    hparams = tuple(f"hparams.{field.name}" for field in dataclasses.fields(options.hparams))
    return ignored_settings(
        (solver != "mirror_descent", f"config.solver {solver}", hparams),
        (solver != "psro", f"config.solver {solver}", ("config.max_policies",)),
    )


def ignored_by_self_play(options: Options, observation: Any) -> dict[str, str]:
    """The settings that self-play ignores, and why."""
    del observation
    config, hparams = options.config, options.hparams
    return ignored_settings(
        (not config.sampled, "config.no-sampled", ("config.num_games",)),
        (config.sampled, "config.sampled", ("hparams.spread",)),
        (config.num_steps == 1, "config.num_steps 1", ("hparams.clip",)),
        (hparams.magnet == 0, "hparams.magnet 0", ("hparams.magnet_half_life", "hparams.magnet_floor")),
    )


def ignored_by_league(options: Options, observation: Any) -> dict[str, str]:
    """The settings that a league ignores, and why."""
    del observation
    config, hparams = options.config, options.hparams
    return ignored_settings(
        (True, "a league, whose past are copies", ("hparams.past", "hparams.spread")),
        (config.num_steps == 1, "config.num_steps 1", ("hparams.clip",)),
        (hparams.magnet == 0, "hparams.magnet 0", ("hparams.magnet_half_life", "hparams.magnet_floor")),
        (not config.league_exploiters, "config.league_exploiters 0", ("hparams.restart_probability",)),
    )


def report(agent: Agent, env: TensorGame, env_params: Any, agent_states: PyTree, directory: Path) -> dict[str, Any]:
    """NashConv and the value of the game for the average policy of each seed, in double precision.

    Draws NashConv during the run.
    """
    del env_params
    game, sets = env.game, jnp.arange(len(env.game.labels))
    outputs: Any = agent.outputs
    policies = jax.vmap(lambda state: jax.nn.softmax(outputs(state, sets).logits))(agent_states)
    with jax.enable_x64(True):
        tables = np.where(game.legal, np.asarray(policies, np.float64), 0)
        tables /= tables.sum(-1, keepdims=True)
        measured = jax.jit(jax.vmap(lambda x: (game_theory.nash_conv(game, x), game_theory.value(game, x))))
        found = measured(tables)
        nash_conv, values = (np.asarray(x) for x in found)
    for table in tables:
        game_theory.check_policy(game, table)
    metrics = directory / run_directory.METRICS
    with errors_as_notes(directory / PICTURE):
        draw_nash_conv(metrics, f"NashConv in {game.name.replace('_', ' ')}", directory / PICTURE)
    return {
        "nash_conv": float(nash_conv.mean()),
        "nash_conv_per_seed": nash_conv.tolist(),
        "exploitability": float(nash_conv.mean() / 2),
        "game_value": float(values.mean()),
        "game_value_per_seed": values.tolist(),
        **last_row(metrics, *LAST),
    }


def report_league(
    agent: Agent, env: TensorGame, env_params: Any, agent_states: LeagueState, directory: Path
) -> dict[str, Any]:
    """As `report`, and the Elo rating of the first main agent's last copy above its first, of those that are left.

    Ratings are from exact probabilities to win.

    Draws who beats whom among the copies of the first seed.
    """
    entries = report(agent, env, env_params, agent_states, directory)
    roles, ratings = roles_of(run_directory.read_config(directory)["options"]), []
    for seed in range(len(agent_states.size)):
        state = jax.tree.map(lambda x, seed=seed: np.asarray(x[seed]), agent_states)
        places = np.argsort(state.numbers)[-min(int(state.size), len(state.numbers)) :]  # in order of time
        numbers = state.numbers[places]
        names = [roles[i % len(roles)] for i in numbers]
        elo = elo_of(env.game, [x[places] for x in state.plans])
        mains = np.flatnonzero(numbers % len(roles) == 0)
        ratings.append(float(elo[mains[-1]] - elo[mains[0]]))
        if seed == 0:
            payoffs, weights = state.payoffs[np.ix_(places, places)], state.weights[places]
            title = f"A league in {env.game.name.replace('_', ' ')}"
            with errors_as_notes(directory / LEAGUE_PICTURE):
                draw_league(payoffs, weights, elo, names, title, directory / LEAGUE_PICTURE)
    return entries | {"elo": float(np.mean(ratings)), "elo_per_seed": ratings, "copies": len(numbers)}


def roles_of(options: dict[str, Any]) -> list[str]:
    """What each learner of a league is, by the options in a run's `config.json`."""
    return (
        ["main agent"] * options["config.main_agents"]
        + ["main exploiter"] * options["config.main_exploiters"]
        + ["league exploiter"] * options["config.league_exploiters"]
    )


def elo_of(game: Game, plans: list[np.ndarray]) -> np.ndarray:
    """Elo ratings of players by their plans `[K, S]`, 0 for the first: as if each two had met in 1,000 games.

    Their results are the exact probabilities, and one more draw, which keeps the ratings finite.
    """
    won = np.asarray(jax.jit(expected_payoffs)(game_theory.counting_wins(game), *plans), np.float64)
    points = 1000 * (1 + (won - won.T) / 2) / 2
    np.fill_diagonal(points, 0)
    return elo_ratings(np.clip(points, 0, 1000), prior_draws=1.0).elo


def last_row(metrics: Path, *columns: str) -> dict[str, float]:
    """The means over seeds of some columns in the last rows of a run's `metrics.csv`, of those that it has."""
    if not metrics.exists():
        return {}
    last = pl.read_csv(metrics).group_by("seed").last()
    return {name: float(last[name].mean()) for name in columns if name in last.columns}  # type: ignore[arg-type]
