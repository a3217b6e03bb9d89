"""Colours and sizes of all pictures of environments, and colours of lines."""

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (64, 156, 255), (255, 196, 61), (150, 110, 60), (239, 71, 111), (75, 210, 75),
    (255, 30, 225), (225, 255, 180), (135, 60, 150), (45, 150, 150), (255, 225, 240),
)  # fmt: skip
"""Colours of a board's channels: at least 50 apart in CIELAB, and 15 for people without green cones."""
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of lines on white, which people without red or green cones can tell apart (Okabe & Ito 2008)."""
BACKGROUND, GRID, INK, FAINT = (18, 20, 28), (32, 36, 48), (235, 235, 240), (140, 145, 160)
BOARD = 400
"""Pixels of the longer side of an observation's picture."""
DETAILED = 8
"""Cells of fewer pixels are flat: they have no gaps, frames or dots."""


def cell_size(rows: int, columns: int, longest: int = BOARD) -> tuple[float, float]:
    """Width and height of a cell in pixels, for a board with `longest` pixels on its longer side.

    Cells are square, but those of a long and narrow board are up to `DETAILED` pixels wide or high.
    """
    wanted = max(longest / max(rows, columns), DETAILED)
    return min(longest / columns, wanted), min(longest / rows, wanted)


def flat_cells(colours: np.ndarray, longest: int = BOARD) -> Image.Image:
    """Draws cells of one colour each, uint8 `[H, W, 3]`, of `cell_size`; several cells of one pixel are averaged."""
    height, width = colours.shape[:2]
    across, down = cell_size(height, width, longest)
    return _resized(colours, across, down)


def scaled(picture: np.ndarray, longest: int = BOARD) -> Image.Image:
    """Draws a picture, uint8 `[H, W, 3]`, with `longest` pixels on its longer side; its proportions stay."""
    scale = longest / max(picture.shape[:2])
    return _resized(picture, scale, scale)


def _resized(colours: np.ndarray, across: float, down: float) -> Image.Image:
    height, width = colours.shape[:2]
    size = max(1, round(width * across)), max(1, round(height * down))
    shrinks = size[0] < width or size[1] < height
    return Image.fromarray(colours).resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST)


def gapped_cells(colours: np.ndarray, size: int) -> Image.Image:
    """Draws cells of one colour each, uint8 `[H, W, 3]`, of `size` pixels with a gap of one between them."""
    pixels = colours.repeat(size, 0).repeat(size, 1)
    pixels[size - 1 :: size] = pixels[:, size - 1 :: size] = GRID
    return Image.fromarray(pixels)
