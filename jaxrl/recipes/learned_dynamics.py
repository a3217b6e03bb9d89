"""Recipes of agents that learn a model of an environment's observations: PETS."""

import dataclasses
from typing import Annotated, Any

from annotated_types import Interval

from jaxrl.agents.pets import PETSConfig, pets
from jaxrl.arguments import ArgumentError
from jaxrl.envs import action_space_of
from jaxrl.networks import example_of
from jaxrl.training import OffPolicyConfig, off_policy
from jaxrl.types import Agent, Box, Trainer


@dataclasses.dataclass(frozen=True)
class PETS(PETSConfig, OffPolicyConfig):
    """Static configuration of PETS."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 256
    updates_per_iteration: Annotated[int, Interval(gt=0, lt=2**31)] = 5
    warmup_steps: Annotated[int, Interval(ge=0, lt=2**31)] = 256


def build_pets(env: Any, env_params: Any, config: PETS) -> tuple[Agent, Trainer]:
    space = action_space_of(env, env_params)
    if not isinstance(space, Box):
        raise ArgumentError("env", "must have continuous actions, for the cross-entropy method", None, got=f"{space}")
    agent = pets(example_of(env, env_params), space, config)
    return agent, off_policy(agent, env, env_params, config)
