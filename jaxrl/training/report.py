"""What a run leaves to look at: its learning curve and a film of its policy."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.types import Transition

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def interval_95(values: Sequence[float] | np.ndarray) -> float:
    """Half the width of the 95 % confidence interval of a mean over seeds (Student's t); 0 for a single seed."""
    if len(values) < 2:
        return 0.0
    from scipy import stats

    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def read_curves(metrics: Path, column: str) -> dict[str, list[tuple[int, float]]]:
    """`(environment steps, value)` of one column of a run's `metrics.csv`, for each seed; empty cells are left out."""
    curves: dict[str, list[tuple[int, float]]] = {}
    with metrics.open(newline="") as file:
        for row in csv.DictReader(file):
            curve = curves.setdefault(row["seed"], [])
            if row[column]:
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
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k" if x else "0")
    axes.grid(alpha=0.2)
    return figure, axes


def learning_curve(metrics: Path, picture: Path, title: str, subtitle: str, final: Sequence[float]) -> None:
    """Draws the training return against environment steps.

    Args:
        metrics: a run's `metrics.csv`; several seeds are drawn as their mean with its 95 % interval.
        picture: the PNG to write.
        title: what was trained on what.
        subtitle: under which rules.
        final: the mean evaluation return of each seed, marked at the end of the curve; may be empty.
    """
    figure, axes = figure_over_steps(title, subtitle, "episode return")
    steps, returns = read_returns(metrics)
    if len(steps):
        mean = returns.mean(0)
        seeds = f", mean of {len(returns)} seeds and its 95 % interval" if len(returns) > 1 else ""
        axes.plot(steps, mean, color="tab:blue", label="training return" + seeds)
        if len(returns) > 1:
            half = np.array([interval_95(column) for column in returns.T])
            axes.fill_between(steps, mean - half, mean + half, color="tab:blue", alpha=0.2, linewidth=0)
            axes.plot(steps, returns.T, color="tab:blue", alpha=0.3, linewidth=0.8)
        if len(final):
            half_width = interval_95(final)
            spread = f" ± {half_width:.1f}" if half_width else ""
            label = f"greedy evaluation at the end, {np.mean(final):.1f}{spread}"
            axes.errorbar(
                steps[-1], np.mean(final), half_width or None, fmt="o", color="tab:orange", capsize=4, label=label
            )
        # The interval of two seeds may be many times as wide as the curves: it is drawn, but does not set the scale.
        low, high = min(0.0, returns.min()), max(returns.max(), *final, 1e-3)
        axes.set_ylim(low - 0.05 * (high - low), high + 0.25 * (high - low))
        axes.legend(loc="upper left", frameon=False)
    figure.savefig(picture)


def film(env: Any, trajectory: Transition, path: str | Path, title: str | None = None) -> None:
    """Writes a GIF of one world: a frame for each observation, and one more for what an episode ended with.

    Args:
        env: the world.
        trajectory: what `rollout` gives, `[T, 1]`, or one world of it, `[T]`.
        path: the GIF to write.
        title: the first line of every frame's caption, by default the world's name.

    Raises:
        ArgumentError: the trajectory is of several worlds.
        OSError: the file cannot be written.
    """
    from PIL.Image import Dither, Image  # here, because training needs no pictures

    from jaxrl.envs.render import render

    num_worlds = np.shape(trajectory.reward)[1:]
    if num_worlds not in ((), (1,)):
        raise ArgumentError(f"trajectory must be of one world (`jax.tree.map(lambda x: x[:, 0], …)`), got {num_worlds}")
    one = jax.tree.map(lambda x: np.asarray(x)[:, 0] if num_worlds else np.asarray(x), trajectory)
    frames: list[Image] = []
    episode, step, score = 1, 0, 0.0

    def shoot(observation: np.ndarray) -> None:
        caption = (env.name if title is None else title, f"episode {episode}", f"step {step}", f"return {score:g}")
        frame = render(env, observation, caption)
        # The first frame's legend shows every colour, so that one palette serves all frames.
        frames.append(frame.quantize(palette=frames[0], dither=Dither.NONE) if frames else frame.quantize(128))

    for t in range(len(one.reward)):
        shoot(one.observation[t])
        step, score = step + 1, score + float(one.reward[t])
        if one.terminated[t] or one.truncated[t]:
            shoot(one.next_observation[t])
            episode, step, score = episode + 1, 0, 0.0
    # GIF times are multiples of 10 ms. Cart-pole's step is 20 ms; a board is watchable at 15 frames a second.
    duration = 20 if one.observation.ndim == 2 else 70
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:], duration=duration, loop=0)
