"""What all pictures of worlds share: colours and a size."""

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (64, 156, 255), (255, 196, 61), (150, 110, 60), (239, 71, 111), (6, 214, 160),
    (180, 130, 255), (255, 140, 66), (120, 220, 232), (230, 230, 230), (160, 200, 80),
)  # fmt: skip
"""Colours of a board's channels, in order."""
BACKGROUND, GRID, INK, FAINT = (18, 20, 28), (32, 36, 48), (235, 235, 240), (140, 145, 160)
BOARD = 400
"""Height and width of the picture proper, in pixels."""
