"""The worlds, and how to make and step them."""

from jaxrl.envs.base import Environment
from jaxrl.envs.minatar import GAMES
from jaxrl.envs.registry import make, num_discrete_actions, protocol_of
from jaxrl.envs.rollout import rollout
from jaxrl.envs.vector import VectorEnv, VectorState, vectorize

__all__ = [
    "GAMES",
    "Environment",
    "VectorEnv",
    "VectorState",
    "make",
    "num_discrete_actions",
    "protocol_of",
    "rollout",
    "vectorize",
]
