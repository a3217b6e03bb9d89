"""Pictures of Q iteration: the tables on the way to Q*, the policies, and the error with its bounds."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from jaxrl.envs.grid_world import GridWorld
from jaxrl.plots.figures import new_figure
from jaxrl.plots.grid_values import render_values
from jaxrl.plots.palette import BACKGROUND, INK
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.plots.video import write_gif

ITERATES, VIDEO, POLICIES, CONVERGENCE = "iterates.png", "iterates.gif", "policies.png", "convergence.png"
FRAMES = 60
"""Maximum number of frames. A video of more iterations leaves out some, most of them late ones."""


GAP, TITLE = 24, 40
"""Pixels between pictures, and for the title above each."""


class Solution(NamedTuple):
    """The result of Q iteration, as NumPy arrays.

    Attributes:
        iterates: `Q_0` to `Q_n`, `[n + 1, S, A]`.
        best: `Q*` to the precision of float64, `[S, A]`.
        error_bound: a bound on the largest error of `Q_n`.
        random_values: `V^π` of the uniformly random policy, `[S]`.
        returns: the expected returns of the random and of the greedy policy.
        seconds: the time that Q iteration took, without compilation.
    """

    iterates: np.ndarray
    best: np.ndarray
    error_bound: float
    random_values: np.ndarray
    returns: tuple[float, float]
    seconds: float


def draw_solution(
    env: GridWorld, solution: Solution, gamma: float, tolerance: float, heading: str, directory: Path
) -> None:
    """Draws all pictures of a solution. One that cannot be drawn becomes a note."""
    draw_iterates(env, solution, heading, directory)
    with errors_as_notes(directory / POLICIES):
        draw_policies(env, solution, heading, directory / POLICIES)
    with errors_as_notes(directory / CONVERGENCE):
        draw_convergence(solution, gamma, tolerance, heading, directory / CONVERGENCE)


def draw_iterates(env: GridWorld, solution: Solution, heading: str, directory: Path) -> None:
    """Draws a few `Q_i` side by side, and a video of all of them, with one scale of colours."""
    last = len(solution.iterates) - 1
    acts = ~np.ravel(env.grid.wall | env.grid.terminal | env.grid.cliff)
    shown = solution.iterates.max(2)[:, acts]
    limits = float(shown.min()), float(shown.max())

    def panel(i: int) -> tuple[str, Image.Image]:
        title = f"$V_{{{i}}}(s) = \\max_a\\, Q_{{{i}}}(s, a)$"
        return title, render_values(env, solution.iterates[i], limits=limits)

    chosen = range(last + 1) if last < 6 else sorted({0, *(round(x) for x in np.geomspace(1, last, 5))})
    with errors_as_notes(directory / ITERATES):
        arrange(heading, [panel(i) for i in chosen]).save(directory / ITERATES)

    chosen = sorted({*range(min(last + 1, FRAMES // 2)), *np.geomspace(1, max(last, 1), FRAMES // 2).astype(int), last})
    milliseconds = [max(100, 8000 // len(chosen) // 10 * 10)] * (len(chosen) - 1) + [2500]
    with errors_as_notes(directory / VIDEO):
        frames = [arrange(heading, [panel(i)], most=640) for i in chosen]
        write_gif(frames.__getitem__, milliseconds, directory / VIDEO)


def draw_policies(env: GridWorld, solution: Solution, heading: str, picture: Path) -> None:
    """Draws the random policy beside the optimal one, each with its values and its own scale of colours."""
    random_policy = np.full(solution.best.shape, 0.25)
    panels = [
        (r"random policy $\pi$:  $V^\pi(s)$", render_values(env, solution.random_values, random_policy)),
        (r"optimal policy $\pi^*$:  $V^*(s)$", render_values(env, solution.best)),
    ]
    arrange(heading, panels).save(picture)


def draw_learned(
    env: GridWorld, q_values: np.ndarray, best: np.ndarray, acts: np.ndarray, heading: str, picture: Path
) -> None:
    """Draws a learned table `[S, A]` beside `Q*`, with one scale of colours, that of the states where `acts[S]`."""
    shown = best.max(1)[acts]
    limits = float(shown.min()), float(shown.max())
    panels = [
        (r"learned:  $\max_a\, Q(s, a)$", render_values(env, q_values, limits=limits)),
        (r"optimal:  $\max_a\, Q^*(s, a)$", render_values(env, best, limits=limits)),
    ]
    arrange(heading, panels).save(picture)


def draw_convergence(solution: Solution, gamma: float, tolerance: float, heading: str, picture: Path) -> None:
    """Draws the true error of each iterate and its bounds."""
    from matplotlib.ticker import MaxNLocator

    q = solution.iterates
    i = np.arange(len(q))
    error = abs(q - solution.best).max((1, 2))
    change = abs(np.diff(q, axis=0)).max((1, 2))
    rounding = 1e-13 * abs(solution.best).max()
    marks = ("o-", "s-") if len(q) < 100 else ("-", "-")

    def visible(x: np.ndarray) -> np.ndarray:
        return np.where(x > rounding, x, np.nan)  # Matplotlib leaves out NaN

    subtitle = f"{heading}; largest difference over all (s, a)"
    figure, axes = new_figure(r"$Q_i \to Q^*$", subtitle, "iteration i  (curves end at rounding errors)", "error")
    if gamma < 1:
        distance = r"$\gamma^i\; \Vert Q_0 - Q^*\Vert$, the bound before iterating"
        axes.plot(i, visible(gamma**i * error[0]), color="tab:gray", linestyle=":", label=distance)
        bound = r"$\frac{\gamma}{1 - \gamma}\, \Vert Q_i - Q_{i-1}\Vert$, the bound after step i"
        axes.plot(i[1:], visible(gamma / (1 - gamma) * change), marks[1], color="tab:orange", markersize=4, label=bound)
        axes.axhline(tolerance, color="tab:green", linewidth=1, linestyle="--", label="tolerance")
    label = r"$\Vert Q_i - Q^*\Vert$, the true error"
    axes.plot(i, visible(error), marks[0], color="tab:blue", markersize=4, label=label)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower left", frameon=False, ncols=2, fontsize=9)
    figure.savefig(picture)


def arrange(
    heading: str,
    panels: list[tuple[str, Image.Image]],
    most: int = 2400,
    columns: int | None = None,
    least: int = 270,
) -> Image.Image:
    """Arranges pictures of one size in rows below a heading, each with a title that may contain formulas.

    The result is at most `most` pixels wide. By default, its shape decides the number of `columns`, each of which is at
    least `least` pixels wide, for its title.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = max(panels[0][1].width, least) + GAP, panels[0][1].height + TITLE + GAP
    numbers = range(1, len(panels) + 1) if columns is None else (columns,)
    shapes = [(-(-len(panels) // columns), columns) for columns in numbers]
    rows, columns = min(shapes, key=lambda shape: abs(np.log(shape[1] * width / (shape[0] * height) / 1.5)))  # 3 : 2
    size = max(columns * width, 600) + GAP, rows * height + TITLE
    background, ink = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in (BACKGROUND, INK))
    figure = Figure((size[0] / 100, size[1] / 100), dpi=100, facecolor=background)
    canvas = FigureCanvasAgg(figure)
    figure.text(GAP / size[0], 1 - 0.75 * TITLE / size[1], heading, size=12, color=ink)
    for n, (title, picture) in enumerate(panels):
        x, y = GAP + n % columns * width, size[1] - TITLE - n // columns * height
        figure.text(x / size[0], (y - 0.6 * TITLE) / size[1], title, size=15, color=ink)
        figure.figimage(np.asarray(picture), x, y - TITLE - picture.height)
    canvas.draw()
    page = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    page.thumbnail((most, page.height), Image.Resampling.LANCZOS)
    return page
