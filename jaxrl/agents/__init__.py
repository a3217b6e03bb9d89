"""The learners, one file an algorithm."""

from jaxrl.agents.dqn import DQNConfig, DQNHparams, dqn

__all__ = ["DQNConfig", "DQNHparams", "dqn"]
