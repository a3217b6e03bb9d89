"""How the experiments with policy gradients are put together."""

import dataclasses
from typing import Annotated, Any, Literal

import jax
from annotated_types import Gt

from jaxrl.agents import PPOConfig, ReinforceConfig, a2c, ppo, reinforce
from jaxrl.arguments import ArgumentError
from jaxrl.envs import action_space_of
from jaxrl.networks import Network, actor_critic
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import Agent, Trainer


@dataclasses.dataclass(frozen=True)
class A2C(OnPolicyConfig):
    """All static values of an A2C run, and what those of the other runs begin with."""

    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (64, 64)
    """Units of each dense layer of the policy's network, and of the value's."""
    activation: Literal["tanh", "relu"] = "tanh"
    """What follows each of these layers."""


@dataclasses.dataclass(frozen=True)
class PPO(PPOConfig, A2C):
    """All static values of a PPO run."""


@dataclasses.dataclass(frozen=True)
class Reinforce(ReinforceConfig, A2C):
    """All static values of a REINFORCE run."""

    fresh_worlds: bool = True
    """Begin every rollout in fresh worlds: REINFORCE learns from whole episodes, and needs it."""


def build(env: Any, env_params: Any, config: A2C) -> tuple[Agent, Trainer]:
    """The agent that the configuration is of, with the usual networks for the world's observations and actions."""
    observation, _ = jax.eval_shape(env.reset, jax.random.key(0), env_params)
    network = actor_critic(observation, action_space_of(env, env_params), config.hidden_sizes, config.activation)
    agent = make_agent(network, config)
    return agent, on_policy(agent, env, env_params, config)


def make_agent(network: Network, config: A2C) -> Agent:
    if isinstance(config, PPO):
        return ppo(network, config)
    if isinstance(config, Reinforce):
        if not config.fresh_worlds:
            raise ArgumentError("fresh_worlds must be true, as REINFORCE learns from whole episodes, got False")
        return reinforce(network, config)
    return a2c(network)
