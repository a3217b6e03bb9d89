"""Observations as pictures, for films and plots."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxrl.envs.base import Environment
from jaxrl.envs.grid_pictures import grid_board
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.minatar import MinAtar
from jaxrl.envs.palette import BACKGROUND, BOARD, FAINT, GRID, INK, PALETTE, Colour


def render(env: Any, observation: Any, caption: Sequence[str] = ()) -> Image.Image:
    """One observation as a picture: a board, a cart-pole, a pendulum, or bars for any other vector.

    Args:
        env: the world that the observation is from.
        observation: `[H, W, C]`, `[features]`, or any other array, which is flattened.
        caption: short lines for the side panel.
    """
    drawing, legend = draw(env, observation)
    picture = Image.new("RGB", (BOARD + 180, BOARD), BACKGROUND)
    picture.paste(drawing, ((BOARD - drawing.width) // 2, (BOARD - drawing.height) // 2))
    panel, font = ImageDraw.Draw(picture), ImageFont.load_default(15)
    for i, line in enumerate(caption):
        panel.text((BOARD + 18, 16 + 24 * i), line, INK, font)
    for i, (name, colour) in enumerate(legend):
        y = BOARD - 24 * (len(legend) - i) - 8
        panel.rectangle((BOARD + 18, y + 3, BOARD + 32, y + 17), colour)
        panel.text((BOARD + 42, y), name, FAINT, font)
    return picture


def render_state(env: Any, state: Any, env_params: Any = None, caption: Sequence[str] = ()) -> Image.Image:
    """One state of a world as a picture of what an agent would see.

    Args:
        env: one of jaxrl's worlds, or any with gymnax 1.0's interface (`observe` included).
        state: a single state, as `env.reset` and `env.step` return it.
        env_params: the world's parameters, by default `env.default_params`.
        caption: short lines for the side panel.
    """
    if isinstance(env, Environment):
        return render(env, env.observe(state), caption)
    env_params = env.default_params if env_params is None else env_params
    return render(env, env.observe(jax.random.key(0), state, None, env_params), caption)


def draw(env: Any, observation: Any) -> tuple[Image.Image, list[tuple[str, Colour]]]:
    """An observation without anything around it, at most `BOARD` pixels wide and high, and the names of its colours."""
    observation = np.asarray(observation, np.float32)
    if isinstance(env, GridWorld):
        return grid_board(env, observation)
    if observation.ndim == 3:
        channels = range(observation.shape[-1])
        names = env.game.channels if isinstance(env, MinAtar) else [f"channel {c}" for c in channels]
        return _board(observation), [(names[c], _colour(c)) for c in channels]
    if getattr(env, "name", "") == "CartPole-v1":
        return _cart_pole(observation), []
    if getattr(env, "name", "") == "Pendulum-v1":
        return _pendulum(observation), []
    return _bars(observation.reshape(-1)), []


def _colour(channel: int) -> Colour:
    """They repeat after ten."""
    return PALETTE[channel % len(PALETTE)]


def _board(observation: np.ndarray) -> Image.Image:
    """A board `[H, W, C]`, one colour a channel, earlier channels on top."""
    height, width, channels = observation.shape
    cell = BOARD // max(height, width)
    picture = Image.new("RGB", (width * cell, height * cell), GRID)
    draw = ImageDraw.Draw(picture)
    for y in range(height):
        for x in range(width):
            shown = [c for c in range(channels) if observation[y, x, c] > 0]
            fill = _colour(shown[0]) if shown else BACKGROUND
            draw.rectangle((x * cell, y * cell, (x + 1) * cell - 2, (y + 1) * cell - 2), fill)
            if len(shown) > 1:  # as a dot, what else is there
                inset = cell // 3
                corners = (x * cell + inset, y * cell + inset, (x + 1) * cell - 2 - inset, (y + 1) * cell - 2 - inset)
                draw.rectangle(corners, _colour(shown[1]))
    return picture


def _cart_pole(observation: np.ndarray) -> Image.Image:
    """Cart and pole from (position, velocity, angle, angular velocity); the track is 4.8 m wide, the pole 1 m long."""
    scale = BOARD / 4.8
    picture = Image.new("RGB", (BOARD, BOARD), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    x, ground, angle = BOARD / 2 + observation[0] * scale, 0.7 * BOARD, observation[2]
    draw.line((0, ground, BOARD, ground), GRID, 3)
    draw.rounded_rectangle((x - 32, ground - 34, x + 32, ground - 6), 5, PALETTE[0])
    top = (x + np.sin(angle) * scale * 1.6, ground - 34 - np.cos(angle) * scale * 1.6)
    draw.line((x, ground - 34, *top), PALETTE[1], 9)
    draw.ellipse((x - 6, ground - 40, x + 6, ground - 28), INK)
    return picture


def _pendulum(observation: np.ndarray) -> Image.Image:
    """A rod from (cos, sin, angular velocity); upright is cos = 1, and angles count counterclockwise."""
    picture = Image.new("RGB", (BOARD, BOARD), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    middle, length = BOARD / 2, 0.38 * BOARD
    draw.ellipse((middle - length, middle - length, middle + length, middle + length), outline=GRID, width=2)
    draw.line((middle, middle, middle - length * observation[1], middle - length * observation[0]), PALETTE[1], 12)
    draw.ellipse((middle - 8, middle - 8, middle + 8, middle + 8), INK)
    return picture


def _bars(features: np.ndarray) -> Image.Image:
    """Any vector as bars about a middle line; 1 reaches a third of the height, and the scale is compressed beyond."""
    picture = Image.new("RGB", (BOARD, BOARD), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    width, middle = BOARD / max(len(features), 1), BOARD / 2
    draw.line((0, middle, BOARD, middle), GRID, 2)
    for i, x in enumerate(np.nan_to_num(features)):
        height = np.arcsinh(x) / np.arcsinh(1.0) * BOARD / 3
        low, high = sorted((middle, float(np.clip(middle - height, 4, BOARD - 4))))
        draw.rectangle((i * width + 1, low, (i + 1) * width - 2, high), _colour(i))
    return picture
