"""The configurations that a search draws from the swept fields."""

import itertools
import math
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np


def draw_configurations(search: str, swept: Mapping[str, Any], number: int, seed: int) -> list[dict[str, Any]]:
    """The values of every configuration, by path.

    Equal arguments give equal draws, and more configurations begin with the same ones. A random draw depends on the
    seed and the field's path only; Sobol points also depend on which other fields are swept. In a grid, the last field
    changes fastest.

    Args:
        search: "grid", "random" or "sobol".
        swept: the tables of the swept fields, as `SweepSpec.swept`. Without any, the one configuration is empty.
        number: how many to draw; a grid takes all.
        seed: of the random numbers.
    """
    if search == "grid" or not swept:
        rows: Iterable[Any] = itertools.product(*(table["values"] for table in swept.values()))
    else:
        points = _points(search, list(swept), number, seed)
        rows = zip(*([_quantile(table, u) for u in points[path]] for path, table in swept.items()), strict=True)
    return [dict(zip(swept, values, strict=True)) for values in rows]


def _points(search: str, paths: list[str], number: int, seed: int) -> dict[str, list[float]]:
    """Points in [0, 1) for each swept field.

    At random, every field has its own stream, which no other field can shift or correlate with. Scrambled Sobol points
    have one coordinate a field.
    """
    if search == "random":
        streams = {path: np.random.default_rng([seed, zlib.crc32(path.encode())]) for path in paths}
        return {path: stream.random(number).tolist() for path, stream in streams.items()}
    from scipy.stats import qmc  # slow to import, and needed for this search only

    points = qmc.Sobol(len(paths), rng=seed)
    drawn = points.random_base2((number - 1).bit_length())[:number]  # a power of two is balanced; others warn
    return dict(zip(sorted(paths), drawn.T.tolist(), strict=True))


def _quantile(table: Mapping[str, Any], u: float) -> Any:
    """The value of a swept field at the quantile u, in [0, 1)."""
    if table["distribution"] == "choice":
        return table["values"][int(u * len(table["values"]))]
    low, high = table["low"], table["high"]
    if table["distribution"] == "integer":
        value = low + math.floor(u * (high - low + 1))
    elif table["distribution"] == "log_uniform":
        value = math.exp((1 - u) * math.log(low) + u * math.log(high))
    else:
        value = (1 - u) * low + u * high
    return min(max(value, low), high)  # rounding may exceed a bound
