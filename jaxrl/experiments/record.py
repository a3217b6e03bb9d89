"""Records what a trained policy or a player of games does, for agents that learn from its transitions.

The file holds the transitions as NumPy arrays, and beside them the environment, its rules and options, the policy's
mean return, and how they were made.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, renaming
from jaxrl.cli.command import prepare_jax
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.formatting import format_bytes, format_count, format_return
from jaxrl.games.players import PLAYERS
from jaxrl.loading import load
from jaxrl.replay import save_dataset
from jaxrl.replay.datasets import MINARI
from jaxrl.runs import provenance
from jaxrl.runs.options import EnvOptions, Task, default_hint
from jaxrl.runs.recording import game_player, record_dataset

MODULE = "jaxrl.experiments.record"


@dataclasses.dataclass(frozen=True)
class Options:
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Directory of a run or a sweep, or a player of games: random, greedy, or perfect (where games can be solved)."""
    out: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("demos.npz")
    """The file to write, which must not exist yet, or minari:NAME for a Minari dataset."""
    num_steps: Annotated[Annotated[int, Interval(gt=0, lt=2**31)] | None, default_hint("10000")] = None
    """Transitions to record, of all environments together."""
    num_episodes: Annotated[Annotated[int, Interval(gt=0, le=1_000_000)] | None, default_hint("none")] = None
    """Whole episodes to record, in place of so many transitions."""
    num_envs: Annotated[int, Interval(gt=0, le=1_000_000)] = 8
    """Environments side by side. Each begins with a new episode, and its last one is cut if transitions are counted."""
    seed: Annotated[int | None, default_hint("the first")] = None
    """Which seed of a run."""
    agent: Annotated[int | None, default_hint("the best")] = None
    """Which agent of a sweep."""
    best: bool = False
    """Of a run with --keep-best, record the policy as it was at its best evaluation while training."""
    record_seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Random seed. It repeats no random numbers of training and evaluation."""
    env: Annotated[str, default_hint("none")] = ""
    """The game of such a player, such as game:connect_four."""
    env_options: EnvOptions = ()
    """Options of this game, such as rows=4 columns=5 random_moves=8."""
    noise: Annotated[float, Interval(ge=0, le=1)] = 0.0
    """Probability of a random move of such a player."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog=f"python -m {MODULE}")
    if options.num_steps and options.num_episodes:
        raise ArgumentError("num_episodes", "must be given without --num-steps", options.num_episodes)
    is_player = str(options.run) in PLAYERS
    if not (is_player or options.run.is_dir()):
        raise ArgumentError("RUN", f"must be the directory of a run or a sweep, or {', '.join(PLAYERS)}", options.run)
    if not is_player:
        for name in ("env", "env_options", "noise"):
            if value := getattr(options, name):
                raise ArgumentError(name, "is only for players of games, since a run has its own", value)
    if options.out.exists():
        raise ArgumentError("out", "must be a new file", got=f"{options.out}, which exists")
    to_file = not str(options.out).startswith(MINARI)
    if to_file and not options.out.parent.is_dir():
        raise ArgumentError("out", "must be a file in a directory that exists", options.out)
    prepare_jax()
    with renaming(directory="RUN", game="env"):
        if is_player:
            trained = game_player(str(options.run), Task(options.env, env_options=options.env_options), options.noise)
        else:
            trained = load(options.run, options.seed, options.agent, options.best)
    num_steps = options.num_steps or (None if options.num_episodes else 10_000)
    transitions, about = record_dataset(trained, num_steps, options.num_envs, options.record_seed, options.num_episodes)
    with renaming(path="out"):
        save_dataset(options.out, transitions, about | {"run": str(options.run), **provenance.describe(MODULE)})
    if trained.name:
        print(trained.name)
    print(f"{about['env']} ({about['rules_text']})")
    mean, episodes = about["episode_return_mean"], format_count(about["episodes"], "whole episode")
    print(f"{format_count(about['num_steps'], 'transition')}, {episodes}" + (
        "" if mean is None else f" with the mean return {format_return(mean)}"
    ))  # fmt: skip
    print(f"written to {options.out}" + (f" ({format_bytes(options.out.stat().st_size)})" if to_file else ""))


if __name__ == "__main__":
    main()
