"""The worlds, and how to make and step them."""

from jaxrl.envs.base import Environment
from jaxrl.envs.grid_world import GridWorld, GridWorldParams, grid_mdp
from jaxrl.envs.maps import MAPS
from jaxrl.envs.minatar import GAMES
from jaxrl.envs.registry import make, num_discrete_actions, protocol_of
from jaxrl.envs.rollout import rollout
from jaxrl.envs.vector import VectorEnv, VectorState, vectorize

__all__ = [
    "GAMES",
    "MAPS",
    "Environment",
    "GridWorld",
    "GridWorldParams",
    "VectorEnv",
    "VectorState",
    "grid_mdp",
    "make",
    "num_discrete_actions",
    "protocol_of",
    "rollout",
    "vectorize",
]
