"""Environments that are not jaxrl's own: what they must give, and the one place where it is made to fit.

An environment of gymnax 1.0's kind has three methods,

    reset(key, params) -> (observation, state)
    step(key, state, action, params) -> (observation, state, reward, terminated, truncated, info)
    action_space(params) -> a discrete space or a box

and resets itself: where an episode ends, `observation` and `state` open the next one, and
`info["final_observation"]` is what the action led to.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError, check_is_no_class
from jaxrl.envs.base import Environment
from jaxrl.precision import single
from jaxrl.random import as_keys
from jaxrl.spaces import is_box
from jaxrl.types import Array, PyTree
from jaxrl.xla.threefry import ordinary

STEP = "(observation, state, reward, terminated, truncated, info)"
PROBE_ENVS, PROBE_STEPS = 16, 256


class Foreign(NamedTuple):
    """One environment as pure functions of fixed dtypes.

    Attributes:
        reset: `(key) -> (observation, state)`.
        step: `(key, state, action) -> (observation, state, reward, terminated, truncated, final_observation)`: the
            reward float32, both ends bool, all three scalars; both observations of one dtype; never both ends.
    """

    reset: Callable[[Array], tuple[PyTree, PyTree]]
    step: Callable[[Array, PyTree, Array], tuple[PyTree, PyTree, Array, Array, Array, PyTree]]


def adapt(env: Any, params: Any) -> Foreign:
    """An environment with gymnax 1.0's interface, checked, and with what it gives cast.

    Raises:
        ArgumentError: it is of another kind, or a method gives something else than the interface says.
    """
    check_interface(env)
    space = env.action_space(params)

    def given(key: Array, state: PyTree, action: Array) -> tuple[PyTree, ...]:
        if is_box(space):  # of the float that the environment computes with, in case it selects between the two
            own = jnp.clip(action.astype(jnp.result_type(float)), space.low, space.high)
        else:
            own = action + int(getattr(space, "start", 0))  # gymnasium's spaces may not begin at 0
        return env.step(ordinary(key), state, own, params)

    dtypes = _check_results(env, params, given, space)

    def cast(observation: PyTree) -> PyTree:
        return jax.tree.map(lambda x, dtype: jnp.asarray(x, dtype), observation, dtypes)

    def reset(key: Array) -> tuple[PyTree, PyTree]:
        observation, state = env.reset(ordinary(key), params)
        return cast(observation), state

    def step(key: Array, state: PyTree, action: Array) -> tuple[PyTree, PyTree, Array, Array, Array, PyTree]:
        observation, state, reward, terminated, truncated, info = given(key, state, action)
        reward = jnp.asarray(reward, jnp.float32).reshape(())
        terminated, truncated = (jnp.reshape(jnp.asarray(x) != 0, ()) for x in (terminated, truncated))
        final = cast(info["final_observation"])
        return cast(observation), state, reward, terminated, truncated & ~terminated, final

    return Foreign(reset, step)


def check_interface(env: Any) -> None:
    """Refuses what is no environment with gymnax 1.0's interface.

    Raises:
        ArgumentError: it says what is missing.
    """
    check_is_no_class("env", env)
    name = type(env).__name__
    if isinstance(env, tuple):
        raise ArgumentError("env", "must be an environment alone, without its parameters", env)
    if any(kind.__module__.split(".")[0] in ("gymnasium", "gym") for kind in type(env).__mro__):
        raise ArgumentError(
            "env", "must be a pure function of arrays, as gymnax's are", name, got=f"gymnasium's {name}"
        )
    for method, arguments in (("reset", ("key", "params")), ("step", ("key", "state", "action", "params")),
                              ("action_space", ("params",))):  # fmt: skip
        if not callable(getattr(env, method, None)):
            raise ArgumentError("env", "must have gymnax 1.0's interface", name, got=f"{name}, which has no {method}()")
        try:
            inspect.signature(getattr(env, method)).bind(*arguments)
        except TypeError as error:
            call = f"{method}({', '.join(arguments)})"
            raise ArgumentError(
                "env", f"must be called as {call}", name, got=f"{name}, whose {method} refuses: {error}"
            ) from error


def _check_results(env: Any, params: Any, step: Callable, space: Any) -> PyTree:
    """The dtypes that an environment's observations are taken as.

    Raises:
        ArgumentError: `reset` or `step` gives something else than the interface says.
    """
    name = type(env).__name__
    key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
    begun = jax.eval_shape(lambda key: env.reset(key, params), key)
    if not (isinstance(begun, tuple) and len(begun) == 2):
        raise ArgumentError(
            "env.reset", "must give (observation, state)", begun, got=f"{_described(begun)} from {name}"
        )
    action = jnp.zeros(space.shape, jnp.float32 if is_box(space) else jnp.int32)
    given = jax.eval_shape(step, key, begun[1], action)
    if not (isinstance(given, tuple) and len(given) == 6):
        raise ArgumentError(
            "env.step",
            f"must give {STEP} as gymnax 1.0 does",
            given,
            got=f"{_described(given)} from {name}",
        )
    observation, state, *scalars, info = given
    if not (isinstance(info, dict) and "final_observation" in info):
        held = f"one with {', '.join(map(str, info)) or 'nothing'}" if isinstance(info, dict) else _described(info)
        raise ArgumentError(
            "env.step",
            "must give an info with final_observation, what the action led to before any reset",
            held,
            got=f"{held} from {name}",
        )
    for what, x in zip(("reward", "terminated", "truncated"), scalars, strict=True):
        if not (getattr(x, "size", 0) == 1 and _is_real(x.dtype)):
            raise ArgumentError("env.step", f"must give one number as {what}", x, got=f"{_described(x)} from {name}")
    final = info["final_observation"]
    _check_same(f"{name}.step", "must give a state as reset does", begun[1], state, lambda x: (x.shape, x.dtype))
    for where, other in (("step", observation), ("info['final_observation']", final)):
        _check_same(f"{name}: {where}", "must give an observation as reset does", begun[0], other, lambda x: x.shape)
    leaves = jax.tree.leaves(begun[0])
    if not sum(x.size for x in leaves) or not all(_is_real(x.dtype) for x in leaves):
        raise ArgumentError(
            "env",
            "must observe one real number or more",
            begun[0],
            got=f"{_described(begun[0])} from {name}",
        )

    def dtype(*leaves: Any) -> Any:
        return jax.eval_shape(single, jax.ShapeDtypeStruct((), jnp.result_type(*leaves))).dtype

    return jax.tree.map(dtype, begun[0], observation, final)


def _is_real(dtype: Any) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating))


def _check_same(name: str, rule: str, expected: PyTree, given: PyTree, aspect: Callable[[Any], Any]) -> None:
    """Refuses a tree of another structure, or with leaves that differ from what is expected in some aspect."""
    paths, leaves = jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(given)
    if jax.tree.structure(expected) != jax.tree.structure(given):  # type: ignore[operator]
        raise ArgumentError(name, rule, given, got=f"{_described(given)} after {_described(expected)}")
    for (path, first), leaf in zip(paths, leaves, strict=True):
        if aspect(first) != aspect(leaf):
            where = f" at {jax.tree_util.keystr(path)}" if path else ""
            raise ArgumentError(name, rule, leaf, got=f"{_described(leaf)} after {_described(first)}{where}")


def _described(given: Any) -> str:
    """What was given, as far as it fits into a line."""
    if isinstance(given, tuple) and not hasattr(given, "_fields"):
        return f"{len(given)} values"
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        return f"{given.dtype}{list(given.shape)}"
    described = str(jax.tree.map(_described, given)) if jax.tree.leaves(given) else type(given).__name__
    return described if len(described) < 120 else type(given).__name__


def check_resets(env: Any, params: Any) -> None:
    """Refuses an environment that stays at its end instead of resetting itself: learners would see nothing else.

    It plays at random in a few copies. Once an episode of several steps has ended, an environment that resets itself
    does not end in every step from then on.

    Raises:
        ArgumentError: this one does.
    """
    known = isinstance(env, Environment) or type(env).__module__.startswith("gymnax.")  # to try takes a second
    if known or any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(params)):
        return
    foreign, space = adapt(env, params), env.action_space(params)

    def act(key: Array) -> Array:
        if is_box(space):
            return jax.random.uniform(key, space.shape, jnp.float32, space.low, space.high)
        return jax.random.randint(key, (), 0, space.n, jnp.int32)

    def play(key: Array) -> Array:
        """Whether the episode ended in each step, bool `[PROBE_STEPS]`."""

        def body(state: PyTree, key: Array) -> tuple[PyTree, Array]:
            act_key, step_key = jax.random.split(key)
            _, state, _, terminated, truncated, _ = foreign.step(step_key, state, act(act_key))
            return state, terminated | truncated

        reset_key, play_key = jax.random.split(key)
        return jax.lax.scan(body, foreign.reset(reset_key)[1], jax.random.split(play_key, PROBE_STEPS))[1]

    with jax.ensure_compile_time_eval():
        ended = np.asarray(jax.jit(jax.vmap(play))(jax.random.split(as_keys(0), PROBE_ENVS)))
    lengths = [int(x.argmax()) + 1 for x in ended if x.any()]
    stuck = [bool(x[length - 1 :].all()) for x, length in zip(ended[ended.any(1)], lengths, strict=True)]
    if lengths and all(stuck) and max(lengths) > 1 and min(lengths) < PROBE_STEPS:
        raise ArgumentError(
            "env",
            "must reset itself where an episode ends",
            env,
            got=f"{type(env).__name__}, which ends again in every step after step {min(lengths)}; gymnax 1.0's step "
            "returns the next episode's observation and state",
        )
