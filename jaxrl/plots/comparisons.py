"""Pictures of experiments that compare algorithms: a panel for each game, or for each variant beside a baseline.

`trials` and `curves` are frames as in `jaxrl.plots.sweep_results`.
"""

import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from jaxrl.formatting import FEW_SEEDS
from jaxrl.plots.figures import label_numbers, label_steps, new_panels
from jaxrl.plots.learning_curve import MEASURES, Curve, align_curves, draw_mean, show_range, spread
from jaxrl.plots.palette import LINES
from jaxrl.plots.sweep_results import agent_curves
from jaxrl.training.loggers import EVAL_RETURN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Estimated = tuple[np.ndarray, tuple[np.ndarray, np.ndarray] | None]
"""A statistic and, where there is one, its interval, as `jaxrl.sweeps.aggregates.Estimate`."""


def smooth_returns(trials: pl.DataFrame, curves: pl.DataFrame, measure: str = "episode_return") -> Curve:
    """Environment steps `[X]`, and the returns `[A, X]` of some trials: means over 5 % of the rows around."""
    lines = agent_curves(curves.filter(pl.col("agent").is_in(trials["agent"].implode())), measure).values()
    if not lines:
        return np.zeros(0), np.zeros((0, 0))
    steps, returns = align_curves(lines)
    kernel = np.ones(max(1, len(steps) // 20))
    weight = np.convolve(np.ones(len(steps)), kernel, "same")
    return steps, np.array([np.convolve(curve, kernel, "same") / weight for curve in returns])


def line_colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each name."""
    return dict(zip(names, itertools.cycle(LINES), strict=False))


def draw_games(
    trials: pl.DataFrame,
    curves: pl.DataFrame,
    title: str,
    subtitle: str,
    picture: Path,
    reference: Mapping[str, float],
    reference_name: str,
) -> None:
    """Draws the returns of all algorithms, a panel for each game; both frames have a column `algorithm`.

    The returns are those of evaluations, while training and at the end, or of the training if none were made meanwhile.
    A dashed line shows the `reference` of a game.
    """
    measure = "episode_return"
    if EVAL_RETURN in curves.columns and curves[EVAL_RETURN].is_finite().any():
        measure, key = EVAL_RETURN, ("algorithm", "agent", "env_steps")
        both = pl.concat([frame.select(*key, measure) for frame in (curves, trials)], how="vertical_relaxed")
        curves = both.unique(key, keep="last", maintain_order=True).sort(key)
    games = trials["env"].unique(maintain_order=True)
    colours = line_colours(trials["algorithm"].unique(maintain_order=True))
    figure, panels = new_panels(len(games), (3.0, 2.5), title, subtitle, MEASURES[measure], sharey=False)
    for axes, game in zip(panels, games, strict=True):
        seen, missing = [0.0], []
        for (algorithm,), rows in trials.filter(env=game).partition_by("algorithm", as_dict=True).items():
            steps, returns = smooth_returns(rows, curves.filter(algorithm=algorithm), measure)
            if len(steps):
                draw_mean(axes, steps, returns, colours[algorithm], None)
                seen += [returns.min(), returns.max()]
            else:
                missing.append(f"{algorithm}: no episode ended")
        if game in reference:
            axes.axhline(reference[game], color="gray", linewidth=1, linestyle="--", zorder=1)
            seen.append(reference[game])
        label_steps(axes.xaxis)
        show_range(axes, trials["env_steps"].to_numpy().max(), min(seen), max(seen))
        axes.set_title(game.removesuffix("-MinAtar"), loc="left", fontweight="bold", fontsize=10)
        axes.text(0.02, 0.98, "\n".join(missing), transform=axes.transAxes, va="top", color="gray", fontsize=8)
    for axes in panels[-3:]:  # below which there is none
        axes.set_xlabel("environment steps", fontsize=9)
    _show_legend(figure, colours, reference_name if reference else "")
    figure.savefig(picture)


def _show_legend(figure: "Figure", colours: Mapping[str, str], dashed: str) -> None:
    """Names the lines of all panels, and a dashed one if it has a name, below them."""
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour, label=name) for name, colour in colours.items()]
    if dashed:
        lines.append(Line2D([], [], color="gray", linewidth=1, linestyle="--", label=dashed))
    figure.legend(handles=lines, loc="outside lower left", ncols=len(lines), frameon=False, fontsize=9)


def draw_scores(
    statistics: Mapping[str, Mapping[str, Estimated]],
    profiles: Mapping[str, Estimated],
    thresholds: np.ndarray,
    title: str,
    subtitle: str,
    picture: Path,
) -> None:
    """Draws statistics of normalised scores and performance profiles, with their intervals, and a dashed line at 1.

    Args:
        statistics: by their names, of each algorithm.
        profiles: the share of each algorithm's runs above each of the thresholds, `[T]`.
        thresholds: normalised scores `[T]`.
        title: of the picture.
        subtitle: below the title.
        picture: the PNG to write.
    """
    figure, (aggregates, shares) = new_panels(2, (4.5, 3.2), title, subtitle, "", sharey=False)
    colours, step = line_colours(profiles), 0.8 / len(profiles)
    for row, estimates in enumerate(statistics.values()):
        for place, (name, (value, interval)) in enumerate(estimates.items()):
            y = row + (place - (len(profiles) - 1) / 2) * step
            if interval is not None:
                aggregates.plot(interval, [y, y], color=colours[name], linewidth=5, alpha=0.4, solid_capstyle="butt")
            aggregates.plot(value, y, "o", color=colours[name], markersize=5)
    aggregates.set_yticks(range(len(statistics)), statistics)
    aggregates.set_ylim(len(statistics) - 0.5, -0.5)
    aggregates.tick_params(axis="y", length=0)
    aggregates.grid(visible=False, axis="y")
    for axes in (aggregates, shares):
        axes.axvline(1, color="gray", linewidth=1, linestyle="--", zorder=1)
    aggregates.set_xlim(left=min(0.0, aggregates.get_xlim()[0]))
    aggregates.set_xlabel("normalised score", fontsize=9)
    label_numbers(aggregates.xaxis)
    for name, (share, band) in profiles.items():
        if band is not None:
            shares.fill_between(thresholds, *band, color=colours[name], alpha=0.2, linewidth=0)
        shares.plot(thresholds, share, color=colours[name])
    shares.set_xlim(thresholds[0], thresholds[-1])
    shares.set_ylim(-0.02, 1.02)
    shares.set_xlabel("normalised score τ", fontsize=9)
    shares.set_ylabel("share of runs with a score above τ", fontsize=9)
    label_numbers(shares.xaxis)
    _show_legend(figure, colours, "")
    figure.savefig(picture)


def draw_variants(
    trials: pl.DataFrame, curves: pl.DataFrame, title: str, subtitle: str, picture: Path, baseline: str
) -> None:
    """Draws the training returns of every `variant`, beside those of the baseline, and the evaluations below them."""
    means = trials.group_by("variant", maintain_order=True).agg(pl.col("eval_return").mean())
    names = means.sort("eval_return", descending=True, maintain_order=True)["variant"].to_list()
    returns = {name: smooth_returns(trials.filter(variant=name), curves) for name in names}
    seen = [0.0, *(x for _, y in returns.values() for x in y.ravel())]
    shown = [name for name in names if name != baseline] or names
    below = 0.9 + 0.27 * len(names)
    subtitle += f"; black: {baseline}" * (len(shown) < len(names))
    figure, panels = new_panels(len(shown), (2.0, 1.7), title, subtitle, "episode return", columns=4, below=below)
    for axes, name in zip(panels, shown, strict=True):
        for line, colour in ((baseline, "black"), (name, "black" if name == baseline else "tab:blue")):
            if line in returns and len(returns[line][0]):
                draw_mean(axes, *returns[line], colour, None)
        label_steps(axes.xaxis)
        axes.locator_params("x", nbins=3)
        show_range(axes, trials["env_steps"].to_numpy().max(), min(seen), max(seen))
        axes.set_title(name.replace(f"{baseline} without", "no"), loc="left", fontsize=9, fontweight="bold")
        axes.tick_params(labelsize=8)
    panels[-1].set_xlabel("environment steps", fontsize=9)
    width, height = figure.get_size_inches()
    evaluations = figure.add_axes((2.1 / width, 0.6 / height, 1 - 2.3 / width, (below - 0.8) / height))
    evaluations.set_in_layout(False)
    _draw_evaluations(evaluations, trials, names, baseline)
    figure.savefig(picture)


def _draw_evaluations(axes: "Axes", trials: pl.DataFrame, names: list[str], baseline: str) -> None:
    """Draws the final evaluations, a row for each variant: its seeds, their mean and their spread."""
    everything = trials["eval_return"].to_numpy()
    lowest, highest = everything.min(), everything.max()
    seeds = trials["seed"].n_unique()
    for place, name in enumerate(names):
        values = trials.filter(variant=name)["eval_return"].to_numpy()
        colour = "black" if name == baseline else "tab:blue"
        axes.plot(spread(values, (lowest, highest)), [-place] * 2, color=colour, linewidth=1.5)
        axes.plot(values, [-place] * len(values), "|", color=colour, markersize=9)
        axes.plot(values.mean(), -place, "o", color=colour)
    axes.set_yticks([-place for place in range(len(names))], names)
    least = min(0.0, lowest)
    axes.set_xlim(least, highest + 0.04 * (highest - least or 1.0))
    interval = "" if seeds < FEW_SEEDS else ", 95 % interval"
    axes.set_xlabel(f"final evaluation: seeds and their mean{interval}", fontsize=9)
    label_numbers(axes.xaxis)
    axes.tick_params(labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
