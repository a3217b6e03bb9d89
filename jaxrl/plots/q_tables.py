"""Pictures of a table of Q beside the exact Q*."""

from pathlib import Path

import numpy as np

from jaxrl.envs.grid_world import GridWorld
from jaxrl.plots.learning_curve import FEW_ROWS, figure_over_steps, read_curves


def draw_values(
    env: GridWorld, q_values: np.ndarray, best: np.ndarray, acts: np.ndarray, heading: str, picture: Path
) -> None:
    """Draws what was learned beside what there is to learn; a colour means the same value in both."""
    from jaxrl.plots.grid_values import render_values
    from jaxrl.plots.panels import panel_grid

    shown = best.max(1)[acts]
    limits = float(shown.min()), float(shown.max())
    panels = [
        (r"learned:  $\max_a\, Q(s, a)$", render_values(env, q_values, limits=limits)),
        (r"optimal:  $\max_a\, Q^*(s, a)$", render_values(env, best, limits=limits)),
    ]
    panel_grid(heading, panels).save(picture)


def draw_error(metrics: Path, heading: str, picture: Path) -> None:
    """Draws `max_error` against environment steps: each seed, and the mean of several."""
    curves = [np.transpose(curve) for curve in read_curves(metrics, "max_error").values()]
    many = len(curves) > 1
    seeds = f"; {len(curves)} seeds and their mean" if many else ""
    figure, axes = figure_over_steps(r"$Q \to Q^*$", heading + seeds, r"$\max_{s, a}\ |Q(s, a) - Q^*(s, a)|$")
    for steps, error in curves:
        marker = "o" if len(steps) <= FEW_ROWS else None
        axes.loglog(
            steps, error, color="tab:blue", linewidth=0.8 if many else 1.5, alpha=0.3 if many else 1.0, marker=marker
        )
    if many:
        axes.loglog(curves[0][0], np.mean([error for _, error in curves], 0), color="tab:blue")
    figure.savefig(picture)
