"""Pictures of a sweep: how its agents learned, and what each hyperparameter does to the evaluation return.

`results` and `best` are those of `jaxrl.sweeps.results`. `curves` has a row for each agent and time: `agent`,
`env_steps` and `episode_return`, which is null where no episode ended.
"""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from jaxrl.formatting import format_mean, format_number
from jaxrl.plots.figures import label_numbers, label_steps, new_figure, new_panels
from jaxrl.plots.learning_curve import align_curves, draw_mean, drop_short_row, show_range, split_curves
from jaxrl.sweeps.results import format_value, short_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEW = 8
"""At most so many different values are drawn as equally spaced choices, if configurations share them."""
MANY = 40
"""Of more agents, the range that most of them keep to is shaded instead of a line for each."""
DECADES = 1.5
"""Positive numbers that span more have a logarithmic axis."""

Curves = dict[int, tuple[np.ndarray, np.ndarray]]
"""Environment steps `[X]` and returns `[X]` of each agent."""


def draw_curves(
    results: pl.DataFrame, curves: pl.DataFrame, best: pl.DataFrame, title: str, subtitle: str, picture: Path
) -> None:
    """Draws the training return of all agents, and those of the best and the median configuration on top.

    The median is that of the configurations which have an evaluation return; both are means over the seeds that
    finished, with their 95 % intervals, or each of the seeds if they are few.

    Args:
        results: one row an agent.
        curves: their training returns.
        best: the configurations in order.
        title: what was swept.
        subtitle: under which rules.
        picture: the PNG to write.
    """
    figure, axes = new_figure(title, subtitle, "environment steps", "episode return")
    label_steps(axes.xaxis)
    split = split_curves(curves, "agent", "episode_return")
    agents = {agent: drop_short_row(curve) for agent, curve in split.items()}
    ranked = best.drop_nulls("eval_return")
    marked = {len(ranked) // 2: ("median", "tab:orange"), 0: ("best", "tab:blue")} if len(ranked) else {}
    for place, (name, color) in marked.items():
        row = ranked.row(place, named=True)
        chosen = results.filter(pl.col("configuration") == row["configuration"], pl.col("status") == "finished")
        lines = [agents[agent] for agent in chosen["agent"] if agent in agents]
        value = format_mean(chosen["eval_return"].to_numpy())
        if lines:
            label = f"{name}: configuration {row['configuration']}, evaluation return {value}"
            draw_mean(axes, *align_curves(lines), color, label)
    if agents:
        _draw_all(axes, agents)
        returns = [y for _, y in agents.values()]
        last = max(x[-1] for x, _ in agents.values())
        show_range(axes, last, min(y.min() for y in returns), max(y.max() for y in returns))
        names = (x[::-1] for x in axes.get_legend_handles_labels())
        columns = 2 if len(agents) > MANY else 1  # two such lines of words are as wide as the picture
        figure.legend(*names, loc="outside lower left", frameon=False, fontsize=9, ncols=columns)
    else:
        axes.text(0.5, 0.5, "no episode ended", transform=axes.transAxes, ha="center", color="gray")
        axes.set(xticks=[], yticks=[])
    figure.savefig(picture)


def _draw_all(axes: "Axes", agents: Curves) -> None:
    """Draws all agents in grey: a line each, or of many the middle half and the middle nine tenths."""
    if len(agents) > MANY:
        steps, returns = align_curves(agents.values())
        for share, grey in ((50, "0.8"), (90, "0.91")):
            low, high = np.percentile(returns, ((100 - share) / 2, (100 + share) / 2), axis=0)
            label = f"{share} % of the {len(agents):,} agents"
            axes.fill_between(steps, low, high, color=grey, linewidth=0, label=label, zorder=1 - share / 1000)
        return
    for i, (steps, returns) in enumerate(agents.values()):
        marker = "." if len(steps) == 1 else None
        name = None if i else "every agent"
        axes.plot(steps, returns, color="0.87", linewidth=0.6, label=name, marker=marker, zorder=1)


def draw_hparams(
    results: pl.DataFrame,
    swept: Sequence[str],
    log_scaled: Collection[str],
    title: str,
    subtitle: str,
    picture: Path,
) -> None:
    """Draws a panel for each swept field, its value against the evaluation return.

    A dot is an agent, a larger one the mean of a configuration's seeds, a red cross at the bottom an agent that
    diverged or failed.

    Args:
        results: one row an agent.
        swept: the fields, by their columns.
        log_scaled: those of them with a logarithmic axis, as all have whose values span more than `DECADES`.
        title: what was swept.
        subtitle: under which rules.
        picture: the PNG to write.
    """
    figure, panels = new_panels(len(swept), (3.2, 2.5), title, subtitle, "evaluation return")
    returns = results["eval_return"].to_numpy()
    means = results.select(pl.col("eval_return").mean().over("configuration")).to_series().to_numpy()
    lost = (results["status"] != "finished").to_numpy()
    first = results["configuration"].is_first_distinct().to_numpy()
    several_seeds, spread_out = not first.all(), False
    for axes, name, label in zip(panels, swept, short_labels(swept), strict=True):
        x, side_by_side = _places(axes, results, name, name in log_scaled, means)
        spread_out |= side_by_side
        if lost.all():
            axes.text(0.5, 0.5, "no agent finished", transform=axes.transAxes, ha="center", color="gray")
            axes.set_yticks([])
        else:
            size = 9 if several_seeds else 25
            axes.scatter(x, returns, size, "tab:blue", linewidth=0, label="agent", zorder=3)
        if several_seeds and not lost.all():
            axes.scatter(x[first], means[first], 60, "tab:blue", alpha=0.35, linewidth=0, label="mean over seeds")
        if lost.any():
            height = np.full(lost.sum(), 0.04)  # of the panel, whatever the returns are
            bottom = axes.get_xaxis_transform()
            axes.plot(x[lost], height, "x", transform=bottom, color="tab:red", markersize=5, label="diverged or failed")
        axes.set_xlabel(label)
    panels[0].margins(y=0.12 if lost.any() else 0.05)  # of all of them; room for the crosses
    handles, names = panels[0].get_legend_handles_labels()
    note = "the configurations of one choice stand side by side, from the worst to the best" if spread_out else None
    figure.legend(
        *(handles, names), loc="outside lower left", ncols=3, frameon=False, fontsize=9, alignment="left", title=note,
        title_fontproperties={"size": 9},
    )  # fmt: skip
    figure.savefig(picture)


def _places(axes: "Axes", results: pl.DataFrame, name: str, log: bool, means: np.ndarray) -> tuple[np.ndarray, bool]:
    """Where each agent stands on a field's axis `[A]`, which is scaled and labelled for it; and whether side by side.

    Choices are equally spaced; configurations of the same one stand side by side, in the order of their mean returns.
    """
    values = results[name]
    choices = values.unique().sort()
    repeated = len(choices) <= FEW and len(choices) < results["configuration"].n_unique()
    if values.dtype.is_numeric() and (log or not repeated):
        _number_axis(axes, float(choices[0]), float(choices[-1]), log, values.dtype.is_integer())
        return values.to_numpy(), False
    names = [format_value(choice) for choice in choices]
    axes.set_xticks(range(len(names)), names)
    if len("".join(names)) > 30:  # more than fit beside each other
        axes.tick_params(axis="x", labelrotation=30, labelsize=8)
        for text in axes.get_xticklabels():
            text.set(ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.5, len(names) - 0.5)
    place = values.replace_strict(choices, range(len(choices)), return_dtype=pl.Float64)
    each = pl.DataFrame({"place": place, "configuration": results["configuration"], "mean": means}).unique(
        "configuration", maintain_order=True
    )
    rank = pl.col("mean").fill_nan(None).fill_null(-math.inf).rank("ordinal").over("place") - 0.5
    each = each.select("configuration", aside=0.5 * (rank / pl.len().over("place") - 0.5))
    aside = results.join(each, on="configuration", how="left", maintain_order="left")["aside"]
    return place.to_numpy() + aside.to_numpy(), repeated


def _number_axis(axes: "Axes", low: float, high: float, log: bool, whole: bool) -> None:
    """Scales and labels the axis of a field that is a number, from `low` to `high`."""
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
    """Up to six round numbers between two, well apart; the two themselves if there are none.

    Matplotlib's own would run into each other in a small panel, or be a single one.
    """
    apart = (high / low) ** 0.2
    decades = [10.0**n for n in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    ticks: list[float] = []
    for tick in (step * decade for step in (1, 3, 2, 5, 4, 6, 7, 8, 9) for decade in decades):
        if low <= tick <= high and all(max(tick / other, other / tick) >= apart for other in ticks):
            ticks.append(tick)
    return ticks if len(ticks) > 1 else sorted({low, high})
