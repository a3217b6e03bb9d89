"""Pictures side by side, with titles that may hold formulas."""

from functools import cache

import numpy as np
from PIL import Image

from jaxrl.plots.palette import BACKGROUND, INK

GAP = 24


def panel_grid(heading: str, panels: list[tuple[str, Image.Image]], most: int = 2400) -> Image.Image:
    """Pictures of one size with their titles, in rows under a heading, at most `most` pixels wide."""
    titles = [write(title, 15) for title, _ in panels]
    top = write(heading, 12)
    width = max(*(picture.width for _, picture in panels), *(title.width for title in titles)) + GAP
    height = panels[0][1].height + 40 + GAP
    # As many columns as make the whole most like a page of 3 : 2.
    columns = min(
        range(1, len(panels) + 1), key=lambda n: abs(np.log(n * width / (-(-len(panels) // n) * height) / 1.5))
    )
    rows = -(-len(panels) // columns)
    size = max(columns * width, top.width + GAP) + GAP, rows * height + top.height + 2 * GAP
    page = Image.new("RGB", size, BACKGROUND)
    page.paste(top, (GAP, GAP))
    for n, ((_, picture), title) in enumerate(zip(panels, titles, strict=True)):
        x, y = GAP + n % columns * width, top.height + 2 * GAP + n // columns * height
        page.paste(title, (x, y + 34 - title.height))
        page.paste(picture, (x, y + 40))
    scale = min(1.0, most / page.width)
    return page.resize((round(page.width * scale), round(page.height * scale)), Image.Resampling.LANCZOS)


@cache  # the frames of a video say much the same
def write(text: str, size: float) -> Image.Image:
    """A line of text, with formulas between dollar signs."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(dpi=100, facecolor="#{:02x}{:02x}{:02x}".format(*BACKGROUND))
    canvas = FigureCanvasAgg(figure)
    line = figure.text(0, 0, text, size=size, color="#{:02x}{:02x}{:02x}".format(*INK))
    box = line.get_window_extent(canvas.get_renderer())
    figure.set_size_inches(np.ceil(box.width + 2) / 100, np.ceil(box.height + 2) / 100)
    line.set_position(((1 - box.x0) / (box.width + 2), (1 - box.y0) / (box.height + 2)))
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3])
