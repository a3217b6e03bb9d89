"""What is reported of a league in a board game: what its copies score against each other."""

from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxrl
from jaxrl.distributions import Categorical
from jaxrl.recipes.leagues import OPENINGS, score_copies


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
