"""Small problems, and sums over all of their trajectories."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.grid_world import GridWorldParams, grid_mdp
from jaxrl.envs.maps import Grid
from jaxrl.types import MDP

tables = jax.jit(grid_mdp)


def grid_world(
    seed: int, size: int = 2, slip_probability: float = 0.3, discount: float = 1.0, wall: float = 0.0
) -> MDP:
    """A random Grid World: one goal or more, random rewards, and starts everywhere."""
    rng = np.random.default_rng(seed)
    walls = rng.random((size, size)) < wall
    terminal = rng.random((size, size)) < 0.1
    terminal[-1, -1] = True
    walls &= ~terminal
    walls[0, 0] = terminal[0, 0] = False
    reward = rng.normal(size=(size, size)) - 0.5
    grid = Grid(walls, terminal, np.zeros_like(walls), ~walls & ~terminal)
    return tables(grid, GridWorldParams(reward, slip_probability, discount, 100))


class AllTrajectories(NamedTuple):
    """All `M` trajectories that can happen, up to the end of their episodes.

    Attributes:
        luck: `p(s_0) Π_t P(s_{t+1} | s_t, a_t)`, `[M]`.
        log_policy: `Σ_t log π_t(a_t | s_t)` of a policy, `[M]`.
        counts: `Σ_t γ^t [s_t = s, a_t = a]`, `[M, S * A]`.
    """

    luck: np.ndarray
    log_policy: np.ndarray
    counts: np.ndarray


def all_trajectories(mdp: MDP, policy: np.ndarray) -> AllTrajectories:
    """Every trajectory of `T` steps, and how probable a policy `[T, S, A]` makes it."""
    transition, terminal = np.asarray(mdp.transition), np.asarray(mdp.terminal)
    states, actions = mdp.reward.shape
    state = np.flatnonzero(mdp.initial)
    luck, log_policy = np.asarray(mdp.initial)[state], np.zeros(len(state))
    counts, ended = np.zeros((len(state), states * actions)), []
    for time, now in enumerate(policy):
        over = terminal[state]
        ended.append((luck[over], log_policy[over], counts[over]))
        i, action, follows = np.nonzero((transition[state] > 0) & ~over[:, None, None])
        log_policy = log_policy[i] + np.log(now[state[i], action])
        luck = luck[i] * transition[state[i], action, follows]
        counts = counts[i]
        counts[np.arange(len(i)), state[i] * actions + action] += float(mdp.discount) ** time
        state = follows
    ended.append((luck, log_policy, counts))
    return AllTrajectories(*(np.concatenate(x) for x in zip(*ended, strict=True)))


def lottery(size: float) -> MDP:
    """In state 0, action 0 is safe and worth 0. Action 1 leads to one of two states, worth `size` and `-size`."""
    transition = np.zeros((4, 2, 4))
    transition[0, 0, 3] = transition[1:3, :, 3] = transition[3, :, 3] = 1
    transition[0, 1, 1:3] = 0.5
    reward = np.zeros((4, 2))
    reward[1], reward[2] = size, -size
    terminal = np.array([False, False, False, True])
    return MDP(*map(jnp.asarray, (transition, reward, 1.0, terminal, np.eye(4)[0])))
