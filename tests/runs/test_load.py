"""The parameters of a trained policy by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import ArgumentError, PPOHparams, QLearningHparams
from jaxrl.experiments import ppo_cartpole
from jaxrl.recipes.actor_critics import PPO, default_network
from jaxrl.runs.load import TrainedPolicy
from tests.compiling import quick_jit


@pytest.mark.parametrize("scaled", [False, True])
def test_parameters_have_names(scaled: bool) -> None:
    """Also of the agent inside another one; with them, the network acts as the policy does."""
    env, env_params = jaxrl.make("CartPole-v1")
    network = default_network(env, env_params, PPO(hidden_sizes=(8,)))
    agent = jaxrl.normalised(jaxrl.ppo(network)) if scaled else jaxrl.ppo(network)
    state = quick_jit(agent.init)(jax.random.key(0), PPOHparams(), jnp.zeros(4))
    experiment = ppo_cartpole.experiment
    policy = TrainedPolicy(env, env_params, agent, state, experiment, experiment.defaults)
    kernel = policy.params["params"]["actor"]["Dense_0"]["kernel"]
    assert (kernel.shape, sorted(policy.params["params"])) == ((4, 8), ["actor", "critic"])
    observations = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    modes = quick_jit(lambda x: network.apply(policy.params, x)[0].mode())(observations)
    np.testing.assert_array_equal(quick_jit(policy)(observations, jax.random.key(0)), modes)


@pytest.mark.parametrize("name", ["seed", "agent"])
def test_what_is_loaded_has_a_whole_number(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"^{name} must be a whole number, got '1'$"):
        jaxrl.load("anywhere", **{name: "1"})


def test_a_table_has_none() -> None:
    env, env_params = jaxrl.make("GridWorld")
    agent = jaxrl.q_learning(env.grid.wall.size, env.num_actions, env.state_of)
    state = quick_jit(agent.init)(jax.random.key(0), QLearningHparams(), None)
    policy = TrainedPolicy(env, env_params, agent, state, ppo_cartpole.experiment, ppo_cartpole.experiment.defaults)
    with pytest.raises(ArgumentError, match=r"^policy must be of an agent with a network, .*, got one whose state"):
        print(policy.params)
