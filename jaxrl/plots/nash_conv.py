"""Pictures of how play approaches an equilibrium."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jaxrl.plots.figures import new_figure, new_panels
from jaxrl.plots.learning_curve import align_curves, read_curves
from jaxrl.plots.palette import LINES
from jaxrl.types import unit_of

CURVES = {
    "nash_conv_last": "last policy",
    "nash_conv_response": "best responses",
    "nash_conv": "average policy",
    "nash_conv_network": "network that represents the average",
}
"""The columns that are drawn, and what they are of."""
OF_A_LEAGUE = {
    "nash_conv_last": "main agent",
    "nash_conv_average": "average policy of the main agent",
    "nash_conv_equilibrium": "equilibrium mixture of all copies",
    "nash_conv_uniform": "uniform mixture of all copies",
}


def draw_nash_conv(metrics: Path, title: str, picture: Path) -> None:
    """Draws NashConv in a run's `metrics.csv` against its steps, both on logarithmic axes.

    Of several seeds, each is a thin line, and their geometric mean a thick one.
    """
    import polars as pl
    from matplotlib.ticker import LogLocator, NullFormatter

    columns = pl.read_csv(metrics, n_rows=0).columns
    seeds = len(read_curves(metrics, "nash_conv"))
    subtitle = "twice the exploitability; 0 at an equilibrium" + (
        f"; {seeds} seeds and their mean" if seeds > 1 else ""
    )
    figure, axes = new_figure(title, subtitle, unit_of(columns).words, "NashConv")
    words = OF_A_LEAGUE if "nash_conv_uniform" in columns else CURVES
    lines = {name: label for name, label in words.items() if name in columns}
    for colour, (name, label) in zip(LINES, lines.items(), strict=False):
        steps, values = align_curves(read_curves(metrics, name).values())
        values = np.maximum(values, 1e-9)
        if len(values) > 1:
            axes.plot(steps, values.T, color=colour, linewidth=0.6, alpha=0.3)
        line = "--" if name == "nash_conv_network" else "-"
        shown = line if values.shape[1] > 1 else "o"  # one row is a point
        axes.plot(steps, np.exp(np.log(values).mean(0)), shown, color=colour, label=label)
    axes.set(xscale="log", yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.2, which="both")
    axes.legend(frameon=False, fontsize=9)
    figure.savefig(picture)


def draw_league(
    payoffs: np.ndarray, weights: np.ndarray, elo: np.ndarray, roles: Sequence[str], title: str, picture: Path
) -> None:
    """Draws who beats whom among players in the order in which they came, their ratings, and their equilibrium.

    Args:
        payoffs: what the row wins from the column, `[K, K]`.
        weights: of the players in the equilibrium mixture, `[K]`.
        elo: their ratings, `[K]`.
        roles: what each is, `[K]`.
        title: of the picture.
        picture: the PNG to write.
    """
    subtitle = "left: who beats whom; right: Elo, with the size of a dot its part in the equilibrium"
    figure, (left, right) = new_panels(2, (4.4, 3.8), title, subtitle, "player, in order of time", sharey=False)
    most = float(np.abs(payoffs).max()) or 1.0
    image = left.imshow(payoffs, cmap="RdBu", vmin=-most, vmax=most)
    figure.colorbar(image, ax=left, shrink=0.8).set_label("what the row wins from the column", fontsize=9)
    left.grid(visible=False)
    for colour, role in zip(LINES, dict.fromkeys(roles), strict=False):
        rows = np.flatnonzero([x == role for x in roles])
        right.plot(rows, elo[rows], color=colour, linewidth=0.8, alpha=0.5)
        right.scatter(rows, elo[rows], 6 + 400 * weights[rows], color=colour, label=role, alpha=0.8)
    right.set_ylabel("Elo rating", fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("player, in order of time", fontsize=9)
    for dot in right.legend(frameon=False, fontsize=8).legend_handles:
        dot.set_sizes([30])  # type: ignore[union-attr]  # those of the first players say nothing
    figure.savefig(picture)


def draw_simplex(
    paths: Mapping[str, np.ndarray], equilibrium: np.ndarray, names: tuple[str, str, str], title: str, subtitle: str,
    picture: Path,
) -> None:  # fmt: skip
    """Draws how a policy of three actions moves, in one triangle for each path.

    Args:
        paths: probabilities `[T, 3]` by what they are of.
        equilibrium: `[3]`, a cross.
        names: of the actions, at the corners: left, right and above.
        title, subtitle: above the triangles.
        picture: the PNG to write.
    """
    corners = np.array([[0, 0], [1, 0], [0.5, 3**0.5 / 2]])
    figure, panels = new_panels(len(paths), (3.4, 3.2), title, subtitle, "", columns=max(len(paths), 1))
    for axes, (label, path) in zip(panels, paths.items(), strict=True):
        points = path @ corners
        axes.plot(*corners[[0, 1, 2, 0]].T, color="gray", linewidth=0.8)
        axes.plot(*points.T, color=LINES[0], linewidth=0.9)
        axes.plot(*points[0], "o", color=LINES[0], markersize=5)
        axes.plot(*points[-1], "s", color=LINES[1], markersize=5)
        axes.plot(*(equilibrium @ corners), "+", color="black", markersize=10)
        for name, corner, offset in zip(names, corners, ((-2, -12), (2, -12), (0, 4)), strict=True):
            axes.annotate(name, corner, offset, textcoords="offset points", ha="center", fontsize=9)
        axes.set_title(label, fontsize=10)
        axes.set(xlim=(-0.1, 1.1), ylim=(-0.12, 1.0), aspect="equal")
        axes.axis("off")
    figure.savefig(picture)
