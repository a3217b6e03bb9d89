"""Pictures of what networks do with images of digits: who works on them, and where they look."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from jaxrl.networks.caption_network import MIDDLE, STRIDE
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


def draw_glimpses(
    images: np.ndarray, places: np.ndarray, named: np.ndarray, answers: np.ndarray, picture: Path
) -> None:
    """Draws where a network looks, numbered, and what it says then; some images it names wrongly, if there are any.

    Args:
        images: uint8 `[M, H, W, 1]`.
        places: (row, column) from -1 to 1, `[M, T, 2]`.
        named: what it says, int `[M]`.
        answers: what is right, int `[M]`.
        picture: the file to write.
    """
    wrong = np.flatnonzero(named != answers)[:4]
    rows = [*wrong, *np.flatnonzero(named == answers)][:EXAMPLES]
    error = f"{100 * (named != answers).mean():.2f} % wrong of {len(named):,} images"
    first = f"; the first {len(wrong)} here are such, in red" if len(wrong) else ""
    figure = _figure(8, 4.6, "Where it looks, from 1", error + first)
    panels = figure.subplots(2, 6, gridspec_kw={"left": 0.02, "right": 0.98, "bottom": 0.03, "top": 0.8, "hspace": 0.2})
    height, width = images.shape[1:3]
    for axes, row in zip(panels.ravel(), rows, strict=False):
        axes.imshow(images[row, ..., 0], cmap="gray", vmin=0, vmax=255)
        y, x = ((np.clip(places[row], -1, 1) + 1) / 2 * (height, width) - 0.5).T
        axes.plot(x, y, color=LINES[4], linewidth=1)
        for t, at in enumerate(zip(x, y, strict=True)):
            axes.text(*at, str(t + 1), color="white", fontsize=7, ha="center", va="center", clip_on=True,
                      bbox={"boxstyle": "circle,pad=0.15", "facecolor": LINES[1], "linewidth": 0})  # fmt: skip
        colour = "black" if named[row] == answers[row] else "tab:red"
        title = f"says {named[row]}" + ("" if named[row] == answers[row] else f", is {answers[row]}")
        axes.set_title(title, fontsize=9, color=colour)
    for axes in panels.ravel():
        axes.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    figure.savefig(picture)


def draw_captions(
    images: np.ndarray,
    words: np.ndarray,
    answers: np.ndarray,
    weights: np.ndarray,
    vocabulary: Sequence[str],
    picture: Path,
) -> None:
    """Draws for a few images where a network looks at every word; the first one has a wrong caption, if one has.

    Args:
        images: uint8 `[M, H, W, 1]`.
        words: what it says, int `[M, n]`.
        answers: what is right, int `[M, n]`.
        weights: of the places, `[M, n, L]`, which form a square.
        vocabulary: the words, of which the last ends a caption.
        picture: the file to write.
    """
    number, steps, side = 4, words.shape[1], round(weights.shape[-1] ** 0.5)
    high, title = 1 + 1.9 * number, "What it says, and where it looks at every word"
    is_wrong = (words != answers).any(-1)
    rows = [*np.flatnonzero(is_wrong)[:1], *np.flatnonzero(~is_wrong), *np.flatnonzero(is_wrong)[1:]][:number]
    error = f"{100 * is_wrong.mean():.2f} % of {len(words):,} captions are wrong"
    error += ", and the first one here" if is_wrong.any() else ""
    figure = _figure(8, high, title, f"{error}; bright: the middle of what it sees")
    sides = {"left": 0.02, "right": 0.98, "bottom": 0.02, "top": 1 - 0.9 / high}
    panels = figure.subplots(number, 1 + steps, gridspec_kw=sides)
    height, width = images.shape[1:3]
    for row, line in zip(rows, panels, strict=True):
        image = images[row, ..., 0]
        line[0].imshow(image, cmap="gray", vmin=0, vmax=255)
        for axes, said, right, seen in zip(line[1:], words[row], answers[row], weights[row], strict=True):
            axes.imshow(image, cmap="gray", vmin=0, vmax=255)
            first = MIDDLE - STRIDE / 2
            extent = first, width + first, height + first, first
            axes.imshow(seen.reshape(side, side), cmap="inferno", alpha=0.55, vmin=0, vmax=seen.max(), extent=extent)
            axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
            rest, colour = ("", "black") if said == right else (f", is {vocabulary[right]}", "tab:red")
            axes.set_title(vocabulary[said] + rest, fontsize=9, color=colour)
            if vocabulary[said] == vocabulary[-1]:
                break
    for axes in panels.ravel():
        axes.axis("off") if not axes.images else axes.set(xticks=[], yticks=[])
    figure.savefig(picture)
