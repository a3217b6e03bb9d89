"""Observations as pictures, for videos and plots."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxrl.arguments import ArgumentError
from jaxrl.envs.base import Environment
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.minatar import MinAtar
from jaxrl.plots.grid_values import grid_board
from jaxrl.plots.palette import BACKGROUND, BOARD, DETAILED, FAINT, GRID, INK, PALETTE, Colour, cell_size, flat_cells

Legend = list[tuple[str, Colour]]
"""Names of colours."""
LINE = 24
"""Pixels from one line of the side panel to the next."""
MOST_BARS, MOST_TILES = 100, 36
"""A vector of more numbers is drawn in groups; an observation of more arrays as one vector."""
MOST_SAMPLED = 40
"""A video's palette is made for at most so many of its frames."""


def render(env: Any, observation: Any, caption: Sequence[str] = ()) -> Image.Image:
    """One observation as a picture: a board, an image, a cart-pole, a pendulum, or bars for anything else.

    Args:
        env: the environment that the observation is from.
        observation: `[H, W, C]`, `[H, W]`, `[features]`, any other array, which is flattened, or a pytree of arrays,
            which are drawn side by side. Whatever its numbers are: those that are not finite are drawn at the edge, or
            (NaN) as zero.
        caption: short lines for the side panel.
    """
    drawing, legend = draw(env, observation)
    picture = Image.new("RGB", (BOARD + 180, BOARD), BACKGROUND)
    picture.paste(drawing, ((BOARD - drawing.width) // 2, (BOARD - drawing.height) // 2))
    panel = ImageDraw.Draw(picture)
    for i, line in enumerate(caption):
        picture.paste(_words(line, INK), (BOARD + 18, 16 + LINE * i))
    legend = shorten(legend, (BOARD - 24) // LINE - len(caption))
    for i, (name, colour) in enumerate(legend):
        y = BOARD - LINE * (len(legend) - i) - 8
        panel.rectangle((BOARD + 18, y + 3, BOARD + 32, y + 17), colour)
        picture.paste(_words(name, FAINT), (BOARD + 42, y))
    return picture


@lru_cache(1000)  # most frames of a video say much the same
def _words(text: str, ink: Colour) -> Image.Image:
    line = Image.new("RGB", (160, LINE), BACKGROUND)
    ImageDraw.Draw(line).text((0, 0), text, ink, ImageFont.load_default(15))
    return line


def shorten(legend: Legend, lines: int) -> Legend:
    """A legend of at most so many lines, the last of which says how many are left out."""
    if len(legend) <= lines:
        return legend
    kept = max(lines - 1, 0)
    return [*legend[:kept], (f"and {len(legend) - kept} more", BACKGROUND)][: max(lines, 0)]


def render_state(env: Any, state: Any, env_params: Any = None, caption: Sequence[str] = ()) -> Image.Image:
    """One state of an environment as a picture of what an agent would see.

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
        raise ArgumentError(
            "env", "must have `observe`, which tells what is seen of a state", env, got=type(env).__name__
        )
    env_params = env.default_params if env_params is None else env_params
    return render(env, env.observe(jax.random.key(0), state, None, env_params), caption)


def write_gif(frame: Callable[[int], Image.Image], number: int, path: str | Path, milliseconds: Sequence[int]) -> None:
    """Writes a GIF with one palette, which is made for frames from all of it.

    Args:
        frame: draws a frame, from 0 to `number - 1`.
        number: how many there are.
        path: the GIF to write.
        milliseconds: how long each is shown; multiples of 10.

    Raises:
        OSError: the file cannot be written.
    """
    palette = _palette([frame(i) for i in range(0, number, -(-number // MOST_SAMPLED))])
    frames = [frame(i).quantize(palette=palette, dither=Image.Dither.NONE) for i in range(number)]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:], duration=list(milliseconds), loop=0)


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """At most 256 colours, for all of some frames: their own, or if these are more, the best for most of their area."""
    areas: Counter[Any] = Counter()
    for frame in frames:
        areas.update({colour: area for area, colour in frame.getcolors(frame.width * frame.height) or ()})
    colours = np.array(list(areas), np.uint8)
    if len(colours) > 256:
        shares = np.array(list(areas.values())) / areas.total()
        colours = np.repeat(colours, np.ceil(2**16 * shares).astype(int), axis=0)
    return Image.fromarray(colours[None]).quantize(256)


def to_numpy(leaf: Any) -> np.ndarray:
    """An array of an observation; random keys as the numbers they are made of."""
    if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf)


def draw(env: Any, observation: Any) -> tuple[Image.Image, Legend]:
    """An observation without anything around it, at most `BOARD` pixels wide and high, and the names of its colours."""
    arrays = [to_numpy(leaf) for leaf in jax.tree.leaves(observation)]
    if len(arrays) != 1:
        return _several(arrays), []
    (array,) = arrays
    if isinstance(env, GridWorld) and array.shape == (*env.grid.wall.shape, 3):
        return grid_board(env, array)
    if isinstance(env, MinAtar) and array.ndim == 3 and array.shape[-1] == len(env.game.channels):
        return _board(array), [(name, _colour(c)) for c, name in enumerate(env.game.channels)]
    if getattr(env, "name", "") == "CartPole-v1" and array.shape == (4,):
        return _cart_pole(_finite(array)), []
    if getattr(env, "name", "") == "Pendulum-v1" and array.shape == (3,):
        return _pendulum(_finite(array)), []
    return _any(array)


def _any(array: np.ndarray) -> tuple[Image.Image, Legend]:
    """An array of which nothing is known but its shape and its numbers."""
    if array.size == 0 or array.ndim not in (2, 3):
        return _bars(array.reshape(-1)), []
    if array.ndim == 2:
        return _image(array[..., None]), []
    channels = array.shape[-1]
    if not np.isin(array, (0, 1)).all():
        if channels in (1, 3):
            return _image(array), []
        if array.dtype == np.uint8:  # most likely the newest few of grey frames
            return _image(array.mean(-1, keepdims=True).astype(np.uint8)), []
    return _board(array), [(f"channel {c}", _colour(c)) for c in range(channels)]


def _several(arrays: list[np.ndarray]) -> Image.Image:
    """Arrays side by side, in rows; very many, or single numbers, as one vector."""
    if len(arrays) > MOST_TILES or all(array.ndim == 0 for array in arrays):
        return _bars(np.concatenate([np.zeros(0), *(array.reshape(-1).astype(np.float64) for array in arrays)]))
    columns = int(np.ceil(np.sqrt(len(arrays))))
    side = BOARD // columns
    picture = Image.new("RGB", (BOARD, -(-len(arrays) // columns) * side), BACKGROUND)
    for i, array in enumerate(arrays):
        tile = Image.new("RGB", (BOARD, BOARD), BACKGROUND)
        ImageDraw.Draw(tile).rectangle((0, 0, BOARD - 1, BOARD - 1), outline=GRID, width=columns)
        drawing = _any(array)[0]
        tile.paste(drawing, ((BOARD - drawing.width) // 2, (BOARD - drawing.height) // 2))
        tile = tile.resize((side - 2, side - 2), Image.Resampling.LANCZOS)
        picture.paste(tile, (i % columns * side + 1, i // columns * side + 1))
    return picture


def _colour(channel: int) -> Colour:
    """They repeat after ten."""
    return PALETTE[channel % len(PALETTE)]


def _finite(array: np.ndarray) -> np.ndarray:
    """The same numbers in float64, not larger than can be drawn."""
    return np.clip(np.nan_to_num(array.astype(np.float64)), -1e3, 1e3)


def _board(observation: np.ndarray) -> Image.Image:
    """A board `[H, W, C]`, one colour a channel, earlier channels on top."""
    height, width, channels = observation.shape
    cell = int(min(cell_size(height, width)))
    if cell < DETAILED:
        on = observation > 0
        colours = np.array([_colour(c) for c in range(channels)], np.uint8)[on.argmax(-1)]
        return flat_cells(np.where(on.any(-1, keepdims=True), colours, np.array(BACKGROUND, np.uint8)))
    picture = Image.new("RGB", (width * cell, height * cell), GRID)
    draw = ImageDraw.Draw(picture)
    for y, row in enumerate((observation > 0).tolist()):
        for x, there in enumerate(row):
            shown = [c for c, is_there in enumerate(there) if is_there]
            fill = _colour(shown[0]) if shown else BACKGROUND
            draw.rectangle((x * cell, y * cell, (x + 1) * cell - 2, (y + 1) * cell - 2), fill)
            if len(shown) > 1:  # as a dot, what else is there
                inset = cell // 3
                corners = (x * cell + inset, y * cell + inset, (x + 1) * cell - 2 - inset, (y + 1) * cell - 2 - inset)
                draw.rectangle(corners, _colour(shown[1]))
    return picture


def _image(values: np.ndarray) -> Image.Image:
    """An image `[H, W, 1]` in grey or `[H, W, 3]` in colours: of bytes, of numbers from 0 to 1, or of any numbers, the
    least of which is then black and the largest white."""
    values, is_bytes = values.astype(np.float64), values.dtype == np.uint8
    finite = values[np.isfinite(values)]
    low, high = (0.0, 255.0 if is_bytes else 1.0)
    if finite.size and not is_bytes and (finite.min() < 0 or finite.max() > 1):
        low, high = finite.min(), finite.max()
    values = np.clip(np.nan_to_num(values, nan=low, posinf=high, neginf=low), low, high)
    shares = np.zeros_like(values) if high <= low else values / (high - low) - low / (high - low)
    return flat_cells(np.broadcast_to((255 * shares).astype(np.uint8), (*values.shape[:2], 3)))


def _cart_pole(observation: np.ndarray) -> Image.Image:
    """Cart and pole from (position, velocity, angle, angular velocity); posts stand at the track's ends, ± 2.4 m."""
    scale = BOARD / 5.4
    picture = Image.new("RGB", (BOARD, BOARD), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    x, ground, angle = BOARD / 2 + observation[0] * scale, 0.7 * BOARD, observation[2]
    draw.line((0, ground, BOARD, ground), GRID, 3)
    for end in (BOARD / 2 - 2.4 * scale, BOARD / 2 + 2.4 * scale):
        draw.line((end, ground - 14, end, ground + 14), FAINT, 3)
    draw.rounded_rectangle((x - 32, ground - 34, x + 32, ground - 6), 5, PALETTE[0])
    top = (x + np.sin(angle) * scale * 1.8, ground - 34 - np.cos(angle) * scale * 1.8)
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
    """Any vector as bars about a middle line; 1 reaches a third of the height, and the scale is compressed beyond.

    Of more than `MOST_BARS` numbers, a bar of one colour reaches from the least to the largest of some neighbours.
    """
    picture = Image.new("RGB", (BOARD, BOARD), BACKGROUND)
    draw = ImageDraw.Draw(picture)
    middle = BOARD / 2
    draw.line((0, middle, BOARD, middle), GRID, 2)
    heights = np.arcsinh(np.nan_to_num(features.astype(np.float64))) / np.arcsinh(1.0) * BOARD / 3
    single = len(heights) <= MOST_BARS
    groups = np.array_split(heights, len(heights) if single else MOST_BARS) if len(heights) else []
    for i, group in enumerate(groups):
        top, bottom = (float(np.clip(middle - x, 4, BOARD - 4)) for x in (max(group.max(), 0), min(group.min(), 0)))
        left, right = i * BOARD / len(groups), (i + 1) * BOARD / len(groups)
        sides = (left + 1, right - 2) if single else (left, right - 1)
        draw.rectangle((sides[0], top, sides[1], bottom), _colour(i) if single else PALETTE[0])
    return picture
