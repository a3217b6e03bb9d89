"""Pictures of Grid Worlds: where the agent is, and what a table of values or a policy says about every cell."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxrl.arguments import ArgumentError
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.maps import read_map
from jaxrl.formatting import format_number
from jaxrl.plots.palette import BACKGROUND, DETAILED, GRID, INK, PALETTE, Colour, cell_size, flat_cells

LOOKS: dict[str, tuple[str, Colour]] = {
    "#": ("wall", (84, 90, 108)),
    "G": ("goal", PALETTE[4]),
    "H": ("hole", PALETTE[3]),
    "C": ("cliff", PALETTE[2]),
    "S": ("start", PALETTE[1]),
}
"""What a cell is called and its colour; floor has none, small letters share one, and a start is only framed."""
LETTER = PALETTE[5]
LOW, MIDDLE, HIGH = (44, 32, 78), (36, 114, 148), (196, 226, 130)
"""Colours of the lowest value, of the mean of the two, and of the highest."""
HEADINGS = np.array([(1, 0), (-1, 0), (0, -1), (0, 1)])
"""Where right, left, up and down point in a picture (x, y)."""
CELL, LONGEST = 64, 2048
"""Pixels of a cell with its value, and of the longer side of a map with many cells, which are smaller then."""
NUMBERED, ARROWED = 48, 20
"""Pixels that a cell needs for its number, and for arrows."""


def grid_board(env: GridWorld, observation: np.ndarray) -> tuple[Image.Image, list[tuple[str, Colour]]]:
    """The board of an observation `[H, W, 3]`, and the names of its colours."""
    rows = read_map(env.map).rows
    across, down = cell_size(len(rows), len(rows[0]))
    detailed = min(across, down) >= DETAILED
    if detailed:
        across = down = int(across)
        cells = _cells(rows, across)
    else:
        cells = flat_cells(_looks(rows))
    draw = ImageDraw.Draw(cells)
    for y, x in np.argwhere(observation[:, :, 0] > 0):
        centre = ((x + 0.5) * across - 1, (y + 0.5) * down - 1)
        draw.circle(
            centre, max(0.32 * min(across, down), 3), PALETTE[0], outline=BACKGROUND, width=2 if detailed else 0
        )
    seen = [(f"floor {cell}", LETTER) for cell in sorted(set("".join(rows))) if cell.islower()]
    seen = [look for cell, look in LOOKS.items() if cell in "".join(rows)] + seen
    return cells, [("agent", PALETTE[0]), *seen]


def render_values(
    env: GridWorld, values: Any, policy: Any = None, title: str = "", limits: tuple[float, float] | None = None
) -> Image.Image:
    """The values of all cells as colours and numbers, and as arrows what to do there.

    Args:
        env: the environment that the values are of.
        values: `V(s)` as `[S]`, or `Q(s, a)` as `[S, A]`, whose maximum over the actions is then shown.
        policy: `π(a | s)` as `[S, A]`; every action that has a probability gets an arrow. Without it every action gets
            one whose `Q(s, a)` is the largest, to within 1e-4 of the range of the values shown; with `V` none does.
        title: one line above.
        limits: the values of the darkest and of the lightest colour, for pictures to compare; unless given, the least
            and the largest value shown.

    Raises:
        ArgumentError: a shape is none of these, or a value that would be shown is not finite.
    """
    rows = read_map(env.map).rows
    width, cells = len(rows[0]), "".join(rows)
    values = np.asarray(values, np.float64)
    if np.shape(values) not in ((len(cells),), (len(cells), 4)):
        raise ArgumentError("values", f"must be of shape [{len(cells)}] or [{len(cells)}, 4]", np.shape(values))
    if policy is not None and np.shape(policy) != (len(cells), 4):
        raise ArgumentError("policy", f"must be of shape [{len(cells)}, 4]", np.shape(policy))
    best = values.max(1) if values.ndim == 2 else values
    acts = ~np.isin(list(cells), list("#GHC"))
    if not np.isfinite(best[acts]).all():
        raise ArgumentError("values", "must be finite where the agent acts", best[acts & ~np.isfinite(best)][0])
    low, span = best[acts].min(), np.ptp(best[acts])
    if policy is not None:
        arrows = np.asarray(policy) > 0
    else:
        arrows = values >= best[:, None] - 1e-4 * span if values.ndim == 2 else np.zeros((len(cells), 4), bool)

    darkest, lightest = limits or (low, low + span)
    best = np.where(acts, best, low)
    shares = np.clip((best - darkest) / (lightest - darkest), 0, 1) if lightest > darkest else np.full(len(cells), 0.5)

    size = min(CELL, LONGEST // max(len(rows), width))
    if size < DETAILED:
        colours = _looks(rows).reshape(-1, 3)
        colours[acts] = _shades(shares[acts])
        return _under(title, flat_cells(colours.reshape(len(rows), width, 3), LONGEST))
    board = _cells(rows, size)
    draw = ImageDraw.Draw(board)
    for s, cell in enumerate(cells):
        y, x = s // width * size, s % width * size
        if acts[s]:
            _value(draw, (x, y), size, best[s], shares[s], HEADINGS[arrows[s]])
        elif cell != "#" and size >= NUMBERED:
            middle = x + size // 2 - 1, y + size // 2
            draw.text(middle, LOOKS[cell][0], BACKGROUND, ImageFont.load_default(13), anchor="mm")
    return _under(title, board)


def _under(title: str, board: Image.Image) -> Image.Image:
    """A board below one line of text."""
    margin = 34 if title else 0
    picture = Image.new("RGB", (board.width, board.height + margin), BACKGROUND)
    picture.paste(board, (0, margin))
    ImageDraw.Draw(picture).text((8, 7), title, INK, ImageFont.load_default(16))
    return picture


def _value(
    draw: ImageDraw.ImageDraw, corner: tuple[int, int], size: int, value: float, share: float, headings: np.ndarray
) -> None:
    """One cell: its colour, its number, and arrows that stay within it."""
    x, y = corner
    ink = INK if share < 0.55 else BACKGROUND
    draw.rectangle((x + 3, y + 3, x + size - 5, y + size - 5), tuple(_shades(np.array(share)).tolist()))
    middle = np.array((x + size // 2 - 1, y + size // 2 - 1))
    if size >= NUMBERED:
        text = format_number(value)
        draw.text((x + 7, y + 5), text, ink, ImageFont.load_default(13 if len(text) < 7 else 10))
        middle[1] += 10
    if size >= ARROWED:
        for heading in headings:
            _arrow(draw, middle, heading, size / CELL, ink)


def _cells(rows: tuple[str, ...], size: int) -> Image.Image:
    """The map alone, `size` pixels a cell."""
    picture = Image.new("RGB", (len(rows[0]) * size, len(rows) * size), GRID)
    draw = ImageDraw.Draw(picture)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            colour = LETTER if cell.islower() else LOOKS.get(cell, ("floor", BACKGROUND))[1]
            box = (x * size, y * size, (x + 1) * size - 2, (y + 1) * size - 2)
            draw.rectangle(box, BACKGROUND if cell == "S" else colour, outline=colour, width=3)
    return picture


def _looks(rows: tuple[str, ...]) -> np.ndarray:
    """One colour a cell, uint8 `[H, W, 3]`; floor stands out a little, because nothing frames it."""
    colours = [[LETTER if cell.islower() else LOOKS.get(cell, ("floor", GRID))[1] for cell in row] for row in rows]
    return np.array(colours, np.uint8)


def _shades(shares: np.ndarray) -> np.ndarray:
    """Colours of values that lie at `shares`, 0 to 1, of the way from the lowest to the highest: uint8 `[..., 3]`."""
    levels = [np.interp(shares, (0, 0.5, 1), level) for level in zip(LOW, MIDDLE, HIGH, strict=True)]
    return np.stack(levels, -1).astype(np.uint8)


def _arrow(draw: ImageDraw.ImageDraw, tail: np.ndarray, heading: np.ndarray, scale: float, ink: Colour) -> None:
    neck, tip, aside = tail + 9 * scale * heading, tail + 15 * scale * heading, 5 * scale * heading[::-1]
    draw.line((*tail, *neck), ink, 2)
    draw.polygon([tuple(tip), tuple(neck + aside), tuple(neck - aside)], ink)
