"""The picture of inverse reinforcement learning in a Grid World: rewards and policies on the map."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxrl.envs.grid_world import GridWorld
from jaxrl.plots.figures import new_figure
from jaxrl.plots.grid_values import render_values
from jaxrl.plots.q_iteration import arrange


class Column(NamedTuple):
    """A reward and a policy.

    Attributes:
        title: what the reward is.
        reward: for entering each cell, `[S]`. Each has its own scale of colours.
        policy: `π(a | s)` that is best for it, `[S, A]`.
        values: `V^π(s)` under the true reward, `[S]`. All have one scale of colours.
    """

    title: str
    reward: np.ndarray
    policy: np.ndarray
    values: np.ndarray


def draw_recovered(env: GridWorld, columns: Sequence[Column], heading: str, picture: Path) -> None:
    """Draws rewards, and below them the best policies for each.

    Args:
        env: the environment.
        columns: the first one is that of the expert.
        heading: one line.
        picture: the file to write.
    """
    acts = ~np.ravel(env.grid.wall | env.grid.terminal | env.grid.cliff)
    shown = np.concatenate([column.values[acts] for column in columns])
    limits = float(shown.min()), float(shown.max())
    rewards = [(column.title, render_values(env, column.reward, of_all_cells=True)) for column in columns]
    policies = [
        (
            r"expert:  true $V^\pi(s)$" if i == 0 else r"planned on it:  true $V^\pi(s)$",
            render_values(env, column.values, column.policy, limits=limits),
        )
        for i, column in enumerate(columns)
    ]
    arrange(heading, rewards + policies, columns=len(columns), least=400).save(picture)


def draw_along_positions(positions: np.ndarray, true: np.ndarray, recovered: np.ndarray, picture: Path) -> None:
    """Draws a true and a recovered reward `[P]` against positions `[P]`.

    No policy changes if a reward is multiplied or shifted, since the goal's reward goes on for ever. So both are drawn
    from -1 to 0.
    """
    title, subtitle = "Recovered reward of MountainCar-v0", "both scaled to the range from -1 to 0"
    figure, axes = new_figure(title, subtitle, "position", "reward")
    for reward, label in ((true, "true reward"), (recovered, "recovered reward")):
        span = np.ptp(reward) or 1.0
        axes.plot(positions, (reward - reward.max()) / span, label=label)
    axes.legend(frameon=False)
    figure.savefig(picture)
