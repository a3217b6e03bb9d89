"""Making environments by name."""

import inspect
import re
import subprocess
import sys

import jax
import pytest

from jaxrl.envs import describe_rules, make, num_discrete_actions
from jaxrl.envs.registry import EXAMPLES
from jaxrl.runs.options import Task


def test_equal_calls_make_equal_environments_that_retrace_nothing() -> None:
    traces = 0

    def count(env, key):
        nonlocal traces
        traces += 1
        return env.reset(key)[0]

    counted = jax.jit(count, static_argnums=0)
    for name in ("Breakout-MinAtar", "GridWorld", "Acrobot-v1"):
        traces = 0
        for _ in range(2):
            env, params = make(name)
            counted(env, jax.random.key(0))
        assert make(name) == (env, params)
        assert traces == 1


def test_gymnax_environments_are_found() -> None:
    env, params = make("Acrobot-v1")
    assert num_discrete_actions(env, params) == 3
    assert describe_rules(env, params) == "default rules, 500-step cap"


def test_a_factory_of_ones_own() -> None:
    from gymnax.environments.classic_control.cartpole import CartPole

    env, params = make("gymnax.environments.classic_control.cartpole:CartPole")
    assert isinstance(env, CartPole)
    assert params == env.default_params


def walk(size, sizes=()):
    """A factory that needs an argument, and has another that may be a list."""
    from gymnax.environments.classic_control.cartpole import CartPole

    env = CartPole()
    env.sizes = [size + 0, *sizes]
    return env


def environment(sizes=()):
    return walk(0, sizes)


def test_options_reach_factories_and_parameters() -> None:
    env, params = make(f"{__name__}:walk", size=5, max_steps_in_episode=7)
    assert (env.sizes, params.max_steps_in_episode) == ([5], 7)
    assert make(f"{__name__}:walk", size=5, max_steps_in_episode=7)[0] is env
    assert make(f"{__name__}:walk", size=5, sizes=[1, 2])[0].sizes == [5, 1, 2]
    env, params = make("FrozenLake-misc", desc=["SFG"], is_slippery=False, max_steps_in_episode=9)
    assert (env.desc.shape, env.is_slippery, params.max_steps_in_episode) == ((1, 3), False, 9)
    assert describe_rules(*make("Pendulum-v1", g=5.0, max_steps_in_episode=100)) == "g 5.0, 100-step cap"


def test_own_environments_do_without_gymnax() -> None:
    program = (
        "import sys, jaxrl; [jaxrl.make(name) for name in jaxrl.envs.registry.NAMES]; print('gymnax' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out == "False\n"


@pytest.mark.parametrize(
    ("name", "rules", "message"),
    [
        (
            "Breakout-MinAtr",
            None,
            "env_id must be a known name (the nearest is Breakout-MinAtar), got",
        ),
        ("game:ches", None, "env_id must be a known game (the nearest is game:chess), got 'game:ches'"),
        ("game:", None, "env_id must have a name after game:, such as game:connect_four, got 'game:'"),
        ("atari", None, "env_id must have a name after atari:, such as atari:Pong, got 'atari'"),
        ("leduc_poker", None, "env_id must be a known name (the nearest is game:leduc_poker), got 'leduc_poker'"),
        ("pong", None, "env_id must be a known name (the nearest is atari:Pong), got 'pong'"),
        ("GridWord", None, "env_id must be a known name (the nearest is GridWorld), got 'GridWord'"),
        ("GridWorld", "original", "got rules='original' for 'GridWorld'"),
        ("Breakout-MinAtar", "atari", "rules must be one of original, gymnax, got 'atari'"),
        ("Acrobot-v1", "original", "got rules='original' for 'Acrobot-v1'"),
        (
            "no_such_module:factory",
            None,
            "env_id must name a factory that can be imported (No module",
        ),
        ("builtins:dict", None, "got dict, which has no reset()"),
        ("jaxrl.envs.registry:RULES", None, "env_id must name a factory that can be called, got"),
    ],
)
def test_bad_names(name: str, rules: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make(name, rules)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("Breakout-MinAtar", "sticky_action_prob, difficulty_ramping, max_steps_in_episode"),
        ("GridWorld", "map, slip_probability, discount, max_steps_in_episode"),
        ("Acrobot-v1", "max_steps_in_episode, .*available_torque, .*"),
        ("FrozenLake-misc", "desc, map_name, is_slippery, success_rate, reward_schedule, max_steps_in_episode"),
        (f"{__name__}:environment", "sizes, max_steps_in_episode, gravity, .*"),
    ],
)
def test_options_that_an_environment_does_not_have(name: str, options: str) -> None:
    with pytest.raises(ValueError, match=f"^speed is not an option of {name}, which has {options}, got 3$"):
        make(name, speed=3)


def test_the_help_names_all_prefixes() -> None:
    text = inspect.getsource(Task)
    assert all(f"{prefix}:" in text and example.startswith(f"{prefix}:") for prefix, example in EXAMPLES.items())


def test_options_of_minatar() -> None:
    env, params = make("Asterix-MinAtar", sticky_action_prob=0.25, difficulty_ramping=False, max_steps_in_episode=50)
    assert (params.sticky_action_prob, params.difficulty_ramping, params.max_steps_in_episode) == (0.25, False, 50)
    assert describe_rules(env, params) == "original: 6 actions, sticky actions 0.25, no difficulty ramping, 50-step cap"
    for value in (-0.1, 1.5, float("nan")):
        message = rf"^sticky_action_prob must be .* got {value}$"
        with pytest.raises(ValueError, match=message):
            make("Asterix-MinAtar", sticky_action_prob=value)
        with pytest.raises(ValueError, match=message):
            params.replace(sticky_action_prob=value)
    many = jax.vmap(lambda p: params.replace(sticky_action_prob=p))(jax.numpy.array([0.0, 1.0]))
    assert many.sticky_action_prob.shape == (2,)


def test_continuous_actions_are_refused() -> None:
    with pytest.raises(ValueError, match="env must have discrete actions, got Pendulum-v1, whose actions are a Box"):
        num_discrete_actions(*make("Pendulum-v1"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"env_id": 3}, "^env_id must be a name, got 3$"),
        ({"env_id": "GridWorld", "map": 3}, "^map must be a text, rows of cells or a file, got 3$"),
        ({"env_id": "GridWorld", "map": ["S.G", 3]}, "^map must be a text, .*, got 3$"),
        (
            {"env_id": "GridWorld", "slip_probability": [0.1]},
            "^slip_probability must be a plain value or a tuple .*, got ",
        ),
        (
            {"env_id": "GridWorld", "max_steps_in_episode": True},
            "^max_steps_in_episode must be a whole number, got True$",
        ),
        (
            {"env_id": "Pendulum-v1", "max_steps_in_episode": 0.5},
            "^max_steps_in_episode must be a whole number, got 0.5$",
        ),
        ({"env_id": "Pendulum-v1", "max_steps_in_episode": 0}, "^max_steps_in_episode must be >= 1, got 0$"),
        ({"env_id": "Pendulum-v1", "g": "x"}, "^g must be a number, got 'x'$"),
        ({"env_id": "FrozenLake-misc", "map_name": "9x9"}, r"^map_name must be what .* \(ValueError: .*\), got '9x9'$"),
        ({"env_id": f"{__name__}:walk"}, f"^env_id must come with the option size, .*, got '{__name__}:walk'$"),
        ({"env_id": f"{__name__}:walk", "size": "x"}, r"^size must be what .* can use \(TypeError: .*\), got 'x'$"),
        ({"env_id": "GridWorld", "slip_probability": "x"}, "^slip_probability must be a number, got 'x'$"),
        ({"env_id": "Freeway-MinAtar", "sticky_action_prob": None}, "^sticky_action_prob must have a value, got None$"),
        (
            {"env_id": "Freeway-MinAtar", "sticky_action_prob": jax.numpy.ones(())},
            "^sticky_action_prob must be a pl",
        ),
    ],
)
def test_values_of_the_wrong_kind(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_a_probability_of_1_and_of_one_are_not_the_same_call() -> None:
    make("GridWorld", slip_probability=1)
    assert type(make("GridWorld", slip_probability=1.0)[1].slip_probability) is float
