"""What a type checker knows: mypy runs over the tests, and the state of an agent keeps its type to the end of a run."""

from typing import Any, assert_type

import jax
import jax.numpy as jnp

import jaxrl
from jaxrl import Agent, OffPolicyConfig, OnPolicyConfig, Trainer, TrainState
from jaxrl.agents.dqn import DQNState
from jaxrl.agents.normalised import NormalisedState
from jaxrl.agents.policy_gradient import NetworkState
from jaxrl.agents.pqn import PQNState
from jaxrl.agents.q_learning import QLearningState
from jaxrl.training import RunResult
from jaxrl.types import Discrete, Metrics

ENV, PARAMS = jaxrl.make("GridWorld", map="..\n.G")
NETWORK = jaxrl.q_network(jnp.zeros((2, 2, 3)), 4, (4,))
POLICY = jaxrl.actor_critic(jnp.zeros((2, 2, 3)), Discrete(4), (4,))


def test_agents_have_the_type_of_their_state() -> None:
    assert_type(jaxrl.dqn(NETWORK), Agent[DQNState])
    assert_type(jaxrl.pqn(NETWORK), Agent[PQNState])
    assert_type(jaxrl.q_learning(4, 4, jnp.asarray), Agent[QLearningState])
    for make in (jaxrl.a2c, jaxrl.ppo, jaxrl.reinforce):
        assert_type(make(POLICY), Agent[NetworkState])
    assert_type(jaxrl.normalised(jaxrl.dqn(NETWORK)), Agent[NormalisedState[DQNState]])


def test_trainers_and_runs_keep_it() -> None:
    sizes = OffPolicyConfig(num_envs=2, batch_size=4, replay_capacity=16, warmup_steps=4)
    off = jaxrl.off_policy(jaxrl.dqn(NETWORK), ENV, PARAMS, sizes)
    on = jaxrl.on_policy(jaxrl.normalised(jaxrl.ppo(POLICY)), ENV, PARAMS, OnPolicyConfig(2, 4))
    assert_type(off, Trainer[DQNState])
    assert_type(on, Trainer[NormalisedState[NetworkState]])
    assert_type(jaxrl.population(off), Trainer[DQNState])

    def trained(key: jax.Array) -> tuple[DQNState, Metrics]:
        state, metrics = off.step(off.init(key, jaxrl.DQNHparams()))
        assert_type(state, TrainState[DQNState])
        assert_type(state.agent.num_updates, jax.Array)
        return state.agent, metrics

    state, _ = jax.eval_shape(trained, jax.random.key(0))
    assert isinstance(state, DQNState)


def of_runs(trainer: Trainer[DQNState], key: jax.Array) -> Any:
    """Read by the type checker alone."""
    result = jaxrl.run(trainer, key, jaxrl.DQNHparams(), 100)
    assert_type(result, RunResult[DQNState])
    program = jaxrl.Program(trainer, key, jaxrl.DQNHparams())
    assert_type(jaxrl.run(program, key, jaxrl.DQNHparams(), 100).state.agent, DQNState)
    return result.state.agent.parms  # type: ignore[attr-defined]  # a slip is seen
