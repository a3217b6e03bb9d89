"""A picture of players that meet each other: their mistakes and their ratings."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxrl.games import Ratings
from jaxrl.plots.figures import label_numbers, new_panels
from jaxrl.plots.palette import LINES


def draw_ladder(
    names: Sequence[str], mistakes: Mapping[str, float], ratings: Ratings, title: str, subtitle: str, picture: Path
) -> None:
    """Draws the mistake rates and the Elo ratings of players, a row for each.

    Args:
        names: of the players, from below.
        mistakes: the mistake rates of some of them.
        ratings: of all of them.
        title: of the picture.
        subtitle: below the title.
        picture: the PNG to write.
    """
    figure, (left, right) = new_panels(2, (4.6, 0.6 + 0.26 * len(names)), title, subtitle, "")
    rows = np.arange(len(names))
    groups = [name.partition(":")[0] for name in names]
    colours = dict(zip(dict.fromkeys(groups), LINES, strict=False))
    for row, (name, group) in enumerate(zip(names, groups, strict=True)):
        colour = colours[group]
        if name in mistakes:
            left.plot(100 * mistakes[name], row, "o", color=colour)
            left.annotate(f"{mistakes[name]:.2%}", (100 * mistakes[name], row), (7, 0), textcoords="offset points",
                          va="center", fontsize=8)  # fmt: skip
        right.errorbar(ratings.elo[row], row, xerr=ratings.interval[row], fmt="o", color=colour, capsize=2)
    left.set_yticks(rows, names)
    left.set_ylim(-0.6, len(names) - 0.4)
    left.set_xlabel("mistakes in % of positions", fontsize=9)
    left.set_xlim(0, 130 * max([*mistakes.values(), 0.001]))
    right.set_xlabel("Elo rating, and its 95 % interval", fontsize=9)
    for axes in (left, right):
        axes.tick_params(axis="y", length=0)
        label_numbers(axes.xaxis)
    figure.savefig(picture)
