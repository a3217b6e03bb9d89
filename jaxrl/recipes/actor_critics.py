"""Recipes with policy gradients: REINFORCE, A2C and PPO."""

import dataclasses
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from annotated_types import Gt, Interval

from jaxrl.agents import (
    MinibatchConfig,
    ReinforceConfig,
    SequenceConfig,
    a2c,
    normalised,
    ppo,
    recurrent_ppo,
    reinforce,
)
from jaxrl.envs import action_space_of
from jaxrl.networks import Network, actor_critic, example_of
from jaxrl.networks.frame_convolutions import FRAME_LAYERS, has_stacks
from jaxrl.networks.layers import has_board
from jaxrl.networks.network import check_observation, num_states_of
from jaxrl.networks.recurrent import RecurrentActorCritic
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import Agent, Trainer


@dataclasses.dataclass(frozen=True)
class A2C(OnPolicyConfig):
    """Static configuration of A2C."""

    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (64, 64)
    """Units of each dense layer, of the policy network and of the value network."""
    shared: bool = False
    """Let the policy and the values share these layers, at half of the cost."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Activation function of these layers."""
    conv_features: Annotated[int, Interval(ge=0, lt=2**16)] = 0
    """Channels of a 3 × 3 convolution before both, 0 for none (image observations only)."""
    network: Literal["lecture", "nature"] = "lecture"
    """For stacks of frames only: the layers of Mnih et al. 2013 (lecture), or those of 2015 (nature)."""
    normalise: bool = False
    """Give the networks observations with mean 0 and standard deviation 1."""


@dataclasses.dataclass(frozen=True)
class PPO(MinibatchConfig, A2C):
    """Static configuration of PPO."""


@dataclasses.dataclass(frozen=True)
class RecurrentPPO(SequenceConfig, OnPolicyConfig):
    """Static configuration of recurrent PPO."""

    hidden_size: Annotated[int, Gt(0)] = 64
    """Units of the dense layer before the memory, and of those of the policy and of the values after it."""
    memory_size: Annotated[int, Gt(0)] = 64
    """Units of the memory, a gated recurrent unit."""
    normalise: bool = True
    """Give the network observations with mean 0 and standard deviation 1."""


@dataclasses.dataclass(frozen=True)
class Reinforce(ReinforceConfig, A2C):
    """Static configuration of REINFORCE."""

    reset_each_rollout: bool = True
    """Reset the environments before every rollout. REINFORCE needs it: it learns from whole episodes."""


def default_network(env: Any, env_params: Any, config: A2C) -> Network:
    """The default policy and value networks for the environment's observations and actions."""
    space, example = action_space_of(env, env_params), example_of(env, env_params)
    conv_features = config.conv_features if has_board(example) else 0
    convolutions, hidden_size = FRAME_LAYERS[config.network]
    hidden_sizes = (hidden_size,) if has_stacks(example) else config.hidden_sizes
    return actor_critic(example, space, hidden_sizes, config.activation, conv_features, convolutions, config.shared)


def has_floats(observation: Any) -> bool:
    """Whether there is something to normalise."""
    return any(jnp.issubdtype(x.dtype, jnp.floating) for x in jax.tree.leaves(observation))


def ignored_by_policy_gradient(options: Options, observation: Any) -> dict[str, str]:
    """The settings that A2C, PPO or REINFORCE ignores, and why."""
    config, board, stack = options.config, has_board(observation), has_stacks(observation)
    is_reinforce = isinstance(config, Reinforce)
    weight = config.weight if is_reinforce else "baseline"
    layers = "config.activation", "config.shared"
    one_step = isinstance(config, PPO) and config.num_epochs == config.num_minibatches == 1
    return ignored_settings(
        (config.rollout_length == 1 and not is_reinforce, "config.rollout_length 1", ("hparams.gae_lambda",)),
        (not stack and not config.hidden_sizes, "config.hidden_sizes of no layers", layers),
        (not stack, f"env {options.task.env}, which shows no stack of frames", ("config.network",)),
        (stack, f"config.network {config.network}, which has its own", ("config.hidden_sizes",)),
        (weight != "baseline", f"config.weight {weight}", ("hparams.value_coef",)),
        (not board, f"env {options.task.env}, which shows no board", ("config.conv_features",)),
        (not has_floats(observation), f"env {options.task.env}, which shows no floats", ("config.normalise",)),
        (one_step, "config.num_epochs and num_minibatches 1", ("hparams.clip", "hparams.value_clip")),
    )


def build_a2c(env: Any, env_params: Any, config: A2C) -> tuple[Agent, Trainer]:
    return _build(a2c(default_network(env, env_params, config)), env, env_params, config)


def build_ppo(env: Any, env_params: Any, config: PPO) -> tuple[Agent, Trainer]:
    return _build(ppo(default_network(env, env_params, config), config), env, env_params, config)


def build_recurrent_ppo(env: Any, env_params: Any, config: RecurrentPPO) -> tuple[Agent, Trainer]:
    example, space = example_of(env, env_params), action_space_of(env, env_params)
    check_observation(example)
    network = RecurrentActorCritic(space, config.hidden_size, config.memory_size, num_states_of(example))
    agent: Agent = recurrent_ppo(network, config)
    agent = normalised(agent) if config.normalise else agent
    return agent, on_policy(agent, env, env_params, config)


def build_reinforce(env: Any, env_params: Any, config: Reinforce) -> tuple[Agent, Trainer]:
    return _build(reinforce(default_network(env, env_params, config), config), env, env_params, config)


def _build(agent: Agent, env: Any, env_params: Any, config: A2C) -> tuple[Agent, Trainer]:
    agent = normalised(agent) if config.normalise else agent
    return agent, on_policy(agent, env, env_params, config)
