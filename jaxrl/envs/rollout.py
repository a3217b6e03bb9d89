"""`rollout`: a policy playing in N environments, recorded, as one pure function."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError
from jaxrl.envs.base import Environment
from jaxrl.envs.foreign import check_interface
from jaxrl.envs.vector import VectorState, vectorize
from jaxrl.random import as_keys
from jaxrl.types import Array, PyTree, Transition


def rollout(
    env: Any,
    policy: Callable[[PyTree, Array], Array],
    key: Array,
    num_steps: int,
    num_envs: int,
    env_params: Any = None,
) -> Transition:
    """`num_steps` steps of a policy in `num_envs` fresh environments, which start anew where an episode ends.

    Pure and traceable: call it under `jax.jit`, and `vmap` it over keys or over what the policy closes over.

    Mind the memory: all observations are kept, whole, and so is what followed each. That is 2 × 400 bytes a step and
    environment of Breakout: 1000 steps of 1024 environments fill 0.83 GB (and 0.05 GB more while they are unpacked).
    What a function under `jit` does not return or use is not kept: without `next_observation` it is half of that, and
    rewards and actions alone take 8 MB.

    Args:
        env: one of jaxrl's environments, or any with gymnax 1.0's interface.
        policy: `(observations[N, *observation], key) -> actions[N]`, such as a `TrainedPolicy`.
        key: decides everything that is random.
        num_steps: T.
        num_envs: N.
        env_params: the environment's parameters, by default `env.default_params`.

    Returns:
        The transitions, every leaf `[T, N, ...]`. `next_observation` is what the action led to, before any reset.

    Raises:
        ArgumentError: a size that is not a whole number of at least 1, `make`'s pair instead of an environment, or a
            policy that does not give one action an environment.
    """
    if not isinstance(num_steps, Integral) or num_steps < 1:
        raise ArgumentError("num_steps", "must be a whole number >= 1", num_steps)
    if not isinstance(env, Environment):
        check_interface(env)
    envs = vectorize(env, getattr(env, "default_params", None) if env_params is None else env_params, num_envs)

    def body(env_states: VectorState, t: Array) -> tuple[VectorState, Transition]:
        act_key, env_key = jax.random.split(jax.random.fold_in(play_key, t))
        actions = policy(envs.decode(env_states.observation), act_key)
        if jnp.shape(actions)[:1] != (num_envs,):
            raise ArgumentError(
                "policy",
                f"must give {num_envs} actions, one an environment",
                jnp.shape(actions),
                got=f"shape {jnp.shape(actions)}",
            )
        env_states, transition, _ = envs.step(env_states, actions, env_key)
        return env_states, transition

    reset_key, play_key = jax.random.split(as_keys(key))
    stored = jax.lax.scan(body, envs.reset(reset_key), jnp.arange(num_steps, dtype=jnp.int32))[1]
    return stored._replace(
        observation=envs.decode(stored.observation), next_observation=envs.decode(stored.next_observation)
    )
