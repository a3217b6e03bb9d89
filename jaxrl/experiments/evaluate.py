"""Evaluates the policy of a run, or of an agent of a sweep, in other episodes than the recorded evaluation."""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from annotated_types import Interval

from jaxrl.arguments import renaming
from jaxrl.cli.command import prepare_jax
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.envs import describe_rules, vectorize
from jaxrl.envs.game import GameEnvironment
from jaxrl.formatting import format_return
from jaxrl.games import UnsolvedError, judge
from jaxrl.loading import load
from jaxrl.random import key_stream
from jaxrl.runs.load import TrainedPolicy
from jaxrl.runs.options import default_hint
from jaxrl.runs.run_record import with_epsilon
from jaxrl.training import Evaluation, evaluate
from jaxrl.training.measure import mistakes, without_search
from jaxrl.types import Array, PyTree


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
    episodes: Annotated[int, Interval(gt=0, le=1_000_000)] = 128
    """Number of episodes, one in each of as many environments. Of a game, they are against a random player."""
    positions: Annotated[int, Interval(gt=0, le=1_000_000)] = 4_000
    """Number of positions in which mistakes are counted, of a game whose best moves are known."""
    max_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 5_000
    """Steps after which an episode is truncated. Its return so far counts."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog="python -m jaxrl.experiments.evaluate")
    prepare_jax()
    with renaming(directory="RUN"):
        trained = load(options.run, options.seed, options.agent, options.best)
    if trained.name:
        print(trained.name)
    env = trained.env
    if isinstance(env, GameEnvironment) and env.opponent == "itself":
        env = env.against_random()
        print_mistakes(trained, options.positions)
    envs = vectorize(env, trained.env_params, options.episodes)

    def play(agent_state: PyTree, key: Array) -> Evaluation:
        policy, memory = partial(trained.agent.policy, agent_state), trained.agent.memory(agent_state, options.episodes)
        return evaluate(policy, envs, key, options.max_steps, memory)

    evaluate_run = play if envs.host is not None else jax.jit(play)
    result = evaluate_run(trained.agent_state, key_stream(options.eval_seed, "later evaluation"))
    returns, truncated = np.asarray(result.episode_return), int((~result.ended).sum())
    epsilon = with_epsilon(getattr(trained.options.hparams, "epsilon_eval", None))
    print(f"{trained.options.task.env} ({describe_rules(env, trained.env_params)})")
    print(f"mean return {returns.mean():.2f} over {returns.size} episodes{epsilon}, {truncated} truncated")
    low, high = format_return(returns.min()), format_return(returns.max())
    print(f"returns {low} to {high}, standard deviation {returns.std():.2f}")
    print(f"mean episode length {np.mean(result.episode_length):.1f}")


def print_mistakes(trained: TrainedPolicy, positions: int) -> None:
    """Prints how often a player throws away a win or a draw, if the best moves of the game are known."""
    try:
        solution = judge(trained.env.game).sample(positions)
    except UnsolvedError as error:
        print(f"mistakes are not counted: {error}")
        return
    rates = {
        "with its search": mistakes(trained.agent, trained.agent_state, trained.env.game, solution).mean(),
        "network alone": mistakes(
            without_search(trained.agent), trained.agent_state, trained.env.game, solution
        ).mean(),
    }
    words = ", ".join(f"{rate:.2%} {who}" for who, rate in rates.items())
    print(f"mistakes in {len(solution.values):,} positions: {words}")


if __name__ == "__main__":
    main()
