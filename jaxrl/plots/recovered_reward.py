"""The picture of inverse reinforcement learning in a Grid World: two rewards and two policies on the map."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jaxrl.envs.grid_world import GridWorld
from jaxrl.plots.grid_values import render_values
from jaxrl.plots.q_iteration import arrange


def draw_recovered(
    env: GridWorld,
    rewards: Sequence[np.ndarray],
    policies: Sequence[np.ndarray],
    values: Sequence[np.ndarray],
    heading: str,
    picture: Path,
) -> None:
    """Draws the true and the recovered reward, and below them the best policies for both.

    Args:
        env: the environment.
        rewards: the true and the recovered reward for entering each cell, `[S]`. Each has its own scale of colours.
        policies: `π(a | s)` of the expert and of the agent, `[S, A]`.
        values: `V^π(s)` of both under the true reward, `[S]`, with one scale of colours.
        heading: one line.
        picture: the file to write.
    """
    acts = ~np.ravel(env.grid.wall | env.grid.terminal | env.grid.cliff)
    shown = np.concatenate([value[acts] for value in values])
    limits = float(shown.min()), float(shown.max())
    panels = [
        ("true reward for entering a cell", render_values(env, rewards[0], of_all_cells=True)),
        ("recovered reward", render_values(env, rewards[1], of_all_cells=True)),
        (r"expert:  $V^\pi(s)$, true reward", render_values(env, values[0], policies[0], limits=limits)),
        (r"agent:  $V^\pi(s)$, true reward", render_values(env, values[1], policies[1], limits=limits)),
    ]
    arrange(heading, panels, columns=2, least=400).save(picture)
