"""Action spaces."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError


class Discrete(NamedTuple):
    """Actions `0 .. num_actions - 1`, int `[...]`."""

    num_actions: int


class Box(NamedTuple):
    """Actions float `[..., D]` between bounds, both float32 `[D]` and finite, and a finite distance apart."""

    low: np.ndarray
    high: np.ndarray


def check_actions(actions: Any, space: Discrete | Box, num_envs: int) -> None:
    """Refuses a policy that does not fit the environment.

    Args:
        actions: what the policy gives for `num_envs` observations, or its `jax.ShapeDtypeStruct`.
        space: the environment's actions.
        num_envs: N.

    Raises:
        ArgumentError: they are not int `[N]` for discrete actions, or not float `[N, D]` for a box of them.
    """
    kind, name = (jnp.integer, "int") if isinstance(space, Discrete) else (jnp.floating, "float")
    shape = (num_envs,) if isinstance(space, Discrete) else (num_envs, *space.low.shape)
    if not (hasattr(actions, "shape") and actions.shape == shape and jnp.issubdtype(actions.dtype, kind)):
        got = f"{actions.dtype}{list(actions.shape)}" if hasattr(actions, "shape") else repr(actions)
        raise ArgumentError(
            "agent", f"must act with {name}{list(shape)}, for this environment has the actions {space}", actions, got
        )


def is_box(space: Any) -> bool:
    """Whether a space of gymnax's, or one with its interface, is a box, whatever its shape."""
    return hasattr(space, "low") and hasattr(space, "high")
