"""The recipe of inverse reinforcement learning in a Grid World: demonstrations, methods, and learning from the result.

A reward is one number for entering each cell, as in the environment's own parameters.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrl import inverse
from jaxrl.agents import QLearningHparams, q_learning
from jaxrl.arguments import ArgumentError
from jaxrl.envs.grid_world import GridWorld, GridWorldParams
from jaxrl.inverse import Trajectories
from jaxrl.networks import q_network
from jaxrl.recipes.demonstrations import describe_dataset, read_dataset
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import MDP, Array, PyTree

Method = Literal["maxent", "deep", "lp"]


def entered_cells(env: GridWorld, params: GridWorldParams) -> Array:
    """The probability that an action enters a cell and earns its reward, `[S, A, S]`. It is zero in terminal cells.

    Its product with the rewards for entering each cell `[S]` is the `R(s, a)` of the environment's tables.
    """

    def reward_of(cells: Array) -> Array:
        return env.mdp(params.replace(reward=cells.reshape(env.grid.wall.shape))).reward

    return jax.jacfwd(reward_of)(jnp.zeros(env.grid.wall.size))


def cell_features(env: GridWorld) -> np.ndarray:
    """What a network knows of each cell, `[S, F]`: row and column from -1 to 1, and which kinds of cell it is."""
    grid = env.grid
    height, width = grid.wall.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([y, x, grid.wall, grid.terminal, grid.cliff], axis=-1, dtype=np.float32).reshape(-1, 5)


def maxent_reward(mdp: MDP, seen: Trajectories, entered: Array, learning_rate: float, num_steps: int) -> Array:
    """The most likely reward of each cell, `[S]`, one parameter for each, from zero on (Ziebart 2010)."""
    start = jnp.zeros(entered.shape[-1])
    return _fit(mdp, seen, lambda cells: entered @ cells, start, learning_rate, num_steps)


def deep_reward(
    mdp: MDP, seen: Trajectories, entered: Array, features: np.ndarray, key: Array, learning_rate: float, num_steps: int
) -> Array:
    """The most likely reward of each cell, `[S]`, as a network of its `features [S, F]` (Wulfmeier et al. 2015)."""
    network = q_network(features[0], 1, hidden_sizes=(64, 64))

    def cells(params: PyTree) -> Array:
        return jnp.ravel(jnp.asarray(network.apply(params, features)))

    params = network.init(key, features)
    fitted = _fit(mdp, seen, lambda params: entered @ cells(params), params, learning_rate, num_steps)
    return cells(fitted)


def simplest_reward(mdp: MDP, policy: Array, entered: Array, l1_penalty: float | None = None) -> np.ndarray:
    """The reward of each cell, `[S]`, that sets the policy apart (Ng & Russell 2000); see `inverse.linear_program`.

    By default, λ is 75 % of the one that makes the reward zero.
    """
    if l1_penalty is None:
        l1_penalty = 0.75 * inverse.critical_l1_penalty(mdp, policy, entered)
    weights = inverse.linear_program(mdp, policy, entered, l1_penalty=l1_penalty).weights
    return np.round(weights, 12)  # without what is left of zeros


def _fit(
    mdp: MDP,
    seen: Trajectories,
    reward: Callable[[PyTree], Array],
    params: PyTree,
    learning_rate: float,
    num_steps: int,
) -> PyTree:
    horizon = seen.states.shape[1]
    starts = jnp.zeros_like(mdp.initial).at[seen.states[:, 0]].add(1 / len(seen.states))
    problem = mdp._replace(initial=starts)  # so that where episodes start needs no reward to explain it
    expert = inverse.trajectory_occupancy(problem, seen)
    fit = partial(inverse.max_entropy, horizon=horizon, optimizer=optax.adam(learning_rate), num_steps=num_steps)
    return jax.jit(lambda params: fit(problem, expert, reward, params).params)(params)


def trajectories_from(path: str, env: GridWorld, params: GridWorldParams, horizon: int) -> Trajectories:
    """The episodes in a file of recorded transitions, cut after `horizon` steps.

    An episode that was cut earlier is left out, because what the expert would have done next is unknown. The
    cap on its steps may differ from that of the environment.

    Raises:
        ArgumentError: the file cannot be read, holds transitions of another environment or map, or no such episode.
    """
    cap = re.search(r"(\d+)-step cap$", str(describe_dataset(path).get("rules_text")))
    if cap:  # any will do
        params = params.replace(max_steps_in_episode=int(cap[1]))
    transitions = read_dataset(path, env, params)
    height, width = env.grid.wall.shape
    expected = np.stack([env.grid.wall, env.grid.terminal], axis=-1)
    if (transitions.observation[..., 1:] != expected).any():
        raise ArgumentError("dataset", f"must be of this map, {height} × {width}", got="one of another")
    states, follows = (np.asarray(env.state_of(x)) for x in (transitions.observation, transitions.next_observation))
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    first = 0
    for last in np.flatnonzero(transitions.terminated | transitions.truncated).tolist():
        seen = np.arange(first, min(last + 1, first + horizon))
        ended = np.full(horizon - len(seen), follows[last])  # a terminal state repeats
        if transitions.terminated[last] or not len(ended):
            rows.append((np.append(states[seen], ended), np.append(transitions.action[seen], 0 * ended)))
        first = last + 1
    if not rows:
        rule = f"must have an episode that ends, or one of at least {horizon} steps"
        raise ArgumentError("dataset", rule, got="none")
    return Trajectories(*(jnp.asarray(np.stack(x), jnp.int32) for x in zip(*rows, strict=True)))


def learn_policy(
    env: GridWorld, params: GridWorldParams, cells: np.ndarray, discount: float, key: Array, num_steps: int
) -> Array:
    """The greedy policy `[S, A]` of Q-learning in the environment, with another reward for each cell `[S]`."""
    rewarded = params.replace(reward=np.asarray(cells, np.float32).reshape(env.grid.wall.shape))
    agent = q_learning(env.grid.wall.size, env.num_actions, env.state_of)
    trainer = on_policy(agent, env, rewarded, OnPolicyConfig(num_envs=16, rollout_length=1))
    hparams = QLearningHparams(discount=discount, epsilon=0.3)

    def train(key: Array) -> Array:
        state = trainer.init(key, hparams)
        state, _ = jax.lax.scan(lambda state, _: (trainer.step(state)[0], None), state, length=-(-num_steps // 16))
        return state.agent.q_values

    with jax.enable_x64(False):
        q_values = np.asarray(jax.jit(train)(key))
    return jax.nn.one_hot(q_values.argmax(1), env.num_actions)
