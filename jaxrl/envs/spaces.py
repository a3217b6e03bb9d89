"""The actions and observations of an environment, and its name."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.envs.base import Environment
from jaxrl.envs.foreign import check_interface, is_box, space_of
from jaxrl.envs.host import HostEnvironment
from jaxrl.envs.multi_agent import MultiAgentEnvironment
from jaxrl.types import Box, Discrete, PyTree


def action_space_of(env: Any, params: Any) -> Discrete | Box:
    """The actions of an environment, jaxrl's own or any with gymnax 1.0's interface.

    Args:
        env: the environment.
        params: its parameters. They must not be traced if the bounds of a box depend on them.

    Raises:
        ArgumentError: it is no environment, or has another kind of actions, such as several at once or without bounds.
    """
    if isinstance(env, Environment):
        return Discrete(env.num_actions) if env.box is None else env.box
    if not callable(getattr(env, "action_space", None)):
        check_interface(env)
    space = space_of(env, params)
    if getattr(space, "shape", None) == () and hasattr(space, "n") and 0 < space.n < 2**31 and space.n % 1 == 0:
        return Discrete(int(space.n))
    fits = is_box(space) and all(np.shape(x) in ((), space.shape) for x in (space.low, space.high))
    if fits and len(space.shape) == 1 and jnp.issubdtype(space.dtype, jnp.floating):
        low, high = (np.broadcast_to(np.asarray(x, np.float32), space.shape) for x in (space.low, space.high))
        with np.errstate(over="ignore", invalid="ignore"):
            width = high - low
        if low.size and (np.isfinite(width) & (width > 0)).all():
            return Box(low, high)
    rule = "must have discrete actions or a box of them with one axis, finite bounds and low < high"
    raise ArgumentError("env", rule, env, got=f"{name_of(env)} with {space!r}")


def observation_of(env: Any, params: Any) -> PyTree:
    """The shape and dtype of an observation, of one agent if there are several, as `jax.ShapeDtypeStruct`s."""
    if isinstance(env, HostEnvironment):
        return env.example.observation
    observation = jax.eval_shape(env.reset, jax.random.key(0), params)[0]
    if isinstance(env, MultiAgentEnvironment):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), observation)
    return observation


def num_discrete_actions(env: Any, params: Any) -> int:
    """The number of actions of an environment.

    Raises:
        ArgumentError: its actions are not discrete.
    """
    space = action_space_of(env, params)
    if isinstance(space, Box):
        raise ArgumentError("env", "must have discrete actions", env, got=f"{name_of(env)}, whose actions are a Box")
    return space.num_actions


def name_of(env: Any) -> str:
    """The name of an environment, or of its class."""
    return getattr(env, "name", type(env).__name__)
