"""Demonstrations: files of recorded transitions that agents imitate in an environment."""

import functools
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError, renaming
from jaxrl.envs import action_space_of, describe_env, vectorize
from jaxrl.replay.datasets import Dataset, load_dataset, num_actions_seen
from jaxrl.types import Discrete, PyTree, Transition


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


def read_about(path: str) -> dict[str, Any]:
    """What a file says about its transitions. Its errors name the option `dataset`."""
    return _dataset(path).about


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
