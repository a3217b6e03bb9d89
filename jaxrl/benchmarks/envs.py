"""Random-policy steps per second of jaxrl's environments, and of the same environments in gymnax and pgx.

One program is a loop of T steps of N environments: actions from one batched draw, a step with auto-reset, the reward
and the episodes that ended added up for each environment. It gets and gives back all it carries, so that nothing in it
is dead code, and T is not known when it is compiled, so that it compiles once and no step can be left out. It differs
in what happens to the observation that the next action would be chosen from:

    ``boolean``  whole, bool `[N, 10, 10, C]`, written to memory every step; as in any loop, XLA chooses the layout it
                 is carried in, and a timed run includes changing to that and back, once
    ``packed``   as bits, uint32 `[N, words]`, every step stored in a ring of the newest steps, as a replay stores it
    ``none``     not computed: the game alone
    ``whole``    whatever the library's own step returns, written to memory every step: float32 `[N, 10, 10, C]` in
                 gymnax, bool in pgx. For a gymnax environment in jaxrl it is what `jaxrl.envs.vectorize` adds to
                 gymnax, and for CartPole-v1 float32 `[N, 4]`, instead of ``boolean``.

The rules are the peer's: jaxrl plays once by gymnax's and once by pgx's, and is compared with the one it plays by.
Both are run as their users run them, `jax.vmap` over one key an environment.
"""

import importlib.util
import re
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.benchmarks.measure import Program, Timing, measure
from jaxrl.envs import GAMES, Environment, describe_rules, make, vectorize
from jaxrl.envs.minatar.environment import NO_CAP, MinAtarParams
from jaxrl.types import Array, PyTree

FORMS = ("boolean", "packed", "none")
PEERS = {"gymnax": ("gymnax",), "pgx": ("pgx", "pgx_minatar")}
"""The libraries measured beside jaxrl, and the modules they need."""
RING_STEPS, RING_BYTES = 128, 2**28
"""The newest steps that the packed form keeps, or as many as fit in these bytes."""


class EnvBatch(NamedTuple):
    """N environments of one implementation, as the two functions that a random rollout needs.

    Attributes:
        implementation: "jaxrl", "gymnax" or "pgx".
        form: what happens to the observation, as above.
        rules: whose rules are played.
        rules: the same in one line.
        num_envs: N.
        num_actions: actions are drawn from `0 .. num_actions - 1`.
        reset: `(key) -> (environments, observation)`.
        step: `(environments, actions[N], key) -> (environments, observation, reward[N], done[N])`.
    """

    implementation: str
    form: str
    rules: str
    description: str
    num_envs: int
    num_actions: int
    reset: Callable[[Array], tuple[PyTree, PyTree]]
    step: Callable[[PyTree, Array, Array], tuple[PyTree, PyTree, Array, Array]]


class Carry(NamedTuple):
    """What a rollout carries; `reward` float32 `[N]` and `episodes` int32 `[N]` are totals."""

    key: Array
    env_batch: PyTree
    observation: PyTree
    reward: Array
    episodes: Array


# The implementations ------------------------------------------------------------------------------------------------


def own(env: Environment, params: Any, form: str, rules: str, description: str, num_envs: int) -> EnvBatch:
    """jaxrl's own environments, batched by themselves; one observation a step, that of the state to act in next."""

    def draw(key: Array) -> Array:
        return jax.random.bits(key, (env.random_words, num_envs), jnp.uint32)

    def observe(env_batch: PyTree) -> PyTree:
        if form == "none":
            return ()
        packed = jnp.moveaxis(env.encode(env_batch), 0, -1)
        return packed if form == "packed" else env.decode(packed)

    def reset(key: Array) -> tuple[PyTree, PyTree]:
        env_batch = env.initial(draw(key), params)
        return env_batch, observe(env_batch)

    def step(env_batch: PyTree, actions: Array, key: Array) -> tuple[PyTree, PyTree, Array, Array]:
        env_batch, _, reward, terminated, truncated = env.advance(env_batch, actions, draw(key), params)
        return env_batch, observe(env_batch), reward, terminated | truncated

    return EnvBatch("jaxrl", form, rules, description, num_envs, env.num_actions, reset, step)


def vectorized(env: Any, params: Any, num_envs: int) -> EnvBatch:
    """A gymnax environment through `vectorize`, whose state holds the observation."""
    envs = vectorize(env, params, num_envs)

    def step(state: PyTree, actions: Array, key: Array) -> tuple[PyTree, PyTree, Array, Array]:
        state, transition, _ = envs.step(state, actions, key)
        return state, (), transition.reward, transition.terminated | transition.truncated

    description = describe_rules(env, params)
    return EnvBatch(
        "jaxrl", "whole", "gymnax", description, num_envs, env.num_actions, lambda key: (envs.reset(key), ()), step
    )


def from_gymnax(env_id: str, description: str, num_envs: int) -> EnvBatch:
    """gymnax's environment of this name, with its default parameters."""
    import gymnax

    env, params = gymnax.make(env_id)

    def reset(key: Array) -> tuple[PyTree, PyTree]:
        observation, env_batch = jax.vmap(env.reset, in_axes=(0, None))(jax.random.split(key, num_envs), params)
        return env_batch, observation

    def step(env_batch: PyTree, actions: Array, key: Array) -> tuple[PyTree, PyTree, Array, Array]:
        keys = jax.random.split(key, num_envs)
        observation, env_batch, reward, terminated, truncated, _ = jax.vmap(env.step, in_axes=(0, 0, 0, None))(
            keys, env_batch, actions, params
        )
        return env_batch, observation, reward, terminated | truncated

    return EnvBatch("gymnax", "whole", "gymnax", description, num_envs, env.num_actions, reset, step)


def from_pgx(env_id: str, description: str, num_envs: int) -> EnvBatch:
    """pgx's environment for a MinAtar name such as "SpaceInvaders-MinAtar"; its state holds the observation."""
    import pgx
    from pgx.experimental import auto_reset

    game = re.sub(r"(?<!^)([A-Z])", r"_\1", env_id.removesuffix("-MinAtar")).lower()
    env: Any = pgx.make(f"minatar-{game}")
    step_envs = jax.vmap(auto_reset(env.step, env.init))

    def reset(key: Array) -> tuple[PyTree, PyTree]:
        return jax.vmap(env.init)(jax.random.split(key, num_envs)), ()

    def step(env_batch: PyTree, actions: Array, key: Array) -> tuple[PyTree, PyTree, Array, Array]:
        env_batch = step_envs(env_batch, actions, jax.random.split(key, num_envs))
        return env_batch, (), env_batch.rewards[:, 0], env_batch.terminated | env_batch.truncated

    return EnvBatch("pgx", "whole", "pgx", description, num_envs, env.num_actions, reset, step)


def missing_modules(peer: str) -> list[str]:
    """The modules a peer needs that are not installed."""
    return [module for module in PEERS[peer] if importlib.util.find_spec(module) is None]


# What is compared ---------------------------------------------------------------------------------------------------


def minatar_params(env_id: str, rules: str) -> MinAtarParams:
    """jaxrl's parameters of a MinAtar game for a peer's default rules (actions are the minimal ones in both)."""
    if rules == "pgx":
        return MinAtarParams(sticky_action_prob=0.1, max_steps_in_episode=NO_CAP)
    import gymnax

    cap = gymnax.make(env_id)[1].max_steps_in_episode
    return MinAtarParams(sticky_action_prob=0.0, max_steps_in_episode=cap)


def lineup(env_id: str, num_envs: int, peers: Sequence[str]) -> list[EnvBatch]:
    """Everything that is measured together: jaxrl under each peer's rules (gymnax's if there is none), and the peers.

    Raises:
        ArgumentError: there is no such environment.
    """
    if env_id in GAMES:
        env = make(env_id, "gymnax")[0]
        together = []
        for rules in peers or ("gymnax",):
            params = minatar_params(env_id, rules)
            cap = "no step cap" if params.max_steps_in_episode == NO_CAP else f"{params.max_steps_in_episode}-step cap"
            description = f"{env.num_actions} actions, sticky actions {params.sticky_action_prob:g}, {cap}"
            together += [own(env, params, form, rules, description, num_envs) for form in FORMS]
            if rules in peers:
                together.append({"gymnax": from_gymnax, "pgx": from_pgx}[rules](env_id, description, num_envs))
        return together
    env, params = make(env_id)
    description = describe_rules(env, params)
    peer = [from_gymnax(env_id, description, num_envs)] if "gymnax" in peers and env_id != "GridWorld" else []
    if env_id == "CartPole-v1":
        return [*(own(env, params, form, "gymnax", description, num_envs) for form in ("whole", *FORMS[1:])), *peer]
    if isinstance(env, Environment):
        return [own(env, params, form, "its own", description, num_envs) for form in FORMS]
    return [vectorized(env, params, num_envs), *peer]


def rollout(env_batch: EnvBatch) -> tuple[Callable[[Array], Carry], Callable[[Carry, Array], Carry]]:
    """`(init, run)` of a random rollout: `(key) -> Carry` and `(Carry, num_steps) -> Carry`."""
    n, packed = env_batch.num_envs, env_batch.form == "packed"

    def init(key: Array) -> Carry:
        run_key, reset_key = jax.random.split(key)
        state, observation = env_batch.reset(reset_key)
        if packed:
            steps = min(RING_STEPS, max(1, RING_BYTES // observation.nbytes))
            observation = jnp.zeros((steps, *observation.shape), observation.dtype)
        return Carry(run_key, state, observation, jnp.zeros(n), jnp.zeros(n, jnp.int32))

    def body(t: Array, carry: Carry) -> Carry:
        key, action_key, step_key = jax.random.split(carry.key, 3)
        actions = (jax.random.bits(action_key, (n,), jnp.uint32) % env_batch.num_actions).astype(jnp.int32)
        state, observation, reward, done = env_batch.step(carry.env_batch, actions, step_key)
        if packed:
            slot = jax.lax.rem(t, len(carry.observation))
            observation = jax.lax.dynamic_update_index_in_dim(carry.observation, observation, slot, 0)
        return Carry(key, state, observation, carry.reward + reward, carry.episodes + done)

    return init, lambda carry, num_steps: jax.lax.fori_loop(0, num_steps, body, carry)


def measure_env(env_id: str, num_envs: int, peers: Sequence[str], seconds: float, repeats: int) -> list[dict[str, Any]]:
    """One row (see `row`) for each implementation and form of `num_envs` environments, all run in turns.

    Raises:
        ArgumentError: there is no such environment.
    """
    together = lineup(env_id, num_envs, peers)
    programs = [Program(*rollout(env_batch)) for env_batch in together]
    timings = measure(programs, seconds, repeats)
    return [row(env_id, *each) for each in zip(together, programs, timings, strict=True)]


def row(env_id: str, env_batch: EnvBatch, program: Program, timing: Timing) -> dict[str, Any]:
    """What was measured, in JSON's types. Reward and episode length say whether two implementations play alike."""
    total, episodes = env_batch.num_envs * program.steps, int(program.carry.episodes.sum())
    return {
        "environment": env_id,
        "implementation": env_batch.implementation,
        "form": env_batch.form,
        "rules": env_batch.rules,
        "description": env_batch.description,
        "num_envs": env_batch.num_envs,
        "num_steps": timing.num_steps,
        "steps_per_second": env_batch.num_envs * timing.num_steps / statistics.median(timing.seconds),
        "seconds": timing.seconds,
        "compile_seconds": timing.compile_seconds,
        "reward_per_step": float(program.carry.reward.sum()) / total,
        "episode_length": total / episodes if episodes else None,
    }
