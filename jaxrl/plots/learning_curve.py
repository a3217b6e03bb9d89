"""What a run leaves to look at: its learning curve and a video of its policy."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrl.formatting import FEW_SEEDS, format_mean, format_number, format_si, interval_95

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


FEW_ROWS = 12
"""So many rows of a run are dots too."""


def spread(values: np.ndarray, seen: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """What is shown around the means over seeds of `values[A, ...]`: `(low[...], high[...])`.

    The 95 % interval, as far as it lies within what was `seen` (least, largest): beyond that may be what cannot be,
    such as a return above the most possible. Of fewer than `FEW_SEEDS` seeds the least and the largest.
    """
    if len(values) < FEW_SEEDS:
        return values.min(0), values.max(0)
    half, mean = interval_95(values), values.mean(0)
    return np.clip(mean - half, *seen), np.clip(mean + half, *seen)


def read_curves(metrics: Path, column: str) -> dict[str, list[tuple[int, float]]]:
    """`(environment steps, value)` of one column of a run's `metrics.csv`, for each seed; empty cells are left out."""
    curves: dict[str, list[tuple[int, float]]] = {}
    with metrics.open(newline="") as file:
        for row in csv.DictReader(file):
            curve = curves.setdefault(row["seed"], [])
            if row[column] and np.isfinite(float(row[column])):
                curve.append((int(row["env_steps"]), float(row[column])))
    return curves


def read_returns(metrics: Path) -> tuple[np.ndarray, np.ndarray]:
    """The training returns in a run's `metrics.csv`: environment steps `[X]`, and returns `[A, X]`.

    Seeds of which no episode ended are left out.

    A last row of less than half the usual number of steps is left out: it saw few episodes, most of them short.
    """
    curves = [curve for curve in read_curves(metrics, "episode_return").values() if curve]
    steps = np.array(sorted({x for curve in curves for x, _ in curve}))
    if len(steps) > 2 and 2 * (steps[-1] - steps[-2]) < np.median(np.diff(steps)):
        steps = steps[:-1]
    returns = [np.interp(steps, *np.transpose(curve)) for curve in curves]
    return steps, np.array(returns).reshape(len(curves), len(steps))


def figure_over_steps(title: str, subtitle: str, label: str) -> "tuple[Figure, Axes]":
    """An empty picture of something that changes with environment steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained", dpi=120)
    axes = figure.subplots()
    axes.set_title(f"{title}\n", loc="left", fontweight="bold")
    axes.text(0, 1.02, subtitle, transform=axes.transAxes, color="gray", fontsize=9)
    axes.set_xlabel("environment steps")
    axes.set_ylabel(label)
    over_steps(axes)
    return figure, axes


def over_steps(axes: "Axes") -> None:
    """Makes the horizontal axis one of environment steps, and the vertical one of any numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axes.xaxis.set_major_formatter(lambda x, _: format_si(x, 10))
    plain_numbers(axes.yaxis)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)


def plain_numbers(axis: "Axis") -> None:
    """Labels an axis with numbers as they are: without an offset or a factor that stands elsewhere."""

    def text(x: float, _: float) -> str:
        low, high = axis.get_view_interval()
        return format_number(0.0 if abs(x) < 1e-9 * abs(high - low) else x, 10)  # what is left of 3 · 0.1 - 0.3

    axis.set_major_formatter(text)


def show_range(axes: "Axes", last_step: float, low: float, high: float) -> None:
    """Sets the axes to what was seen: all steps, and returns from `low`, or from 0 if there is none below, to `high`.

    Legends stand outside: room for them within would be of returns that cannot be.
    """
    low = min(0.0, low)
    margin = 0.04 * (high - low) or 0.5
    axes.set_xlim(0, 1.02 * last_step)
    axes.set_ylim(low - margin, high + margin)


def draw_mean(axes: "Axes", steps: np.ndarray, returns: np.ndarray, colour: Any, label: str | None) -> None:
    """Draws the mean of returns `[A, X]` over seeds, and around it what `spread` says, or each of a few seeds.

    Few rows are dots as well: a single one makes no line, and a line through a few says more than was seen.
    """
    single = len(steps) == 1
    if 1 < len(returns) < FEW_SEEDS:
        for one in returns:
            dot = "." if single else None
            axes.plot(steps, one, color=colour, alpha=0.4, linewidth=0.8, marker=dot, zorder=2)
    elif len(returns) > 1:
        low, high = spread(returns, (returns.min(), returns.max()))
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0, zorder=2)
    marker = "o" if len(steps) <= FEW_ROWS else None
    size = 6 if single else 3.5
    axes.plot(steps, returns.mean(0), color=colour, label=label, marker=marker, markersize=size, zorder=3)


def learning_curve(metrics: Path, picture: Path, title: str, subtitle: str, final: Sequence[float]) -> None:
    """Draws the training return against environment steps.

    Args:
        metrics: a run's `metrics.csv`; several seeds are drawn as their mean with its 95 % interval, few one by one.
        picture: the PNG to write.
        title: what was trained on what.
        subtitle: under which rules.
        final: the mean evaluation return of each seed, marked at the end of the curve; may be empty.
    """
    figure, axes = figure_over_steps(title, subtitle, "episode return")
    steps, returns = read_returns(metrics)
    evaluations = np.array([x for x in final if np.isfinite(x)])
    evaluation = f"evaluation at the end, {format_mean(evaluations)}" if len(evaluations) else ""
    if len(steps):
        everything = np.concatenate([returns.ravel(), evaluations])
        seen = float(everything.min()), float(everything.max())
        draw_mean(axes, steps, returns, "tab:blue", "training return" + _of_seeds(len(returns)))
        if len(evaluations):
            reach = np.abs(np.stack(spread(evaluations, seen)) - evaluations.mean())[:, None]
            axes.errorbar(
                steps[-1], evaluations.mean(), reach if len(evaluations) > 1 else None,
                fmt="o", color="tab:orange", capsize=4, label=evaluation, clip_on=False, zorder=4,
            )  # fmt: skip
        show_range(axes, steps[-1], *seen)
        figure.legend(loc="outside lower left", frameon=False, ncols=2, fontsize=9)
    else:
        axes.text(0.5, 0.5, f"no episode ended\n{evaluation}", transform=axes.transAxes, ha="center", color="gray")
        axes.set(xticks=[], yticks=[])
    figure.savefig(picture)


def _of_seeds(number: int) -> str:
    """How several seeds are drawn."""
    if number < 2:
        return ""
    return f", {number} seeds and their mean" if number < FEW_SEEDS else f", mean of {number} seeds, 95 % interval"
