"""Videos of environments."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.formatting import format_return
from jaxrl.types import PyTree, Transition


def save_video(env: Any, trajectory: Transition, path: str | Path, title: str | None = None) -> None:
    """Writes a GIF of one environment: a frame for each observation, and one more for what an episode ended with.

    Args:
        env: the environment.
        trajectory: what `rollout` gives, `[T, 1]`, or one environment of it, `[T]`. Observations may be any pytree.
        path: the GIF to write.
        title: the first line of every frame's caption, by default the environment's name.

    Raises:
        ArgumentError: the trajectory is of several environments, or of no step.
        OSError: the file cannot be written.
    """
    from jaxrl.plots.render import render, to_numpy, write_gif  # here, because training needs no pictures

    shape = np.shape(trajectory.reward)
    if shape[1:] not in ((), (1,)):
        raise ArgumentError(
            "trajectory", "must be of one environment (`jax.tree.map(lambda x: x[:, 0], …)`)", shape[1:]
        )
    if 0 in shape:
        raise ArgumentError("trajectory", "must have a step at least", shape)
    one = jax.tree.map(lambda x: to_numpy(x)[:, 0] if len(shape) > 1 else to_numpy(x), trajectory)
    title = getattr(env, "name", type(env).__name__) if title is None else title
    frames: list[tuple[PyTree, tuple[str, ...]]] = []
    milliseconds: list[int] = []
    episode, step, score = 1, 0, 0.0

    def add_frame(observation: PyTree, action: str, time: int) -> None:
        caption = (title, f"episode {episode}", f"step {step}", f"return {format_return(score)}", action)
        frames.append((observation, caption))
        milliseconds.append(time)

    duration = frame_time(env, one.observation)
    for t in range(len(one.reward)):
        add_frame(jax.tree.map(lambda x: x[t], one.observation), action_text(env, one.action[t]), duration)  # noqa: B023
        step, score = step + 1, score + float(one.reward[t])
        if one.terminated[t] or one.truncated[t]:
            add_frame(jax.tree.map(lambda x: x[t], one.next_observation), "", 2 * duration)  # noqa: B023
            episode, step, score = episode + 1, 0, 0.0
    write_gif(lambda i: render(env, *frames[i]), len(frames), path, milliseconds)


def frame_time(env: Any, observations: PyTree) -> int:
    """How long a video shows a step, in multiples of 10 ms.

    Cart-pole's step is 20 ms, and other bodies move at 20 frames a second. A board is watchable at 15 frames a second,
    but not one where every step counts.
    """
    from jaxrl.envs.grid_world import GridWorld

    if isinstance(env, GridWorld):
        return 400
    if getattr(env, "name", "") == "CartPole-v1":
        return 20
    return 70 if any(np.ndim(leaf) > 2 for leaf in jax.tree.leaves(observations)) else 50


def action_text(env: Any, action: np.ndarray) -> str:
    """What an action does, if the environment says so, or else its number or numbers (at most three)."""
    names = getattr(env, "action_names", ())
    if np.ndim(action) == 0 and np.issubdtype(action.dtype, np.integer):
        return f"action {names[action] if 0 <= action < len(names) else action}"
    return "action " + " ".join(f"{x:.2f}" for x in np.ravel(action)[:3])
