"""Pictures side by side, with titles that may contain formulas."""

import numpy as np
from PIL import Image

from jaxrl.plots.palette import BACKGROUND, INK

GAP, TITLE = 24, 40
"""Pixels between pictures, and for the title above each."""


def panel_grid(heading: str, panels: list[tuple[str, Image.Image]], most: int = 2400) -> Image.Image:
    """Arranges pictures of one size with their titles in rows below a heading, at most `most` pixels wide."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width, height = max(panels[0][1].width, 270) + GAP, panels[0][1].height + TITLE + GAP
    shapes = [(-(-len(panels) // columns), columns) for columns in range(1, len(panels) + 1)]
    rows, columns = min(shapes, key=lambda shape: abs(np.log(shape[1] * width / (shape[0] * height) / 1.5)))  # 3 : 2
    size = max(columns * width, 600) + GAP, rows * height + TITLE
    background, ink = ("#{:02x}{:02x}{:02x}".format(*colour) for colour in (BACKGROUND, INK))
    figure = Figure((size[0] / 100, size[1] / 100), dpi=100, facecolor=background)
    canvas = FigureCanvasAgg(figure)
    figure.text(GAP / size[0], 1 - 0.75 * TITLE / size[1], heading, size=12, color=ink)
    for n, (title, picture) in enumerate(panels):
        x, y = GAP + n % columns * width, size[1] - TITLE - n // columns * height
        figure.text(x / size[0], (y - 0.6 * TITLE) / size[1], title, size=15, color=ink)
        figure.figimage(np.asarray(picture), x, y - TITLE - picture.height)
    canvas.draw()
    page = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
    page.thumbnail((most, page.height), Image.Resampling.LANCZOS)
    return page
