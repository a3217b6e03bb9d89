"""Inverse reinforcement learning in MountainCar-v0, from episodes of an expert (Ng & Russell 2000, section 5).

In each round, a linear program finds the reward for which the expert is better than all policies so far, by far, and
the best policy for this reward joins them.
"""

import dataclasses
import time
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from annotated_types import Interval
from rich.console import Console

from jaxrl import inverse
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.envs import make
from jaxrl.formatting import format_number, format_rows
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.plots.recovered_reward import draw_along_positions
from jaxrl.random import key_stream
from jaxrl.recipes.demonstrations import read_dataset
from jaxrl.recipes.mountain_car import (
    Car,
    bumps,
    expected_features,
    first_episodes,
    not_at_goal,
    plan_for,
    play,
    recorded_episodes,
)
from jaxrl.runs import provenance, run_directory
from jaxrl.runs.options import default_hint

NAME = "irl_mountain_car"
PICTURE = "reward.png"


@dataclasses.dataclass(frozen=True)
class Options:
    dataset: Annotated[Path | None, default_hint("none: the best policy demonstrates", "FILE")] = None
    """Recorded transitions to learn from, as `python -m jaxrl.experiments.record` writes them."""
    num_episodes: Annotated[int, Interval(ge=1, le=100_000)] = 100
    """Episodes of each policy."""
    rounds: Annotated[int, Interval(ge=1, le=10_000)] = 15
    """Linear programs to solve."""
    discount: Annotated[float, Interval(gt=0, lt=1)] = 0.99
    """The discount γ of the expert and of all that plans."""
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Random seed."""
    out: Annotated[Path | None, default_hint(f"runs/{NAME}/DATE-TIME", "DIR")] = None
    """The directory to write to."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog=f"python -m jaxrl.experiments.{NAME}")
    prepare_jax()
    run(options, screen())


def run(options: Options, console: Console) -> None:
    """Recovers a reward, draws it, and prints a summary.

    Raises:
        ArgumentError: an option cannot be used.
    """
    car = Car(*make("MountainCar-v0"), options.discount)
    recorded = None
    if options.dataset is not None:
        recorded = recorded_episodes(read_dataset(str(options.dataset), car.env, car.params))
    with run_directory.new_directory(options.out, NAME) as directory:
        started = time.perf_counter()
        summary, weights = recover(car, recorded, options)
        summary |= {"seconds": round(time.perf_counter() - started, 3), "device": provenance.device_name()}
        run_directory.write_json(directory / run_directory.SUMMARY, summary)
        with errors_as_notes(directory / PICTURE):
            positions = np.linspace(-1.2, 0.6, 361)
            true, recovered = (np.asarray(x) for x in (-not_at_goal(positions)[:, 0], bumps(positions) @ weights))
            draw_along_positions(positions, true, recovered, directory / PICTURE)
        show(summary, directory, console)


def recover(
    car: Car, recorded: tuple[np.ndarray, np.ndarray] | None, options: Options
) -> tuple[dict[str, Any], np.ndarray]:
    """The summary, and the weights of the last round's reward."""
    expert_key, random_key, key = jax.random.split(key_stream(options.seed, "recording"), 3)
    if recorded is None:
        best = plan_for(car, not_at_goal, [-1.0])
        recorded = first_episodes(play(car, not_at_goal, best, expert_key, options.num_episodes))
    positions, expert_returns = recorded
    seen = expected_features(bumps, positions, car.discount)
    random = first_episodes(play(car, bumps, None, random_key, options.num_episodes))
    others, returns_per_round = [expected_features(bumps, random[0], car.discount)], []
    for _ in range(options.rounds):
        weights = inverse.sampled_linear_program(seen, np.array(others))
        plan = plan_for(car, bumps, weights)
        positions, returns = first_episodes(play(car, bumps, plan, key, options.num_episodes))
        others.append(expected_features(bumps, positions, car.discount))
        returns_per_round.append(float(returns.mean()))
    return {
        "env": "MountainCar-v0",
        "demonstrated_episodes": len(expert_returns),
        "rounds": options.rounds,
        "discount": options.discount,
        "expert_return_mean": float(expert_returns.mean()),
        "random_return_mean": float(random[1].mean()),
        "eval_return_mean": returns_per_round[-1],
        "eval_return_mean_per_round": returns_per_round,
        "weights": weights.tolist(),
    }, weights


def show(summary: dict[str, Any], directory: Path, console: Console) -> None:
    """Prints the results and the files."""
    rows = [
        ("expert", format_number(summary["expert_return_mean"], 4)),
        ("planned on the recovered reward", format_number(summary["eval_return_mean"], 4)),
        ("random", format_number(summary["random_return_mean"], 4)),
        ("seconds", format_number(summary["seconds"])),
    ]
    rows += [(name, str(directory / name)) for name in (PICTURE, run_directory.SUMMARY) if (directory / name).exists()]
    console.print(format_rows(rows), soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
