"""The recipe of MuZero, for environments with discrete actions and for games of two players."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Gt, Interval, MinLen

from jaxrl.agents import MuZeroConfig, muzero
from jaxrl.arguments import ArgumentError
from jaxrl.envs import num_discrete_actions
from jaxrl.envs.game import GameEnvironment
from jaxrl.networks import example_of, learned_model
from jaxrl.networks.layers import has_board
from jaxrl.recipes import self_play
from jaxrl.recipes.deep_q import ignored_by_replay
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OffPolicyConfig, off_policy
from jaxrl.types import Agent, PyTree, Trainer


@dataclasses.dataclass(frozen=True)
class MuZero(MuZeroConfig, OffPolicyConfig):
    """Static configuration of MuZero."""

    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 256
    """Sequences per gradient step."""
    state_size: Annotated[int, Gt(0)] = 128
    """Numbers of a state of the model."""
    hidden_sizes: Annotated[tuple[Annotated[int, Gt(0)], ...], MinLen(1)] = (128,)
    """Units of each dense layer, of the representation, of the dynamics and of the prediction."""
    conv_features: Annotated[int, Interval(ge=0, lt=2**16)] = 16
    """Channels of the 3 × 3 convolution before the representation (boards only), 0 for none."""


def build_muzero(env: Any, env_params: Any, config: MuZero) -> tuple[Agent, Trainer]:
    """MuZero for an environment, or for both players of a game.

    Raises:
        ArgumentError: the replay does not hold a sequence.
    """
    if config.replay_capacity < (least := config.sequence_length * config.num_envs):
        rule = f"must be at least {least}, a sequence of each of {config.num_envs} environments"
        raise ArgumentError("replay_capacity", rule, config.replay_capacity)
    example, actions = example_of(env, env_params), num_discrete_actions(env, env_params)
    conv_features = config.conv_features if has_board(example) else 0
    network = learned_model(example, actions, config.num_atoms, config.state_size, config.hidden_sizes, conv_features)
    game = env.game if isinstance(env, GameEnvironment) else None
    agent = muzero(network, config, two_players=game is not None and env.is_self_play, game=game)
    return agent, off_policy(agent, env, env_params, dataclasses.replace(config, n_step=config.sequence_length))


def ignored_by_muzero(options: Options, observation: Any) -> dict[str, str]:
    """The settings that MuZero ignores, and why."""
    follows = "MuZero, whose sequences follow from config.unroll_steps and config.target_steps"
    return ignored_by_replay(options) | ignored_settings(
        (not has_board(observation), f"env {options.task.env}, which shows no board", ("config.conv_features",)),
        (True, follows, ("config.n_step",)),
    )


def report(agent: Agent, env: Any, env_params: Any, agent_states: PyTree, directory: Path) -> dict[str, Any]:
    """The mistakes of each seed's player in a game that can be solved, as of AlphaZero's."""
    is_game = isinstance(env, GameEnvironment)
    return self_play.report(agent, env, env_params, agent_states, directory) if is_game else {}
