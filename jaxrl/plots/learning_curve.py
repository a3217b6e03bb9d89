"""Learning curves: what a run measured, against its steps."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxrl.formatting import FEW_SEEDS, format_mean, interval_95
from jaxrl.plots.figures import label_steps, new_figure
from jaxrl.training.loggers import CLOCK_COLUMNS, EVAL_RETURN
from jaxrl.training.measure import NO_MISTAKES, RETURN
from jaxrl.types import unit_of

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes

MEASURES = {
    "nash_conv": "NashConv",
    "episode_return": "training return",
    EVAL_RETURN: "evaluation return",
}
"""What the legend says of returns. All others are metrics of the training."""
FEW_ROWS = 12
"""Curves of at most this many points show each point as a dot."""

Curve = tuple[np.ndarray, np.ndarray]
"""Steps `[X]` and the values there `[X]`."""


def measure_of(columns: Sequence[str]) -> str | None:
    """The metric whose curve shows how a run learns.

    It is NashConv where it is known, or the training return; offline, the return of evaluations, or the loss; or else
    the first.
    """
    own = {"seed", "agent", unit_of(columns).column, *CLOCK_COLUMNS}
    metrics = [name for name in columns if name not in own]
    return next(
        (name for name in ("nash_conv", "episode_return", EVAL_RETURN, "loss", *metrics) if name in metrics), None
    )


def read_curves(metrics: Path, column: str) -> dict[int, Curve]:
    """The curve of each seed in a column of a run's `metrics.csv`."""
    import polars as pl

    steps = unit_of(pl.read_csv(metrics, n_rows=0).columns).column
    types = {"seed": pl.Int64, steps: pl.Int64, column: pl.Float64}
    return split_curves(pl.read_csv(metrics, columns=list(types), schema_overrides=types), "seed", column)


def split_curves(frame: "pl.DataFrame", by: str, column: str) -> dict[int, Curve]:
    """The curve of each seed or agent in a table, without values that are missing or not finite.

    Args:
        frame: the columns `env_steps` or `gradient_steps`, `by` and `column`.
        by: the column that identifies a curve, such as "seed".
        column: the column with the values.
    """
    import polars as pl

    curves = frame.filter(pl.col(column).is_finite()).partition_by(by, as_dict=True)
    steps = unit_of(frame.columns).column
    return {key[0]: (rows[steps].to_numpy(), rows[column].to_numpy()) for key, rows in curves.items()}


def drop_short_row(curve: Curve) -> Curve:
    """Drops a last row of less than half the usual number of steps: it saw few episodes, most of them short."""
    steps, values = curve
    short = len(steps) > 2 and 2 * (steps[-1] - steps[-2]) < np.median(np.diff(steps))
    return (steps[:-1], values[:-1]) if short else curve


def align_curves(curves: Collection[Curve]) -> Curve:
    """Interpolates curves at all steps of any of them: the steps `[X]` and the values `[A, X]`."""
    steps = np.unique(np.concatenate([steps for steps, _ in curves]))
    return steps, np.array([np.interp(steps, *curve) for curve in curves])


def spread(values: np.ndarray, seen: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """The range to show around the means of `values[A, ...]` over seeds: `(low[...], high[...])`.

    It is the 95 % interval, clipped to the range that was `seen` (lowest, highest), because values beyond it may be
    impossible. With fewer than `FEW_SEEDS` seeds, it is the range of the values.
    """
    if len(values) < FEW_SEEDS:
        return values.min(0), values.max(0)
    half, mean = interval_95(values), values.mean(0)
    return np.clip(mean - half, *seen), np.clip(mean + half, *seen)


def show_range(axes: "Axes", last_step: float, low: float, high: float) -> None:
    """Limits the axes to all steps, and to returns from the smaller of `low` and 0 up to `high`."""
    low = min(0.0, low)
    margin = 0.04 * (high - low) or 0.5
    axes.set_xlim(0, 1.02 * last_step)
    axes.set_ylim(low - margin, high + margin)


def draw_mean(axes: "Axes", steps: np.ndarray, returns: np.ndarray, colour: Any, label: str | None) -> None:
    """Draws the mean of returns `[A, X]` over seeds, with their `spread`, or with each curve of a few seeds."""
    single = len(steps) == 1
    if 1 < len(returns) < FEW_SEEDS:
        axes.plot(steps, returns.T, color=colour, alpha=0.4, linewidth=0.8, marker="." if single else None, zorder=2)
    elif len(returns) > 1:
        low, high = spread(returns, (returns.min(), returns.max()))
        axes.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0, zorder=2)
    marker = "o" if len(steps) <= FEW_ROWS else None
    size = 6 if single else 3.5
    axes.plot(steps, returns.mean(0), color=colour, label=label, marker=marker, markersize=size, zorder=3)


def words(measure: str) -> str:
    """A column's name on an axis."""
    if measure == "nash_conv":
        return "NashConv"
    return measure.replace("eval_", "evaluation_").replace("_", " ")


def draw_learning_curve(
    metrics: Path, picture: Path, title: str, subtitle: str, final: Sequence[float], evaluated: str = RETURN
) -> None:
    """Draws the training return against environment steps, and that of evaluations, if there are some.

    Of an offline run, it is the return of evaluations or else the loss, against gradient steps. Of a game in which one
    agent moves for both players, it is what evaluations measure.

    Args:
        metrics: a run's `metrics.csv`. Several seeds are drawn as their mean with its 95 % interval, a few as their
            mean and each seed.
        picture: the PNG to write.
        title: the algorithm and the environment.
        subtitle: the environment's rules.
        final: the mean evaluation return of each seed, drawn at the end of a curve of returns; may be empty.
        evaluated: what evaluations measure, `Measure.words`.
    """
    import polars as pl

    columns = pl.read_csv(metrics, n_rows=0).columns
    if evaluated != RETURN and EVAL_RETURN in columns:
        draw_measure(metrics, picture, title, subtitle, final, evaluated)
        return
    measure = measure_of(columns) or "metric"
    figure, axes = new_figure(title, subtitle, unit_of(columns).words, words(measure))
    label_steps(axes.xaxis)
    curves = read_curves(metrics, measure).values() if measure in columns else ()
    evaluations = np.array([x for x in final if np.isfinite(x)])
    words_of_final = "final evaluation" if evaluated == RETURN else f"{evaluated} at the end"
    said = measure == "nash_conv"  # the curve ends with what evaluations measure
    evaluation = f"{words_of_final}, {format_mean(evaluations)}" if len(evaluations) and not said else ""
    if curves:
        steps, returns = align_curves([drop_short_row(curve) for curve in curves])
        of_returns = measure in ("episode_return", EVAL_RETURN) and evaluated == RETURN
        between = read_curves(metrics, EVAL_RETURN).values() if EVAL_RETURN in columns and of_returns else ()
        seen_between = [values for _, values in between]
        everything = np.concatenate([returns.ravel(), *seen_between, evaluations if of_returns else []])
        seen = float(everything.min()), float(everything.max())
        n, unit = len(returns), unit_of(columns).column
        last_step = pl.read_csv(metrics, columns=[unit])[unit].to_numpy().max()  # perhaps no episode ended there
        seeds = f"{n} seeds and their mean" if n < FEW_SEEDS else f"mean of {n} seeds, 95 % interval"
        label = MEASURES.get(measure, f"training {measure.replace('_', ' ')}")
        draw_mean(axes, steps, returns, "tab:blue", label + (f", {seeds}" if n > 1 else ""))
        if between and measure == "episode_return":
            draw_mean(axes, *align_curves(between), "tab:orange", MEASURES[EVAL_RETURN])
        if not of_returns and evaluation:
            axes.plot([], [], " ", label=evaluation.replace("evaluation,", "evaluation return"))
        elif evaluation:
            reach = np.abs(np.stack(spread(evaluations, seen)) - evaluations.mean())[:, None]
            axes.errorbar(
                last_step, evaluations.mean(), reach if len(evaluations) > 1 else None,
                fmt="o", color="tab:orange", capsize=4, label=evaluation, clip_on=False, zorder=4,
            )  # fmt: skip
        show_range(axes, last_step, *seen)
        figure.legend(loc="outside lower left", frameon=False, ncols=2, fontsize=9)
    else:
        nothing = "no episode ended" if measure == "episode_return" else f"no {measure} was logged"
        axes.text(0.5, 0.5, f"{nothing}\n{evaluation}", transform=axes.transAxes, ha="center", color="gray")
        axes.set(xticks=[], yticks=[])
    figure.savefig(picture)


def draw_measure(
    metrics: Path, picture: Path, title: str, subtitle: str, final: Sequence[float], evaluated: str
) -> None:
    """Draws what the evaluations in a run's `metrics.csv` measure against environment steps; mistakes, as their share.

    Each seed, and the mean of several. If there was none while it trained, it draws the `final` ones.
    """
    import polars as pl
    from matplotlib.ticker import SymmetricalLogLocator

    curves = read_curves(metrics, EVAL_RETURN).values()
    if curves:
        steps, values = align_curves(curves)
    else:
        last = pl.read_csv(metrics, columns=["env_steps"])["env_steps"].max() or 1
        steps, values = np.array([last]), np.reshape(final, (-1, 1))
    label, several = evaluated, f"; {len(values)} seeds and their mean" if len(values) > 1 else ""
    if evaluated == NO_MISTAKES:
        label, values = "mistakes of the network alone", 100 * (1 - values)
    figure, axes = new_figure(title, subtitle + several, "environment steps", label)
    label_steps(axes.xaxis)
    marker = "o" if len(steps) <= FEW_ROWS else None
    axes.plot(steps, values.T, color="tab:blue", linewidth=0.8 if several else 1.5, alpha=0.4 if several else 1.0,
              marker=None if several else marker)  # fmt: skip
    if several:
        axes.plot(steps, values.mean(0), color="tab:blue", marker=marker)
    axes.set_xlim(0, 1.02 * steps[-1])
    if evaluated == NO_MISTAKES and (values > 0).any():
        decade = 10.0 ** np.floor(np.log10(values[values > 0].min()))  # below, the axis is linear down to 0
        axes.set_yscale("symlog", linthresh=decade, linscale=0.3)
        axes.yaxis.set_major_locator(SymmetricalLogLocator(base=10, linthresh=decade, subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda x, _: f"{x:g} %")
        axes.set_ylim(0, 1.2 * values.max())
    figure.savefig(picture)


def draw_error(metrics: Path, heading: str, picture: Path) -> None:
    """Draws `max_error` in a run's `metrics.csv` against environment steps: each seed, and the mean of several."""
    curves = read_curves(metrics, "max_error").values()
    steps, errors = align_curves(curves)
    several = len(errors) > 1
    seeds = f"; {len(errors)} seeds and their mean" if several else ""
    label = r"$\max_{s, a}\ |Q(s, a) - Q^*(s, a)|$"
    figure, axes = new_figure(r"$Q \to Q^*$", heading + seeds, "environment steps", label)
    axes.set(xscale="log", yscale="log")
    width, alpha = (0.8, 0.3) if several else (1.5, 1.0)
    marker = "o" if len(steps) <= FEW_ROWS else None
    axes.plot(steps, errors.T, color="tab:blue", linewidth=width, alpha=alpha, marker=marker)
    if several:
        axes.plot(steps, errors.mean(0), color="tab:blue")
    figure.savefig(picture)
