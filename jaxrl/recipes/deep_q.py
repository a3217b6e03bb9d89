"""How the experiments with Q-networks are put together: DQN, its descendants up to Rainbow, and PQN."""

import dataclasses
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval

from jaxrl.agents import MinibatchConfig, action_values, dqn, pqn
from jaxrl.agents.action_values import ActionValues
from jaxrl.envs import num_discrete_actions
from jaxrl.networks import Dense, NoisyDense, QNetwork, q_network
from jaxrl.networks.layers import is_board
from jaxrl.networks.network import example_of
from jaxrl.runs.experiment import idle_settings
from jaxrl.runs.options import Options
from jaxrl.training import OffPolicyConfig, OnPolicyConfig, off_policy, on_policy
from jaxrl.types import Agent, Trainer


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (128,)
    """Units of each dense layer."""
    conv_features: Annotated[int, Interval(gt=0, lt=2**16)] = 16
    """Features of the 3 × 3 convolution before them, where the environment shows a board."""
    layer_norm: bool = False
    """Normalise each layer's features."""


@dataclasses.dataclass(frozen=True)
class DQN(NetworkConfig, OffPolicyConfig):
    """All static values of a DQN run."""

    double: bool = False
    """Double DQN: the online network chooses the action whose target value is used (van Hasselt et al. 2016)."""
    dueling: bool = False
    """Dueling network: one stream for the state's value, one for each action's advantage (Wang et al. 2016)."""
    noisy: bool = False
    """Dense layers with learned noise, which explore in place of ε: set the epsilons to 0 (Fortunato et al. 2018)."""
    values: Literal["expected", "categorical", "quantiles"] = "expected"
    """Learn returns' expectations, distributions (C51, Bellemare et al. 2017), or quantiles (Dabney et al. 2018)."""
    loss: Literal["huber", "l2"] = "huber"
    """Loss of expected values: huber (error clipped to [-1, 1], Mnih et al. 2015) or l2 (Mnih et al. 2013)."""
    num_atoms: Annotated[int, Interval(ge=2, lt=2**16)] = 51
    """Numbers that describe each distribution."""
    v_min: float = 0.0
    """Smallest return of the categorical distribution. v_min and v_max must enclose the discounted returns."""
    v_max: float = 20.0
    """The largest; more than v_min."""


@dataclasses.dataclass(frozen=True)
class PQN(MinibatchConfig, NetworkConfig, OnPolicyConfig):
    """All static values of a PQN run."""

    num_envs: Annotated[int, Interval(gt=0, lt=2**31)] = 128
    """N, environments stepped side by side."""
    rollout_length: Annotated[int, Interval(gt=0, lt=2**31)] = 32
    """T, steps of every environment between two rounds of learning."""
    num_epochs: Annotated[int, Interval(gt=0, lt=2**31)] = 2
    """Times that each rollout is learned from."""
    num_minibatches: Annotated[int, Interval(gt=0, lt=2**31)] = 32
    """Gradient steps of an epoch; they share the rollout's num_envs * rollout_length transitions equally."""
    layer_norm: bool = True
    """Normalise each layer's features, without which learning may diverge."""


def usual_network(env: Any, env_params: Any, config: NetworkConfig, **options: Any) -> QNetwork:
    example = example_of(env, env_params)
    if is_board(getattr(example, "shape", ())):
        options["conv_features"] = config.conv_features
    actions = num_discrete_actions(env, env_params)
    return q_network(example, actions, config.hidden_sizes, layer_norm=config.layer_norm, **options)


def usual_values(config: DQN) -> ActionValues:
    """What the network says of each action.

    Raises:
        ArgumentError: fewer than 2 atoms, or bounds the wrong way round.
    """
    if config.values == "categorical":
        return action_values.categorical(config.v_min, config.v_max, config.num_atoms)
    if config.values == "quantiles":
        return action_values.quantiles(config.num_atoms)
    return action_values.expected_value(config.loss)


def idle_dqn(options: Options, observation: Any) -> dict[str, str]:
    """Settings of a DQN run that have no effect, and what makes them so."""
    hparams, config = options.hparams, options.config
    exponents = tuple(f"hparams.importance_exponent_{part}" for part in ("start", "end", "steps"))
    copied = hparams.tau == hparams.target_update_period == 1
    return idle_network(options, observation) | idle_settings(
        (
            hparams.importance_exponent_start == hparams.importance_exponent_end,
            "hparams.importance_exponent_start equal to its end",
            ("hparams.importance_exponent_steps",),
        ),
        (hparams.priority_exponent == 0, "hparams.priority_exponent 0", exponents),
        (config.replay == "uniform", "config.replay uniform", ("hparams.priority_exponent", *exponents)),
        (config.values != "expected", f"config.values {config.values}", ("config.loss",)),
        (config.values == "expected", "config.values expected", ("config.num_atoms",)),
        (config.values != "categorical", f"config.values {config.values}", ("config.v_min", "config.v_max")),
        (copied and not config.noisy, "hparams.tau 1 at every step", ("config.double",)),
    )


def idle_pqn(options: Options, observation: Any) -> dict[str, str]:
    """Settings of a PQN run that have no effect, and what makes them so."""
    one_step = options.config.rollout_length == 1
    return idle_network(options, observation) | idle_settings(
        (one_step, "config.rollout_length 1", ("hparams.q_lambda",))
    )


def idle_network(options: Options, observation: Any) -> dict[str, str]:
    """Settings that have no effect, of the network and of ε."""
    hparams, config = options.hparams, options.config
    board = is_board(getattr(observation, "shape", ()))
    return idle_settings(
        (not board, f"env {options.task.env}, which shows no board", ("config.conv_features",)),
        (not board and not config.hidden_sizes, "config.hidden_sizes of no layers", ("config.layer_norm",)),
        (
            hparams.epsilon_start == hparams.epsilon_end,
            "hparams.epsilon_start equal to its end",
            ("hparams.epsilon_decay_steps",),
        ),
    )


def build_dqn(env: Any, env_params: Any, config: DQN) -> tuple[Agent, Trainer]:
    """DQN, or what its parts make of it."""
    values = usual_values(config)
    dense = NoisyDense if config.noisy else Dense
    network = usual_network(env, env_params, config, outputs=values.shape, dueling=config.dueling, dense=dense)
    agent = dqn(network, values, config.double)
    return agent, off_policy(agent, env, env_params, config)


def build_pqn(env: Any, env_params: Any, config: PQN) -> tuple[Agent, Trainer]:
    agent = pqn(usual_network(env, env_params, config), config)
    return agent, on_policy(agent, env, env_params, config)
