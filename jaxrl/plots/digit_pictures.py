"""Pictures of what networks do with images of digits: who works on them, and where they look."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxrl.plots.palette import LINES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXAMPLES = 12
"""Images that each expert shows."""


def _figure(width: float, height: float, title: str, subtitle: str) -> "Figure":
    """A figure of some inches with a title, below which 0.6 inches are taken."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=120)
    figure.text(0.1 / width, 1 - 0.1 / height, title, va="top", fontsize="large", fontweight="bold")
    figure.text(0.1 / width, 1 - 0.36 / height, subtitle, va="top", color="gray", fontsize=9)
    return figure


def draw_routing(
    images: np.ndarray, chosen: np.ndarray, shares: np.ndarray, domains: Sequence[str], picture: Path
) -> None:
    """Draws for each expert some images that it got, and the share of each domain that it got.

    Args:
        images: uint8 `[M, H, W, 1]`.
        chosen: the expert of each one, int `[M]`.
        shares: the share of all images that are of a domain and went to an expert, `[domains, experts]`.
        domains: the names of the domains, and perhaps of others.
        picture: the file to write.
    """
    experts, height, width = shares.shape[1], *images.shape[1:3]
    figure = _figure(8, 0.8 + 0.75 * experts, "Which expert got which domain", "some images, and shares of each domain")
    top = 1 - 0.7 / figure.get_figheight()
    grid = figure.add_gridspec(experts, 2, width_ratios=(3, 2), left=0.1, right=0.98, bottom=0.04, top=top, wspace=0.35)
    of_domain = shares / np.maximum(shares.sum(1, keepdims=True), 1e-12)
    for expert in range(experts):
        left, right = (figure.add_subplot(grid[expert, column]) for column in range(2))
        some = images[np.flatnonzero(chosen == expert)[:EXAMPLES], ..., 0]
        strip = np.zeros((EXAMPLES, height, width), np.uint8)
        strip[: len(some)] = some
        left.imshow(np.moveaxis(strip, 0, 1).reshape(height, -1), cmap="gray", vmin=0, vmax=255)
        left.set(xticks=[], yticks=[])
        left.set_ylabel(f"expert {expert}", rotation=0, ha="right", va="center", fontsize=9)
        names = domains[: len(shares)]
        right.barh(range(len(names)), of_domain[:, expert], color=LINES[: len(names)])
        right.set_yticks(range(len(names)), names, fontsize=8)
        right.set(xlim=(0, 1.3), xticks=[])
        right.invert_yaxis()
        right.spines[["top", "right", "bottom"]].set_visible(False)
        for row, share in enumerate(of_domain[:, expert]):
            right.text(share + 0.02, row, f"{100 * share:.1f} %", va="center", fontsize=8)
    figure.savefig(picture)
