"""Statistics over several games, against numbers by hand, rliable's, and another bootstrap."""

import numpy as np
import pytest

from jaxrl.sweeps.aggregates import estimate, interquartile_mean, mean_of_games, median_of_games, performance_profile
from tests.mutants import planted

GAMES = np.array([
    [1.83, 0.91, 1.06, 3.13, 1.47],
    [2.64, 0.98, 2.26, 0.88, 1.96],
    [1.07, 0.11, 1.51, 1.14, 0.96],
    [3.98, 0.52, 0.95, 0.67, 2.9],
])  # fmt: skip
# Of rliable 1.2.0: `get_interval_estimates({"": GAMES.T}, …, reps=200_000, random_state=RandomState(0))`.
RLIABLE = {
    interquartile_mean: (1.293, 0.990, 1.820),
    median_of_games: (1.712, 1.123, 2.047),
    mean_of_games: (1.5465, 1.1655, 1.952),
}
# And `create_performance_profile({"": GAMES.T}, THRESHOLDS, reps=20_000)`.
THRESHOLDS = np.array([0.5, 1, 2, 3])
RLIABLE_PROFILE = ([0.95, 0.6, 0.25, 0.1], [0.85, 0.4, 0.1, 0.0], [1.0, 0.8, 0.45, 0.25])


def equals_rliable(statistic) -> bool:
    found, (value, *interval) = estimate(statistic, list(GAMES)), RLIABLE[statistic]
    noise = 0.015  # between resamples: rliable's of other seeds differ by up to 0.003
    return np.isclose(found.value, value, atol=1e-9) and np.allclose(found.interval, interval, atol=noise)


@pytest.mark.parametrize("statistic", RLIABLE)
def test_statistics_equal_those_of_rliable(statistic) -> None:
    assert equals_rliable(statistic)


def test_profiles_equal_those_of_rliable() -> None:
    value, interval = estimate(performance_profile(THRESHOLDS), list(GAMES), resamples=20_000)
    assert np.allclose(value, RLIABLE_PROFILE[0])
    assert np.allclose(interval, RLIABLE_PROFILE[1:], atol=0.051)  # one run of twenty


@pytest.mark.parametrize(
    ("function", "old", "new"),
    [
        ("interquartile_mean", "0.25", "0.2"),
        ("median_of_games", "np.median", "np.mean"),
        ("mean_of_games", "scores.mean", "scores.max"),
        ("estimate", "paired=False", "paired=True"),
        ("estimate", 'method="percentile"', 'method="percentile", confidence_level=0.9'),
    ],
)
def test_errors_would_be_seen(function: str, old: str, new: str) -> None:
    with planted(f"jaxrl.sweeps.aggregates:{function}", old, new):
        assert not all(equals_rliable(statistic) for statistic in RLIABLE)


def test_values_by_hand() -> None:
    """Of 8 runs the middle 4; the games' means are 2.5, 10 and 1, in games of unequally many runs."""
    games = [np.array([1.0, 2, 3, 4]), np.array([10.0, 0, 20]), np.array([1.0])]
    assert interquartile_mean(*games) == (1 + 2 + 3 + 4 + 1 + 10 - 1 - 10) / 4 == 2.5
    assert median_of_games(*games) == 2.5
    assert mean_of_games(*games) == 4.5
    assert performance_profile(np.array([-1.0, 1, 4, 20]))(*games).tolist() == [1, 5 / 8, 2 / 8, 0]


def test_the_bootstrap_draws_runs_within_their_game() -> None:
    """Runs that equal each other within each game leave nothing to draw, however far the games are apart."""
    apart = [np.full(5, 1.0), np.full(5, 3.0)]
    assert estimate(mean_of_games, apart).interval == (2.0, 2.0)
    assert estimate(interquartile_mean, apart).interval == (2.0, 2.0)


def test_the_interval_is_that_of_another_bootstrap() -> None:
    """Of the middle half of two games with different numbers of runs, resampled one by one."""
    rng = np.random.default_rng(1)
    games = [rng.normal(size=6), rng.normal(2.0, 0.5, size=10)]
    found = [
        np.sort(np.concatenate([rng.choice(scores, len(scores)) for scores in games]))[4:12].mean()
        for _ in range(10_000)
    ]
    assert np.allclose(estimate(interquartile_mean, games).interval, np.percentile(found, [2.5, 97.5]), atol=0.03)


def test_few_runs_have_no_interval() -> None:
    value, interval = estimate(mean_of_games, [np.ones(5), np.array([3.0, 4, 5, 8])])
    assert (value, interval) == (3.0, None)
    assert estimate(interquartile_mean, [np.array([7.0])]) == (7.0, None)
