"""Elo ratings of players from what they scored against each other.

With ratings r on the natural scale, i scores against j with probability σ(r_i − r_j) (Bradley & Terry 1952,
https://doi.org/10.1093/biomet/39.3-4.324; Elo's scale is 400 / ln 10 times as large). The ratings maximise

    Σ_ij s_ij log σ(r_i − r_j),

with s_ij the points of i against j, where a draw is half a point for both. The likelihood is concave. Its maximum is
finite if and only if from every player a chain of points leads to every other (Ford 1957,
https://doi.org/10.2307/2308513).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxrl.arguments import ArgumentError

SCALE = 400 / np.log(10)
Z_95 = 1.959963984540054
"""The two-sided 95 % quantile of the normal distribution."""


class Ratings(NamedTuple):
    """Elo ratings.

    Attributes:
        elo: of each player, 0 for the anchor, float64 `[P]`.
        interval: half the width of the 95 % confidence interval of its difference to the anchor, float64 `[P]`. It is
            too wide where there are draws, which vary less than wins and losses.
    """

    elo: np.ndarray
    interval: np.ndarray


def elo_ratings(points: ArrayLike, anchor: int = 0, prior_draws: float = 0.0) -> Ratings:
    """The ratings of maximum likelihood, by Newton's method.

        elo_ratings([[0, 30], [10, 0]]).elo  # 0, and 400 log10(10 / 30) = −190.8

    Args:
        points: what each player scored against each other, `[P, P]`: the number of its wins, and half that of draws.
        anchor: the player whose rating is 0.
        prior_draws: so many draws are added between each two players that met. With a prior, a player that lost all its
            games has a finite rating, which depends on the prior.

    Raises:
        ArgumentError: not a table of numbers ≥ 0, or a rating is not finite, as that of a player that lost or won all
            its games, or of players that never met.
    """
    table = np.asarray(points, np.float64)
    if table.ndim != 2 or len(table) != table.shape[-1] or not (np.isfinite(table) & (table >= 0)).all():
        raise ArgumentError("points", "must be finite numbers >= 0 of shape [P, P]", got=f"shape {list(table.shape)}")
    if not 0 <= anchor < len(table):
        raise ArgumentError("anchor", f"must be one of {len(table)} players", anchor)
    if not prior_draws >= 0:
        raise ArgumentError("prior_draws", "must be >= 0", prior_draws)
    games = table + table.T
    table = table + prior_draws / 2 * (games > 0)
    _check_is_finite(table, anchor)
    return _maximise(table, anchor)


def _check_is_finite(table: np.ndarray, anchor: int) -> None:
    """Raises `ArgumentError` if no chain of points leads from some player to the anchor, or none back."""
    reached = np.eye(len(table), dtype=bool) | (table > 0)
    for _ in range(len(table).bit_length()):
        reached = reached.astype(np.int64) @ reached > 0
    if lost := np.flatnonzero(~(reached[anchor] & reached[:, anchor])).tolist():
        rule = f"must link all players to player {anchor} by points in both directions; prior_draws link those that met"
        raise ArgumentError("points", rule, got=f"no finite rating for player {', '.join(map(str, lost))}")


def _maximise(table: np.ndarray, anchor: int) -> Ratings:
    games, free = table + table.T, np.arange(len(table)) != anchor
    ratings = np.zeros(len(table))

    def likelihood(ratings: np.ndarray) -> float:
        return -(table * np.logaddexp(0, ratings[None] - ratings[:, None])).sum()

    for _ in range(200):
        expected = (1 + np.tanh((ratings[:, None] - ratings[None]) / 2)) / 2  # σ of all differences
        weights = games * expected * (1 - expected)
        information = (np.diag(weights.sum(1)) - weights)[np.ix_(free, free)]
        step = np.zeros(len(table))
        step[free] = np.linalg.solve(information, (table - games * expected).sum(1)[free])
        size = 1.0
        while size > 1e-6 and likelihood(ratings + size * step) < likelihood(ratings):
            size /= 2
        ratings = ratings + size * step
        if np.abs(step).max() < 1e-10:
            break
    deviation = np.zeros(len(table))
    deviation[free] = np.sqrt(np.diag(np.linalg.inv(information)))
    return Ratings(SCALE * ratings, SCALE * Z_95 * deviation)


def elo_difference(score: ArrayLike) -> np.ndarray:
    """The difference of ratings at which a player scores so many points a game, in [0, 1]: ±∞ at the ends."""
    score = np.asarray(score, np.float64)
    with np.errstate(divide="ignore"):
        return SCALE * (np.log(score) - np.log1p(-score))


def binomial_interval(successes: ArrayLike, trials: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of a probability, in [0, 1] (Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953).

    Args:
        successes: how many, `[...]`. With draws as half, the interval of the mean score is at most this wide.
        trials: of how many, `[...]`, at least 1.
    """
    successes, trials = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    share, spread = successes / trials, Z_95**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    half = np.sqrt(spread * share * (1 - share) + spread**2 / 4) / (1 + spread)
    low, high = np.where(successes == 0, 0.0, middle - half), np.where(successes == trials, 1.0, middle + half)
    return low, high
