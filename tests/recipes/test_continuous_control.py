"""The recipes of SAC and TD3: what of their configuration reaches the networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import Input, SACHparams, TD3Hparams
from jaxrl.agents.normalised import NormalisedState
from jaxrl.recipes.continuous_control import Continuous, build_sac, build_td3
from tests.agents.control import ENV, PARAMS


@pytest.mark.parametrize(
    ("build", "hparams"), [(build_td3, TD3Hparams()), pytest.param(build_sac, SACHparams(), marks=pytest.mark.slow)]
)
def test_its_networks_are_those_of_the_configuration(build, hparams) -> None:
    """Networks of tanh without biases, as at the start, are odd functions, and those of relu are not."""
    observations = jnp.array([[1.0, -3.0], [-1.0, 3.0]])
    for activation, normalise in (("tanh", False), ("relu", True)):
        config = Continuous(hidden_sizes=(3, 5), activation=activation, normalise=normalise)
        agent, _ = build(ENV, PARAMS, config)
        state = jax.jit(agent.init)(jax.random.key(0), hparams, observations[0])
        assert isinstance(state, NormalisedState) == normalise
        params = state.agent.params if normalise else state.params
        for network in (params.actor, *params.critics):
            kernels = [x.shape[1] for x in jax.tree.leaves(network) if x.ndim == 2]
            assert sorted(kernels)[-2:] == [3, 5]
        first, second = np.asarray(agent.policy(state, Input(observations), jax.random.key(0)).action)
        assert np.allclose(first, -second, atol=1e-6) == (activation == "tanh")
