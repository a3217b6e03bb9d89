"""Elo ratings, against closed forms and tables made from known ratings."""

import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.games import binomial_interval, elo_difference, elo_ratings


def test_two_players_have_a_closed_form() -> None:
    """400 log10(w / l), and by the delta method the deviation 400 / ln 10 √(1 / w + 1 / l)."""
    found = elo_ratings([[0, 30], [10, 0]])
    np.testing.assert_allclose(found.elo, [0, 400 * np.log10(10 / 30)], atol=1e-9)
    np.testing.assert_allclose(found.interval, [0, 1.959964 * 400 / np.log(10) * np.sqrt(1 / 30 + 1 / 10)], rtol=1e-6)
    drawn = elo_ratings([[0, 10 + 15 / 2], [4 + 15 / 2, 0]], anchor=1)  # 10 wins, 15 draws, 4 losses
    np.testing.assert_allclose(drawn.elo, [400 * np.log10(17.5 / 11.5), 0], atol=1e-9)
    np.testing.assert_allclose(elo_difference(17.5 / 29), drawn.elo[0], atol=1e-9)
    np.testing.assert_array_equal(elo_difference([0.0, 0.5, 1.0]), [-np.inf, 0, np.inf])


def test_known_ratings_are_recovered_whatever_their_order() -> None:
    """From expected points, with another number of games for each pair, some of which never met."""
    rng = np.random.default_rng(0)
    elo = np.array([0.0, 250, -130, 900, 40, -600])
    games = np.triu(rng.integers(0, 3, (6, 6)) * 40, 1) + np.diag(np.full(5, 20), 1)
    games = games + games.T
    assert (games == 0).sum() > 6
    points = games / (1 + 10 ** ((elo[None] - elo[:, None]) / 400))
    found = elo_ratings(points)
    np.testing.assert_allclose(found.elo, elo, atol=1e-6)
    order = rng.permutation(6)
    other = elo_ratings(points[np.ix_(order, order)], anchor=int(np.flatnonzero(order == 0)[0]))
    np.testing.assert_allclose(other.elo, elo[order], atol=1e-6)
    np.testing.assert_allclose(other.interval, found.interval[order], rtol=1e-6)
    np.testing.assert_allclose(elo_ratings(points, anchor=3).elo, elo - 900, atol=1e-6)
    np.testing.assert_allclose(elo_ratings(points + 5 * np.eye(6)).elo, elo, atol=1e-6)  # nobody meets himself


def test_intervals_cover_as_often_as_they_say() -> None:
    rng, elo = np.random.default_rng(1), np.array([0.0, 120, -200])
    chance = 1 / (1 + 10 ** ((elo[None] - elo[:, None]) / 400))
    covered = []
    for _ in range(400):
        wins = np.triu(rng.binomial(60, chance), 1)
        found = elo_ratings(wins + np.tril(60 - wins.T, -1))
        covered.append(np.abs(found.elo - elo)[1:] < found.interval[1:])
    assert 0.92 < np.mean(covered) < 0.98


def test_a_player_without_a_finite_rating_is_named() -> None:
    lost = [[0, 5, 9], [5, 0, 8], [0, 0, 0]]
    with pytest.raises(ArgumentError, match=r"^points must link .* to player 0 .*, got no finite rating for player 2$"):
        elo_ratings(lost)
    with pytest.raises(ArgumentError, match=r"got no finite rating for player 0, 1$"):
        elo_ratings(lost, anchor=2)
    groups = np.kron(np.eye(2), [[0, 3], [2, 0]])  # which never met
    with pytest.raises(ArgumentError, match=r"got no finite rating for player 2, 3$"):
        elo_ratings(groups, prior_draws=1.0)
    below = elo_ratings(lost, prior_draws=1.0)
    assert np.isfinite(below.elo).all()
    assert below.elo[2] < -300
    np.testing.assert_allclose(elo_ratings([[0, 7], [0, 0]], prior_draws=2.0).elo[1], 400 * np.log10(1 / 8), atol=1e-9)
    for points in ([[0, -1], [1, 0]], [[0, np.nan], [1, 0]], [[0, 1]]):
        with pytest.raises(ArgumentError, match=r"^points must be finite numbers >= 0 of shape \[P, P\]"):
            elo_ratings(points)
    with pytest.raises(ArgumentError, match=r"^anchor must be one of 2 players, got 2"):
        elo_ratings([[0, 1], [1, 0]], anchor=2)


def test_binomial_intervals_are_wilsons() -> None:
    """Their ends are the probabilities p at which the share is z deviations √(p (1 − p) / n) away."""
    successes, trials = np.array([0, 3, 80, 10]), np.array([10, 10, 100, 10])
    low, high = binomial_interval(successes, trials)
    for p in (low, high):
        distance = (successes / trials - p) ** 2
        np.testing.assert_allclose(distance, 1.959964**2 * p * (1 - p) / trials, rtol=1e-6, atol=1e-12)
    assert (low < high).all()
    np.testing.assert_array_equal([low[0], high[3]], [0, 1])
