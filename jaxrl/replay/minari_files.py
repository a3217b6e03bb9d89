"""Datasets in Minari's format (https://minari.farama.org), which others read and write too.

A Minari dataset has a name, such as `mujoco/hopper/expert-v0`, and lies in the folder that the environment variable
MINARI_DATASETS_PATH names, by default `~/.minari/datasets`. Nothing is downloaded: `minari download NAME` does that.
"""

import itertools
import json
import re
import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import jax
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.types import Transition

NAME = re.compile(r"([\w.-]+/)*[\w.-]+-v\d+")
"""Names of datasets, which end with a version."""
ABOUT = "jaxrl"
"""The entry of the metadata that holds what is known about the transitions, as JSON."""


def read(name: str) -> tuple[Transition, dict[str, Any]]:
    """The transitions `[M, ...]` of a Minari dataset, and what is known about them.

    Raises:
        ArgumentError: it cannot be read, or has no episodes.
    """
    minari = _package(name)
    try:
        dataset = minari.load_dataset(name)
        episodes = [_transitions(episode) for episode in dataset.iterate_episodes()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _refuse(name, error) from error
    if not episodes:
        raise ArgumentError("path", "must have transitions", name, got=f"none ({name})")
    ended = [steps.reward.sum() for steps in episodes if steps.terminated[-1] | steps.truncated[-1]]
    about = {"env_name": dataset.spec.env_spec.id} if dataset.spec.env_spec is not None else {}
    about |= {"episodes": len(ended)} | ({"episode_return_mean": float(np.mean(ended))} if ended else {})
    about |= json.loads(dataset.storage.metadata.get(ABOUT, "{}"))
    return jax.tree.map(lambda *xs: np.concatenate(xs), *episodes), about


def _transitions(episode: Any) -> Transition:
    """An episode of T steps, with T + 1 observations."""
    observation, following = (
        jax.tree.map(lambda x, rows=rows: x[rows], episode.observations) for rows in (slice(-1), slice(1, None))
    )
    parts: Any = map(np.asarray, (episode.actions, episode.rewards, episode.terminations, episode.truncations))
    action, reward, terminated, truncated = parts
    return Transition(observation, action, reward, terminated, truncated, following)


def write(name: str, transitions: Transition, about: Mapping[str, Any], num_actions: int) -> None:
    """Writes transitions `[M, ...]` as a new Minari dataset, whose last episode is truncated if it has not ended.

    Legal actions and extras are left out, which the format lacks. `num_actions` is 0 for continuous actions.

    Raises:
        ArgumentError: there is one of that name, or it is no name.
    """
    minari = _package(name)
    steps = transitions._replace(legal=None, next_legal=None, extras=())
    ends = np.flatnonzero(steps.terminated | steps.truncated) + 1
    bounds = np.unique(np.concatenate([[0], ends, [len(steps.reward)]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # about authors and links that are not given
        try:
            dataset = minari.create_dataset_from_buffers(
                name,
                [_buffer(jax.tree.map(lambda x, a=a, b=b: x[a:b], steps)) for a, b in itertools.pairwise(bounds)],
                algorithm_name=about.get("algorithm"),
                action_space=_space(steps.action, num_actions),
                observation_space=_space(steps.observation),
                jpeg_encoding=False,
            )
        except (OSError, ValueError) as error:
            raise _refuse(name, error) from error
    dataset.storage.update_metadata({ABOUT: json.dumps(dict(about))})


def _buffer(steps: Transition) -> Any:
    """An episode for Minari, from transitions `[T, ...]`."""
    from minari.data_collector import EpisodeBuffer

    last = np.arange(len(steps.reward)) == len(steps.reward) - 1
    return EpisodeBuffer(
        observations=jax.tree.map(lambda x, y: np.append(x, y[-1:], 0), steps.observation, steps.next_observation),
        actions=steps.action,
        rewards=steps.reward.tolist(),
        terminations=steps.terminated.tolist(),
        truncations=(steps.truncated | last & ~steps.terminated).tolist(),
    )


def _space(x: Any, num_actions: int = 0) -> Any:
    """The space of arrays `[M, ...]`, or of a dict of them."""
    from gymnasium import spaces

    if isinstance(x, dict):
        return spaces.Dict({name: _space(part) for name, part in x.items()})
    if num_actions:
        return spaces.Discrete(num_actions)
    if x.dtype == bool:
        return spaces.MultiBinary(x.shape[1:])
    low, high = (-np.inf, np.inf) if x.dtype.kind == "f" else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    return spaces.Box(low, high, x.shape[1:], x.dtype)


def _package(name: str) -> ModuleType:
    """Minari, for a dataset of this name.

    Raises:
        ArgumentError: it is no name, or Minari is not installed.
    """
    if not NAME.fullmatch(name):
        rule = "must be minari:NAME with a version at its end, such as minari:cartpole/expert-v0"
        raise ArgumentError("path", rule, f"minari:{name}")
    try:
        import minari
    except ImportError as error:
        rule = "needs the package minari, as from pip install -e '.[minari]'"
        raise ArgumentError("path", rule, name, got=f"minari:{name}") from error
    return minari


def _refuse(name: str, error: Exception) -> ArgumentError:
    why = (str(error).splitlines() or [type(error).__name__])[0][:150]
    return ArgumentError("path", f"must be a Minari dataset that can be used ({why})", f"minari:{name}")
