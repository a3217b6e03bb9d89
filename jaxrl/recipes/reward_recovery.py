"""The recipe of inverse reinforcement learning in a Grid World: behaviour cloning with a policy that plans.

The policy `π_θ(a | s)` is the one that plans on a reward `R_θ` and prefers, of all with the same return, the one with
the largest causal entropy (Ziebart 2010). To clone demonstrations with it is to find the reward under which they are
most likely. A reward is one number for entering each cell, as in the environment's own parameters.
"""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl import inverse, planning
from jaxrl.agents import behaviour_cloning
from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Categorical
from jaxrl.envs import rollout
from jaxrl.envs.grid_world import GridWorld, GridWorldParams
from jaxrl.envs.spaces import name_of
from jaxrl.memory import check_fits
from jaxrl.networks import q_network
from jaxrl.random import key_stream
from jaxrl.recipes.demonstrations import (
    Demonstrations,
    chosen_rows,
    dataset_shapes,
    describe_demonstrations,
    read_demonstrations,
)
from jaxrl.runs.options import default_hint
from jaxrl.runs.recording import episode_returns
from jaxrl.training import OfflineConfig, offline
from jaxrl.training.devices import bytes_of
from jaxrl.types import MDP, Agent, Array, Input, PyTree, Trainer, Transition

EPISODES, LENGTH = 100, 200
"""Demonstrations of the best policy, unless their number is given, and the steps after which they are cut."""


@dataclasses.dataclass(frozen=True)
class RewardRecovery(Demonstrations, OfflineConfig):
    """Static configuration of inverse reinforcement learning."""

    dataset: Annotated[str, default_hint("none: the best policy demonstrates", "FILE")] = ""
    """Recorded transitions, as `python -m jaxrl.experiments.record` writes them."""
    num_episodes: Annotated[int, Interval(ge=0, le=1_000_000)] = 0
    """Episodes to learn from, the first ones of a dataset; 0 for all of it, or for 100 of the best policy."""
    reward: Literal["table", "network"] = "table"
    """What the reward is: a number for each cell, or a network that sees where it is and of which kind."""
    discount: Annotated[float, Interval(gt=0, lt=1)] = 0.9
    """The discount γ of the expert and of all that learns."""
    horizon: Annotated[int, Interval(ge=1, le=10_000)] = 50
    """Steps that the policy plans ahead."""
    linear_program: bool = True
    """Also find the reward of Ng & Russell's linear program, which is given the best policy itself."""
    rl_steps: Annotated[int, Interval(ge=0, lt=2**31)] = 200_000
    """Steps of Q-learning on the recovered reward of the first seed; 0 leaves it out."""


class Planner(NamedTuple):
    """A network whose policy plans on the reward that its parameters give.

    Attributes:
        mdp: the problem. Its reward plays no part.
        entered: see `entered_cells`.
        state_of: observations `[N, ...]` to states `[N]`.
        horizon: the steps that it plans ahead.
        start: the first parameters, from a key.
        cells: the reward for entering each cell, `[S]`, from the parameters.
    """

    mdp: MDP
    entered: np.ndarray
    state_of: Callable[[Array], Array]
    horizon: int
    start: Callable[[Array], PyTree]
    cells: Callable[[PyTree], Array]

    def init(self, key: Array, observations: PyTree) -> PyTree:
        del observations
        return self.start(key)

    def apply(self, params: PyTree, observations: PyTree, *, rngs: dict[str, Array] | None = None) -> Categorical:
        del rngs
        mdp = self.mdp._replace(reward=jnp.asarray(self.entered) @ self.cells(params))
        return Categorical(inverse.soft_value_iteration(mdp, self.horizon).q_values[0][self.state_of(observations)])


def build(env: Any, env_params: Any, config: RewardRecovery) -> tuple[Agent, Trainer]:
    """Inverse reinforcement learning from the transitions in a file, or from those of the best policy.

    Raises:
        ArgumentError: the environment is not a Grid World, or the file cannot be read, or is of another one.
    """
    _check_env(env)
    return _build(env, env_params, config, demonstrations(env, env_params, config)[0])


def build_to_load(env: Any, env_params: Any, config: RewardRecovery) -> tuple[Agent, Trainer]:
    """The same without the demonstrations."""
    _check_env(env)
    return _build(env, env_params, config, dataset_shapes(env, env_params, config.batch_size))


def _build(env: GridWorld, params: GridWorldParams, config: RewardRecovery, seen: Transition) -> tuple[Agent, Trainer]:
    agent = behaviour_cloning(make_planner(env, params, config))
    return agent, offline(agent, seen, config)


def _check_env(env: Any) -> None:
    if not isinstance(env, GridWorld):
        raise ArgumentError("env", "must be GridWorld, whose states are numbered for tables", name_of(env))


def make_planner(env: GridWorld, params: GridWorldParams, config: RewardRecovery) -> Planner:
    """The policy that plans in a Grid World, whose reward it does not know."""
    mdp, entered = jax.device_get((env.mdp(params.replace(discount=config.discount)), entered_cells(env, params)))
    start, cells = _table(env) if config.reward == "table" else _network(env)
    return Planner(mdp._replace(reward=0 * mdp.reward), entered, env.state_of, config.horizon, start, cells)


def _table(env: GridWorld) -> tuple[Callable[[Array], PyTree], Callable[[PyTree], Array]]:
    """One parameter for each cell, from zero on."""
    return lambda key: jnp.zeros(env.grid.wall.size), lambda params: params


def _network(env: GridWorld) -> tuple[Callable[[Array], PyTree], Callable[[PyTree], Array]]:
    """A network of the cells' features (Wulfmeier et al. 2015, https://arxiv.org/abs/1507.04888)."""
    features = cell_features(env)
    network = q_network(features[0], 1, hidden_sizes=(64, 64))

    def cells(params: PyTree) -> Array:
        return jnp.ravel(jnp.asarray(network.apply(params, features)))

    return lambda key: network.init(key, features), cells


def cell_features(env: GridWorld) -> np.ndarray:
    """What a network knows of each cell, `[S, F]`: row and column from -1 to 1, and which kinds of cell it is."""
    grid = env.grid
    height, width = grid.wall.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([y, x, grid.wall, grid.terminal, grid.cliff], axis=-1, dtype=np.float32).reshape(-1, 5)


def entered_cells(env: GridWorld, params: GridWorldParams) -> Array:
    """The probability that an action enters a cell and earns its reward, `[S, A, S]`. It is zero in terminal cells.

    Its product with the rewards for entering each cell `[S]` is the `R(s, a)` of the environment's tables.
    """

    def reward_of(cells: Array) -> Array:
        return env.mdp(params.replace(reward=cells.reshape(env.grid.wall.shape))).reward

    return jax.jacfwd(reward_of)(jnp.zeros(env.grid.wall.size))


def demonstrations(
    env: GridWorld, params: GridWorldParams, config: RewardRecovery
) -> tuple[Transition, dict[str, Any]]:
    """The transitions to learn from, and what a summary says of them.

    Raises:
        ArgumentError: the file cannot be read, or its transitions are of another map.
    """
    if not config.dataset:
        return _demonstrate(env, params, config)
    seen = read_demonstrations(config, env, params)
    if (seen.observation[..., 1:] != np.stack([env.grid.wall, env.grid.terminal], axis=-1)).any():
        raise ArgumentError("dataset", "must be of this map", got="one of another")
    return seen, describe_demonstrations(config)


def _demonstrate(env: GridWorld, params: GridWorldParams, config: RewardRecovery) -> tuple[Transition, dict[str, Any]]:
    """Episodes of the best policy, the first one of each environment."""
    number, length = config.num_episodes or EPISODES, min(LENGTH, int(params.max_steps_in_episode))
    with np.errstate(divide="ignore"):
        logits = np.log(best_policy(env, params, config.discount)[1]).astype(np.float32)

    def act(given: Input, key: Array) -> Array:
        return jax.random.categorical(key, jnp.asarray(logits)[env.state_of(given.observation)])

    def play(key: Array) -> Transition:
        return rollout(env, act, key, length, number, params)._replace(extras=())

    key = key_stream(0, "recording")
    check_fits("the demonstrations take", 2 * bytes_of(jax.eval_shape(play, key)), "fewer of them need less")
    steps = jax.tree.map(lambda x: np.array(x).swapaxes(0, 1), jax.device_get(jax.jit(play)(key)))
    steps.truncated[:, -1] |= ~steps.terminated[:, -1]
    ends = steps.terminated | steps.truncated
    first = np.cumsum(ends, axis=1) - ends == 0
    seen = jax.tree.map(lambda x: x[first], steps)
    rows = chosen_rows(seen.terminated | seen.truncated, 0, config.subsample)
    about = {"demonstrated_episodes": number, "demonstrated_transitions": len(rows)}
    return jax.tree.map(lambda x: x[rows], seen), about | {"expert_return_mean": float(np.mean(episode_returns(seen)))}


def best_policy(env: GridWorld, params: GridWorldParams, discount: float) -> tuple[MDP, np.ndarray]:
    """The tables of a Grid World, and the best policy `[S, A]` for its true reward, in float64. Ties share."""
    with jax.enable_x64(True):
        mdp = env.mdp(params.replace(discount=discount))
        plan = planning.policy_iteration(mdp)
        # Rounding errors hide some ties.
        best = np.asarray(plan.q_values > plan.values[:, None] - 1e-9 * abs(mdp.reward).max())
        return mdp, best / best.sum(1, keepdims=True)
