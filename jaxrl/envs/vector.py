"""N environments in lockstep: one batched random draw a step, automatic resets, and exact episode statistics."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError, check_count
from jaxrl.envs.base import Environment, clipped
from jaxrl.envs.foreign import adapt
from jaxrl.envs.host import HostEnvironment, shapes_only
from jaxrl.envs.multi_agent import MultiAgentEnvironment, lanes
from jaxrl.precision import single
from jaxrl.random import as_keys
from jaxrl.types import Array, Mean, Metrics, PyTree, Transition
from jaxrl.xla.fusion import no_fuse
from jaxrl.xla.threefry import inline

LONG = 100_000
"""A time limit of so many steps is none: episodes end before it, at different times."""


class VectorState(NamedTuple):
    """The state of N environments.

    Attributes:
        env_states: each environment's own state.
        observation: what the next actions depend on, in stored form, `[N, ...]`.
        legal: which actions are legal, bool `[N, num_actions]`, or None if the environment does not say.
        episode_return: sum of rewards in the current episodes, float32 `[N]`.
        episode_length: steps in the current episodes, int32 `[N]`.
    """

    env_states: PyTree
    observation: PyTree
    legal: Array | None
    episode_return: Array
    episode_length: Array


class VectorEnv(NamedTuple):
    """Pure functions over N environments.

    Transitions come in stored form: the observations of jaxrl's own environments are packed words, which replay buffers
    store and `decode` turns into what agents see.

    Attributes:
        num_envs: N; of environments with M agents, M times as many as there are environments.
        reset: `(key) -> VectorState`.
        stagger: `(VectorState, key) -> VectorState`: the same states at random times of their episodes, so that these
            do not all end at their time limit at once. Only of jaxrl's own environments, whose clocks are known.
        step: `(VectorState, actions[N], key) -> (VectorState, Transition [N], Metrics)`, with `actions[N, D]` for a
            box. `next_observation` is the true one, before any reset. The metrics are `episode_return` and
            `episode_length` of the episodes that ended in this step, and, of environments whose physics may fail, the
            share of `failures`.
        observe: `(VectorState) -> observations[N]`, what agents see.
        decode: `(Transition [...]) -> Transition [...]`, from the stored form.
        axes: the axis of each leaf of `env_states` that counts environments: the last in jaxrl's own environments, else
            the first; None for what they share.
        host: the environment, if it steps on the host: `reset` and `step` can then be traced, but not run.
        frame_stack: k, if observations are stacks of the last k frames, as `HostEnvironment.frame_stack` says.
        num_agents: M, the lanes of one environment, whose episodes are one.
    """

    num_envs: int
    reset: Callable[[Array], VectorState]
    stagger: Callable[[VectorState, Array], VectorState]
    step: Callable[[VectorState, Array, Array], tuple[VectorState, Transition, Metrics]]
    observe: Callable[[VectorState], PyTree]
    decode: Callable[[Transition], Transition]
    axes: PyTree
    host: HostEnvironment | None = None
    frame_stack: int = 1
    num_agents: int = 1


def vectorize(env: Any, params: Any, num_envs: int) -> VectorEnv:
    """`num_envs` copies of an environment, jaxrl's own or any with gymnax 1.0's interface, stepped in lockstep.

    Of an environment that steps on the host, `jaxrl.evaluate` and the trainers make the copies. Those with M agents
    have N = num_envs M lanes, one for each agent.

    An environment with a box of actions receives them clipped to it. The transition keeps the original actions, because
    the policy assigned its probability to those.

    Raises:
        ArgumentError: `num_envs` is not a whole number of at least 1, or the environment does not have the interface in
            `jaxrl.envs.foreign`.
    """
    check_count("num_envs", num_envs)
    own, host = isinstance(env, Environment), env if isinstance(env, HostEnvironment) else None
    num_agents = env.num_agents if isinstance(env, MultiAgentEnvironment) else 1
    if host is not None:
        reset_envs, step_envs = shapes_only(host, num_envs)
    elif isinstance(env, MultiAgentEnvironment):
        reset_envs, step_envs = lanes(env, params, num_envs)
        num_envs *= num_agents
    else:
        reset_envs, step_envs = (_own if own else _gymnax)(env, params, num_envs)
    elapse = _stagger(env, params, num_envs) if own else None
    whole = env.decode if own else lambda observation: observation

    def reset(key: Array) -> VectorState:
        env_states, observation, legal = reset_envs(key)
        nothing = jnp.zeros(num_envs, jnp.float32), jnp.zeros(num_envs, jnp.int32)
        return VectorState(env_states, observation, legal, *nothing)

    def stagger(state: VectorState, key: Array) -> VectorState:
        if elapse is None:
            return state
        env_states, observation, legal = elapse(state.env_states, key)
        return state._replace(env_states=env_states, observation=observation, legal=legal)

    def step(state: VectorState, actions: Array, key: Array) -> tuple[VectorState, Transition, Metrics]:
        actions = single(actions)
        first, ended, final, failed = step_envs(state.env_states, actions, key)
        (env_states, observation, legal), (reward, terminated, truncated), (last, next_legal) = first, ended, final
        transition = Transition(
            state.observation, actions, reward, terminated, truncated, last, state.legal, next_legal
        )
        done = terminated | truncated
        episode_return, episode_length = state.episode_return + reward, state.episode_length + 1
        episodes = done[::num_agents].sum(dtype=jnp.int32)  # all agents of an environment end together
        metrics = {
            "episode_return": Mean(jnp.where(done, episode_return, 0.0).sum() / num_agents, episodes),
            "episode_length": Mean(
                jnp.where(done, episode_length, 0)[::num_agents].sum().astype(jnp.float32), episodes
            ),
        }
        if failed is not None:
            metrics["failures"] = Mean(failed.sum().astype(jnp.float32), jnp.int32(num_envs))
        state = VectorState(
            env_states, observation, legal, jnp.where(done, 0.0, episode_return), jnp.where(done, 0, episode_length)
        )
        return state, transition, metrics

    def decode(stored: Transition) -> Transition:
        return stored._replace(observation=whole(stored.observation), next_observation=whole(stored.next_observation))

    axes = _own_axes(env, params) if own else 0
    frame_stack = 1 if own else getattr(env, "frame_stack", 1)
    return VectorEnv(
        num_envs, reset, stagger, step, lambda state: whole(state.observation), decode, axes, host, frame_stack,
        num_agents,
    )  # fmt: skip


def _own(env: Environment, params: Any, num_envs: int) -> tuple[Callable, Callable]:
    """jaxrl's own environments: batched natively, with one random draw a step; observations stay packed."""
    params = single(params)
    _check_mask(env, params)

    def draw(key: Array) -> Array:
        return no_fuse(jax.random.bits(inline(key), (env.random_words, num_envs), jnp.uint32))

    seen = partial(_seen, env, params)

    def reset(key: Array) -> tuple[PyTree, Array, Array | None]:
        env_states = env.initial(draw(key), params)
        return env_states, *seen(env_states)

    def step(env_states: PyTree, actions: Array, key: Array) -> tuple:
        if env.box is not None:
            actions = jnp.moveaxis(clipped(actions, env.box), -1, 0)
        env_states, final, *ended = env.advance(env_states, actions, draw(key), params)
        failed = None if env.has_failed(final) is None else ended[2] & ~env.is_truncated(final, params)
        return (env_states, *seen(env_states)), ended, seen(final), failed

    return reset, step


def _seen(env: Environment, params: Any, env_states: PyTree) -> tuple[Array, Array | None]:
    """The packed observations and the legal actions of N states."""
    words, legal = env.encode(env_states), env.legal_actions(env_states, params)
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), (words, legal))


def _stagger(env: Environment, params: Any, num_envs: int) -> Callable[[PyTree, Array], tuple]:
    """Moves the clocks of N new states to random times below the time limit."""
    params = single(params)

    def elapse(env_states: PyTree, key: Array) -> tuple[PyTree, Array, Array | None]:
        limit = env.time_limit(params)
        if limit is None:
            return env_states, *_seen(env, params, env_states)
        steps = jax.random.randint(key, (num_envs,), 0, jnp.where(limit < LONG, limit, 1), jnp.int32)
        env_states = env.elapse(env_states, steps)
        return env_states, *_seen(env, params, env_states)

    return elapse


def _check_mask(env: Environment, params: Any) -> None:
    """Raises `ArgumentError` if the legal actions of an environment have another shape than its actions."""
    legal = jax.eval_shape(env.legal_actions, _own_states(env, params, 2), params)
    if legal is not None and (legal.shape, legal.dtype) != ((env.num_actions, 2), jnp.bool_):
        rule = f"must give bool[{env.num_actions}, 2] for two states, whether each action is legal"
        raise ArgumentError(f"{type(env).__name__}.legal_actions", rule, legal, got=f"{legal.dtype}{list(legal.shape)}")


def _own_states(env: Environment, params: Any, num_envs: int) -> PyTree:
    """The shapes of the states of so many environments."""
    bits = jax.ShapeDtypeStruct((env.random_words, num_envs), jnp.uint32)
    return jax.eval_shape(env.initial, bits, single(params))


def _own_axes(env: Environment, params: Any) -> PyTree:
    """The axis that differs between the states of two environments and of three; None if none does."""

    def axis(two: jax.ShapeDtypeStruct, three: jax.ShapeDtypeStruct) -> int | None:
        return next((i for i, (x, y) in enumerate(zip(two.shape, three.shape, strict=True)) if x != y), None)

    return jax.tree.map(axis, _own_states(env, params, 2), _own_states(env, params, 3))


def _gymnax(env: Any, params: Any, num_envs: int) -> tuple[Callable, Callable]:
    """Environments with gymnax 1.0's interface, which reset themselves and report the true last observation."""
    one = adapt(env, params)

    def reset(key: Array) -> tuple[PyTree, PyTree, Array | None]:
        observation, env_states = jax.vmap(one.reset)(jax.random.split(as_keys(key), num_envs))
        return env_states, observation, jax.vmap(one.legal_actions)(env_states)

    def step(env_states: PyTree, actions: Array, key: Array) -> tuple:
        observation, env_states, *ended, final, final_legal, failed = no_fuse(
            jax.vmap(one.step)(jax.random.split(inline(key), num_envs), env_states, actions)
        )
        return (env_states, observation, jax.vmap(one.legal_actions)(env_states)), ended, (final, final_legal), failed

    return reset, step
