"""Action spaces."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError


class Discrete(NamedTuple):
    """Actions `0 .. num_actions - 1`, int `[...]`."""

    num_actions: int


class Box(NamedTuple):
    """Actions float `[..., D]` between two finite bounds, float32 `[D]`, a finite distance apart."""

    low: np.ndarray
    high: np.ndarray


def check_actions(actions: Any, space: Discrete | Box, num_envs: int) -> None:
    """Checks that a policy's actions fit the environment.

    Args:
        actions: what the policy returns for `num_envs` observations, or its `jax.ShapeDtypeStruct`.
        space: the actions of the environment.
        num_envs: N.

    Raises:
        ArgumentError: they are not int `[N]` for discrete actions, or float `[N, D]` for a box.
    """
    kind, name = (jnp.integer, "int") if isinstance(space, Discrete) else (jnp.floating, "float")
    shape = (num_envs,) if isinstance(space, Discrete) else (num_envs, *space.low.shape)
    if not (hasattr(actions, "shape") and actions.shape == shape and jnp.issubdtype(actions.dtype, kind)):
        got = f"{actions.dtype}{list(actions.shape)}" if hasattr(actions, "shape") else repr(actions)
        rule = f"must act with {name}{list(shape)}, for this environment has the actions {space}"
        raise ArgumentError("agent", rule, actions, got)


def is_box(space: Any) -> bool:
    """Whether a space with gymnax's or gymnasium's interface is a box of any shape."""
    return hasattr(space, "low") and hasattr(space, "high")
