"""Random-policy steps per second of jaxrl's environments, and of the same environments in gymnax and pgx.

Each program is a loop over steps of N environments that reset themselves. A step draws actions, steps all environments,
and adds up rewards and finished episodes. The program returns everything that it carries, so that no part of it is dead
code. Programs differ in what happens to the observations:

    ``full``    written to memory each step: bool `[N, 10, 10, C]` for jaxrl's MinAtar games and for pgx, and float32 in
                gymnax and for CartPole-v1.
    ``packed``  as bits, uint32 `[N, words]`, stored in a ring of the newest steps, as in a replay buffer.
    ``none``    not computed.

jaxrl plays by the rules of the baseline that it is compared with. gymnax and pgx run as their users run them, with
`jax.vmap` over one key for each environment. gymnax's other environments run in jaxrl through `jaxrl.envs.vectorize`.
"""

import importlib.util
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError
from jaxrl.benchmarks.pages import Rows
from jaxrl.benchmarks.timing import TimedLoop, Timing, compile_loop, time_loops
from jaxrl.envs import GAMES, Environment, HostEnvironment, action_space_of, describe_rules, make, vectorize
from jaxrl.envs.minatar.environment import NO_CAP
from jaxrl.types import Array, Box, Discrete, PyTree

OBSERVATIONS = ("full", "packed", "none")
BASELINES = {"gymnax": ("gymnax",), "pgx": ("pgx", "pgx_minatar")}
"""The libraries that jaxrl is compared with, and the modules that they need."""
RULES: dict[str, dict[str, Any]] = {"gymnax": {}, "pgx": {"sticky_action_prob": 0.1, "max_steps_in_episode": NO_CAP}}
"""Changes to gymnax's rules that make jaxrl's MinAtar games play by the default rules of each baseline."""
RING_STEPS, RING_BYTES = 128, 2**28
"""Limits of the ring of packed observations."""


class Implementation(NamedTuple):
    """N environments of one library, as the functions that a random rollout needs.

    Attributes:
        library: "jaxrl", "gymnax" or "pgx".
        observation: what happens to the observations: one of `OBSERVATIONS`.
        rules: the library whose rules are played, or "its own".
        description: these rules, in one line.
        num_envs: N.
        space: the actions.
        reset: `(key) -> (environments, observations)`.
        step: `(environments, actions[N], key) -> (environments, observations, reward[N], done[N])`.
    """

    library: str
    observation: str
    rules: str
    description: str
    num_envs: int
    space: Discrete | Box
    reset: Callable[[Array], tuple[PyTree, PyTree]]
    step: Callable[[PyTree, Array, Array], tuple[PyTree, PyTree, Array, Array]]


class Carry(NamedTuple):
    """What a rollout carries. `reward`, float32 `[N]`, and `episodes`, int32 `[N]`, are totals."""

    key: Array
    envs: PyTree
    observation: PyTree
    reward: Array
    episodes: Array


def from_jaxrl(
    env: Environment, params: Any, observation: str, rules: str, description: str, num_envs: int
) -> Implementation:
    """One of jaxrl's own environments, which are batched by themselves."""

    def draw(key: Array) -> Array:
        return jax.random.bits(key, (env.random_words, num_envs), jnp.uint32)

    def observe(envs: PyTree) -> PyTree:
        if observation == "none":
            return ()
        packed = jnp.moveaxis(env.encode(envs), 0, -1)
        return packed if observation == "packed" else env.decode(packed)

    def reset(key: Array) -> tuple[PyTree, PyTree]:
        envs = env.initial(draw(key), params)
        return envs, observe(envs)

    def step(envs: PyTree, actions: Array, key: Array) -> tuple[PyTree, PyTree, Array, Array]:
        actions = actions if env.box is None else jnp.moveaxis(actions, -1, 0)
        envs, _, reward, terminated, truncated = env.advance(envs, actions, draw(key), params)
        return envs, observe(envs), reward, terminated | truncated

    return Implementation("jaxrl", observation, rules, description, num_envs, action_space_of(env, params), reset, step)


def from_vectorize(env: Any, params: Any, num_envs: int) -> Implementation:
    """A gymnax environment through `vectorize`. The observation is part of its state."""
    envs, description = vectorize(env, params, num_envs), describe_rules(env, params)

    def reset(key: Array) -> tuple[PyTree, PyTree]:
        return envs.reset(key), ()

    def step(state: PyTree, actions: Array, key: Array) -> tuple[PyTree, PyTree, Array, Array]:
        state, transition, _ = envs.step(state, actions, key)
        return state, (), transition.reward, transition.terminated | transition.truncated

    return Implementation("jaxrl", "full", "gymnax", description, num_envs, action_space_of(env, params), reset, step)


def from_gymnax(env_id: str, description: str, num_envs: int) -> Implementation:
    """gymnax's environment of this name, with its default parameters."""
    import gymnax

    env, params = gymnax.make(env_id)

    def reset(key: Array) -> tuple[PyTree, PyTree]:
        observation, envs = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), params)
        return envs, observation

    def step(envs: PyTree, actions: Array, key: Array) -> tuple[PyTree, PyTree, Array, Array]:
        keys = jax.random.split(key, num_envs)
        step_envs = jax.vmap(env.step, in_axes=(0, 0, 0, None))
        observation, envs, reward, terminated, truncated, _ = step_envs(keys, envs, actions, params)
        return envs, observation, reward, terminated | truncated

    return Implementation("gymnax", "full", "gymnax", description, num_envs, action_space_of(env, params), reset, step)


def from_pgx(env_id: str, description: str, num_envs: int) -> Implementation:
    """pgx's environment for a MinAtar name such as "SpaceInvaders-MinAtar". The observation is part of its state."""
    import pgx
    from pgx.experimental import auto_reset

    game = re.sub(r"(?<!^)([A-Z])", r"_\1", env_id.removesuffix("-MinAtar")).lower()
    env: Any = pgx.make(f"minatar-{game}")
    step_envs = jax.vmap(auto_reset(env.step, env.init))

    def reset(key: Array) -> tuple[PyTree, PyTree]:
        return jax.vmap(env.init)(jax.random.split(key, num_envs)), ()

    def step(envs: PyTree, actions: Array, key: Array) -> tuple[PyTree, PyTree, Array, Array]:
        envs = step_envs(envs, actions, jax.random.split(key, num_envs))
        return envs, (), envs.rewards[:, 0], envs.terminated | envs.truncated

    return Implementation("pgx", "full", "pgx", description, num_envs, Discrete(env.num_actions), reset, step)


def missing_modules(baseline: str) -> list[str]:
    """The modules that a baseline needs and that are not installed."""
    return [module for module in BASELINES[baseline] if importlib.util.find_spec(module) is None]


def implementations(env_id: str, num_envs: int, baselines: Sequence[str]) -> list[Implementation]:
    """All implementations to measure together: jaxrl by the rules of each baseline (or gymnax's), and the baselines.

    Raises:
        ArgumentError: there is no such environment, or it steps on the host.
    """
    if env_id in GAMES:
        together = []
        for rules in baselines or ("gymnax",):
            env, params = make(env_id, "gymnax", **RULES[rules])
            cap = "no step cap" if params.max_steps_in_episode == NO_CAP else f"{params.max_steps_in_episode}-step cap"
            description = f"{env.num_actions} actions, sticky actions {params.sticky_action_prob:g}, {cap}"
            together += [from_jaxrl(env, params, kind, rules, description, num_envs) for kind in OBSERVATIONS]
            if rules in baselines:
                together.append({"gymnax": from_gymnax, "pgx": from_pgx}[rules](env_id, description, num_envs))
        return together
    env, params = make(env_id)
    if isinstance(env, HostEnvironment):
        raise ArgumentError("env_id", "must step on the device, as gymnasium's do not", env_id)
    own, description = isinstance(env, Environment), describe_rules(env, params)
    known = env_id == "CartPole-v1" or (not own and ":" not in env_id)  # to gymnax
    baseline = [from_gymnax(env_id, description, num_envs)] if "gymnax" in baselines and known else []
    if not own:
        return [from_vectorize(env, params, num_envs), *baseline]
    rules = "gymnax" if known else "its own"
    return [*(from_jaxrl(env, params, kind, rules, description, num_envs) for kind in OBSERVATIONS), *baseline]


def random_rollout(each: Implementation) -> tuple[Callable[[Array], Carry], Callable[[Carry, Array], Carry]]:
    """The loop of a random policy as `(init, run)`: `(key) -> Carry` and `(Carry, num_steps) -> Carry`."""
    n, packed = each.num_envs, each.observation == "packed"

    def init(key: Array) -> Carry:
        run_key, reset_key = jax.random.split(key)
        envs, observation = each.reset(reset_key)
        if packed:
            steps = min(RING_STEPS, max(1, RING_BYTES // observation.nbytes))
            observation = jnp.zeros((steps, *observation.shape), observation.dtype)
        return Carry(run_key, envs, observation, jnp.zeros(n), jnp.zeros(n, jnp.int32))

    def body(t: Array, carry: Carry) -> Carry:
        key, action_key, step_key = jax.random.split(carry.key, 3)
        actions = random_actions(action_key, each.space, n)
        envs, observation, reward, done = each.step(carry.envs, actions, step_key)
        if packed:
            slot = jax.lax.rem(t, len(carry.observation))
            observation = jax.lax.dynamic_update_index_in_dim(carry.observation, observation, slot, 0)
        return Carry(key, envs, observation, carry.reward + reward, carry.episodes + done)

    return init, lambda carry, num_steps: jax.lax.fori_loop(0, num_steps, body, carry)


def random_actions(key: Array, space: Discrete | Box, num_envs: int) -> Array:
    """Uniformly random actions `[N]`, or `[N, D]` in a box."""
    if isinstance(space, Box):
        return jax.random.uniform(key, (num_envs, *space.low.shape), jnp.float32, space.low, space.high)
    return (jax.random.bits(key, (num_envs,), jnp.uint32) % space.num_actions).astype(jnp.int32)


def measure(env_id: str, num_envs: int, baselines: Sequence[str], seconds: float, repeats: int) -> Rows:
    """Measures all implementations of `num_envs` environments in turns, and returns one row (`to_row`) for each.

    Raises:
        ArgumentError: there is no such environment.
    """
    together = implementations(env_id, num_envs, baselines)
    loops = [compile_loop(*random_rollout(each)) for each in together]
    timings = time_loops(loops, seconds, repeats)
    return [to_row(env_id, *each) for each in zip(together, loops, timings, strict=True)]


def to_row(env_id: str, each: Implementation, loop: TimedLoop, timing: Timing) -> dict[str, Any]:
    """The measurement in JSON's types. Reward and episode length show whether two implementations play alike."""
    total, episodes = each.num_envs * loop.steps, int(loop.carry.episodes.sum())
    return {
        "env": env_id,
        "library": each.library,
        "observation": each.observation,
        "rules": each.rules,
        "description": each.description,
        "num_envs": each.num_envs,
        "steps_per_second": each.num_envs * timing.steps_per_second,
        **timing._asdict(),
        "reward_per_step": float(loop.carry.reward.sum()) / total,
        "episode_length": total / episodes if episodes else None,
    }
