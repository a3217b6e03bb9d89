"""jaxrl: reinforcement learning as pure functions of arrays."""

__version__ = "0.1.0"

from jaxrl.agents import DQNConfig, DQNHparams, dqn
from jaxrl.envs import make, vectorize
from jaxrl.networks import q_network
from jaxrl.trained import TrainedPolicy, load
from jaxrl.training import Checkpoints, OffPolicyConfig, evaluate, off_policy, population, repeat, run
from jaxrl.types import Agent, Trainer, TrainState, Transition

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
    "load",
    "make",
    "off_policy",
    "population",
    "q_network",
    "repeat",
    "run",
    "vectorize",
]
