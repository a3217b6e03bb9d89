"""Pictures of experiments that compare algorithms: a panel for each game, or for each variant beside a baseline.

`trials` and `curves` are frames as in `jaxrl.plots.sweep_results`.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from jaxrl.formatting import FEW_SEEDS, format_mean
from jaxrl.plots.figures import label_numbers, label_steps, new_panels
from jaxrl.plots.learning_curve import Curve, align_curves, draw_mean, show_range, spread
from jaxrl.plots.sweep_results import agent_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def smooth_returns(trials: pl.DataFrame, curves: pl.DataFrame) -> Curve:
    """Environment steps `[X]`, and the training returns `[A, X]` of some trials: means over 5 % of the rows around."""
    lines = agent_curves(curves.filter(pl.col("agent").is_in(trials["agent"].implode()))).values()
    if not lines:
        return np.zeros(0), np.zeros((0, 0))
    steps, returns = align_curves(lines)
    kernel = np.ones(max(1, len(steps) // 20))
    weight = np.convolve(np.ones(len(steps)), kernel, "same")
    return steps, np.array([np.convolve(curve, kernel, "same") / weight for curve in returns])


def draw_games(trials: pl.DataFrame, curves: pl.DataFrame, title: str, subtitle: str, picture: Path) -> None:
    """Draws the training returns of all algorithms, a panel for each game; both frames have a column `algorithm`."""
    games = trials["env"].unique(maintain_order=True)
    figure, panels = new_panels(len(games), (3.0, 2.5), title, subtitle, "episode return", sharey=False)
    for axes, game in zip(panels, games, strict=True):
        seen = [0.0]
        colours = dict(zip(trials["algorithm"].unique(maintain_order=True), ("tab:blue", "tab:orange"), strict=False))
        for (algorithm,), rows in trials.filter(env=game).partition_by("algorithm", as_dict=True).items():
            label = f"{algorithm} ({format_mean(rows['eval_return'].to_numpy())})"
            steps, returns = smooth_returns(rows, curves.filter(algorithm=algorithm))
            if len(steps):
                draw_mean(axes, steps, returns, colours[algorithm], label)
                seen += [returns.min(), returns.max()]
            else:
                axes.plot([], [], color=colours[algorithm], label=f"{label}: no episode ended")
        label_steps(axes.xaxis)
        show_range(axes, trials["env_steps"].to_numpy().max(), min(seen), max(seen))
        axes.set_title(game.removesuffix("-MinAtar"), loc="left", fontweight="bold", fontsize=10)
        axes.legend(loc="best", frameon=False, fontsize=8)
    note = "training return over environment steps; final evaluation in brackets"
    figure.supxlabel(note, color="gray", fontsize=8)
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
