"""Recipes of agents that learn a model of an environment's observations: PETS, MBPO, and Dyna with DQN."""

import dataclasses
from typing import Annotated, Any

import jax
from annotated_types import Interval

from jaxrl.agents import RainbowHparams, SACHparams
from jaxrl.agents.dyna import DynaConfig, DynaHparams, dyna
from jaxrl.agents.pets import PETSConfig, pets
from jaxrl.arguments import ArgumentError
from jaxrl.envs import action_space_of
from jaxrl.networks import example_of
from jaxrl.recipes.continuous_control import Continuous, box_of, ignored_by_continuous, sac_agent
from jaxrl.recipes.deep_q import DQN, dqn_agent
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OffPolicyConfig, off_policy
from jaxrl.types import Agent, Trainer


@dataclasses.dataclass(frozen=True)
class PETS(PETSConfig, OffPolicyConfig):
    """Static configuration of PETS."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 256
    updates_per_iteration: Annotated[int, Interval(gt=0, lt=2**31)] = 5
    warmup_steps: Annotated[int, Interval(ge=0, lt=2**31)] = 256


@dataclasses.dataclass(frozen=True)
class MBPO(DynaConfig, Continuous):
    """Static configuration of MBPO."""

    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 100
    """Transitions per gradient step, a multiple of the networks."""


@dataclasses.dataclass(frozen=True)
class DynaDQN(DynaConfig, DQN):
    """Static configuration of Dyna with DQN."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """N, environments stepped side by side."""
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 60
    """Transitions per gradient step, a multiple of the networks."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DynaDQNHparams(DynaHparams, RainbowHparams):
    """Hyperparameters of DQN and of its model."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MBPOHparams(DynaHparams, SACHparams):
    """Hyperparameters of SAC and of its model."""


def build_pets(env: Any, env_params: Any, config: PETS) -> tuple[Agent, Trainer]:
    check_single_steps(config)
    agent = pets(example_of(env, env_params), box_of(env, env_params), config)
    return agent, off_policy(agent, env, env_params, config)


def build_mbpo(env: Any, env_params: Any, config: MBPO) -> tuple[Agent, Trainer]:
    check_single_steps(config)
    return _build_dyna(sac_agent(env, env_params, config), env, env_params, config)


def build_dyna_dqn(env: Any, env_params: Any, config: DynaDQN) -> tuple[Agent, Trainer]:
    check_single_steps(config)
    return _build_dyna(dqn_agent(env, env_params, config), env, env_params, config)


def _build_dyna(inner: Agent, env: Any, env_params: Any, config: MBPO | DynaDQN) -> tuple[Agent, Trainer]:
    agent: Agent = dyna(inner, example_of(env, env_params), action_space_of(env, env_params), config)
    return agent, off_policy(agent, env, env_params, config)


def check_single_steps(config: OffPolicyConfig) -> None:
    """Raises `ArgumentError` if transitions come in sequences: a model predicts one step."""
    if config.n_step != 1:
        raise ArgumentError("n_step", "must be 1, since the model predicts single steps", config.n_step)


def ignored_by_mbpo(options: Options, observation: Any) -> dict[str, str]:
    """The settings that MBPO ignores, and why."""
    model = (True, "MBPO, whose model has statistics of its own", ("config.normalise",))
    return ignored_by_continuous(options, observation) | ignored_settings(model)
