"""Evaluates the policy of a run, or of an agent of a sweep, in other episodes than the recorded evaluation.

In games it can also meet opponents, moving first in one half of the games.
"""

import dataclasses
import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from annotated_types import Interval

from jaxrl import games
from jaxrl.arguments import ArgumentError, renaming
from jaxrl.cli.command import prepare_jax
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.envs import describe_rules, vectorize
from jaxrl.envs.game import GameEnvironment
from jaxrl.envs.tensor_game import TensorGame
from jaxrl.formatting import format_return
from jaxrl.games import UnsolvedError, judge
from jaxrl.games.engines import ENGINES, Engine, EngineError, make_engine, play_engine
from jaxrl.loading import load
from jaxrl.random import key_stream
from jaxrl.runs.load import TrainedPolicy
from jaxrl.runs.options import default_hint
from jaxrl.runs.run_record import with_epsilon
from jaxrl.training import Evaluation, evaluate
from jaxrl.training.measure import mistakes, nash_conv_of, without_search
from jaxrl.types import Array, PyTree

GAMES = 128
"""Games against each opponent, by default."""


@dataclasses.dataclass(frozen=True)
class Options:
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Directory of the run or the sweep."""
    seed: Annotated[int | None, default_hint("the first")] = None
    """Which seed of a run."""
    agent: Annotated[int | None, default_hint("the best")] = None
    """Which agent of a sweep."""
    best: bool = False
    """The agent at its best evaluation while training, of a run with --keep-best."""
    eval_seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Random seed. It never repeats the recorded evaluation's random numbers."""
    episodes: Annotated[int | None, Interval(gt=0, le=1_000_000), default_hint("the run's; 128 of a game")] = None
    """Number of episodes, one in each of as many environments. Of a game, they are against a random player."""
    positions: Annotated[int, Interval(gt=0, le=1_000_000)] = 4_000
    """Number of positions in which mistakes are counted, of a game whose best moves are known."""
    max_steps: Annotated[int | None, Interval(gt=0, lt=2**31), default_hint("the run's")] = None
    """Steps after which an episode stops, unfinished. Its return so far counts."""
    against: Annotated[tuple[str, ...], default_hint("none", "[OPPONENT ...]")] = ()
    """In games: random, greedy, perfect (if it can be solved), another run, "gnugo level=1", or fairy-stockfish."""
    raw: bool = False
    """Meet the opponents with the policy network alone, without the search."""
    opening_moves: Annotated[int, Interval(ge=0, le=1000)] = 2
    """Random moves before these games, so that they differ; each beginning is played twice, with colours exchanged."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog="python -m jaxrl.experiments.evaluate")
    prepare_jax()
    with renaming(directory="RUN"):
        trained = load(options.run, options.seed, options.agent, options.best)
    if trained.name:
        print(trained.name)
    with ExitStack() as closing:
        report(trained, options, closing)


def report(trained: TrainedPolicy, options: Options, closing: ExitStack) -> None:
    """Prints what a policy reaches. Engines that it meets are closed with `closing`."""
    env, own = trained.env, trained.options.budget
    counted = GAMES if isinstance(env, GameEnvironment) else own.eval_episodes  # runs in games count positions
    episodes, max_steps = options.episodes or counted, options.max_steps or own.eval_max_steps
    opponents = make_opponents(options.against, trained, closing)
    if isinstance(env, GameEnvironment) and env.is_self_play:
        env = env.against_random()
        print_mistakes(trained, options.positions)
    if isinstance(env, TensorGame):  # exact: there are no episodes, and a return of both players says nothing
        found = nash_conv_of(
            trained.agent, env.game, trained.agent_state, key_stream(options.eval_seed, "later evaluation")
        )
        print(f"{trained.options.task.env}: NashConv {-float(found.episode_return.mean()):.5f}")
        return
    envs = vectorize(env, trained.env_params, episodes)

    def play(agent_state: PyTree, key: Array) -> Evaluation:
        policy, memory = partial(trained.agent.policy, agent_state), trained.agent.memory(agent_state, envs.num_envs)
        return evaluate(policy, envs, key, max_steps, memory)

    evaluate_run = play if envs.host is not None else jax.jit(play)
    result = evaluate_run(trained.agent_state, key_stream(options.eval_seed, "later evaluation"))
    returns, unfinished = np.asarray(result.episode_return), int((~result.ended).sum())
    epsilon = with_epsilon(getattr(trained.options.hparams, "epsilon_eval", None))
    print(f"{trained.options.task.env} ({describe_rules(env, trained.env_params)})")
    print(f"mean return {returns.mean():.2f} over {returns.size} episodes{epsilon}, {unfinished} unfinished")
    low, high = format_return(returns.min()), format_return(returns.max())
    print(f"returns {low} to {high}, standard deviation {returns.std():.2f}")
    print(f"mean episode length {np.mean(result.episode_length):.1f}")
    for name, opponent in opponents.items():
        try:
            match = meet(trained, opponent, options)
        except EngineError as error:
            print(f"note: no match against {name}: {error}")
            continue
        who = "its network alone " if options.raw else ""
        print(f"{who}against {name}, after {options.opening_moves} random moves: {describe(match)}")


def make_opponents(
    names: Sequence[str], trained: TrainedPolicy, closing: ExitStack
) -> dict[str, games.Player | Engine]:
    """All opponents. Engines are closed with `closing`, also if a later opponent cannot be made."""
    opponents: dict[str, games.Player | Engine] = {}
    for name in names:
        opponents[name] = opponent = make_opponent(name, trained)
        if isinstance(opponent, Engine):
            closing.callback(opponent.close)
    return opponents


def make_opponent(name: str, trained: TrainedPolicy) -> games.Player | Engine:
    """An opponent by its name.

    Raises:
        ArgumentError: the policy plays no game, or the opponent is not known, or plays another game.
    """
    if isinstance(trained.env, TensorGame):
        rule = "is for games in which both players see the whole position; of this one, NashConv is measured instead"
        raise ArgumentError("against", rule, got=trained.env.name)
    if not isinstance(trained.env, GameEnvironment):
        raise ArgumentError(
            "against", "needs a run in a game, such as game:connect_four", trained.env, trained.env.name
        )
    check_remembers_nothing(trained)
    if name.partition(" ")[0] in ENGINES:
        with renaming(engine="against"):
            return make_engine(name, trained.env.game)
    if not Path(name).is_dir():
        if os.sep in name:
            raise ArgumentError("against", "must be the directory of a run, if it is a path", name)
        with renaming(player="against", game="against perfect"):
            return games.make_player(name, trained.env.game)
    with renaming(directory="against"):
        opponent = load(Path(name))
    if getattr(opponent.env, "game", None) != trained.env.game:
        raise ArgumentError("against", f"must be a run of {trained.env.game}", name)
    check_remembers_nothing(opponent)
    return partial(opponent.agent.policy, opponent.agent_state)


def check_remembers_nothing(trained: TrainedPolicy) -> None:
    """Raises `ArgumentError` if a policy has a memory, which a match does not keep."""
    if jax.tree.leaves(trained.memory(1)):
        raise ArgumentError("against", "needs policies without a memory", got=trained.experiment.name)


def meet(trained: TrainedPolicy, opponent: games.Player | Engine, options: Options) -> games.Match:
    """A match of at least `options.episodes` games, or else of `GAMES`."""
    agent, game = without_search(trained.agent) if options.raw else trained.agent, trained.env.game
    openings_key, key = jax.random.split(key_stream(options.eval_seed, "match"))
    number = -(-(options.episodes or GAMES) // 2)
    if isinstance(opponent, Engine):
        player = partial(agent.policy, trained.agent_state)
        return play_engine(game, player, opponent, key, number, options.opening_moves)
    with renaming(moves="opening_moves"):
        openings = games.random_openings(game, openings_key, number, options.opening_moves)

    @jax.jit
    def play(agent_state: PyTree) -> games.Match:
        return games.play_match(game, partial(agent.policy, agent_state), opponent, key, openings)

    return play(trained.agent_state)


def describe(match: games.Match) -> str:
    """The counts, the score and the difference of Elo ratings, with 95 % intervals."""
    counts = np.asarray(match.counts)
    (points, _), number = np.asarray(match.points), counts.sum()
    scores = [points / number, *games.binomial_interval(points, number)]
    mean, low, high = (f"{100 * score:.1f}" for score in scores)
    elo, least, most = (f"{difference:+.0f}" for difference in games.elo_difference(scores))
    whole, first, second = ("–".join(map(str, row)) for row in (counts.sum(0), *counts))
    return (
        f"{whole} (wins–draws–losses; moving first {first}, second {second}), "
        f"score {mean} % ({low} to {high}), Elo {elo} ({least} to {most})"
    )


def print_mistakes(trained: TrainedPolicy, positions: int) -> None:
    """Prints how often a player throws away a win or a draw, if the best moves of the game are known."""
    try:
        solution = judge(trained.env.game).sample(positions)
    except UnsolvedError as error:
        print(f"mistakes are not counted: {error}")
        return
    agent = trained.agent
    players = {"with its search": agent, "network alone": without_search(agent)} if agent.searches else {"": agent}
    rates = {who: mistakes(x, trained.agent_state, trained.env.game, solution).mean() for who, x in players.items()}
    words = ", ".join(f"{rate:.2%} {who}".rstrip() for who, rate in rates.items())
    print(f"mistakes in {len(solution.values):,} positions: {words}")


if __name__ == "__main__":
    main()
