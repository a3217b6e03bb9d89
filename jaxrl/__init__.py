"""jaxrl: reinforcement learning as pure functions of arrays."""

__version__ = "0.1.0"

from jaxrl import interrupt  # noqa: F401

# isort: split

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jaxrl import distributions, networks, ops, planning
from jaxrl.agents import (
    A2CHparams,
    DQNHparams,
    MinibatchConfig,
    PPOHparams,
    PQNHparams,
    QLearningHparams,
    RainbowHparams,
    ReinforceConfig,
    ReinforceHparams,
    a2c,
    dqn,
    ppo,
    pqn,
    q_learning,
    reinforce,
)
from jaxrl.arguments import ArgumentError
from jaxrl.envs import action_space_of, make, rollout, vectorize
from jaxrl.networks import Network, actor_critic, q_network
from jaxrl.plots.video import save_video
from jaxrl.runs.load import TrainedPolicy, load
from jaxrl.training import (
    Checkpoints,
    OffPolicyConfig,
    OnPolicyConfig,
    Program,
    evaluate,
    off_policy,
    on_policy,
    population,
    repeat,
    run,
)
from jaxrl.types import MDP, Agent, Mean, Sample, Trainer, TrainState, Transition

if TYPE_CHECKING:
    from jaxrl.plots.grid_values import render_values
    from jaxrl.plots.render import render, render_state
else:
    _PICTURES = {"render": "render", "render_state": "render", "render_values": "grid_pictures"}

    def __getattr__(name: str) -> Any:
        """Imports Pillow when a picture is first asked for."""
        if name in _PICTURES:
            return getattr(import_module(f"jaxrl.envs.{_PICTURES[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "MDP",
    "A2CHparams",
    "Agent",
    "ArgumentError",
    "Checkpoints",
    "DQNHparams",
    "Mean",
    "MinibatchConfig",
    "Network",
    "OffPolicyConfig",
    "OnPolicyConfig",
    "PPOHparams",
    "PQNHparams",
    "Program",
    "QLearningHparams",
    "RainbowHparams",
    "ReinforceConfig",
    "ReinforceHparams",
    "Sample",
    "TrainState",
    "TrainedPolicy",
    "Trainer",
    "Transition",
    "a2c",
    "action_space_of",
    "actor_critic",
    "distributions",
    "dqn",
    "evaluate",
    "load",
    "make",
    "networks",
    "off_policy",
    "on_policy",
    "ops",
    "planning",
    "population",
    "ppo",
    "pqn",
    "q_learning",
    "q_network",
    "reinforce",
    "render",
    "render_state",
    "render_values",
    "repeat",
    "rollout",
    "run",
    "save_video",
    "vectorize",
    "video",
]


def __dir__() -> list[str]:
    return __all__
