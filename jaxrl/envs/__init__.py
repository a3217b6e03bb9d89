"""The environments: `make` one by its name, `vectorize` it to step N of them, `rollout` a policy."""

from jaxrl.envs.base import Environment
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.gymnasium_env import from_gymnasium
from jaxrl.envs.host import HostEnvironment, HostError
from jaxrl.envs.minatar import GAMES
from jaxrl.envs.multi_agent import MultiAgentEnvironment
from jaxrl.envs.probing import check_resets
from jaxrl.envs.registry import describe_env, describe_rules, make
from jaxrl.envs.rollout import rollout
from jaxrl.envs.spaces import action_space_of, num_discrete_actions, observation_of
from jaxrl.envs.vector import VectorEnv, VectorState, vectorize
