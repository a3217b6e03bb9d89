"""Pictures of Q iteration: the tables on the way to Q*, the policies, and the error beside its bounds."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxrl.envs.grid_world import GridWorld
from jaxrl.plots.errors import errors_as_notes
from jaxrl.plots.grid_values import render_values
from jaxrl.plots.panels import panel_grid
from jaxrl.plots.render import write_gif

ITERATES, VIDEO, POLICIES, CONVERGENCE = "iterates.png", "iterates.gif", "policies.png", "convergence.png"
FRAMES = 60
"""Most frames of the video; of more iterations, it leaves out some, ever more towards the end."""


class Solution(NamedTuple):
    """What there is to show; NumPy arrays.

    Attributes:
        iterates: `Q_0` to `Q_n`, `[n + 1, S, A]`.
        best: `Q*` as near as float64 comes, `[S, A]`.
        error_bound: of `Q_n`.
        random_values: `V^π` of the policy that takes all actions with the same probability, `[S]`.
        returns: the expected returns of the random and of the greedy policy.
        seconds: the time that Q iteration took, compiled.
    """

    iterates: np.ndarray
    best: np.ndarray
    error_bound: float
    random_values: np.ndarray
    returns: tuple[float, float]
    seconds: float


def draw_iterates(env: GridWorld, solution: Solution, heading: str, directory: Path) -> None:
    """Draws a few `Q_i` side by side, and a video of them all; a colour means the same value everywhere.

    If one of the two cannot be drawn, the other stays.
    """
    last = len(solution.iterates) - 1
    acts = ~np.ravel(env.grid.wall | env.grid.terminal | env.grid.cliff)
    shown = solution.iterates.max(2)[:, acts]
    limits = float(shown.min()), float(shown.max())

    def panel(i: int) -> tuple[str, Image.Image]:
        title = f"$V_{{{i}}}(s) = \\max_a\\, Q_{{{i}}}(s, a)$"
        return title, render_values(env, solution.iterates[i], limits=limits)

    chosen = range(last + 1) if last < 6 else sorted({0, *(round(x) for x in np.geomspace(1, last, 5))})
    with errors_as_notes(directory / ITERATES):
        panel_grid(heading, [panel(i) for i in chosen]).save(directory / ITERATES)

    chosen = sorted({*range(min(last + 1, FRAMES // 2)), *np.geomspace(1, max(last, 1), FRAMES // 2).astype(int), last})
    times = [max(100, 8000 // len(chosen) // 10 * 10)] * (len(chosen) - 1) + [2500]
    with errors_as_notes(directory / VIDEO):
        frames = [panel_grid(heading, [panel(i)], most=640) for i in chosen]
        write_gif(frames.__getitem__, len(frames), directory / VIDEO, times)


def draw_policies(env: GridWorld, solution: Solution, heading: str, picture: Path) -> None:
    """Draws the random policy beside the optimal one, each with its values; colours have a scale of their own."""
    everywhere = np.full(solution.best.shape, 0.25)
    panels = [
        (r"random policy $\pi$:  $V^\pi(s)$", render_values(env, solution.random_values, everywhere)),
        (r"optimal policy $\pi^*$:  $V^*(s)$", render_values(env, solution.best)),
    ]
    panel_grid(heading, panels).save(picture)


def draw_convergence(solution: Solution, gamma: float, tolerance: float, heading: str, picture: Path) -> None:
    """Draws the true error and what bounds it against i."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    q = solution.iterates
    i = np.arange(len(q))
    error = abs(q - solution.best).max((1, 2))
    change = abs(np.diff(q, axis=0)).max((1, 2))
    rounding = 1e-13 * abs(solution.best).max()
    marks = ("o-", "s-") if len(q) < 100 else ("-", "-")

    def seen(x: np.ndarray) -> np.ndarray:
        """What is no more than rounding becomes nan, which is not drawn."""
        return np.where(x > rounding, x, np.nan)

    figure = Figure(figsize=(8, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_yscale("log")
    if gamma < 1:
        distance = r"$\gamma^i\; \Vert Q_0 - Q^*\Vert$, what each step is sure to gain"
        axes.plot(i, seen(gamma**i * error[0]), color="tab:gray", linestyle=":", label=distance)
        bound = r"$\frac{\gamma}{1 - \gamma}\, \Vert Q_i - Q_{i-1}\Vert$, known after step i"
        axes.plot(i[1:], seen(gamma / (1 - gamma) * change), marks[1], color="tab:orange", markersize=4, label=bound)
        axes.axhline(tolerance, color="tab:green", linewidth=1, linestyle="--", label="tolerance")
    label = r"$\Vert Q_i - Q^*\Vert$, the true error"
    axes.plot(i, seen(error), marks[0], color="tab:blue", markersize=4, label=label)
    axes.set_title(r"$Q_i \to Q^*$" + "\n", loc="left", fontweight="bold")
    axes.text(0, 1.02, f"{heading}; largest difference over all (s, a)", transform=axes.transAxes, color="gray")
    axes.set_xlabel("iteration i  (a curve ends where nothing but rounding is left of it)")
    axes.set_ylabel("error")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    figure.legend(loc="outside lower center", frameon=False, ncols=2)
    figure.savefig(picture, dpi=120)
