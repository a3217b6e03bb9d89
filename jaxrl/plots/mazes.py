"""The figures of Dyna in the book's mazes (Sutton & Barto 2018, figures 8.2, 8.4 and 8.5)."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxrl.plots.figures import label_numbers, label_steps, new_panels
from jaxrl.plots.palette import LINES


class ChangingMaze(NamedTuple):
    """Two agents in a maze that changes.

    Attributes:
        title: what changes.
        change: the step after which it does.
        rewards: the cumulative rewards of each agent's runs, `[runs, steps]`.
    """

    title: str
    change: int
    rewards: Mapping[str, np.ndarray]


def draw_mazes(
    lengths: Mapping[str, np.ndarray], optimum: int, mazes: list[ChangingMaze], subtitle: str, picture: Path
) -> None:
    """Draws the length of each episode, and cumulative rewards in mazes that change.

    Args:
        lengths: steps of the episodes of each agent's runs, `[runs, episodes]`.
        optimum: the shortest possible episode.
        mazes: the mazes that change.
        subtitle: what all runs share.
        picture: the PNG to write.
    """
    from matplotlib.ticker import LogLocator, NullLocator

    panels = 1 + len(mazes)
    figure, (first, *others) = new_panels(panels, (4.2, 3.2), "Dyna in mazes", subtitle, "", panels, sharey=False)
    for (label, steps), colour in zip(lengths.items(), LINES, strict=False):
        episodes = np.arange(2, steps.shape[1] + 1)  # the first is the same for all
        first.plot(episodes, steps.mean(0)[1:], color=colour, label=label)
    first.axhline(optimum, color="gray", linestyle=":", label=f"shortest, {optimum} steps")
    first.set(xlabel="episode", ylabel="steps of the episode", title="Dyna maze")
    first.set_yscale("log")
    first.set_ylim(bottom=0.8 * optimum)
    first.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    first.yaxis.set_minor_locator(NullLocator())
    label_numbers(first.yaxis)
    for axes, maze in zip(others, mazes, strict=True):
        for (label, rewards), colour in zip(maze.rewards.items(), LINES, strict=False):
            axes.plot(np.arange(1, rewards.shape[1] + 1), rewards.mean(0), color=colour, label=label)
        axes.axvline(maze.change, color="gray", linestyle=":")
        axes.set(xlabel="step", ylabel="cumulative reward", title=maze.title)
        label_steps(axes.xaxis)
    for axes in (first, *others):
        axes.title.set_fontsize(10)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(picture)
