"""Agents in a small Grid World against exact planning: DQN's values are Q*, and policies earn the optimal return."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import DQNHparams, Input, OffPolicyConfig, PPOHparams, PQNHparams, dqn, off_policy, planning, ppo, pqn
from jaxrl.agents import MinibatchConfig
from jaxrl.envs import GridWorld
from jaxrl.networks import QNetwork, actor_critic
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import Discrete
from tests.agents.control import DISCOUNT as REGULATOR_DISCOUNT
from tests.agents.control import ENV as REGULATOR
from tests.agents.control import PARAMS as REGULATOR_PARAMS
from tests.agents.control import LinearActorCritic, cost_ratio
from tests.agents.probes import ON_POLICY_AGENTS, trained

DISCOUNT = 0.9
# Falling into the hole is worse than walking for ever, -10: no policy is tempted to get it over with.
ENV = GridWorld(map="...\n.#.\nH.G\nH = -12\nG = 2")
PARAMS = ENV.default_params.replace(discount=DISCOUNT)
MDP = ENV.mdp(PARAMS)
PLAN = planning.policy_iteration(MDP)
CELLS = np.flatnonzero(ENV.grid.start)
"""Cells where an agent can be: every cell of floor is a start."""
OBSERVATIONS = ENV.decode(jnp.arange(9, dtype=jnp.uint32)[:, None])


def exact_return(actions) -> np.ndarray:
    """The return of the deterministic policy `actions` `[S]` from each cell."""
    return np.asarray(planning.policy_evaluation(MDP, jax.nn.one_hot(actions, 4)))


def test_dqn_learns_q_star() -> None:
    network = QNetwork(num_actions=4, hidden_sizes=(32,), conv_features=16)
    hparams = DQNHparams(learning_rate=5e-3, discount=DISCOUNT, epsilon_end=1.0, tau=0.05)
    config = OffPolicyConfig(num_envs=16, batch_size=64, replay_capacity=2048, warmup_steps=1024)
    agents = trained(lambda _: (off_policy(dqn(network), ENV, PARAMS, config), hparams), jnp.arange(1), iterations=1000)
    q_values = network.apply(jax.tree.map(lambda x: x[0], agents.params), OBSERVATIONS)
    np.testing.assert_allclose(q_values[CELLS], PLAN.q_values[CELLS], atol=0.01)


def test_pqn_learns_q_star() -> None:
    network = QNetwork(num_actions=4, hidden_sizes=(32,), layer_norm=True)
    # Actions are random, so that only λ = 0 leads to Q*.
    hparams = PQNHparams(
        learning_rate=5e-3, learning_rate_decay_steps=1e5, discount=DISCOUNT, epsilon_end=1.0, q_lambda=0.0
    )
    agent = pqn(network, MinibatchConfig(num_epochs=2, num_minibatches=4))
    config = OnPolicyConfig(num_envs=16, rollout_length=16)
    agents = trained(lambda _: (on_policy(agent, ENV, PARAMS, config), hparams), jnp.arange(1), iterations=400)
    q_values = network.apply(jax.tree.map(lambda x: x[0], agents.params), OBSERVATIONS)
    np.testing.assert_allclose(q_values[CELLS], PLAN.q_values[CELLS], atol=0.02)


@pytest.mark.parametrize("algorithm", ["a2c", "ppo", "baseline"])
def test_policies_become_optimal(algorithm: str) -> None:
    make_agent, make_hparams = ON_POLICY_AGENTS[algorithm]
    hparams = make_hparams(learning_rate=1e-2, discount=DISCOUNT)
    observation, _ = jax.eval_shape(ENV.reset, jax.random.key(0), PARAMS)
    agent = make_agent(actor_critic(observation, Discrete(4), (32,)))
    config = OnPolicyConfig(num_envs=16, rollout_length=16, reset_each_rollout=algorithm == "baseline")
    agents = trained(lambda _: (on_policy(agent, ENV, PARAMS, config), hparams), jnp.arange(1), iterations=300)
    state = jax.tree.map(lambda x: x[0], agents)
    actions = agent.policy(state, Input(OBSERVATIONS), jax.random.key(0)).action
    np.testing.assert_allclose(exact_return(actions)[CELLS], PLAN.values[CELLS], atol=1e-4)


def test_ppo_s_cost_on_a_regulator_is_optimal() -> None:
    """With clipped values too."""
    agent = ppo(LinearActorCritic(), MinibatchConfig(num_epochs=4, num_minibatches=4))
    config = OnPolicyConfig(num_envs=32, rollout_length=16)
    hparams = PPOHparams(
        learning_rate=2e-2, learning_rate_decay_steps=100 * 512.0, discount=REGULATOR_DISCOUNT, entropy_coef=0.0
    )

    def make_trainer(value_clip):
        clipped = dataclasses.replace(hparams, value_clip=value_clip)
        return on_policy(agent, REGULATOR, REGULATOR_PARAMS, config), clipped

    agents = trained(make_trainer, jnp.array([0.0, 1.0]), iterations=100)
    for i in range(2):
        state = jax.tree.map(lambda x, i=i: x[i], agents)
        assert cost_ratio(lambda x, state=state: agent.policy(state, Input(x), None).action) < 1.001
