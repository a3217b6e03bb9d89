"""Pictures of Grid Worlds: the agent on its map, and the values and the policy of every cell."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxrl.arguments import ArgumentError
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.maps import read_map
from jaxrl.formatting import format_number
from jaxrl.plots.palette import (
    BACKGROUND,
    DETAILED,
    GRID,
    INK,
    PALETTE,
    Colour,
    cell_size,
    flat_cells,
    gapped_cells,
)  # fmt: skip

CELLS: dict[str, tuple[str, Colour]] = {
    "#": ("wall", (84, 90, 108)),
    "G": ("goal", PALETTE[4]),
    "H": ("hole", PALETTE[3]),
    "C": ("cliff", PALETTE[2]),
    "S": ("start", PALETTE[1]),
}
"""The name and the colour of each kind of cell but floor and letters. A start has only a frame of its colour."""
LETTER = PALETTE[5]
LOW, MIDDLE, HIGH = (44, 32, 78), (36, 114, 148), (196, 226, 130)
"""Colours of the lowest value, of the middle between the two, and of the highest."""
HEADINGS = np.array([(1, 0), (-1, 0), (0, -1), (0, 1)])
"""The directions of right, left, up and down in a picture (x, y)."""
CELL, LONGEST = 64, 2048
"""Pixels of a cell with its value, and of the longer side of a large map, whose cells are smaller."""
NUMBERED, ARROWED = 48, 20
"""Pixels that a cell needs for its number, and for arrows."""


def grid_board(env: GridWorld, observation: np.ndarray) -> tuple[Image.Image, list[tuple[str, Colour]]]:
    """Draws an observation `[H, W, 3]`, and returns the names of the colours too."""
    rows = read_map(env.map).rows
    across, down = cell_size(len(rows), len(rows[0]))
    detailed = min(across, down) >= DETAILED
    if detailed:
        across = down = int(across)
    board = _draw_map(rows, int(across)) if detailed else flat_cells(_colours(rows, GRID))
    for y, x in np.argwhere(observation[:, :, 0] > 0):
        centre, radius = ((x + 0.5) * across - 1, (y + 0.5) * down - 1), max(0.32 * min(across, down), 3)
        ImageDraw.Draw(board).circle(centre, radius, PALETTE[0], outline=BACKGROUND, width=2 if detailed else 0)
    kinds = set("".join(rows))
    names = [CELLS[kind] for kind in CELLS if kind in kinds]
    return board, [("agent", PALETTE[0]), *names, *((f"floor {x}", LETTER) for x in sorted(kinds) if x.islower())]


def render_values(
    env: GridWorld,
    values: Any,
    policy: Any = None,
    title: str = "",
    limits: tuple[float, float] | None = None,
    of_all_cells: bool = False,
) -> Image.Image:
    """Draws the values of all cells as colours and numbers, and a policy as arrows.

    Args:
        env: the environment that the values are of.
        values: `V(s)` as `[S]`, or `Q(s, a)` as `[S, A]`, whose maximum over the actions is drawn.
        policy: `π(a | s)` as `[S, A]`. Every action with a positive probability gets an arrow. By default, these are
            the actions with the largest `Q(s, a)`, within 1e-4 of the range of the values; `V` has no arrows.
        title: one line above the picture.
        limits: the values with the darkest and the lightest colour, by default the smallest and the largest value.
        of_all_cells: whether goals, holes and cliffs have values too, as the reward for entering them.

    Raises:
        ArgumentError: a shape is none of these, or a value to draw is not finite.
    """
    rows = read_map(env.map).rows
    height, width, kinds = len(rows), len(rows[0]), np.array(list("".join(rows)))
    values = np.asarray(values, np.float64)
    if np.shape(values) not in ((kinds.size,), (kinds.size, 4)):
        raise ArgumentError("values", f"must be of shape [{kinds.size}] or [{kinds.size}, 4]", np.shape(values))
    if policy is not None and np.shape(policy) != (kinds.size, 4):
        raise ArgumentError("policy", f"must be of shape [{kinds.size}, 4]", np.shape(policy))
    best = values.max(1) if values.ndim == 2 else values
    acts = ~np.isin(kinds, list("#" if of_all_cells else "#GHC"))
    if not np.isfinite(best[acts]).all():
        raise ArgumentError("values", "must be finite where the agent acts", best[acts & ~np.isfinite(best)][0])
    low, span = best[acts].min(), np.ptp(best[acts])
    if policy is None and values.ndim == 2:
        policy = values >= best[:, None] - 1e-4 * span
    arrows = np.zeros((kinds.size, 4), bool) if policy is None else np.asarray(policy) > 0
    darkest, lightest = limits or (low, low + span)
    best = np.where(acts, best, low)
    shares = np.clip((best - darkest) / (lightest - darkest), 0, 1) if lightest > darkest else np.full(best.shape, 0.5)

    size = min(CELL, LONGEST // max(height, width))
    if size < DETAILED:
        colours = np.where(acts[:, None], _shade(shares), _colours(rows, GRID).reshape(-1, 3)).astype(np.uint8)
        board = flat_cells(colours.reshape(height, width, 3), LONGEST)
    else:
        board = _draw_map(rows, size)
        draw = ImageDraw.Draw(board)
        for s, kind in enumerate(kinds):
            x, y = s % width * size, s // width * size
            if acts[s]:
                _draw_value(draw, x, y, size, best[s], shares[s], HEADINGS[arrows[s]])
            elif kind != "#" and size >= NUMBERED:
                middle = x + size // 2 - 1, y + size // 2
                draw.text(middle, CELLS[kind][0], BACKGROUND, ImageFont.load_default(13), anchor="mm")
    margin = 34 if title else 0
    picture = Image.new("RGB", (board.width, board.height + margin), BACKGROUND)
    picture.paste(board, (0, margin))
    ImageDraw.Draw(picture).text((8, 7), title, INK, ImageFont.load_default(16))
    return picture


def _draw_value(
    draw: ImageDraw.ImageDraw, x: int, y: int, size: int, value: float, share: float, headings: np.ndarray
) -> None:
    """Draws the inside of the cell at (x, y): its colour, its number and its arrows."""
    ink = INK if share < 0.55 else BACKGROUND
    draw.rectangle((x + 3, y + 3, x + size - 5, y + size - 5), tuple(_shade(share).astype(int).tolist()))
    tail = np.array((x + size // 2 - 1, y + size // 2 - 1))
    if size >= NUMBERED:
        text = format_number(value)
        draw.text((x + 7, y + 5), text, ink, ImageFont.load_default(13 if len(text) < 7 else 10))
        tail[1] += 10
    for heading in headings if size >= ARROWED else ():
        neck, tip, aside = (length * size / CELL * heading for length in (9, 15, 5))
        draw.line((*tail, *(tail + neck)), ink, 2)
        draw.polygon([tuple(tail + tip), tuple(tail + neck + aside[::-1]), tuple(tail + neck - aside[::-1])], ink)


def _draw_map(rows: tuple[str, ...], size: int) -> Image.Image:
    """Draws the map alone, with cells of `size` pixels."""
    board = gapped_cells(_colours(rows, BACKGROUND), size)
    for y, x in np.argwhere(np.array([list(row) for row in rows]) == "S") * size:
        ImageDraw.Draw(board).rectangle((x + 3, y + 3, x + size - 5, y + size - 5), BACKGROUND)
    return board


def _colours(rows: tuple[str, ...], floor: Colour) -> np.ndarray:
    """The colours of all cells, uint8 `[H, W, 3]`."""
    colours = [[LETTER if cell.islower() else CELLS.get(cell, ("", floor))[1] for cell in row] for row in rows]
    return np.array(colours, np.uint8)


def _shade(share: Any) -> np.ndarray:
    """The colours `[..., 3]` of values at `share[...]`, 0 to 1, of the way from the lowest to the highest."""
    return np.stack([np.interp(share, (0, 0.5, 1), level) for level in zip(LOW, MIDDLE, HIGH, strict=True)], -1)
