"""What all pictures of worlds share: colours and a size."""

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (64, 156, 255), (255, 196, 61), (150, 110, 60), (239, 71, 111), (75, 210, 75),
    (255, 30, 225), (225, 255, 180), (135, 60, 150), (45, 150, 150), (255, 225, 240),
)  # fmt: skip
"""Colours of a board's channels, in order: 50 apart in CIELAB, and 15 to an eye without green cones."""
BACKGROUND, GRID, INK, FAINT = (18, 20, 28), (32, 36, 48), (235, 235, 240), (140, 145, 160)
BOARD = 400
"""The longer side of the picture proper, in pixels."""
