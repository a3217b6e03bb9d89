"""Recipes that learn continuous actions from a replay buffer: SAC and TD3."""

import dataclasses
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval

from jaxrl.agents import normalised, sac, td3
from jaxrl.arguments import ArgumentError
from jaxrl.envs import action_space_of
from jaxrl.envs.spaces import name_of
from jaxrl.networks import Critic, DeterministicPolicy, SquashedPolicy, example_of
from jaxrl.networks.network import check_observation, num_states_of
from jaxrl.recipes.deep_q import ignored_by_replay
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OffPolicyConfig, off_policy
from jaxrl.types import Agent, Box, Trainer


@dataclasses.dataclass(frozen=True)
class Continuous(OffPolicyConfig):
    """Static configuration of SAC and TD3."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 16
    """N, environments stepped side by side."""
    updates_per_iteration: Annotated[int, Interval(gt=0, lt=2**31)] = 16
    """Gradient steps in one iteration, of num-envs × rollout-length environment steps."""
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 256
    """Transitions per gradient step."""
    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (256, 256)
    """Units of each dense layer, of the policy and of each critic."""
    activation: Literal["tanh", "relu"] = "relu"
    """Activation function of these layers."""
    normalise: bool = False
    """Give the networks observations with mean 0 and standard deviation 1."""


def sac_agent(env: Any, env_params: Any, config: Continuous) -> Agent:
    """The agent alone, without `config.normalise`."""
    space, layers = box_of(env, env_params), network_options(env, env_params, config)
    return sac(SquashedPolicy(space, **layers), Critic(space, **layers), space)


def build_sac(env: Any, env_params: Any, config: Continuous) -> tuple[Agent, Trainer]:
    return _build(sac_agent(env, env_params, config), env, env_params, config)


def build_td3(env: Any, env_params: Any, config: Continuous) -> tuple[Agent, Trainer]:
    space, layers = box_of(env, env_params), network_options(env, env_params, config)
    return _build(td3(DeterministicPolicy(space, **layers), Critic(space, **layers), space), env, env_params, config)


def _build(agent: Agent, env: Any, env_params: Any, config: Continuous) -> tuple[Agent, Trainer]:
    agent = normalised(agent) if config.normalise else agent
    return agent, off_policy(agent, env, env_params, config)


def box_of(env: Any, env_params: Any) -> Box:
    """The actions of an environment.

    Raises:
        ArgumentError: they are discrete.
    """
    space = action_space_of(env, env_params)
    if not isinstance(space, Box):
        raise ArgumentError(
            "env", "must have continuous actions", env, got=f"{name_of(env)}, whose actions are discrete"
        )
    return space


def network_options(env: Any, env_params: Any, config: Continuous) -> dict[str, Any]:
    """The fields that the policy and the critics share."""
    example = example_of(env, env_params)
    check_observation(example)
    sizes = tuple(config.hidden_sizes)
    return {"hidden_sizes": sizes, "activation": config.activation, "num_states": num_states_of(example)}


def ignored_by_continuous(options: Options, observation: Any) -> dict[str, str]:
    """The settings that SAC and TD3 ignore, and why."""
    del observation
    no_layers = (not options.config.hidden_sizes, "config.hidden_sizes of no layers", ("config.activation",))
    return ignored_by_replay(options) | ignored_settings(no_layers)
