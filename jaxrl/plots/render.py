"""Observations as pictures, for videos and plots."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxrl.arguments import ArgumentError
from jaxrl.envs.base import Environment
from jaxrl.envs.game import GameEnvironment
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.minatar import MinAtar
from jaxrl.envs.pixel_pong import BRIGHTNESS, SIDE, PixelPong
from jaxrl.envs.tensor_game import TensorGame
from jaxrl.game_theory.rules import describe
from jaxrl.networks.layers import is_stack
from jaxrl.plots.game_boards import draw_position, players
from jaxrl.plots.grid_values import grid_board
from jaxrl.plots.palette import (
    BACKGROUND,
    BOARD,
    DETAILED,
    FAINT,
    GRID,
    INK,
    PALETTE,
    Colour,
    cell_size,
    flat_cells,
    gapped_cells,
)  # fmt: skip

Legend = list[tuple[str, Colour]]
"""The names of colours."""
LINE = 24
"""Pixels from one line of the side panel to the next."""
WORDS = 160
"""Pixels of the longest line of the side panel."""
MOST_BARS, MOST_TILES = 100, 36
"""A longer vector is drawn in groups; an observation of more arrays is drawn as one vector."""


def render(env: Any, observation: Any, caption: Sequence[str] = (), before: Any = None) -> Image.Image:
    """Draws one observation: a board, an image, a cart-pole, a pendulum, or bars for anything else.

    Args:
        env: the environment that the observation is from.
        observation: `[H, W, C]`, `[H, W]`, `[features]`, any other array, which is flattened, or a pytree of arrays,
            which are drawn side by side. Infinite numbers are drawn at the edge, and NaN as zero.
        caption: short lines for the side panel.
        before: the observation one step before, if there was one, of a game: its last move is marked.
    """
    return frame(*draw(env, observation, before), caption)


def frame(drawing: Image.Image, legend: Legend, caption: Sequence[str]) -> Image.Image:
    """A drawing beside a panel with a caption and a legend."""
    picture = Image.new("RGB", (BOARD + 180, BOARD), BACKGROUND)
    _paste_centred(picture, drawing)
    for i, line in enumerate(caption):
        picture.paste(_draw_words(line, INK), (BOARD + 18, 16 + LINE * i))
    legend = shorten(legend, (BOARD - 24) // LINE - len(caption))
    for i, (name, colour) in enumerate(legend):
        y = BOARD - LINE * (len(legend) - i) - 8
        ImageDraw.Draw(picture).rectangle((BOARD + 18, y + 3, BOARD + 32, y + 17), colour)
        picture.paste(_draw_words(name, FAINT), (BOARD + 42, y))
    return picture


def _paste_centred(picture: Image.Image, drawing: Image.Image) -> None:
    picture.paste(drawing, ((BOARD - drawing.width) // 2, (BOARD - drawing.height) // 2))


@cache  # most frames of a video share their words
def _draw_words(text: str, ink: Colour) -> Image.Image:
    line = Image.new("RGB", (WORDS, LINE), BACKGROUND)
    fonts = map(ImageFont.load_default, range(15, 7, -1))  # a long line, such as an environment's name, is smaller
    font = next((font for font in fonts if font.getlength(text) <= WORDS), ImageFont.load_default(8))
    ImageDraw.Draw(line).text((0, 0), text, ink, font)
    return line


def shorten(legend: Legend, lines: int) -> Legend:
    """Shortens a legend to at most `lines` lines. The last one says how many names are left out."""
    if len(legend) <= lines:
        return legend
    kept = max(lines - 1, 0)
    return [*legend[:kept], (f"and {len(legend) - kept} more", BACKGROUND)][: max(lines, 0)]


def render_state(env: Any, state: Any, env_params: Any = None, caption: Sequence[str] = ()) -> Image.Image:
    """Draws what an agent observes in one state of an environment.

    Args:
        env: one of jaxrl's environments, or any with gymnax 1.0's interface (`observe` included).
        state: a single state, as `env.reset` and `env.step` return it.
        env_params: the environment's parameters, by default `env.default_params`.
        caption: short lines for the side panel.

    Raises:
        ArgumentError: the environment has no `observe`.
    """
    if isinstance(env, Environment):
        return render(env, env.observe(state), caption)
    if not hasattr(env, "observe"):
        raise ArgumentError("env", "must have `observe`, which returns a state's observation", env, type(env).__name__)
    env_params = env.default_params if env_params is None else env_params
    return render(env, env.observe(jax.random.key(0), state, None, env_params), caption)


def to_numpy(leaf: Any) -> np.ndarray:
    """Converts an array of an observation to NumPy, and random keys to their words."""
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def draw(env: Any, observation: Any, before: Any = None) -> tuple[Image.Image, Legend]:
    """Draws an observation alone, at most `BOARD` pixels wide and high, and names its colours.

    Of a game, the move since the observation `before` is marked.
    """
    arrays = [to_numpy(leaf) for leaf in jax.tree.leaves(observation)]
    if len(arrays) != 1:
        return _draw_several(arrays), []
    (array,) = arrays
    if isinstance(env, GridWorld) and array.shape == (*env.grid.wall.shape, 3):
        return grid_board(env, array)
    if isinstance(env, GameEnvironment):
        return draw_position(env.game, array, None if before is None else to_numpy(before)), players()
    if isinstance(env, TensorGame) and array.shape == ():
        return _draw_lines(describe(env.game.name, env.game.labels[int(array)])), []
    if isinstance(env, MinAtar) and array.ndim == 3 and array.shape[-1] == len(env.game.channels):
        return _draw_board(array), [(name, _colour(c)) for c, name in enumerate(env.game.channels)]
    if isinstance(env, PixelPong) and array.shape[-2:] == (SIDE, SIDE):
        return _draw_pong(array.reshape(-1, SIDE, SIDE)[-1])
    physics = {("CartPole-v1", (4,)): _draw_cart_pole, ("Pendulum-v1", (3,)): _draw_pendulum}
    if (shown := physics.get((getattr(env, "name", "").rpartition(":")[2], array.shape))) is not None:
        return shown(np.clip(np.nan_to_num(array.astype(np.float64)), -1e3, 1e3)), []
    return _draw_array(array)


def _draw_array(array: np.ndarray) -> tuple[Image.Image, Legend]:
    """Draws an array by its shape and its numbers alone."""
    if array.size == 0 or array.ndim not in (2, 3):
        return _draw_bars(array.reshape(-1)), []
    if is_stack(array.shape):  # the newest frame
        return _draw_image(array[-1][..., None]), []
    channels = array.shape[-1] if array.ndim == 3 else 1
    if array.ndim == 2 or (channels in (1, 3) and not np.isin(array, (0, 1)).all()):
        return _draw_image(array.reshape(*array.shape[:2], channels)), []
    if array.dtype == np.uint8 and array.max() > 1:  # most likely the newest frames, in grey
        return _draw_image(array.mean(-1, keepdims=True).astype(np.uint8)), []
    return _draw_board(array), [(f"channel {c}", _colour(c)) for c in range(channels)]


def _draw_several(arrays: list[np.ndarray]) -> Image.Image:
    """Draws arrays side by side, in rows. Many arrays, or single numbers, are drawn as one vector."""
    if len(arrays) > MOST_TILES or all(array.ndim == 0 for array in arrays):
        return _draw_bars(np.concatenate([np.zeros(0), *(array.reshape(-1).astype(np.float64) for array in arrays)]))
    columns = int(np.ceil(np.sqrt(len(arrays))))
    side = BOARD // columns
    picture = Image.new("RGB", (BOARD, -(-len(arrays) // columns) * side), BACKGROUND)
    for i, array in enumerate(arrays):
        tile = Image.new("RGB", (BOARD, BOARD), BACKGROUND)
        ImageDraw.Draw(tile).rectangle((0, 0, BOARD - 1, BOARD - 1), outline=GRID, width=columns)
        _paste_centred(tile, _draw_array(array)[0])
        tile = tile.resize((side - 2, side - 2), Image.Resampling.LANCZOS)
        picture.paste(tile, (i % columns * side + 1, i // columns * side + 1))
    return picture


def _colour(channel: int) -> Colour:
    return PALETTE[channel % len(PALETTE)]


def _draw_board(observation: np.ndarray) -> Image.Image:
    """Draws a board `[H, W, C]` with one colour a channel. Of two channels in a cell, the later one is a dot."""
    height, width, channels = observation.shape
    cell = int(min(cell_size(height, width)))
    on = observation > 0
    colours = np.array([*map(_colour, range(channels)), BACKGROUND], np.uint8)
    first = np.where(on.any(-1), on.argmax(-1), channels)
    if cell < DETAILED:
        return flat_cells(colours[first])
    board, inset = gapped_cells(colours[first], cell), cell // 3
    for y, x, channel in np.argwhere(on & (on.cumsum(-1) == 2)):
        corners = (x * cell + inset, y * cell + inset, (x + 1) * cell - 2 - inset, (y + 1) * cell - 2 - inset)
        ImageDraw.Draw(board).rectangle(corners, _colour(channel))
    return board


def _draw_lines(lines: list[str]) -> Image.Image:
    """Draws lines of text below each other, as large as they fit."""
    picture = Image.new("RGB", (BOARD, BOARD), BACKGROUND)
    size = min(BOARD / (len(lines) + 1), 1.5 * BOARD / max(map(len, lines)), 72)
    for row, line in enumerate(lines):
        middle = (BOARD / 2, BOARD * (row + 1) / (len(lines) + 1))
        ImageDraw.Draw(picture).text(middle, line, INK, ImageFont.load_default(size), anchor="mm")
    return picture


def _draw_pong(frame: np.ndarray) -> tuple[Image.Image, Legend]:
    """Draws a frame `[84, 84]` of Pong with a colour for each of its parts."""
    colours = {"wall": FAINT, "opponent": PALETTE[3], "agent": PALETTE[4], "ball": INK}
    picture = np.full((*frame.shape, 3), BACKGROUND, np.uint8)
    for part, colour in colours.items():
        picture[frame == BRIGHTNESS[part]] = colour
    return flat_cells(picture), [(part, colour) for part, colour in colours.items() if part != "wall"]


def _draw_image(values: np.ndarray) -> Image.Image:
    """Draws an image `[H, W, 1]` in grey or `[H, W, 3]` in colours.

    Bytes range from 0 to 255, other numbers from 0 to 1, or else from the smallest to the largest.
    """
    values, is_bytes = values.astype(np.float64), values.dtype == np.uint8
    finite = values[np.isfinite(values)]
    low, high = 0.0, 255.0 if is_bytes else 1.0
    if finite.size and not is_bytes and (finite.min() < 0 or finite.max() > 1):
        low, high = finite.min(), finite.max()
    values = np.clip(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high)
    shares = np.zeros_like(values) if high <= low else values / (high - low) - low / (high - low)
    return flat_cells(np.broadcast_to((255 * shares).astype(np.uint8), (*values.shape[:2], 3)))


def _draw_cart_pole(observation: np.ndarray) -> Image.Image:
    """Draws (position, velocity, angle, angular velocity), and posts at the ends of the track, ± 2.4 m."""
    picture, scale = Image.new("RGB", (BOARD, BOARD), BACKGROUND), BOARD / 5.4
    draw = ImageDraw.Draw(picture)
    x, ground, angle = BOARD / 2 + observation[0] * scale, 0.7 * BOARD, observation[2]
    draw.line((0, ground, BOARD, ground), GRID, 3)
    for end in (BOARD / 2 - 2.4 * scale, BOARD / 2 + 2.4 * scale):
        draw.line((end, ground - 14, end, ground + 14), FAINT, 3)
    draw.rounded_rectangle((x - 32, ground - 34, x + 32, ground - 6), 5, PALETTE[0])
    top = (x + np.sin(angle) * scale * 1.8, ground - 34 - np.cos(angle) * scale * 1.8)
    draw.line((x, ground - 34, *top), PALETTE[1], 9)
    draw.circle((x, ground - 34), 6, INK)
    return picture


def _draw_pendulum(observation: np.ndarray) -> Image.Image:
    """Draws a rod from (cos, sin, angular velocity). It is upright at cos = 1, and angles are counterclockwise."""
    picture, middle, length = Image.new("RGB", (BOARD, BOARD), BACKGROUND), BOARD / 2, 0.38 * BOARD
    draw = ImageDraw.Draw(picture)
    draw.circle((middle, middle), length, outline=GRID, width=2)
    draw.line((middle, middle, middle - length * observation[1], middle - length * observation[0]), PALETTE[1], 12)
    draw.circle((middle, middle), 8, INK)
    return picture


def draw_rods(rods: np.ndarray) -> np.ndarray:
    """Draws the rods `[M, 2, 2]` of a robot, (right, up) in metres, and a mark for each metre ahead and of height.

    The picture moves with the robot, upwards too if it leaps, and is uint8 `[BOARD, BOARD, 3]`.
    """
    picture, scale = Image.new("RGB", (BOARD, BOARD), BACKGROUND), BOARD / 3
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    rods = np.clip(np.nan_to_num(rods.astype(np.float64)), -1e6, 1e6)
    middle, risen = rods[..., 0].mean(), max(0.0, rods[..., 1].max() - 2.2)
    ground = 0.8 * BOARD + risen * scale
    draw.line((0, ground, BOARD, ground), GRID, 3)
    for metre in range(int(middle) - 3, int(middle) + 4):
        x = BOARD / 2 + (metre - middle) * scale
        draw.line((x, ground, x, ground + 12), FAINT, 3)
        draw.text((x + 5, ground + 3), str(metre), FAINT, font)
    for metre in range(max(1, int(risen)), int(risen) + 4):
        y = ground - metre * scale
        draw.line((0, y, 12, y), FAINT, 3)
        draw.text((16, y - 9), str(metre), FAINT, font)
    for i, rod in enumerate(rods):
        ends = [(BOARD / 2 + (x - middle) * scale, ground - y * scale) for x, y in rod]
        draw.line((*ends[0], *ends[1]), _colour(i), 10)
        for end in ends:
            draw.circle(end, 5, _colour(i))
    return np.asarray(picture)


def draw_discs(places: np.ndarray, radii: np.ndarray, num_agents: int) -> np.ndarray:
    """Draws agents and landmarks as discs on the square from −1.5 to 1.5, uint8 `[BOARD, BOARD, 3]`.

    Args:
        places: of the agents, then of the landmarks, `[D, 2]`.
        radii: `[D]`.
        num_agents: how many of them are agents. Landmarks are grey.
    """
    picture, scale = Image.new("RGB", (BOARD, BOARD), BACKGROUND), BOARD / 3
    draw = ImageDraw.Draw(picture)
    discs = list(enumerate(zip(np.nan_to_num(places).clip(-10, 10), radii, strict=True)))
    for i, ((x, y), radius) in discs[num_agents:] + discs[:num_agents]:
        colour = _colour(i) if i < num_agents else FAINT
        draw.circle((BOARD / 2 + x * scale, BOARD / 2 - y * scale), float(radius) * scale, colour)
    return np.asarray(picture)


def draw_look(image: np.ndarray, places: np.ndarray, words: str) -> np.ndarray:
    """Draws an image uint8 `[H, W, 1]` with the places `[T, 2]` of glimpses, numbered from 1, above some words.

    Places are (row, column) from −1 to 1. The picture is uint8 `[BOARD, BOARD, 3]`, and the newest place is red.
    """
    picture, side, font = Image.new("RGB", (BOARD, BOARD), BACKGROUND), BOARD - 40, ImageFont.load_default(20)
    picture.paste(_draw_image(image).resize((side, side), Image.Resampling.NEAREST), (20, 0))
    draw = ImageDraw.Draw(picture)
    for t, (y, x) in enumerate((np.clip(places, -1, 1) + 1) / 2 * (side - 1)):
        draw.circle((20 + x, y), 11, PALETTE[3] if t == len(places) - 1 else PALETTE[0])
        draw.text((20 + x, y), str(t + 1), INK, ImageFont.load_default(14), anchor="mm")
    draw.text((BOARD / 2, BOARD - 20), words, INK, font, anchor="mm")
    return np.asarray(picture)


def disc_legend(num_agents: int) -> Legend:
    """What the colours of `draw_discs` mean."""
    return [*((f"agent {i + 1}", _colour(i)) for i in range(num_agents)), ("landmark", FAINT)]


def _draw_bars(features: np.ndarray) -> Image.Image:
    """Draws a vector as bars about a middle line: 1 reaches a third of the height, and larger numbers are compressed.

    With more than `MOST_BARS` numbers, each bar spans the range of a few neighbours.
    """
    picture, middle = Image.new("RGB", (BOARD, BOARD), BACKGROUND), BOARD / 2
    draw = ImageDraw.Draw(picture)
    draw.line((0, middle, BOARD, middle), GRID, 2)
    heights = np.arcsinh(np.nan_to_num(features.astype(np.float64))) / np.arcsinh(1.0) * BOARD / 3
    single = len(heights) <= MOST_BARS
    groups = np.array_split(heights, min(len(heights), MOST_BARS)) if len(heights) else []
    for i, group in enumerate(groups):
        top, bottom = (float(np.clip(middle - x, 4, BOARD - 4)) for x in (max(group.max(), 0), min(group.min(), 0)))
        left, right = i * BOARD / len(groups), (i + 1) * BOARD / len(groups)
        sides = (left + 1, right - 2) if single else (left, right - 1)
        draw.rectangle((sides[0], top, sides[1], bottom), _colour(i) if single else PALETTE[0])
    return picture
