"""Recipes with Q-networks: DQN and its extensions up to Rainbow, implicit quantile networks, recurrent DQN, and PQN."""

import dataclasses
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval

from jaxrl.agents import (
    BurnInConfig,
    IQNConfig,
    MinibatchConfig,
    action_values,
    dqn,
    iqn,
    normalised,
    pqn,
    recurrent_dqn,
)
from jaxrl.agents.action_values import ActionValues
from jaxrl.arguments import ArgumentError
from jaxrl.envs import num_discrete_actions
from jaxrl.networks import Dense, NoisyDense, QNetwork, example_of, q_network
from jaxrl.networks.frame_convolutions import FRAME_LAYERS, has_stacks
from jaxrl.networks.layers import has_board
from jaxrl.networks.network import check_observation, num_states_of
from jaxrl.networks.recurrent import RecurrentQNetwork
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OffPolicyConfig, OnPolicyConfig, off_policy, on_policy
from jaxrl.types import Agent, Trainer


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (128,)
    """Units of each dense layer."""
    conv_features: Annotated[int, Interval(ge=0, lt=2**16)] = 16
    """Channels of the 3 × 3 convolution (image observations only); 0 for none."""
    layer_norm: bool = False
    """Normalise the features of each layer."""
    network: Literal["lecture", "nature"] = "lecture"
    """For stacks of frames only: the layers of Mnih et al. 2013 (lecture), or those of 2015 (nature)."""


@dataclasses.dataclass(frozen=True)
class DQN(NetworkConfig, OffPolicyConfig):
    """Static configuration of DQN and its extensions."""

    double: bool = False
    """Double DQN: the target network evaluates the action that the online network prefers (van Hasselt et al. 2016)."""
    dueling: bool = False
    """Dueling network: one stream for the value of the state, one for the advantages of actions (Wang et al. 2016)."""
    noisy: bool = False
    """Noisy layers for exploration (Fortunato et al. 2018). Set every epsilon to 0 with them."""
    values: Literal["expected", "categorical", "quantiles"] = "expected"
    """What the network predicts: expected returns, distributions (C51), or quantiles (QR-DQN, Dabney et al. 2018)."""
    loss: Literal["huber", "l2"] = "huber"
    """Loss of expected values: huber (error clipped to [-1, 1], Mnih et al. 2015) or l2 (Mnih et al. 2013)."""
    num_atoms: Annotated[int, Interval(ge=2, lt=2**16)] = 51
    """Atoms of each categorical distribution, or number of quantiles."""
    v_min: float = 0.0
    """Smallest atom of the categorical distributions. All discounted returns should lie between the extreme atoms."""
    v_max: float = 20.0
    """Largest atom of the categorical distributions, > the smallest."""


@dataclasses.dataclass(frozen=True)
class IQN(IQNConfig, NetworkConfig, OffPolicyConfig):
    """Static configuration of implicit quantile networks."""

    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (128,)
    """Units of each dense layer. The outputs of the last one are multiplied by the embedding of each fraction."""


@dataclasses.dataclass(frozen=True)
class RecurrentDQN(BurnInConfig, OffPolicyConfig):
    """Static configuration of recurrent DQN."""

    n_step: Annotated[int, Gt(0)] = 32
    """L, steps of a sequence from the replay, of which the first are the burn-in."""
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 32
    """Sequences per gradient step."""
    hidden_size: Annotated[int, Gt(0)] = 64
    """Units of the dense layers before and after the memory."""
    memory_size: Annotated[int, Gt(0)] = 64
    """Units of the memory, a gated recurrent unit."""
    normalise: bool = True
    """Give the network observations with mean 0 and standard deviation 1."""


@dataclasses.dataclass(frozen=True)
class PQN(MinibatchConfig, NetworkConfig, OnPolicyConfig):
    """Static configuration of PQN."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    rollout_length: Annotated[int, Interval(gt=0, lt=2**31)] = 32
    num_epochs: Annotated[int, Interval(gt=0, lt=2**31)] = 2
    num_minibatches: Annotated[int, Interval(gt=0, lt=2**31)] = 32
    layer_norm: bool = True
    """Normalise the features of each layer. Without it, learning may diverge."""


def default_network(env: Any, env_params: Any, config: NetworkConfig, **options: Any) -> QNetwork:
    example = example_of(env, env_params)
    hidden_sizes = config.hidden_sizes
    if has_board(example):
        options["conv_features"] = config.conv_features
    if has_stacks(example):
        options["convolutions"], hidden_size = FRAME_LAYERS[config.network]
        hidden_sizes = (hidden_size,)
    actions = num_discrete_actions(env, env_params)
    return q_network(example, actions, hidden_sizes, layer_norm=config.layer_norm, **options)


def make_action_values(config: DQN) -> ActionValues:
    """What the network predicts for each action."""
    if config.values == "categorical":
        return action_values.categorical(config.v_min, config.v_max, config.num_atoms)
    if config.values == "quantiles":
        return action_values.quantiles(config.num_atoms)
    return action_values.expected_value(config.loss)


def ignored_by_dqn(options: Options, observation: Any) -> dict[str, str]:
    """The settings that DQN ignores, and why."""
    hparams, config = options.hparams, options.config
    copied = hparams.tau == hparams.target_update_period == 1
    values = f"config.values {config.values}"
    return (
        ignored_by_network(options, observation)
        | ignored_by_replay(options)
        | ignored_settings(
            (config.values != "expected", values, ("config.loss",)),
            (config.values == "expected", values, ("config.num_atoms",)),
            (config.values != "categorical", values, ("config.v_min", "config.v_max")),
            (copied and not config.noisy, "hparams.tau 1 at every step", ("config.double",)),
        )
    )


def ignored_by_iqn(options: Options, observation: Any) -> dict[str, str]:
    """The settings that implicit quantile networks ignore, and why."""
    copied = options.hparams.tau == options.hparams.target_update_period == 1
    only_features = not _convolves(options.config, observation) and len(options.config.hidden_sizes) == 1
    return (
        ignored_by_network(options, observation)
        | ignored_by_replay(options)
        | ignored_settings(
            (copied, "hparams.tau 1 at every step", ("config.double",)),
            (only_features, "config.hidden_sizes of one layer", ("config.layer_norm",)),
        )
    )


def ignored_by_recurrent_dqn(options: Options, observation: Any) -> dict[str, str]:
    """The settings that recurrent DQN ignores, and why."""
    del observation
    uniform = (options.config.replay == "uniform", "config.replay uniform", ("hparams.priority_eta",))
    return ignored_by_replay(options) | ignored_by_exploration(options) | ignored_settings(uniform)


def ignored_by_pqn(options: Options, observation: Any) -> dict[str, str]:
    """The settings that PQN ignores, and why."""
    one_step = (options.config.rollout_length == 1, "config.rollout_length 1", ("hparams.q_lambda",))
    return ignored_by_network(options, observation) | ignored_settings(one_step)


def ignored_by_replay(options: Options) -> dict[str, str]:
    """The settings of a prioritised replay that are ignored, and why."""
    hparams = options.hparams
    exponents = tuple(f"hparams.importance_exponent_{part}" for part in ("start", "end", "steps"))
    constant = hparams.importance_exponent_start == hparams.importance_exponent_end
    return ignored_settings(
        (constant, "hparams.importance_exponent_start equal to its end", exponents[-1:]),
        (hparams.priority_exponent == 0, "hparams.priority_exponent 0", exponents),
        (options.config.replay == "uniform", "config.replay uniform", ("hparams.priority_exponent", *exponents)),
    )


def ignored_by_network(options: Options, observation: Any) -> dict[str, str]:
    """The settings of the network and of ε that are ignored, and why."""
    board, stack, config = has_board(observation), has_stacks(observation), options.config
    no_layers = not _convolves(config, observation) and not config.hidden_sizes
    return ignored_by_exploration(options) | ignored_settings(
        (not board, f"env {options.task.env}, which shows no board", ("config.conv_features",)),
        (not stack, f"env {options.task.env}, which shows no stack of frames", ("config.network",)),
        (stack, f"config.network {config.network}, which has its own", ("config.hidden_sizes",)),
        (no_layers, "config.hidden_sizes of no layers", ("config.layer_norm",)),
    )


def _convolves(config: NetworkConfig, observation: Any) -> bool:
    return has_stacks(observation) or (config.conv_features > 0 and has_board(observation))


def ignored_by_exploration(options: Options) -> dict[str, str]:
    """The settings of ε that are ignored, and why."""
    constant = options.hparams.epsilon_start == options.hparams.epsilon_end
    return ignored_settings((constant, "hparams.epsilon_start equal to its end", ("hparams.epsilon_decay_steps",)))


def dqn_agent(env: Any, env_params: Any, config: DQN) -> Agent:
    """The agent alone."""
    values = make_action_values(config)
    dense = NoisyDense if config.noisy else Dense
    network = default_network(env, env_params, config, outputs=values.shape, dueling=config.dueling, dense=dense)
    return dqn(network, values, config.double)


def build_dqn(env: Any, env_params: Any, config: DQN) -> tuple[Agent, Trainer]:
    agent = dqn_agent(env, env_params, config)
    return agent, off_policy(agent, env, env_params, config)


def build_iqn(env: Any, env_params: Any, config: IQN) -> tuple[Agent, Trainer]:
    if not config.hidden_sizes:
        raise ArgumentError("hidden_sizes", "must have one layer or more, for the features", config.hidden_sizes)
    network = default_network(env, env_params, config)
    *hidden_sizes, num_features = network.hidden_sizes
    features = network.clone(num_actions=num_features, hidden_sizes=hidden_sizes)
    agent = iqn(features, num_discrete_actions(env, env_params), config)
    return agent, off_policy(agent, env, env_params, config)


def build_recurrent_dqn(env: Any, env_params: Any, config: RecurrentDQN) -> tuple[Agent, Trainer]:
    actions, example = num_discrete_actions(env, env_params), example_of(env, env_params)
    check_observation(example)
    network = RecurrentQNetwork(actions, config.hidden_size, config.memory_size, num_states_of(example))
    agent: Agent = recurrent_dqn(network, config)
    agent = normalised(agent) if config.normalise else agent
    return agent, off_policy(agent, env, env_params, config)


def build_pqn(env: Any, env_params: Any, config: PQN) -> tuple[Agent, Trainer]:
    agent = pqn(default_network(env, env_params, config), config)
    return agent, on_policy(agent, env, env_params, config)
