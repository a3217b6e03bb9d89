"""Demonstrations: files of recorded transitions that agents imitate in an environment."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, renaming
from jaxrl.envs import action_space_of, describe_env, vectorize
from jaxrl.replay.datasets import Dataset, load_dataset, num_actions_seen
from jaxrl.runs import run_directory
from jaxrl.runs.options import default_hint
from jaxrl.types import Agent, Discrete, PyTree, Transition


@dataclasses.dataclass(frozen=True)
class Demonstrations:
    """Which transitions to imitate."""

    dataset: Annotated[str, default_hint("none: it is needed", "FILE")] = ""
    """Recorded transitions, as `python -m jaxrl.experiments.record` writes them, or minari:NAME."""
    num_episodes: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Episodes of the dataset to imitate, the first ones; 0 for all of it."""
    subsample: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Imitate one in so many transitions of each episode, beginning with the first."""


def read_demonstrations(config: Demonstrations, env: Any, env_params: Any) -> Transition:
    """The transitions to imitate, which must be those of the environment.

    Raises:
        ArgumentError: the file cannot be read, holds transitions of another environment, or too few episodes.
    """
    transitions = read_dataset(config.dataset, env, env_params)
    ends = np.asarray(transitions.terminated | transitions.truncated)
    rows = chosen_rows(ends, config.num_episodes, config.subsample)
    return jax.tree.map(lambda x: x[rows], transitions)


def chosen_rows(ends: np.ndarray, num_episodes: int, subsample: int) -> np.ndarray:
    """The rows of the first episodes, or of all if `num_episodes` is 0, and of them one in `subsample` of each.

    Args:
        ends: whether an episode ends with each row, bool `[M]`.
        num_episodes, subsample: as of `Demonstrations`.

    Raises:
        ArgumentError: there are fewer episodes.
    """
    if num_episodes > (ended := int(ends.sum())):
        raise ArgumentError("num_episodes", f"must be at most {ended}, the episodes of the dataset", num_episodes)
    begins = np.append(True, ends[:-1])
    episode, row = np.cumsum(begins) - 1, np.arange(len(ends))
    step = row - np.flatnonzero(begins)[episode]
    chosen = step % subsample == 0
    return np.flatnonzero(chosen & (episode < num_episodes) if num_episodes else chosen)


def report_recorded(agent: Agent, env: Any, env_params: Any, agent_states: PyTree, directory: Path) -> dict[str, Any]:
    """What a run imitated, for its summary."""
    del agent, env, env_params, agent_states
    options, fields = run_directory.read_config(directory)["options"], dataclasses.fields(Demonstrations)
    return describe_demonstrations(Demonstrations(*(options[f"config.{field.name}"] for field in fields)))


def describe_demonstrations(config: Demonstrations) -> dict[str, Any]:
    """How many episodes and transitions are imitated, and the mean return of the whole dataset's episodes, if known."""
    transitions, about = _dataset(config.dataset)
    ends = np.asarray(transitions.terminated | transitions.truncated)
    mean = about.get("episode_return_mean")
    return {
        "demonstrated_episodes": config.num_episodes or int(ends[:-1].sum()) + 1,
        "demonstrated_transitions": len(chosen_rows(ends, config.num_episodes, config.subsample)),
    } | ({"expert_return_mean": float(mean)} if isinstance(mean, int | float) else {})


def read_dataset(path: str, env: Any, env_params: Any) -> Transition:
    """The transitions in a file, which must be those of the environment. Its errors name the option `dataset`."""
    transitions, about = _dataset(path)
    check_same_env(about, env, env_params)
    num_actions = about.get("num_actions")
    if num_actions is not None and type(num_actions) is not int:
        rule = f"must give a whole number as num_actions of the transitions in {path}"
        raise ArgumentError("dataset", rule, num_actions)
    check_is_of_env(transitions, env, env_params, num_actions)
    return transitions


def _dataset(path: str) -> Dataset:
    if not path:
        rule = "must be a file of recorded transitions, as python -m jaxrl.experiments.record writes"
        raise ArgumentError("dataset", rule, path, got="none")
    with renaming(path="dataset"):
        return _read(path, os.stat(path).st_mtime_ns if os.path.exists(path) else 0)


@functools.lru_cache(maxsize=1)
def _read(path: str, changed: int) -> Dataset:
    """The groups of a sweep share what they read."""
    del changed
    return load_dataset(path)


def dataset_shapes(env: Any, env_params: Any, size: int = 1) -> Transition:
    """The shapes of `size` transitions of an environment: `jax.ShapeDtypeStruct`s `[size, ...]`."""
    envs, space = vectorize(env, env_params, size), action_space_of(env, env_params)
    if isinstance(space, Discrete):
        actions = jnp.zeros(size, jnp.int32)
    else:
        actions = jnp.zeros((size, *space.low.shape), jnp.float32)
    return jax.eval_shape(lambda key: envs.decode(envs.step(envs.reset(key), actions, key)[1]), jax.random.key(0))


def check_same_env(about: Mapping[str, Any], env: Any, env_params: Any) -> None:
    """Checks that what is known about transitions, or about an expert, is not of another environment.

    Args:
        about: with `env_name` and `rules_text`, as from `jaxrl.envs.describe_env`. What is missing is not checked, but
            for a name that `jaxrl.make` knows as `env`.
        env, env_params: the environment.

    Raises:
        ArgumentError: it is of another one, or of the same with other rules or parameters.
    """
    known = {"env_name": about["env"]} if ":" not in str(about.get("env", ":")) else {}
    known |= about
    for key, here in describe_env(env, env_params).items():
        if known.get(key, here) != here:
            word = "environment" if key == "env_name" else "rules"
            raise ArgumentError("dataset", f"must be of the {word} {here!r}", got=repr(known[key]))


def check_is_of_env(dataset: Transition, env: Any, env_params: Any, num_actions: int | None = None) -> None:
    """Checks that transitions have the shapes and dtypes of an environment's, and no action that it lacks.

    Args:
        dataset: the transitions.
        env, env_params: the environment.
        num_actions: how many actions there were to choose from, if that is known.

    Raises:
        ArgumentError: they do not.
    """
    expected, space = dataset_shapes(env, env_params), action_space_of(env, env_params)

    def text(x: PyTree) -> str:
        return str(jax.tree.map(lambda x: f"{x.dtype}{list(x.shape[1:])}", x)).replace("'", "")

    for name in ("observation", "action"):
        here, there = (text(getattr(transitions, name)) for transitions in (expected, dataset))
        if here != there:
            raise ArgumentError("dataset", f"must have the {name} of this environment, {here}", got=there)
    if isinstance(space, Discrete):
        known = num_actions if dataset.legal is None else dataset.legal.shape[1]
        given = max(num_actions_seen(dataset), known or 0)
        if given > space.num_actions or known not in (None, space.num_actions):
            rule = f"must have the actions of this environment, of which there are {space.num_actions}"
            raise ArgumentError("dataset", rule, given)
