"""Recipes that imitate against a discriminator: GAIL."""

import dataclasses
from typing import Any

from jaxrl.agents import GAILConfig, gail, normalised, ppo
from jaxrl.envs import action_space_of
from jaxrl.networks import Discriminator, example_of
from jaxrl.recipes.actor_critics import PPO, default_network
from jaxrl.recipes.demonstrations import Demonstrations, dataset_shapes, read_demonstrations
from jaxrl.training import on_policy
from jaxrl.types import Agent, Trainer, Transition


@dataclasses.dataclass(frozen=True)
class GAIL(Demonstrations, GAILConfig, PPO):
    """Static configuration of GAIL with PPO. The discriminator has the layers of the policy."""

    normalise: bool = True
    """Give the policy observations with mean 0 and standard deviation 1."""


def build_gail(env: Any, env_params: Any, config: GAIL) -> tuple[Agent, Trainer]:
    """GAIL with the transitions in a file.

    Raises:
        ArgumentError: the file cannot be read, or holds transitions of another environment.
    """
    return _build(env, env_params, config, read_demonstrations(config, env, env_params))


def build_gail_to_load(env: Any, env_params: Any, config: GAIL) -> tuple[Agent, Trainer]:
    """The same without the file."""
    return _build(env, env_params, config, dataset_shapes(env, env_params))


def _build(env: Any, env_params: Any, config: GAIL, dataset: Transition) -> tuple[Agent, Trainer]:
    learner: Agent = ppo(default_network(env, env_params, config), config)
    learner = normalised(learner) if config.normalise else learner
    discriminator = Discriminator(config.hidden_sizes, config.activation)
    example, space = example_of(env, env_params), action_space_of(env, env_params)
    agent = gail(learner, discriminator, example, space, dataset, config)
    return agent, on_policy(agent, env, env_params, config)
