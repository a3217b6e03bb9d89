"""Environments of other libraries: their interface, and how jaxrl adapts it.

An environment with gymnax 1.0's interface has three methods,

    reset(key, params) -> (observation, state)
    step(key, state, action, params) -> (observation, state, reward, terminated, truncated, info)
    action_space(params) -> a discrete space or a box

and resets itself: after the last step of an episode, `observation` and `state` belong to the next one, and
`info["final_observation"]` is what the action led to.

Of two more that it may have, the first says which actions are legal, always at least one:

    legal_actions(state, params) -> bool [num_actions]
    info["final_legal_actions"], bool [num_actions], those of the final observation

An environment whose physics may fail, with NaN or infinity, ends such an episode as truncated, keeps its numbers
finite, and says so in `info["failed"]`, a bool. The metric `failures` is the share of such steps.

Without the second one, all actions count as legal in the last observation of an episode, which matters only if the
episode was truncated.
"""

import inspect
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError, check_is_no_class, first_line
from jaxrl.precision import single
from jaxrl.types import Array, Box, Discrete, PyTree
from jaxrl.xla.threefry import drawn_once, ordinary

STEP = "(observation, state, reward, terminated, truncated, info)"
METHODS = {"reset": ("key", "params"), "step": ("key", "state", "action", "params"), "action_space": ("params",)}
FINAL_LEGAL = "final_legal_actions"


class Foreign(NamedTuple):
    """One environment as pure functions with fixed dtypes.

    Attributes:
        reset: `(key) -> (observation, state)`.
        step: `(key, state, action) -> (observation, state, reward, terminated, truncated, final_observation,
            final_legal, failed)`: reward float32, terminated and truncated bool and never both True, all scalars; both
            observations of one dtype; the last are the legal actions of the final observation, or
            None, and whether the physics failed, bool, or None if `info` has no "failed".
        legal_actions: `(state) -> bool [num_actions]`, or None if the environment does not say.
    """

    reset: Callable[[Array], tuple[PyTree, PyTree]]
    step: Callable[[Array, PyTree, Array], tuple]
    legal_actions: Callable[[PyTree], Array | None]


def adapt(env: Any, params: Any) -> Foreign:
    """Checks an environment with gymnax 1.0's interface, and casts its results.

    Raises:
        ArgumentError: it has another interface, or a method returns something else.
    """
    check_interface(env)
    space = space_of(env, params)

    def step_with(keys: Callable[[Array], Array], key: Array, state: PyTree, action: Array) -> tuple[PyTree, ...]:
        if is_box(space):  # in the float type of the environment, which may select between the action and its own
            own = jnp.clip(action.astype(jnp.result_type(float)), space.low, space.high)
        else:
            own = action + int(getattr(space, "start", 0))  # gymnasium's spaces may start elsewhere than at 0
        return env.step(keys(key), state, own, params)

    step_raw: Callable[..., tuple] = partial(step_with, ordinary)
    dtypes, legal_actions = _check_results(env, params, step_raw, space), partial(_legal_actions, env, params)
    quick: Callable[..., tuple] = partial(step_with, drawn_once)
    if _takes_other_keys(env, params, quick, space):
        step_raw = quick

    def cast(observation: PyTree) -> PyTree:
        return jax.tree.map(lambda x, dtype: jnp.asarray(x, dtype), observation, dtypes)

    def reset(key: Array) -> tuple[PyTree, PyTree]:
        observation, state = env.reset(ordinary(key), params)
        return cast(observation), state

    def step(key: Array, state: PyTree, action: Array) -> tuple:
        observation, state, reward, terminated, truncated, info = step_raw(key, state, action)
        reward = jnp.asarray(reward, jnp.float32).reshape(())
        terminated, truncated = (jnp.reshape(jnp.asarray(x) != 0, ()) for x in (terminated, truncated))
        final, legal = cast(info["final_observation"]), legal_actions(state)
        if legal is not None:
            legal = jnp.where(terminated | truncated, jnp.asarray(info.get(FINAL_LEGAL, True)) != 0, legal)
        return cast(observation), state, reward, terminated, truncated & ~terminated, final, legal, info.get("failed")

    return Foreign(reset, step, legal_actions)


def _takes_other_keys(env: Any, params: Any, quick: Callable, space: Any) -> bool:
    """Whether an environment steps with the keys of `drawn_once` too, in which case its numbers are the same.

    It does not if its state holds keys, or if it combines the key with others.
    """
    key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
    _, state = jax.eval_shape(lambda key: env.reset(key, params), key)
    arguments = key, state, _example_of(space)
    if any(jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in jax.tree.leaves(state)):
        return False
    try:
        jax.jit(quick).lower(*arguments)
    except (
        TypeError,
        ValueError,
        AssertionError,
    ):  # of keys that do not go together, which some operations notice late
        return False
    return True


def _example_of(space: Any) -> Array:
    """An action of a box or a discrete space."""
    return jnp.zeros(space.shape, jnp.float32 if is_box(space) else jnp.int32)


def says_legal(env: Any) -> bool:
    """Whether an environment may say which actions are legal; its method may still return None."""
    return callable(getattr(env, "legal_actions", None))


def _legal_actions(env: Any, params: Any, state: PyTree) -> Array | None:
    legal = env.legal_actions(state, params) if says_legal(env) else None
    return None if legal is None else jnp.asarray(legal) != 0


def check_interface(env: Any) -> None:
    """Checks that an environment has gymnax 1.0's methods.

    Raises:
        ArgumentError: one of them is missing, or takes other arguments.
    """
    check_is_no_class("env", env)
    name = type(env).__name__
    if isinstance(env, tuple):
        raise ArgumentError("env", "must be an environment alone, without its parameters", env)
    if any(kind.__module__.split(".")[0] in ("gymnasium", "gym") for kind in type(env).__mro__):
        rule = "must be a pure function of arrays, as gymnax's are, or be made with jaxrl.make('gymnasium:NAME')"
        raise ArgumentError("env", rule, name, got=f"gymnasium's {name}")
    for method, arguments in METHODS.items():
        if not callable(getattr(env, method, None)):
            raise ArgumentError("env", "must have gymnax 1.0's interface", name, got=f"{name}, which has no {method}()")
        try:
            inspect.signature(getattr(env, method)).bind(*arguments)
        except TypeError as error:
            rule = f"must be called as {method}({', '.join(arguments)})"
            raise ArgumentError("env", rule, name, got=f"{name}, whose {method} refuses: {error}") from error


def space_of(env: Any, params: Any) -> Any:
    """The action space of an environment, with gymnax's attributes, which jaxrl's own `Discrete` and `Box` lack."""
    space = env.action_space(params)
    if isinstance(space, Discrete):
        return SimpleNamespace(n=space.num_actions, shape=(), dtype=jnp.int32)
    if isinstance(space, Box):
        return SimpleNamespace(low=space.low, high=space.high, shape=np.shape(space.low), dtype=jnp.float32)
    return space


def is_box(space: Any) -> bool:
    """Whether a space of gymnax or gymnasium is a box of any shape."""
    return hasattr(space, "low") and hasattr(space, "high")


def _check_results(env: Any, params: Any, step: Callable, space: Any) -> PyTree:
    """Returns the dtypes of an environment's observations.

    Raises:
        ArgumentError: `reset` or `step` returns something else than the interface says.
    """
    name = type(env).__name__

    def check_that(holds: Any, method: str, rule: str, value: Any, shown: str = "") -> None:
        if not holds:
            raise ArgumentError(f"env{method}", rule, value, got=f"{shown or _describe(value)} from {name}")

    key = jax.eval_shape(lambda: jax.random.key(0, impl="threefry2x32"))
    first = jax.eval_shape(lambda key: env.reset(key, params), key)
    check_that(isinstance(first, tuple) and len(first) == 2, ".reset", "must give (observation, state)", first)
    result = jax.eval_shape(step, key, first[1], _example_of(space))
    six = isinstance(result, tuple) and len(result) == 6
    check_that(six, ".step", f"must give {STEP} as gymnax 1.0 does", result)
    observation, state, *scalars, info = result
    held = f"one with {', '.join(map(str, info)) or 'nothing'}" if isinstance(info, dict) else ""
    rule = "must give an info with final_observation, what the action led to before any reset"
    check_that(isinstance(info, dict) and "final_observation" in info, ".step", rule, info, held)
    for what, x in zip(("reward", "terminated", "truncated"), scalars, strict=True):
        is_number = getattr(x, "size", 0) == 1 and _is_real(x.dtype)
        check_that(is_number, ".step", f"must give one number as {what}", x)
    final = info["final_observation"]
    _check_same(f"{name}.step", "must give a state as reset does", first[1], state, lambda x: (x.shape, x.dtype))
    for where, other in (("step", observation), ("info['final_observation']", final)):
        _check_same(f"{name}: {where}", "must give an observation as reset does", first[0], other, lambda x: x.shape)
    leaves = jax.tree.leaves(first[0])
    real = sum(x.size for x in leaves) and all(_is_real(x.dtype) for x in leaves)
    check_that(real, "", "must observe one real number or more", first[0])

    _check_legal(env, params, state, space, info)

    def dtype(*leaves: Any) -> Any:
        return jax.eval_shape(single, jax.ShapeDtypeStruct((), jnp.result_type(*leaves))).dtype

    return jax.tree.map(dtype, first[0], observation, final)


def _check_legal(env: Any, params: Any, state: PyTree, space: Any, info: dict[str, Any]) -> None:
    """Checks which actions an environment calls legal in a state, and in the info of a step, in shapes alone.

    Raises:
        ArgumentError: they are not bool `[num_actions]`.
    """
    if not says_legal(env):
        return
    name = type(env).__name__
    try:
        legal = jax.eval_shape(lambda state: env.legal_actions(state, params), state)
    except Exception as error:
        rule = "must be called as legal_actions(state, params)"
        raise ArgumentError("env", rule, name, got=f"{name}, whose legal_actions raises {first_line(error)}") from error
    if legal is None:
        return
    if is_box(space):
        rule = "must have discrete actions, since it says which are legal"
        raise ArgumentError("env", rule, name, got=f"{name} with {space!r}")
    for where, x in (("legal_actions", legal), (f"step: info['{FINAL_LEGAL}']", info.get(FINAL_LEGAL, legal))):
        is_mask = hasattr(x, "dtype") and any(jnp.issubdtype(x.dtype, kind) for kind in (jnp.bool_, jnp.integer))
        if not is_mask or x.shape != (int(space.n),):
            rule = f"must give bool[{int(space.n)}], whether each action is legal"
            raise ArgumentError(f"{name}.{where}", rule, x, got=_describe(x))


def _is_real(dtype: Any) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.bool_, jnp.integer, jnp.floating))


def _check_same(name: str, rule: str, expected: PyTree, given: PyTree, aspect: Callable[[Any], Any]) -> None:
    """Checks that a pytree has the expected structure, and that its leaves agree in some aspect."""
    paths, leaves = jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(given)
    if jax.tree.structure(expected) != jax.tree.structure(given):  # type: ignore[operator]
        raise ArgumentError(name, rule, given, got=f"{_describe(given)} after {_describe(expected)}")
    for (path, first), leaf in zip(paths, leaves, strict=True):
        if aspect(first) != aspect(leaf):
            where = f" at {jax.tree_util.keystr(path)}" if path else ""
            raise ArgumentError(name, rule, leaf, got=f"{_describe(leaf)} after {_describe(first)}{where}")


def _describe(value: Any) -> str:
    """A value in at most a line."""
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return f"{len(value)} values"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype}{list(value.shape)}"
    described = str(jax.tree.map(_describe, value)) if jax.tree.leaves(value) else type(value).__name__
    return described if len(described) < 120 else type(value).__name__
