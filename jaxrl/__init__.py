"""jaxrl: reinforcement learning as pure functions of arrays."""

__version__ = "0.1.0"

from typing import TYPE_CHECKING, Any

from jaxrl.agents import DQNConfig, DQNHparams, dqn
from jaxrl.envs import make, rollout, vectorize
from jaxrl.networks import q_network
from jaxrl.trained import TrainedPolicy, load
from jaxrl.training import Checkpoints, OffPolicyConfig, evaluate, off_policy, population, repeat, run
from jaxrl.training.report import film
from jaxrl.types import Agent, Trainer, TrainState, Transition

if TYPE_CHECKING:
    from jaxrl.envs.render import render, render_state
else:

    def __getattr__(name: str) -> Any:
        """Imports Pillow when a picture is first asked for."""
        if name in ("render", "render_state"):
            from jaxrl.envs import render

            return getattr(render, name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "Agent",
    "Checkpoints",
    "DQNConfig",
    "DQNHparams",
    "OffPolicyConfig",
    "TrainState",
    "TrainedPolicy",
    "Trainer",
    "Transition",
    "dqn",
    "evaluate",
    "film",
    "load",
    "make",
    "off_policy",
    "population",
    "q_network",
    "render",
    "render_state",
    "repeat",
    "rollout",
    "run",
    "vectorize",
]
