"""Playing a few steps at random, before anything of a run compiles, to see whether an environment can be learned in."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.envs.base import Environment
from jaxrl.envs.foreign import adapt, is_box, says_legal, space_of
from jaxrl.envs.host import HostEnvironment
from jaxrl.envs.multi_agent import MultiAgentEnvironment
from jaxrl.precision import single
from jaxrl.random import as_keys
from jaxrl.types import Array, PyTree

PROBE_ENVS, PROBE_STEPS = 16, 256


class Played(NamedTuple):
    """What happened in E environments and T steps.

    Attributes:
        ended: whether an episode ended in the step, bool `[E, T]`.
        lost: whether no action was legal in it, bool `[E, T]`.
    """

    ended: Array
    lost: Array


def check_resets(env: Any, params: Any) -> None:
    """Checks that an environment resets itself, and that some action is legal in each step.

    It acts at random in a few copies, among the legal actions. An environment that does not reset itself ends again in
    every step after the end of its first episode: learners would see nothing but its last state. What environments on
    the host do, those of several agents, and those whose parameters are traced, is not known.

    Raises:
        ArgumentError: it does not reset itself, or a state has no legal action.
    """
    if isinstance(env, HostEnvironment | MultiAgentEnvironment) or any(
        isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(params)
    ):
        return
    own = isinstance(env, Environment)
    resets = own or type(env).__module__.startswith("gymnax.")
    if resets and not _masks(env, params):  # nothing to find, and playing takes a second
        return
    # `ensure_compile_time_eval` would fold constants, and compile hundreds of operations one by one.
    with jax.core.eval_context():
        ended, lost = jax.tree.map(np.asarray, _play_own(env, params) if own else _play(env, params))
    if lost.any():
        got = f"{type(env).__name__}, which has none after {int(lost.any(0).argmax())} steps with legal actions"
        raise ArgumentError("env", "must have a legal action in each step of an episode", env, got)
    if not own:
        _check_ends(env, ended)


def _masks(env: Any, params: Any) -> bool:
    """Whether an environment says which actions are legal."""
    if not says_legal(env) or getattr(type(env), "legal_actions", None) is Environment.legal_actions:
        return False
    key = jax.eval_shape(lambda: as_keys(0))
    return jax.eval_shape(lambda key: env.legal_actions(env.reset(key, params)[1], params), key) is not None


def _check_ends(env: Any, ended: np.ndarray) -> None:
    lengths = [int(x.argmax()) + 1 for x in ended if x.any()]
    stuck = [bool(x[length - 1 :].all()) for x, length in zip(ended[ended.any(1)], lengths, strict=True)]
    if lengths and all(stuck) and max(lengths) > 1 and min(lengths) < PROBE_STEPS:
        got = f"{type(env).__name__}, which ends again in every step after step {min(lengths)}; gymnax 1.0's step "
        got += "returns the next episode's observation and state"
        raise ArgumentError("env", "must reset itself where an episode ends", env, got)


def _choose(key: Array, legal: Array) -> Array:
    """Actions int32 `[...]`, uniformly among the legal ones, bool `[..., num_actions]`."""
    return jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf)).astype(jnp.int32)


def _play(env: Any, params: Any) -> Played:
    foreign, space = adapt(env, params), space_of(env, params)

    def act(key: Array, legal: Array | None) -> Array:
        if legal is not None:
            return _choose(key, legal)
        if is_box(space):
            return jax.random.uniform(key, space.shape, jnp.float32, space.low, space.high)
        return jax.random.randint(key, (), 0, space.n, jnp.int32)

    def play(key: Array) -> Played:
        def body(state: PyTree, key: Array) -> tuple[PyTree, Played]:
            (act_key, step_key), legal = jax.random.split(key), foreign.legal_actions(state)
            lost = jnp.bool_(False) if legal is None else ~legal.any()
            _, state, _, terminated, truncated, *_ = foreign.step(step_key, state, act(act_key, legal))
            return state, Played(terminated | truncated, lost)

        reset_key, play_key = jax.random.split(key)
        return jax.lax.scan(body, foreign.reset(reset_key)[1], jax.random.split(play_key, PROBE_STEPS))[1]

    return jax.jit(jax.vmap(play))(jax.random.split(as_keys(0), PROBE_ENVS))


@partial(jax.jit, static_argnums=0)
def _play_own(env: Environment, params: Any) -> Played:
    params = single(params)

    def draw(key: Array) -> Array:
        return jax.random.bits(key, (env.random_words, PROBE_ENVS), jnp.uint32)

    def body(states: PyTree, key: Array) -> tuple[PyTree, Played]:
        (act_key, step_key), given = jax.random.split(key), env.legal_actions(states, params)
        legal = jnp.moveaxis(jnp.asarray(given), 0, -1)
        states, _, _, terminated, truncated = env.advance(states, _choose(act_key, legal), draw(step_key), params)
        return states, Played(terminated | truncated, ~legal.any(-1))

    reset_key, play_key = jax.random.split(as_keys(0))
    played = jax.lax.scan(body, env.initial(draw(reset_key), params), jax.random.split(play_key, PROBE_STEPS))[1]
    return jax.tree.map(jnp.transpose, played)
