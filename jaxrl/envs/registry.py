"""`make`: an environment from its name. First jaxrl's own, then gymnax's, then any factory."""

import dataclasses
import importlib
import inspect
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Annotated, Any

from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check_known, check_value, first_line, suggest
from jaxrl.envs import game
from jaxrl.envs.atari import ATARI, find_atari
from jaxrl.envs.base import Environment, EnvParams, describe_params
from jaxrl.envs.cart_pole import CartPole
from jaxrl.envs.digits import DigitCaptions, Digits
from jaxrl.envs.foreign import check_interface
from jaxrl.envs.grid_world import GridWorld
from jaxrl.envs.gymnasium_env import PREFIX, find_gymnasium
from jaxrl.envs.host import HostEnvironment
from jaxrl.envs.jaxmarl_env import PREFIX as JAXMARL
from jaxrl.envs.jaxmarl_env import find_jaxmarl
from jaxrl.envs.lqr import LQR
from jaxrl.envs.maps import map_text
from jaxrl.envs.minatar import GAMES, MinAtar
from jaxrl.envs.multi_agent import MultiAgentEnvironment
from jaxrl.envs.pixel_pong import PixelPong
from jaxrl.envs.planar_hopper import PlanarHopper
from jaxrl.envs.robots import PREFIXES, find_robot
from jaxrl.envs.spaces import name_of
from jaxrl.envs.tensor_game import tensor_game
from jaxrl.game_theory import GAMES as TENSOR_GAMES
from jaxrl.games.names import GAMES as BOARD_GAMES

RULES = ("original", "gymnax")
STEPS = Annotated[int, Interval(ge=1, lt=2**31)]
OWN: dict[str, Callable[..., Environment]] = {
    "CartPole-v1": CartPole,
    "GridWorld": GridWorld,
    "Digits": Digits,
    "DigitCaptions": DigitCaptions,
    "LQR": LQR,
    "PixelPong": PixelPong,
    "PlanarHopper": PlanarHopper,
}
"""jaxrl's own environments besides the games of MinAtar."""
NAMES = (*GAMES, *OWN)
"""All of jaxrl's own environments."""
EXAMPLES = {
    game.PREFIX: f"{game.PREFIX}:connect_four",
    PREFIX: f"{PREFIX}:CartPole-v1",
    ATARI: f"{ATARI}:Pong",
    "brax": "brax:hopper",
    "playground": "playground:CheetahRun",
    JAXMARL: f"{JAXMARL}:MPE_simple_spread_v3",
}
"""The prefixes of names, and a name with each."""


def make(env_id: str, rules: str | None = None, **options: Any) -> tuple[Any, Any]:
    """An environment and its parameters.

        env, params = make("Breakout-MinAtar", rules="gymnax", max_steps_in_episode=500)
        observation, state = env.reset(jax.random.key(0), params)

    Args:
        env_id: a name in `NAMES`, any name that gymnax knows, `"game:NAME"` for a game of two players, which one agent
            plays for both (see `jaxrl.games` and `jaxrl.game_theory`), `"gymnasium:NAME"` for an environment of
            gymnasium or `"atari:NAME"` for an Atari game, which step on the host, `"brax:NAME"` or `"playground:NAME"`
            for a robot of brax or MuJoCo Playground, `"jaxmarl:NAME"` for several agents in JaxMARL, or
            `"module:factory"` for a function that returns an environment with gymnax 1.0's interface, or such an
            environment and its parameters.
        rules: for MinAtar's games, "original" (the default: 6 actions, sticky 0.1, ramping, no cap) or "gymnax"
            (minimal actions, no sticky actions, episodes truncated after 1000 steps, in Freeway after 2500).
        options: for "GridWorld", the arguments of `jaxrl.envs.grid_world.GridWorld`, such as `map` and
            `slip_probability`; for gymnasium's environments, those of `gymnasium.make`. For other environments,
            arguments of the factory and fields of the parameters, such as `max_steps_in_episode`.

    Returns:
        `(env, params)`. Equal calls return the same objects, so that nothing is traced twice, if all options are
        hashable.

    Raises:
        ArgumentError: an unknown name (the message suggests the nearest), unknown rules, an option that the environment
            does not have or cannot use, or a factory that cannot be used.
    """
    if not isinstance(env_id, str):
        raise ArgumentError("env_id", "must be a name", env_id)
    if env_id == "GridWorld" and "map" in options:
        options["map"] = map_text(options["map"])
    unhashable = [name for name, value in {"rules": rules, **options}.items() if not _is_hashable(value)]
    if unhashable and (env_id in NAMES or "rules" in unhashable):
        value = options.get(unhashable[0], rules)
        rule = "must be a plain value or a tuple (arrays that are parameters go into params.replace)"
        raise ArgumentError(unhashable[0], rule, value)
    return (_make.__wrapped__ if unhashable else _make)(env_id, rules, **options)


def describe_rules(env: Any, params: Any) -> str:
    """The rules of an environment in one line, printed beside every score."""
    if isinstance(env, Environment):
        return env.describe_rules(params)
    if isinstance(env, HostEnvironment | MultiAgentEnvironment):
        return env.rules
    return describe_params(params, getattr(env, "default_params", None))


def describe_env(env: Any, params: Any) -> dict[str, str]:
    """What distinguishes an environment from others with the same arrays: its `env_name` and its `rules_text`."""
    return {"env_name": name_of(env), "rules_text": describe_rules(env, params)}


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
    factory = _find_factory(env_id, rules)
    if rules is not None and env_id not in GAMES:
        got = f"rules={rules!r} for {env_id!r}"
        raise ArgumentError("rules", "applies only to the games of MinAtar", rules, got=got)
    if env_id == "GridWorld":
        check_known(options, [field.name for field in dataclasses.fields(GridWorld)], env_id)  # not those of its params
    return _apply_options(env_id, factory, options)


def _find_factory(env_id: str, rules: str | None) -> Callable[..., Any]:
    if env_id in GAMES:
        return lambda: MinAtar(GAMES[env_id], "gymnax" if rules == "gymnax" else "original")
    if env_id in OWN:
        return OWN[env_id]
    prefix, colon, rest = env_id.partition(":")
    if prefix in EXAMPLES and not rest:
        raise ArgumentError("env_id", f"must have a name after {prefix}:, such as {EXAMPLES[prefix]}", env_id)
    if prefix == game.PREFIX:
        if rest in TENSOR_GAMES:
            return partial(tensor_game, rest)
        if rest not in BOARD_GAMES:
            prefixed = [f"{prefix}:{known}" for known in (*BOARD_GAMES, *TENSOR_GAMES)]
            raise ArgumentError("env_id", f"must be a known game ({suggest(env_id, prefixed)})", env_id)
        return partial(game.game_environment, rest)
    if prefix == PREFIX:
        return find_gymnasium(rest)
    if prefix == ATARI:
        return find_atari(rest)
    if prefix == JAXMARL:
        return find_jaxmarl(env_id)
    if prefix in PREFIXES:
        return find_robot(env_id)
    if not colon:
        from gymnax import registration  # here, because it takes seconds and jaxrl's own environments do not need it

        if env_id not in registration.registered_envs:
            raise ArgumentError("env_id", f"must be a known name ({_suggest(env_id, registration)})", env_id)
        return registration._registry[env_id]
    try:
        factory = getattr(importlib.import_module(prefix), rest)
    except (ImportError, AttributeError, ValueError) as error:
        raise ArgumentError("env_id", f"must name a factory that can be imported ({error})", env_id) from error
    if not callable(factory):
        got = f"{env_id!r}, a {type(factory).__name__}"
        raise ArgumentError("env_id", "must name a factory that can be called", env_id, got=got)
    return factory


def _suggest(env_id: str, registration: Any) -> str:
    """What to try in place of an unknown name without a prefix: perhaps the same name with one."""
    known = dict.fromkeys([*NAMES, *registration.registered_envs])  # some games are in both
    prefixed = [*(f"{game.PREFIX}:{name}" for name in (*BOARD_GAMES, *TENSOR_GAMES)), *EXAMPLES.values()]
    same = [name for name in prefixed if name.partition(":")[2].lower() == env_id.lower()]
    return f"the nearest is {same[0]}" if same else suggest(env_id, [*known, *EXAMPLES.values()])


def _apply_options(env_id: str, factory: Callable[..., Any], options: dict[str, Any]) -> tuple[Any, Any]:
    """Passes the options that are arguments of a factory to it, and sets the others in the parameters."""
    known, takes_any = _arguments(factory)
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in options:
            raise ArgumentError("env_id", f"must come with the option {name}, which it needs", env_id)
    arguments = {name: value for name, value in options.items() if takes_any or name in known}
    try:
        made = factory(**arguments)
    except ArgumentError:
        raise
    except Exception as error:
        if not arguments:
            raise
        rule = f"must be what {env_id} can use ({first_line(error)})"
        got = ", ".join(map(repr, arguments.values()))
        raise ArgumentError(", ".join(arguments), rule, arguments, got=got) from error
    if isinstance(made, tuple) and len(made) != 2:
        rule = "must name a factory of an environment, or of one and its parameters"
        raise ArgumentError("env_id", rule, env_id, got=f"{env_id!r}, which returns {len(made)} values")
    env, params = made if isinstance(made, tuple) else (made, getattr(made, "default_params", None))
    if not isinstance(env, Environment | HostEnvironment):
        check_interface(env)
    changes = {name: value for name, value in options.items() if name not in arguments}
    fields = [field.name for field in dataclasses.fields(params)] if dataclasses.is_dataclass(params) else []
    check_known(changes, [*known, *fields], env_id)
    if isinstance(params, EnvParams):
        return env, params.replace(**changes)
    for name, value in changes.items():
        check_value(name, value, STEPS if name == "max_steps_in_episode" else type(getattr(params, name)))
    return env, dataclasses.replace(params, **changes) if changes else params


def _arguments(factory: Callable[..., Any]) -> tuple[dict[str, inspect.Parameter], bool]:
    """The named arguments of a factory, and whether it takes any others."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    except ValueError:  # some functions written in C have no signature
        return {}, True
    kinds = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    named = {parameter.name: parameter for parameter in parameters if parameter.kind not in kinds}
    return named, any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
