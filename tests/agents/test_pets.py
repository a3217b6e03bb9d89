"""PETS: its particles, its first plan, and what an end leaves of the rewards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import ArgumentError, Input
from jaxrl.agents import PETSConfig, PETSHparams, pets
from jaxrl.agents.dynamics import Dynamics, Step
from jaxrl.training import as_arrays
from jaxrl.types import Box
from tests.compiling import quick_jit

EXAMPLE, BOX = jax.ShapeDtypeStruct((2,), jnp.float32), Box(np.float32([-1]), np.float32([1]))
E = 2


def first_action(config: PETSConfig) -> jax.Array:
    agent = pets(EXAMPLE, BOX, config)
    state = agent.init(jax.random.key(0), as_arrays(PETSHparams()), jnp.zeros(2))
    given = Input(jnp.zeros((1, 2)), memory=agent.memory(state, 1))
    return quick_jit(agent.policy)(state, given, jax.random.key(0)).action[0, 0]


def test_each_network_has_so_many_particles(monkeypatch) -> None:
    shapes = set()

    def spy(self, state, observations, actions, key) -> Step:
        shapes.add((observations.shape, actions.shape))
        return Step(observations, actions[..., 0], jnp.ones(actions.shape[:-1]))

    monkeypatch.setattr(Dynamics, "sample", spy)
    first_action(PETSConfig(E, (4,), 2, 4, 1, 2, particles=3))
    assert shapes == {((E, 3, 2), (E, 3, 1))}


def test_it_begins_in_the_middle() -> None:
    agent = pets(EXAMPLE, Box(np.float32([0, -4]), np.float32([2, 0])), PETSConfig(horizon=3))
    np.testing.assert_array_equal(agent.memory(None, 2), np.broadcast_to([1.0, -2.0], (2, 3, 2)))


def test_the_reward_of_the_last_step_counts_and_none_after_it(monkeypatch) -> None:
    """Every step ends the episode: the first action is worth itself, and would cost ten times as much afterwards."""

    def ends(self, state, observations, actions, key) -> Step:
        cost = jnp.where(observations[..., 1] == 0, actions[..., 0], -10 * observations[..., 0])
        after = jnp.stack([actions[..., 0], observations[..., 1] + 1], -1)
        return Step(after, cost, jnp.zeros(actions.shape[:-1]))

    monkeypatch.setattr(Dynamics, "sample", ends)
    assert first_action(PETSConfig(E, (4,), 2, 50, 3, 5)) > 0.8


def test_bad_input() -> None:
    with pytest.raises(ArgumentError, match="num_elites must be at most the population, 200, got 300"):
        pets(EXAMPLE, BOX, PETSConfig(population=200, num_elites=300))
    with pytest.raises(ArgumentError, match=r"action_space must have two finite bounds \[D\]"):
        pets(EXAMPLE, Box(-np.float32([np.inf]), np.float32([1])), PETSConfig())
