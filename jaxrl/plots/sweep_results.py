"""Pictures of a sweep: learning curves, and what each swept field does to the evaluation return.

`trials` and `configurations` are the frames of `jaxrl.sweeps.results`. `curves` has a row for each agent and logged
step: `agent`, `env_steps` and `episode_return`, which is null where no episode ended; of an offline sweep `agent`,
`gradient_steps` and the metrics.
"""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from jaxrl.formatting import format_mean, format_number
from jaxrl.plots.figures import label_numbers, label_steps, new_figure, new_panels
from jaxrl.plots.learning_curve import (
    Curve,
    align_curves,
    draw_mean,
    drop_short_row,
    measure_of,
    show_range,
    split_curves,
    words,
)
from jaxrl.training.loggers import EVAL_RETURN
from jaxrl.types import unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 8
"""Up to this many values that configurations share are drawn as equally spaced choices."""
MANY = 40
"""Of more agents, ranges are shaded instead of a line for each agent."""
DECADES = 1.0
"""Positive numbers that span more have a logarithmic axis."""


def short_labels(swept: Sequence[str]) -> list[str]:
    """Labels of fields: "learning rate" for hparams.learning_rate, or the path where two fields share a name."""
    fields = [path.rpartition(".")[2] for path in swept]
    unique = [field if fields.count(field) == 1 else path for path, field in zip(swept, fields, strict=True)]
    return [label.replace("_", " ") for label in unique]


def format_value(value: Any) -> str:
    """The value of a field as text."""
    return format_number(value) if isinstance(value, float) else str(value)


def agent_curves(curves: pl.DataFrame, measure: str | None = None) -> dict[int, Curve]:
    """A column of each agent that has values there; by default, the training returns, or what `measure_of` finds."""
    measure = measure or measure_of(curves.columns)
    split = split_curves(curves, "agent", measure) if measure else {}
    return split if measure == EVAL_RETURN else {agent: drop_short_row(curve) for agent, curve in split.items()}


def draw_curves(
    trials: pl.DataFrame, curves: pl.DataFrame, configurations: pl.DataFrame, title: str, subtitle: str, picture: Path
) -> None:
    """Draws the training returns of all agents, with those of the best and the median configuration on top.

    The median is that of the configurations with an evaluation return. Both are means over the seeds that finished.
    Offline, there are no training returns, and it draws losses.
    """
    measure = measure_of(curves.columns) or "metric"
    figure, axes = new_figure(title, subtitle, unit_of(curves.columns).words, words(measure))
    label_steps(axes.xaxis)
    agents = agent_curves(curves)
    ranked = configurations.drop_nulls("eval_return")
    marked = {len(ranked) // 2: ("median", "tab:orange"), 0: ("best", "tab:blue")} if len(ranked) else {}
    for place, (name, colour) in marked.items():
        number = ranked["configuration"][place]
        seeds = trials.filter(configuration=number, status="finished")
        lines = [agents[agent] for agent in seeds["agent"] if agent in agents]
        if lines:
            label = f"{name}: configuration {number}, evaluation return {format_mean(seeds['eval_return'].to_numpy())}"
            draw_mean(axes, *align_curves(lines), colour, label)
    if agents:
        _draw_all(axes, agents)
        returns = np.concatenate([y for _, y in agents.values()])
        show_range(axes, max(x[-1] for x, _ in agents.values()), returns.min(), returns.max())
        names = (x[::-1] for x in axes.get_legend_handles_labels())
        columns = 2 if len(agents) > MANY else 1
        figure.legend(*names, loc="outside lower left", frameon=False, fontsize=9, ncols=columns)
    else:
        axes.text(0.5, 0.5, "no episode ended", transform=axes.transAxes, ha="center", color="gray")
        axes.set(xticks=[], yticks=[])
    figure.savefig(picture)


def _draw_all(axes: "Axes", agents: dict[int, Curve]) -> None:
    """Draws all agents in grey: a line each, or of many the middle half and the middle nine tenths."""
    if len(agents) > MANY:
        for share, grey in ((50, "0.8"), (90, "0.91")):
            steps, low, high = middle(agents.values(), share)
            label = f"{share} % of the {len(agents):,} agents"
            axes.fill_between(steps, low, high, color=grey, linewidth=0, label=label, zorder=1 - share / 1000)
        return
    for i, (steps, returns) in enumerate(agents.values()):
        marker = "." if len(steps) == 1 else None
        axes.plot(
            steps, returns, color="0.87", linewidth=0.6, marker=marker, zorder=1, label=None if i else "every agent"
        )


def middle(curves: Collection[Curve], share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps `[X]`, and from where to where the middle `share` of curves lies there, in percent: `[X]`, `[X]`.

    A curve that ends early, such as that of an agent that diverged, counts until its end.
    """
    steps, values = align_curves(curves)
    begins, ends = np.array([(x[0], x[-1]) for x, _ in curves]).T[..., None]
    present = np.where((begins <= steps) & (steps <= ends), values, np.nan)
    low, high = np.nanpercentile(present, ((100 - share) / 2, (100 + share) / 2), axis=0)
    return steps, low, high


def draw_hparams(
    trials: pl.DataFrame, swept: Sequence[str], log_scaled: Collection[str], title: str, subtitle: str, picture: Path
) -> None:
    """Draws a panel for each of the columns `swept`, its value against the evaluation return.

    A dot is an agent, a larger one the mean of a configuration's seeds, and a red cross at the bottom an agent that
    diverged or failed. The axes of `log_scaled` fields are logarithmic, and of those that span more than `DECADES`.
    """
    figure, panels = new_panels(len(swept), (3.2, 2.5), title, subtitle, "evaluation return")
    trials = trials.with_columns(mean=pl.col("eval_return").mean().over("configuration"))
    returns, means = trials["eval_return"].to_numpy(), trials["mean"].to_numpy()
    lost = (trials["status"] != "finished").to_numpy()
    first = trials["configuration"].is_first_distinct().to_numpy()
    several_seeds, spread_out = not first.all(), False
    for axes, name, label in zip(panels, swept, short_labels(swept), strict=True):
        x, spreads = _places(axes, trials, name, name in log_scaled)
        spread_out |= spreads
        if lost.all():
            axes.text(0.5, 0.5, "no agent finished", transform=axes.transAxes, ha="center", color="gray")
            axes.set_yticks([])
        else:
            size = 9 if several_seeds else 25
            axes.scatter(x, returns, size, "tab:blue", linewidth=0, label="agent", zorder=3)
        if several_seeds and not lost.all():
            axes.scatter(x[first], means[first], 60, "tab:blue", alpha=0.35, linewidth=0, label="mean over seeds")
        if lost.any():
            heights, bottom = np.full(lost.sum(), 0.04), axes.get_xaxis_transform()  # fractions of the panel
            axes.plot(
                x[lost], heights, "x", transform=bottom, color="tab:red", markersize=5, label="diverged or failed"
            )
        axes.set_xlabel(label)
    panels[0].margins(y=0.12 if lost.any() else 0.05)  # of all panels; crosses need room
    note = "configurations of one value are spread out, sorted by return" if spread_out else None
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower left", ncols=3, frameon=False, fontsize=9,
        alignment="left", title=note, title_fontproperties={"size": 9},
    )  # fmt: skip
    figure.savefig(picture)


def _places(axes: "Axes", trials: pl.DataFrame, name: str, log: bool) -> tuple[np.ndarray, bool]:
    """Scales and labels the axis of a field. Returns each agent's place `[A]`, and whether choices are spread out.

    Choices are equally spaced. The configurations of one choice are spread out, in the order of their mean returns.
    """
    values = trials[name]
    choices = values.unique().sort()
    repeated = len(choices) <= FEW and len(choices) < trials["configuration"].n_unique()
    if values.dtype.is_numeric() and (log or not repeated):
        _number_axis(axes, float(choices[0]), float(choices[-1]), log, values.dtype.is_integer())
        return values.to_numpy(), False
    names = [format_value(choice) for choice in choices]
    axes.set_xticks(range(len(names)), names)
    if len("".join(names)) > 30:  # too long to stand beside each other
        axes.tick_params(axis="x", labelrotation=30, labelsize=8)
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.5, len(names) - 0.5)
    # Ranks within a choice: 0, 1, … for the configurations, the same for all seeds of one.
    order = pl.struct(pl.col("mean").fill_nan(None).fill_null(-math.inf), "configuration").rank("dense").over(name)
    rank, count = order - 0.5, pl.col("configuration").n_unique().over(name)
    aside = trials.select(0.5 * (rank / count - 0.5)).to_series().to_numpy()
    place = values.replace_strict(choices, range(len(choices)), return_dtype=pl.Float64).to_numpy()
    return place + aside, repeated


def _number_axis(axes: "Axes", low: float, high: float, log: bool, whole: bool) -> None:
    """Scales and labels the axis of numbers from `low` to `high`."""
    from matplotlib.ticker import MaxNLocator

    if not log and not 0 < low * 10**DECADES < high:
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=whole))
        label_numbers(axes.xaxis)
        return
    axes.set_xscale("log")
    ticks = _log_ticks(low, high)
    axes.set_xticks(ticks, [format_number(tick) for tick in ticks])
    axes.tick_params(axis="x", which="minor", labelbottom=False)


def _log_ticks(low: float, high: float) -> list[float]:
    """Up to six round numbers between two, well apart; the two themselves where there are none.

    In a small panel, Matplotlib's own ticks overlap, or there is a single one.
    """
    apart = (high / low) ** 0.2
    decades = [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    ticks: list[float] = []
    for tick in (step * decade for step in (1, 3, 2, 5, 4, 6, 7, 8, 9) for decade in decades):
        if low <= tick <= high and all(max(tick / other, other / tick) >= apart for other in ticks):
            ticks.append(tick)
    return ticks if len(ticks) > 1 else sorted({low, high})
