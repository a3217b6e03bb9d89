"""What all pictures of environments share: colours, and sizes."""

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (64, 156, 255), (255, 196, 61), (150, 110, 60), (239, 71, 111), (75, 210, 75),
    (255, 30, 225), (225, 255, 180), (135, 60, 150), (45, 150, 150), (255, 225, 240),
)  # fmt: skip
"""Colours of a board's channels, in order: 50 apart in CIELAB, and 15 to an eye without green cones."""
BACKGROUND, GRID, INK, FAINT = (18, 20, 28), (32, 36, 48), (235, 235, 240), (140, 145, 160)
BOARD = 400
"""The longer side of the picture proper, in pixels."""
DETAILED = 8
"""Cells of fewer pixels are flat: there is no room for gaps, frames and dots."""


def cell_size(rows: int, columns: int, longest: int = BOARD) -> tuple[float, float]:
    """Width and height of a cell in pixels, if the longer side of all may have `longest` pixels.

    Cells are square, except that those of a long and narrow board are up to `DETAILED` wide or high, so that it is no
    mere line.
    """
    square = longest / max(rows, columns)
    wanted = max(square, DETAILED)
    return min(longest / columns, wanted), min(longest / rows, wanted)


def flat_cells(colours: np.ndarray, longest: int = BOARD) -> Image.Image:
    """A picture of cells of one colour each, uint8 `[H, W, 3]`: as many pixels a cell as `cell_size` says, or several
    cells a pixel, which is then of their mean colour."""
    height, width = colours.shape[:2]
    across, down = cell_size(height, width, longest)
    size = max(1, round(width * across)), max(1, round(height * down))
    shrinks = size[0] < width or size[1] < height
    return Image.fromarray(colours).resize(size, Image.Resampling.BOX if shrinks else Image.Resampling.NEAREST)
