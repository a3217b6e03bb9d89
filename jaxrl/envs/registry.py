"""`make`: a world by its name. jaxrl's own first, then gymnax's, then a user's own factory."""

import dataclasses
import difflib
import importlib
from collections.abc import Hashable
from functools import lru_cache
from typing import Any

from jaxrl.arguments import ArgumentError
from jaxrl.envs.base import Environment
from jaxrl.envs.cart_pole import CartPole, CartPoleParams
from jaxrl.envs.foreign import check_kind
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.minatar import GAMES, MinAtar, MinAtarParams

PROTOCOLS = ("original", "gymnax")
OPTIONS: dict[str, list[str]] = {
    **{game: [field.name for field in dataclasses.fields(MinAtarParams)] for game in GAMES},
    "CartPole-v1": [field.name for field in dataclasses.fields(CartPoleParams)],
    "GridWorld": [field.name for field in dataclasses.fields(GridWorld)],
}
"""jaxrl's own worlds by name, and what can be chosen about each."""


def make(env_id: str, protocol: str | None = None, **options: Any) -> tuple[Any, Any]:
    """A world and its parameters.

    Args:
        env_id: one of `OPTIONS`, any name gymnax knows, or `"module:factory"` for a function of no arguments that
            returns an environment with gymnax 1.0's interface, or such an environment and its parameters.
        protocol: for MinAtar's games "original" (the default: 6 actions, sticky 0.1, ramping, no cap) or "gymnax"
            (minimal actions, nothing sticky, episodes cut at 1000 steps, Freeway's at 2500).
        options: for "GridWorld" the arguments of `jaxrl.envs.grid_world.GridWorld`: `map` and `slip_probability`; for
            MinAtar's games the fields of `MinAtarParams`, such as `sticky_action_prob`; for "CartPole-v1" those of
            `CartPoleParams`.

    Returns:
        `(env, params)`. Two equal calls return the same objects, so nothing that depends on them is traced twice.

    Raises:
        ArgumentError: unknown name (the nearest is suggested), unknown protocol, an option that the world does not
            have or cannot use, or a factory that cannot be used.
    """
    for name, value in {"env_id": env_id, "protocol": protocol, **options}.items():
        if not isinstance(value, Hashable):
            raise ArgumentError(f"{name} must be a plain value (arrays go into params.replace), got {value!r}")
    if not isinstance(env_id, str):
        raise ArgumentError(f"env_id must be a name, got {env_id!r}")
    return _make(env_id, protocol, **options)


@lru_cache(maxsize=None, typed=True)
def _make(env_id: str, protocol: str | None, **options: Any) -> tuple[Any, Any]:
    if protocol is not None and protocol not in PROTOCOLS:
        raise ArgumentError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
    if env_id not in OPTIONS and ":" not in env_id:
        _check_gymnax_has(env_id)
    if protocol is not None and env_id not in GAMES:
        raise ArgumentError(
            f"protocol is a choice of {', '.join(GAMES)} only, got protocol={protocol!r} for {env_id!r}"
        )
    known = OPTIONS.get(env_id, ())
    for name, value in options.items():
        if name not in known:
            raise ArgumentError(
                f"{name} is not an option of {env_id}, which has {', '.join(known) or 'none'}, got {value!r}"
            )
    if env_id == "GridWorld":
        grid_world = GridWorld(**options)
        return grid_world, grid_world.default_params
    if env_id == "CartPole-v1":
        cart_pole = CartPole()
        return cart_pole, cart_pole.default_params.replace(**options)
    if env_id in GAMES:
        game = MinAtar(GAMES[env_id], "gymnax" if protocol == "gymnax" else "original")
        return game, game.default_params.replace(**options)
    if ":" in env_id:
        return _from_factory(env_id)
    import gymnax

    return gymnax.make(env_id)


def _check_gymnax_has(env_id: str) -> None:
    import gymnax  # here, because it takes seconds and jaxrl's own worlds do without

    if env_id not in gymnax.registered_envs:
        near = difflib.get_close_matches(env_id, [*OPTIONS, *gymnax.registered_envs], n=1, cutoff=0.0)
        raise ArgumentError(f"env_id must be a known name (the nearest is {near[0]!r}), got {env_id!r}")


def _from_factory(path: str) -> tuple[Any, Any]:
    module_name, _, name = path.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ArgumentError(f"env_id must name a factory that can be imported ({error}), got {path!r}") from error
    made = factory()
    if isinstance(made, tuple) and len(made) != 2:
        raise ArgumentError(
            f"env_id must name a factory of an environment, or of one and its parameters, got {path!r}, "
            f"which gives {len(made)} values"
        )
    env, params = made if isinstance(made, tuple) else (made, getattr(made, "default_params", None))
    if not isinstance(env, Environment):
        check_kind(env)
    return env, params


def protocol_of(env: Any, params: Any) -> str:
    """One line that says under which rules a score was taken."""
    if isinstance(env, Environment):
        return env.protocol(params)
    cap = getattr(params, "max_steps_in_episode", None)
    return "default rules, " + ("no step cap" if cap is None else f"{int(cap)}-step cap")
