"""`make`: an environment by its name. jaxrl's own first, then gymnax's, then a user's own factory."""

import dataclasses
import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check_value
from jaxrl.envs.base import Environment
from jaxrl.envs.cart_pole import CartPole, CartPoleParams
from jaxrl.envs.foreign import check_interface
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.maps import map_text
from jaxrl.envs.minatar import GAMES, MinAtar, MinAtarParams

RULES = ("original", "gymnax")
STEPS = Annotated[int, Interval(ge=1, lt=2**31)]
OPTIONS: dict[str, list[str]] = {
    **{game: [field.name for field in dataclasses.fields(MinAtarParams)] for game in GAMES},
    "CartPole-v1": [field.name for field in dataclasses.fields(CartPoleParams)],
    "GridWorld": [field.name for field in dataclasses.fields(GridWorld)],
}
"""jaxrl's own environments by name, and what can be chosen about each."""


def make(env_id: str, rules: str | None = None, **options: Any) -> tuple[Any, Any]:
    """An environment and its parameters.

    Args:
        env_id: one of `OPTIONS`, any name gymnax knows, or `"module:factory"` for a function that returns an
            environment with gymnax 1.0's interface, or such an environment and its parameters.
        rules: for MinAtar's games "original" (the default: 6 actions, sticky 0.1, ramping, no cap) or "gymnax"
            (minimal actions, nothing sticky, episodes cut at 1000 steps, Freeway's at 2500).
        options: for "GridWorld" the arguments of `jaxrl.envs.grid_world.GridWorld`, such as `map` and
            `slip_probability`; for MinAtar's games the fields of `MinAtarParams`, such as `sticky_action_prob`; for
            "CartPole-v1" those of `CartPoleParams`; for others the arguments of what makes the environment, and the
            fields of its parameters, such as `max_steps_in_episode`.

    Returns:
        `(env, params)`. Two equal calls return the same objects, so nothing that depends on them is traced twice;
        unless an option cannot be hashed, as a list.

    Raises:
        ArgumentError: unknown name (the nearest is suggested), unknown rules, an option that the environment does not
            have or cannot use, or a factory that cannot be used.
    """
    if not isinstance(env_id, str):
        raise ArgumentError("env_id", "must be a name", env_id)
    if env_id == "GridWorld" and "map" in options:
        options["map"] = map_text(options["map"])
    unhashable = [name for name, value in {"rules": rules, **options}.items() if not _is_hashable(value)]
    if unhashable and (env_id in OPTIONS or "rules" in unhashable):
        value = options.get(unhashable[0], rules)
        raise ArgumentError(unhashable[0], "must be a plain value (arrays go into params.replace)", value)
    return (_make.__wrapped__ if unhashable else _make)(env_id, rules, **options)


def _is_hashable(x: Any) -> bool:
    try:
        hash(x)
    except TypeError:
        return False
    return True


@lru_cache(maxsize=None, typed=True)
def _make(env_id: str, rules: str | None, **options: Any) -> tuple[Any, Any]:
    if rules is not None and rules not in RULES:
        raise ArgumentError("rules", f"must be one of {', '.join(RULES)}", rules)
    if env_id not in OPTIONS and ":" not in env_id:
        _check_gymnax_has(env_id)
    if rules is not None and env_id not in GAMES:
        raise ArgumentError(
            "rules", f"is a choice of {', '.join(GAMES)} only", rules, got=f"rules={rules!r} for {env_id!r}"
        )
    if env_id in OPTIONS:
        _check_known(options, OPTIONS[env_id], env_id)
    if env_id == "GridWorld":
        grid_world = GridWorld(**options)
        return grid_world, grid_world.default_params
    if env_id == "CartPole-v1":
        cart_pole = CartPole()
        return cart_pole, cart_pole.default_params.replace(**options)
    if env_id in GAMES:
        game = MinAtar(GAMES[env_id], "gymnax" if rules == "gymnax" else "original")
        return game, game.default_params.replace(**options)
    if ":" in env_id:
        return _from_factory(env_id, options)
    from gymnax import registration

    return _with_options(env_id, registration._registry[env_id], options)


def _check_known(options: dict[str, Any], known: Iterable[str], env_id: str) -> None:
    """Refuses options that an environment does not have."""
    for name, value in options.items():
        if name not in known:
            raise ArgumentError(name, f"is not an option of {env_id}, which has {', '.join(known) or 'none'}", value)


def _check_gymnax_has(env_id: str) -> None:
    import gymnax  # here, because it takes seconds and jaxrl's own environments do without

    if env_id not in gymnax.registered_envs:
        near = difflib.get_close_matches(env_id, [*OPTIONS, *gymnax.registered_envs], n=1, cutoff=0.0)
        raise ArgumentError("env_id", f"must be a known name (the nearest is {near[0]!r})", env_id)


def _from_factory(path: str, options: dict[str, Any]) -> tuple[Any, Any]:
    module_name, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ArgumentError("env_id", f"must name a factory that can be imported ({error})", path) from error
    if not callable(factory):
        raise ArgumentError(
            "env_id", "must name a factory that can be called", path, got=f"{path!r}, a {type(factory).__name__}"
        )
    return _with_options(path, factory, options)


def _with_options(env_id: str, factory: Callable[..., Any], options: dict[str, Any]) -> tuple[Any, Any]:
    """What a factory makes of the options that are its arguments, with the others in the fields of the parameters."""
    takes, takes_any = _arguments(factory)
    for name, parameter in takes.items():
        if parameter.default is parameter.empty and name not in options:
            raise ArgumentError("env_id", f"must come with the option {name}, which it needs", env_id)
    arguments = {name: value for name, value in options.items() if takes_any or name in takes}
    try:
        made = factory(**arguments)
    except Exception as error:
        if not arguments:
            raise
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        values = ", ".join(repr(value) for value in arguments.values())
        raise ArgumentError(
            ", ".join(arguments), f"must be what {env_id} can use ({why})", arguments, got=values
        ) from error
    env, params = _env_and_params(env_id, made)
    others = {name: value for name, value in options.items() if name not in arguments}
    _check_known(others, [*takes, *_fields(params)], env_id)
    for name, value in others.items():
        check_value(name, value, STEPS if name == "max_steps_in_episode" else type(getattr(params, name)))
    return env, dataclasses.replace(params, **others) if others else params


def _env_and_params(env_id: str, made: Any) -> tuple[Any, Any]:
    """What a factory has made, checked."""
    if isinstance(made, tuple) and len(made) != 2:
        raise ArgumentError(
            "env_id",
            "must name a factory of an environment, or of one and its parameters",
            env_id,
            got=f"{env_id!r}, which gives {len(made)} values",
        )
    env, params = made if isinstance(made, tuple) else (made, getattr(made, "default_params", None))
    if not isinstance(env, Environment):
        check_interface(env)
    return env, params


def _fields(params: Any) -> list[str]:
    """The names of an environment's parameters."""
    return [field.name for field in dataclasses.fields(params)] if dataclasses.is_dataclass(params) else []


def _arguments(factory: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """The arguments of a factory that have a name, and whether it takes any other."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # Python does not know those of some functions written in C
        return {}, True
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    named = {parameter.name: parameter for parameter in parameters if parameter.kind not in kinds}
    return named, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def describe_rules(env: Any, params: Any) -> str:
    """One line that says under which rules a score was taken."""
    if isinstance(env, Environment):
        return env.describe_rules(params)
    cap, defaults = getattr(params, "max_steps_in_episode", None), getattr(env, "default_params", None)
    names = _fields(params) if type(params) is type(defaults) else []
    numbers = {name: getattr(params, name) for name in names if np.ndim(getattr(params, name)) == 0}
    numbers.pop("max_steps_in_episode", None)
    changed = [f"{name} {value}" for name, value in numbers.items() if value != getattr(defaults, name)]
    rules = ", ".join(changed) or "default rules"
    return f"{rules}, {'no step cap' if cap is None else f'{int(cap)}-step cap'}"
