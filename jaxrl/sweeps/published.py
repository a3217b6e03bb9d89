"""Published returns beside our own, for the page of a comparison.

`ours` are the evaluation returns of our seeds, by algorithm and game.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from jaxrl.formatting import format_mean, format_number

Returns = Mapping[str, Mapping[str, Sequence[float]]]


class Published(NamedTuple):
    """Published returns.

    Attributes:
        name: of the algorithm, and where they are from.
        returns: by game: one number, or the lowest and the highest of several.
        rules: under which they were measured.
        algorithm: ours with which to compare them; None for the best of ours.
    """

    name: str
    returns: Mapping[str, tuple[float, ...]]
    rules: str
    algorithm: str | None = None


def published_table(published: Sequence[Published], ours: Returns, rules: Mapping[str, str]) -> pl.DataFrame:
    """Our returns (mean and spread) and the published ones of the same games, as text.

    Args:
        published: rows below ours.
        ours: see above.
        rules: how each of our algorithms was measured.
    """
    games = list(dict.fromkeys(game for found in ours.values() for game in found))
    rows = [[name, *(format_mean(found.get(game, [])) for game in games), rules[name]] for name, found in ours.items()]
    rows += [
        [row.name, *("–".join(map(format_number, row.returns.get(game, ()))) or "–" for game in games), row.rules]
        for row in published
    ]
    return pl.DataFrame(rows, ["evaluation return", *games, "rules"], orient="row")


def published_above(published: Sequence[Published], ours: Returns) -> str:
    """Which published returns are above our means, in a sentence.

    Each is compared with our mean of the same algorithm or, where there is none, with our best one.
    """
    above = []
    for row in published:
        for game, returns in row.returns.items():
            means = {name: float(np.mean(found[game])) for name, found in ours.items() if game in found}
            if not means:
                continue
            name = row.algorithm if row.algorithm in means else max(means, key=means.__getitem__)
            if max(returns) > means[name]:
                which = name if name == row.algorithm else f"at best, {name}"
                above.append(f"{row.name} on {game} ({format_number(max(returns))}; {which} {means[name]:.4g})")
    if not above:
        return "No published return is above ours of the same algorithm, or above our best where we have no such mean."
    return f"Published returns above ours (in brackets: the published one; ours): {', '.join(above)}."
