"""The learners, one file an algorithm."""

from jaxrl.agents.a2c import A2CHparams, a2c
from jaxrl.agents.dqn import DQNConfig, DQNHparams, dqn
from jaxrl.agents.ppo import PPOConfig, PPOHparams, ppo
from jaxrl.agents.q_learning import QLearningHparams, q_learning
from jaxrl.agents.reinforce import ReinforceConfig, ReinforceHparams, reinforce

__all__ = [
    "A2CHparams",
    "DQNConfig",
    "DQNHparams",
    "PPOConfig",
    "PPOHparams",
    "QLearningHparams",
    "ReinforceConfig",
    "ReinforceHparams",
    "a2c",
    "dqn",
    "ppo",
    "q_learning",
    "reinforce",
]
