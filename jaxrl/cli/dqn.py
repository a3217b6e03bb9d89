"""How the DQN experiments are put together."""

import dataclasses
from typing import Any

import jax

from jaxrl.agents import DQNConfig, dqn
from jaxrl.envs import num_discrete_actions
from jaxrl.networks import q_network
from jaxrl.training import OffPolicyConfig, off_policy
from jaxrl.types import Agent, Trainer


@dataclasses.dataclass(frozen=True)
class Config(DQNConfig, OffPolicyConfig):
    """All static values of a DQN run."""


def build(env: Any, env_params: Any, config: Config) -> tuple[Agent, Trainer]:
    """DQN with the usual network for the world's observations."""
    observation, _ = jax.eval_shape(env.reset, jax.random.key(0), env_params)
    network = q_network(observation, num_discrete_actions(env, env_params), config.hidden_sizes)
    agent = dqn(network, config)
    return agent, off_policy(agent, env, env_params, config)
