"""The recipe of Dyna in a Grid World, and the book's measures of it: lengths of episodes, and mazes that change."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxrl.agents import dyna_q, prioritised_sweeping
from jaxrl.agents.measured import measured
from jaxrl.arguments import ArgumentError
from jaxrl.envs import make
from jaxrl.envs.grid_world import GridWorld
from jaxrl.recipes.tabular import check_is_grid_world
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.training.hparams import as_arrays
from jaxrl.types import Agent, Array, Metrics, PyTree, Trainer

CHUNK = 500
"""Steps of one call of a compiled program."""


@dataclasses.dataclass(frozen=True)
class Dyna(OnPolicyConfig):
    """Static configuration of Dyna."""

    search_control: Literal["uniform", "prioritised"] = "uniform"
    """Which imagined transitions to learn from: uniformly drawn ones (Dyna-Q), or those with the largest errors
    (prioritised sweeping)."""


BOOK = Dyna(num_envs=1, rollout_length=1)
"""One environment, one step at a time."""


def build_dyna(env: Any, env_params: Any, config: Dyna) -> tuple[Agent, Trainer]:
    """Dyna-Q, Dyna-Q+ or prioritised sweeping in a Grid World, measured.

    Raises:
        ArgumentError: the environment is not a Grid World, or slips, which the model of a last transition cannot know.
    """
    check_is_grid_world(env)
    if np.any(env_params.slip_probability > 0):
        rule = "must be 0 for Dyna, whose model remembers one outcome of each action"
        raise ArgumentError("slip_probability", rule, env_params.slip_probability)
    agent = measured(make_learner(env, config), lambda discount: env.mdp(env_params.replace(discount=discount)))
    return agent, on_policy(agent, env, env_params, config)


def make_learner(env: GridWorld, config: Dyna) -> Agent:
    """The agent, not measured."""
    learners = {"uniform": dyna_q, "prioritised": prioritised_sweeping}
    return learners[config.search_control](env.grid.wall.size, env.num_actions, env.state_of)


def ignored_by_dyna(options: Options, observation: Any) -> dict[str, str]:
    """The settings that Dyna ignores, and why."""
    del observation
    control = options.config.search_control
    reason = f"config.search_control {control}"
    return ignored_settings(
        (control == "uniform", reason, ("hparams.priority_threshold",)),
        (control == "prioritised", reason, ("hparams.exploration_bonus",)),
    )


class Phase(NamedTuple):
    """A map, and for how many steps it stays."""

    map: str
    steps: int


def _maze(wall: str) -> str:
    return f"........G\n.........\n.........\n{wall}\n.........\n...S.....\nmove = 0\nG = 1\n"


BLOCKING = Phase(_maze("########."), 1000), Phase(_maze(".########"), 2000)
"""Sutton & Barto 2018, example 8.2: the path is blocked, and a longer one opens."""
SHORTCUT = Phase(_maze(".########"), 3000), Phase(_maze(".#######."), 3000)
"""Example 8.3: a shorter path opens, and the old one stays."""


def make_trainer(maze: str) -> Trainer:
    """Dyna-Q as in the book, not measured, without a cap of its steps."""
    env, env_params = make("GridWorld", map=maze, max_steps_in_episode=2**31 - 1)
    return on_policy(make_learner(env, BOOK), env, env_params, BOOK)


def episode_lengths(maze: str, hparams: PyTree, keys: Array, num_episodes: int) -> np.ndarray:
    """The steps of the first episodes of many runs side by side, `[runs, num_episodes]`.

    Args:
        maze: the map of the Grid World, as `make` takes it; each run needs a goal that it can reach.
        hparams: the hyperparameters of all runs.
        keys: of each run, `[runs]`.
        num_episodes: how many.
    """
    trainer, lengths = make_trainer(maze), [np.zeros(0)] * len(keys)
    states = _begin(trainer, hparams, keys)
    while min(map(len, lengths)) < num_episodes:
        states, metrics = _advance(trainer, states, CHUNK)
        steps, ended = np.asarray(metrics["episode_length"].sum), np.asarray(metrics["episode_length"].count) > 0
        lengths = [np.concatenate([own, steps[ended[:, i], i]]) for i, own in enumerate(lengths)]
    return np.array([own[:num_episodes] for own in lengths])


def cumulative_rewards(phases: Sequence[Phase], hparams: PyTree, keys: Array) -> np.ndarray:
    """The rewards that many runs collect until each step in a maze that changes, `[runs, steps]`.

    The agents' states, and where they are, stay the same when the map changes. Arguments are those of
    `episode_lengths`.
    """
    states, rewards = None, []
    for phase in phases:
        trainer = make_trainer(phase.map)
        states = _begin(trainer, hparams, keys) if states is None else states
        states, metrics = _advance(trainer, states, phase.steps)
        rewards.append(np.asarray(metrics["episode_return"].sum).T)
    return np.cumsum(np.concatenate(rewards, axis=1), axis=1)


def _begin(trainer: Trainer, hparams: PyTree, keys: Array) -> PyTree:
    return jax.jit(jax.vmap(trainer.init, in_axes=(0, None)))(keys, as_arrays(hparams))


@partial(jax.jit, static_argnums=(0, 2))
def _advance(trainer: Trainer, states: PyTree, steps: int) -> tuple[PyTree, Metrics]:
    """The states of many runs after some steps, and the metrics of each step, `[steps, runs]`."""
    return jax.lax.scan(lambda states, _: jax.vmap(trainer.step)(states), states, length=steps)
