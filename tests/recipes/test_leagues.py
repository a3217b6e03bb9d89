"""What is reported of a league in a board game: which copies meet, and what they score."""

from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrl
from jaxrl.distributions import Categorical
from jaxrl.recipes import leagues
from jaxrl.recipes.leagues import OPENINGS, rated_places, score_copies


def test_some_rounds_are_rated(monkeypatch) -> None:
    """At equal distances in time, whole, in order, and among them the first and the last one."""
    numbers = np.array([-1, 8, 0, 1, 2, 9, 10, 11, 3, 4, -1, 6, 5, 12, 13])  # 7 made room
    monkeypatch.setattr(leagues, "RATED", 8)
    assert numbers[rated_places(numbers, 2)].tolist() == [0, 1, 4, 5, 8, 9, 12, 13]
    assert numbers[rated_places(numbers, 6)].tolist() == [0, 1, 2, 3, 4, 5, 12, 13]
    assert numbers[rated_places(numbers, 1)].tolist() == [0, 2, 3, 5, 8, 10, 11, 13]


class State(NamedTuple):
    params: jax.Array
    copies: jax.Array


def test_copies_score_against_each_other() -> None:
    """The second one likes the middle most, and then the corners, and the third one the other cells."""
    env, _ = jaxrl.make("game:tic_tac_toe")
    likes = jnp.array([10.0, 0, 10, 0, 20, 0, 10, 0, 10])
    copies = jnp.stack([0 * likes, likes, -likes])

    def outputs(state: Any, boards: jax.Array) -> Categorical:
        return Categorical(jnp.broadcast_to(state.params[0], (len(boards), 9)))

    agent: Any = SimpleNamespace(outputs=outputs)
    points: Any = jax.jit(partial(score_copies, agent, env))
    found = np.asarray(points(State(copies, copies), np.array([2, 1])))
    np.testing.assert_array_equal(found + found.T, 2 * OPENINGS * (1 - np.eye(2)))
    assert found[1, 0] > 1.2 * OPENINGS
