"""Recipes that imitate: behaviour cloning."""

import dataclasses
from typing import Annotated, Any, Literal

from annotated_types import Gt

from jaxrl.agents import behaviour_cloning
from jaxrl.envs import action_space_of
from jaxrl.networks import example_of, policy_network
from jaxrl.recipes.demonstrations import Demonstrations, dataset_shapes, read_demonstrations
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OfflineConfig, offline
from jaxrl.types import Agent, Trainer, Transition


@dataclasses.dataclass(frozen=True)
class BehaviourCloning(Demonstrations, OfflineConfig):
    """Static configuration of behaviour cloning."""

    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (64, 64)
    """Units of each dense layer of the policy network."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Activation function of these layers."""


def build_cloning(env: Any, env_params: Any, config: BehaviourCloning) -> tuple[Agent, Trainer]:
    """Behaviour cloning of the transitions in a file.

    Raises:
        ArgumentError: the file cannot be read, or holds transitions of another environment.
    """
    return _build(env, env_params, config, read_demonstrations(config, env, env_params))


def build_cloning_to_load(env: Any, env_params: Any, config: BehaviourCloning) -> tuple[Agent, Trainer]:
    """The same without the file."""
    return _build(env, env_params, config, dataset_shapes(env, env_params, config.batch_size))


def _build(env: Any, env_params: Any, config: BehaviourCloning, dataset: Transition) -> tuple[Agent, Trainer]:
    space = action_space_of(env, env_params)
    agent = behaviour_cloning(
        policy_network(example_of(env, env_params), space, config.hidden_sizes, config.activation)
    )
    return agent, offline(agent, dataset, config)


def ignored_by_cloning(options: Options, observation: Any) -> dict[str, str]:
    """The settings that behaviour cloning ignores, and why."""
    del observation
    return ignored_settings(
        (not options.config.hidden_sizes, "config.hidden_sizes of no layers", ("config.activation",))
    )
