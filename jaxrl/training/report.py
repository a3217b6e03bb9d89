"""What a run leaves to look at: its learning curve and a film of its policy."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL.Image import Dither, Image

from jaxrl.envs import VectorEnv, VectorState
from jaxrl.envs.render import render
from jaxrl.types import Array, PyTree


def interval_95(values: Sequence[float] | np.ndarray) -> float:
    """Half the width of the 95 % confidence interval of a mean over seeds (Student's t); 0 for a single seed."""
    if len(values) < 2:
        return 0.0
    from scipy import stats

    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))


def learning_curve(metrics: Path, picture: Path, title: str, subtitle: str, final: Sequence[float]) -> None:
    """Draws the training return against environment steps.

    Args:
        metrics: a run's `metrics.csv`; several seeds are drawn as their mean with its 95 % interval.
        picture: the PNG to write.
        title: what was trained on what.
        subtitle: under which rules.
        final: the mean evaluation return of each seed, marked at the end of the curve; may be empty.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    curves: dict[str, list[tuple[int, float]]] = {}
    with metrics.open(newline="") as file:
        for row in csv.DictReader(file):
            curve = curves.setdefault(row["seed"], [])
            if row["episode_return"]:
                curve.append((int(row["env_steps"]), float(row["episode_return"])))
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    steps = sorted({x for curve in curves.values() for x, _ in curve})
    if steps:
        returns = np.stack([np.interp(steps, *np.transpose(curve)) for curve in curves.values() if curve])
        mean = returns.mean(0)
        label = "training return" + (
            f", mean of {len(returns)} seeds and its 95 % interval" if len(returns) > 1 else ""
        )
        axes.plot(steps, mean, color="tab:blue", label=label)
        if len(returns) > 1:
            half = np.array([interval_95(column) for column in returns.T])
            axes.fill_between(steps, mean - half, mean + half, color="tab:blue", alpha=0.2, linewidth=0)
            axes.plot(steps, returns.T, color="tab:blue", alpha=0.3, linewidth=0.8)
        if len(final):
            half_width = interval_95(final)
            label = f"greedy evaluation at the end, {np.mean(final):.1f}" + (
                f" ± {half_width:.1f}" if half_width else ""
            )
            axes.errorbar(
                steps[-1], np.mean(final), half_width or None, fmt="o", color="tab:orange", capsize=4, label=label
            )
        # The interval of two seeds may be many times as wide as the curves: it is drawn, but does not set the scale.
        low, high = min(0.0, returns.min()), max(returns.max(), *final, 1e-3)
        axes.set_ylim(low - 0.05 * (high - low), high + 0.25 * (high - low))
        axes.legend(loc="upper left", frameon=False)
    axes.set_title(f"{title}\n", loc="left", fontweight="bold")
    axes.text(0, 1.02, subtitle, transform=axes.transAxes, color="gray", fontsize=9)
    axes.set_xlabel("environment steps")
    axes.set_ylabel("episode return")
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)
    axes.xaxis.set_major_formatter(lambda x, _: f"{x / 1e6:g}M" if x >= 1e6 else f"{x / 1e3:g}k" if x else "0")
    axes.grid(alpha=0.2)
    figure.savefig(picture, dpi=120)
    plt.close(figure)


def play(
    policy: Callable[[PyTree, PyTree, Array], Array], agent_state: PyTree, envs: VectorEnv, key: Array, num_steps: int
) -> tuple[PyTree, Array, Array]:
    """`num_steps` steps of a policy: stored observations `[T, N, ...]`, rewards and ends of episodes, `[T, N]`."""

    def body(worlds: VectorState, t: Array) -> tuple[VectorState, tuple[PyTree, Array, Array]]:
        act_key, env_key = jax.random.split(jax.random.fold_in(play_key, t))
        actions = policy(agent_state, envs.decode(worlds.observation), act_key)
        worlds, transition, _ = envs.step(worlds, actions, env_key)
        return worlds, (transition.observation, transition.reward, transition.terminated | transition.truncated)

    reset_key, play_key = jax.random.split(key)
    return jax.lax.scan(body, envs.reset(reset_key), jax.numpy.arange(num_steps))[1]


def film(env: Any, observations: Array, rewards: Array, ended: Array, path: Path, title: str) -> None:
    """Writes a GIF of one world.

    Args:
        env: the world.
        observations: whole observations `[T, *observation]`.
        rewards: float `[T]`.
        ended: whether the episode ended with this step, bool `[T]`.
        path: the GIF to write.
        title: the first line of every frame's caption.
    """
    frames: list[Image] = []
    episode, step, score = 1, 0, 0.0
    for observation, reward, end in zip(np.asarray(observations), np.asarray(rewards), np.asarray(ended), strict=True):
        frame = render(env, observation, (title, f"episode {episode}", f"step {step}", f"return {score:g}"))
        # The first frame's legend shows every colour, so that one palette serves all frames.
        frames.append(frame.quantize(palette=frames[0], dither=Dither.NONE) if frames else frame.quantize(128))
        step, score = step + 1, score + float(reward)
        if end:
            episode, step, score = episode + 1, 0, 0.0
    # GIF times are multiples of 10 ms. Cart-pole's step is 20 ms; a board is watchable at 15 frames a second.
    duration = 20 if np.ndim(observations) == 2 else 70
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0)
