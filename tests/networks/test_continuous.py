"""Networks of continuous actions: bad input. What they learn is in the tests of SAC and TD3."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import ArgumentError, SACHparams, sac
from jaxrl.networks import (
    Critic,
    DeterministicPolicy,
    SquashedPolicy,
    actor_critic,
    board_network,
    learned_model,
    q_network,
)
from jaxrl.types import Box, Discrete

BOX = Box(np.float32([-1, 0]), np.float32([1, 3]))
OBSERVATIONS = jnp.zeros((1, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"activation": "gelu"}, "activation must be one of tanh, relu, got 'gelu'"),
        ({"hidden_sizes": (8, 0)}, "hidden_sizes must be a whole number >= 1, got 0"),
        ({"hidden_sizes": (8.5,)}, r"hidden_sizes must be a whole number >= 1, got 8\.5"),
        ({"hidden_sizes": "64"}, "hidden_sizes must be a tuple of whole numbers, got '?64"),
        ({"hidden_sizes": 64}, "hidden_sizes must be a tuple of whole numbers, got 64"),
        ({"action_space": Discrete(3)}, "action_space must be of the kind Box, got Discrete"),
        ({"action_space": None}, "action_space must be of the kind Box, got NoneType"),
        ({"action_space": Box(BOX.high, BOX.low)}, r"action_space must have two finite bounds \[D\] with low < high"),
        ({"action_space": Box(BOX.low, np.full(2, np.inf, np.float32))}, "action_space must have two finite bounds"),
    ],
)
def test_what_no_network_can_be_made_of(arguments: dict, message: str) -> None:
    for kind in (SquashedPolicy, DeterministicPolicy, Critic):
        given = (OBSERVATIONS, jnp.zeros((1, 2))) if kind is Critic else OBSERVATIONS
        with pytest.raises(ArgumentError, match=message):
            jax.eval_shape(kind(**{"action_space": BOX} | arguments).init, jax.random.key(0), given)


def test_an_actor_in_place_of_a_critic_and_a_critic_in_place_of_an_actor() -> None:
    swapped = sac(Critic(BOX), SquashedPolicy(BOX), BOX)  # type: ignore[arg-type, unused-ignore]
    with pytest.raises(ArgumentError, match="pairs must be a pair of observations and actions, which a critic values"):
        jax.eval_shape(swapped.init, jax.random.key(0), SACHparams(), OBSERVATIONS[0])


@pytest.mark.parametrize("sizes", [(0,), "64", 64])
def test_default_networks_need_numbers_of_units(sizes) -> None:
    board = jnp.zeros((6, 6, 2))
    for make in (
        lambda: q_network(OBSERVATIONS[0], 2, sizes),
        lambda: actor_critic(OBSERVATIONS[0], Discrete(2), sizes),
        lambda: board_network(board, 2, sizes),
        lambda: learned_model(OBSERVATIONS[0], 2, 5, hidden_sizes=sizes),
    ):
        with pytest.raises(ArgumentError, match="hidden_sizes must be a "):
            make()
