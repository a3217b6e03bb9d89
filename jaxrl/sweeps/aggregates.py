"""Scores of one algorithm over several games, with intervals (Agarwal et al. 2021, arXiv:2108.13264).

A statistic takes the scores of the runs of each game, `[..., N]`, and joins their last axes. Scores of different games
need a common scale.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from jaxrl.formatting import FEW_SEEDS

Statistic = Callable[..., np.ndarray]
RESAMPLES = 10_000


class Estimate(NamedTuple):
    """A statistic `[...]` of all runs, and its 95 % interval `(low[...], high[...])`, None of too few runs."""

    value: np.ndarray
    interval: tuple[np.ndarray, np.ndarray] | None


def interquartile_mean(*games: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean of the middle half of all runs, whatever their games: `[...]`."""
    from scipy import stats

    return stats.trim_mean(np.concatenate(games, axis), 0.25, axis)


def median_of_games(*games: np.ndarray, axis: int = -1) -> np.ndarray:
    """The median over games of their means: `[...]`."""
    return np.median([scores.mean(axis) for scores in games], 0)


def mean_of_games(*games: np.ndarray, axis: int = -1) -> np.ndarray:
    """The mean over games of their means: `[...]`."""
    return np.mean([scores.mean(axis) for scores in games], 0)


def performance_profile(thresholds: np.ndarray) -> Statistic:
    """The share of all runs whose score is above each of the thresholds `[T]`: a statistic `[T, ...]`."""

    def shares(*games: np.ndarray, axis: int = -1) -> np.ndarray:
        scores = np.concatenate(games, axis)
        return np.stack([(scores > threshold).mean(axis) for threshold in thresholds])

    return shares


def estimate(statistic: Statistic, games: Sequence[np.ndarray], resamples: int = RESAMPLES) -> Estimate:
    """A statistic of the scores of each game's runs, with the 95 % interval of a stratified bootstrap.

    The bootstrap draws the runs of each game anew from that game alone. Of two runs in each of five games, its interval
    holds the truth in only about 70 % of all cases, so with fewer than `FEW_SEEDS` runs of a game there is none.
    """
    from scipy import stats

    games = [np.asarray(scores, float) for scores in games]
    value = statistic(*games)
    if min(map(len, games)) < FEW_SEEDS:
        return Estimate(value, None)
    found = stats.bootstrap(
        games, statistic, n_resamples=resamples, vectorized=True, paired=False, method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    return Estimate(value, (found.low, found.high))
