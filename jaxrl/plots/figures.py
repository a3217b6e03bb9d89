"""The style of all figures with axes."""

import textwrap
from typing import TYPE_CHECKING

from jaxrl.formatting import format_number, format_si

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure


def new_figure(title: str, subtitle: str, xlabel: str, ylabel: str) -> "tuple[Figure, Axes]":
    """A figure with one panel."""
    figure, (axes,) = new_panels(1, (8, 3.4), title, subtitle, ylabel)
    axes.set_xlabel(xlabel)
    return figure, axes


def new_panels(
    number: int,
    size: tuple[float, float],
    title: str,
    subtitle: str,
    ylabel: str,
    columns: int = 3,
    sharey: bool = True,
    below: float = 0.0,
) -> "tuple[Figure, list[Axes]]":
    """A figure with panels of `size` (width, height) inches in rows of at most `columns`.

    `below` inches under the panels are left free.
    """
    from matplotlib.figure import Figure

    rows = -(-number // columns)
    columns = -(-number // rows)  # rows of equal length
    width = max(8, size[0] * columns)
    lines = textwrap.wrap(subtitle, int(13.5 * width)) or [""]  # a letter is some 1/14 inch wide
    extra = 0.15 * (len(lines) - 1)
    height = 1.1 + extra + size[1] * rows + below
    figure = Figure(figsize=(width, height), dpi=120)
    top, bottom = (0.6 + extra) / height, below / height  # room for the titles, and below
    figure.set_layout_engine("constrained", rect=(0, bottom, 1, 1 - top - bottom))
    figure.text(0.1 / width, 1 - 0.1 / height, title, va="top", fontsize="large", fontweight="bold")
    figure.text(0.1 / width, 1 - 0.36 / height, "\n".join(lines), va="top", color="gray", fontsize=9)
    panels = figure.subplots(rows, columns, sharey=sharey, squeeze=False).ravel().tolist()
    for axes in panels[number:]:
        axes.remove()
    for axes in panels[:number:columns]:
        axes.set_ylabel(ylabel)
    for axes in panels[:number]:
        label_numbers(axes.yaxis)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
        if number > 1:
            axes.tick_params(labelsize=9)
    return figure, panels[:number]


def label_numbers(axis: "Axis") -> None:
    """Labels ticks with whole numbers as they are, without a common offset or factor."""

    def label(x: float, _: float) -> str:
        low, high = axis.get_view_interval()
        return format_number(0.0 if abs(x) < 1e-9 * abs(high - low) else x, 10)  # 3 · 0.1 - 0.3 is not quite zero

    axis.set_major_formatter(label)


def label_steps(axis: "Axis") -> None:
    """Labels ticks with counts such as 20k or 1.5M."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(7, integer=True, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(lambda x, _: format_si(x, 10))
