"""Playing an environment by keyboard, in the terminal."""

import contextlib
import signal
import sys
import time
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from types import FrameType
from typing import Any

import blessed
import jax
import jax.numpy as jnp
import numpy as np
from PIL.Image import Image, Resampling
from rich.color import Color
from rich.console import Console, Group
from rich.live import Live
from rich.style import Style
from rich.table import Table
from rich.text import Text

from jaxrl.envs import num_discrete_actions, vectorize
from jaxrl.formatting import format_return
from jaxrl.plots.render import draw, shorten
from jaxrl.random import key_stream
from jaxrl.types import PyTree

KEYS = {
    "KEY_LEFT": "left", "KEY_UP": "up", "KEY_RIGHT": "right", "KEY_DOWN": "down",
    "a": "left", "w": "up", "d": "right", "s": "down", " ": "fire",
}  # fmt: skip
ARROWS = {"KEY_LEFT": "←", "KEY_UP": "↑", "KEY_RIGHT": "→", "KEY_DOWN": "↓"}
ACTION_NAMES = {"Acrobot-v1": ("left", "no-op", "right"), "MountainCar-v0": ("left", "no-op", "right")}
"""The actions of gymnax's environments. jaxrl's own environments have `action_names`."""
ROWS = 20
"""Height of the picture in lines. A character is about twice as high as wide."""


def play(env: Any, env_params: Any, title: str, seed: int, fps: float, num_steps: int | None) -> list[float]:
    """Lets the user play until they press q, or for `num_steps` steps, and returns the returns of finished episodes.

    An environment with a no-op takes `fps` steps per second. One without waits for a key at each step.
    """
    actions, idle = key_bindings(env, env_params)
    envs = vectorize(env, env_params, 1)
    reset_key, play_key = jax.random.split(key_stream(seed, "play"))
    returns: list[float] = []
    signals = exit_on_signals()
    terminal = blessed.Terminal(force_styling=None)  # it only reads keys; rich draws
    with terminal.cbreak(), contextlib.ExitStack() as stack:
        print(f"loading {title} (keys that you press now count from the first picture on)", flush=True)
        env_states, t = envs.reset(reset_key), 0
        step = jax.jit(envs.step).lower(env_states, jnp.zeros(1, jnp.int32), play_key).compile()
        live = stack.enter_context(Live(console=Console(highlight=False), screen=True, auto_refresh=False))
        deadline = time.monotonic()
        while num_steps is None or t < num_steps:
            if signals:
                sys.exit(128 + signals[0])
            score = float(env_states.episode_return[0])
            last = f"last episode {format_return(returns[-1])}" if returns else ""
            lines = [title, f"episode {len(returns) + 1}", f"step {env_states.episode_length[0]}"]
            lines += [f"return {format_return(score)}", last, "", *key_help(actions), ""]
            observation = jax.tree.map(lambda x: x[0], envs.observe(env_states))
            live.update(draw_screen(env, observation, lines), refresh=True)
            deadline = max(deadline + 1 / fps, time.monotonic())
            action = read_action(terminal, actions, idle, deadline)
            if action is None:
                break
            key = jax.random.fold_in(play_key, t)
            env_states, transition, _ = step(env_states, jnp.array([action], jnp.int32), key)
            t += 1
            if transition.terminated[0] or transition.truncated[0]:
                returns.append(score + float(transition.reward[0]))
    return returns


def exit_on_signals() -> list[int]:
    """Makes SIGINT and SIGTERM exit by an exception, which restores the terminal.

    Returns:
        The signals so far, because Python ignores an exception in a callback of C code, such as garbage collection's.
    """
    received: list[int] = []

    def handler(number: int, frame: FrameType | None) -> None:
        received.append(number)
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
    return received


def key_bindings(env: Any, env_params: Any) -> tuple[dict[str, int], int | None]:
    """The action of each key, and the no-op if there is one. Digits choose an action by its number."""
    names = getattr(env, "action_names", ACTION_NAMES.get(getattr(env, "name", ""), ()))
    digits = {str(i): i for i in range(min(num_discrete_actions(env, env_params), 10))}
    named = {key: names.index(name) for key, name in KEYS.items() if name in names}
    return digits | named, names.index("no-op") if "no-op" in names else None


def key_help(actions: dict[str, int]) -> list[str]:
    """What to press, in short lines."""
    arrows = "".join(arrow for key, arrow in ARROWS.items() if key in actions)
    letters = "".join(key.upper() for key in "wasd" if key in actions)
    last_digit = max(key for key in actions if key.isdigit())
    move = f"{arrows} or {letters}  move" if arrows else f"0 to {last_digit}  act"
    return [move, *(["space  fire"] if " " in actions else []), "q  quit"]


def read_action(terminal: blessed.Terminal, actions: dict[str, int], idle: int | None, deadline: float) -> int | None:
    """The action of the last key before the deadline, or of the next key if there is no no-op. None means quit."""
    action = idle
    while True:
        key = terminal.inkey(timeout=None if idle is None else max(0.0, deadline - time.monotonic()))
        name = key.name or key.lower()
        if name == "q":
            return None
        action = actions.get(name, action)
        if not key or (idle is None and action is not None):
            return action


def draw_screen(env: Any, observation: PyTree, lines: Sequence[str]) -> Table:
    """The picture of an observation beside lines of text and the legend."""
    picture, names = draw(env, observation)
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(observation)]
    height, width = shapes[0][:2] if len(shapes) == 1 and len(shapes[0]) in (2, 3) else (0, 0)
    if 0 < height <= ROWS and 0 < width <= ROWS:  # a board: all cells are of the same size
        dots = 2 * (ROWS // max(height, width))
        size = dots * width, dots * height
    else:
        scale = 2 * ROWS / max(picture.size)
        size = max(1, round(picture.width * scale)), 2 * max(1, round(picture.height * scale / 2))
    legend = [Text.assemble(("■ ", paint(colour)), (name, "dim")) for name, colour in shorten(names, ROWS - len(lines))]
    table = Table.grid(padding=(0, 3))
    table.add_row(blocks(picture, *size), Group(*map(Text, lines), *legend))
    return table


def blocks(picture: Image, width: int, height: int) -> Text:
    """A picture of `width` x `height` dots. Each character "▀" is two: its colour above, its background below."""
    dots = np.asarray(picture.resize((width, height), Resampling.BOX))
    text = Text(no_wrap=True)
    for above, below in zip(dots[::2].tolist(), dots[1::2].tolist(), strict=True):
        for (top, bottom), run in groupby(zip(above, below, strict=True)):
            text.append("▀" * len(list(run)), paint(tuple(top), tuple(bottom)))
        text.append("\n")
    return text


@cache
def paint(ink: tuple[int, ...], ground: tuple[int, ...] | None = None) -> Style:
    """The style of characters in a colour, on another one."""
    return Style(color=Color.from_rgb(*ink), bgcolor=Color.from_rgb(*ground) if ground else None)
