"""Draws the book's figures of Dyna: episodes with more and less planning, and mazes that change."""

import dataclasses
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
from annotated_types import Interval

from jaxrl.agents import PrioritisedSweepingHparams
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.envs.maps import read_map
from jaxrl.formatting import format_rows
from jaxrl.plots.mazes import ChangingMaze, draw_mazes
from jaxrl.random import key_stream
from jaxrl.recipes.tabular_dyna import BLOCKING, SHORTCUT, cumulative_rewards, episode_lengths
from jaxrl.runs import provenance, run_directory
from jaxrl.runs.options import default_hint
from jaxrl.types import Array

NAME = "dyna_mazes"
PICTURE = "mazes.png"


@dataclasses.dataclass(frozen=True)
class Options:
    num_runs: Annotated[int, Interval(ge=1, lt=2**20)] = 30
    """Runs side by side, of which the figures show the mean."""
    num_episodes: Annotated[int, Interval(ge=2, lt=2**20)] = 50
    """Episodes in the maze that does not change."""
    planning_steps: tuple[Annotated[int, Interval(ge=0, lt=2**20)], ...] = (0, 5, 50)
    """Imagined transitions for each real one in the maze that does not change, of each agent."""
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Seed of the random key."""
    out: Annotated[Path | None, default_hint(f"runs/{NAME}/DATE-TIME", "DIR")] = None
    """The directory to write to."""


@errors_in_one_line()
def main() -> None:
    options = parse(Options, __doc__, prog=f"python -m jaxrl.experiments.{NAME}")
    prepare_jax()
    with run_directory.new_directory(options.out, NAME) as directory:
        rows = run(options, directory)
    screen().print(format_rows(rows), soft_wrap=True, markup=False)


def run(options: Options, directory: Path) -> list[tuple[str, str]]:
    """Runs all agents, draws the picture, and describes them in rows."""
    keys = jax.random.split(key_stream(options.seed, "training"), options.num_runs)
    lengths = {
        f"{n} planning steps": episode_lengths(
            "dyna_maze", PrioritisedSweepingHparams(planning_steps=n), keys, options.num_episodes
        )
        for n in options.planning_steps
    }
    mazes = [
        ChangingMaze("Blocking maze", BLOCKING[0].steps, rewards_of(BLOCKING, 10, 1e-4, keys)),
        ChangingMaze("Shortcut maze", SHORTCUT[0].steps, rewards_of(SHORTCUT, 50, 1e-3, keys)),
    ]
    optimum = read_map("dyna_maze").moves
    subtitle = f"mean of {options.num_runs} runs, $\\gamma$ = 0.95, $\\epsilon$ = 0.1"
    draw_mazes(lengths, optimum, mazes, subtitle, directory / PICTURE)
    summary = {
        "num_runs": options.num_runs,
        "episode_lengths": {label: x.mean(0).round(3).tolist() for label, x in lengths.items()},
        "rewards": {maze.title: {label: float(x[:, -1].mean()) for label, x in maze.rewards.items()} for maze in mazes},
        "device": provenance.device_name(),
    }
    run_directory.write_json(directory / run_directory.SUMMARY, summary)
    rows = [(f"episode {x.shape[1]}, {label}", f"{x[:, -1].mean():.1f} steps") for label, x in lengths.items()]
    for maze in mazes:
        rows.append((maze.title, ", ".join(f"{label} {x[:, -1].mean():.0f}" for label, x in maze.rewards.items())))
    return [*rows, *((name, str(directory / name)) for name in (PICTURE, run_directory.SUMMARY))]


def rewards_of(phases: tuple, planning_steps: int, exploration_bonus: float, keys: Array) -> dict[str, np.ndarray]:
    """The cumulative rewards of Dyna-Q and of Dyna-Q+, with α = 1, since the environment is deterministic."""
    hparams = PrioritisedSweepingHparams(learning_rate=1.0, planning_steps=planning_steps)
    plus = dataclasses.replace(hparams, exploration_bonus=exploration_bonus)
    agents = {"Dyna-Q": hparams, "Dyna-Q+": plus}
    return {label: cumulative_rewards(phases, hparams, keys) for label, hparams in agents.items()}


if __name__ == "__main__":
    main()
