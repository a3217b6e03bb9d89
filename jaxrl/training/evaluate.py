"""Evaluation: one episode in each of many worlds, with a key stream of its own."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.envs import VectorEnv, VectorState
from jaxrl.types import Array, PyTree


class Evaluation(NamedTuple):
    """One episode a world.

    Attributes:
        episode_return: undiscounted return, or the return so far where the episode did not end, float32 `[N]`.
        episode_length: steps, int32 `[N]`.
        ended: whether the episode ended within the steps allowed, bool `[N]`.
    """

    episode_return: Array
    episode_length: Array
    ended: Array


def evaluate(
    policy: Callable[[PyTree, PyTree, Array], Array], agent_state: PyTree, envs: VectorEnv, key: Array, max_steps: int
) -> Evaluation:
    """Plays one episode in each of `envs.num_envs` worlds, at most `max_steps` steps of each.

    Args:
        policy: `(agent_state, observations[N], key) -> actions[N]`, such as `Agent.policy`.
        agent_state: the state of one agent (vmap over it, and over `key`, for a population).
        envs: the worlds.
        key: used for nothing else.
        max_steps: where to stop an episode that does not end; it counts with its return so far.
    """

    def unfinished(carry: tuple[Array, VectorState, Evaluation]) -> Array:
        t, _, result = carry
        return (t < max_steps) & ~result.ended.all()

    def body(carry: tuple[Array, VectorState, Evaluation]) -> tuple[Array, VectorState, Evaluation]:
        t, worlds, result = carry
        act_key, env_key = jax.random.split(jax.random.fold_in(play_key, t))
        actions = policy(agent_state, envs.decode(worlds.observation), act_key)
        worlds, transition, _ = envs.step(worlds, actions, env_key)
        playing = ~result.ended
        result = Evaluation(
            result.episode_return + jnp.where(playing, transition.reward, 0.0),
            result.episode_length + playing,
            result.ended | transition.terminated | transition.truncated,
        )
        return t + 1, worlds, result

    reset_key, play_key = jax.random.split(key)
    n = envs.num_envs
    nothing = Evaluation(jnp.zeros(n), jnp.zeros(n, jnp.int32), jnp.zeros(n, bool))
    return jax.lax.while_loop(unfinished, body, (jnp.int32(0), envs.reset(reset_key), nothing))[2]
