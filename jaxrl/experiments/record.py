"""Records what a trained policy does, for agents that learn from its transitions.

The file holds the transitions as NumPy arrays, and beside them the environment, its rules and options, the policy's
mean return, and how they were made.
"""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check, renaming
from jaxrl.cli.command import prepare_jax
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.formatting import format_bytes, format_count, format_return
from jaxrl.loading import load
from jaxrl.replay import save_dataset
from jaxrl.replay.datasets import MINARI
from jaxrl.runs import provenance
from jaxrl.runs.options import default_hint
from jaxrl.runs.recording import record_dataset

MODULE = "jaxrl.experiments.record"


@dataclasses.dataclass(frozen=True)
class Options:
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Directory of the run or the sweep."""
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


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog=f"python -m {MODULE}")
    check(options)
    if options.num_steps and options.num_episodes:
        raise ArgumentError("num_episodes", "must be given without --num-steps", options.num_episodes)
    if not options.run.is_dir():
        raise ArgumentError("RUN", "must be the directory of a run or a sweep", options.run)
    if options.out.exists():
        raise ArgumentError("out", "must be a new file", got=f"{options.out}, which exists")
    to_file = not str(options.out).startswith(MINARI)
    if to_file and not options.out.parent.is_dir():
        raise ArgumentError("out", "must be a file in a directory that exists", options.out)
    prepare_jax()
    with renaming(directory="RUN"):
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
