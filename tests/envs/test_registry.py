"""Making worlds by name."""

import re
import subprocess
import sys

import jax
import pytest

from jaxrl.envs import make, num_discrete_actions, protocol_of


def test_equal_calls_make_equal_worlds_that_retrace_nothing() -> None:
    traces = 0

    def count(env, key):
        nonlocal traces
        traces += 1
        return env.reset(key)[0]

    counted = jax.jit(count, static_argnums=0)
    for name in ("Breakout-MinAtar", "GridWorld", "CartPole-v1"):
        traces = 0
        for _ in range(2):
            env, params = make(name)
            counted(env, jax.random.key(0))
        assert make(name) == (env, params)
        assert traces == 1


def test_gymnax_worlds_are_found() -> None:
    env, params = make("CartPole-v1")
    assert num_discrete_actions(env, params) == 2
    assert protocol_of(env, params) == "default rules, 500-step cap"


def test_a_factory_of_ones_own() -> None:
    from gymnax.environments.classic_control.cartpole import CartPole

    env, params = make("gymnax.environments.classic_control.cartpole:CartPole")
    assert isinstance(env, CartPole)
    assert params == env.default_params


def test_own_worlds_do_without_gymnax() -> None:
    program = (
        "import sys, jaxrl; [jaxrl.make(name) for name in jaxrl.envs.registry.OWN]; print('gymnax' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out == "False\n"


@pytest.mark.parametrize(
    ("name", "protocol", "message"),
    [
        ("Breakout-MinAtr", None, "the nearest known name is 'Breakout-MinAtar'"),
        ("GridWord", None, "the nearest known name is 'GridWorld'"),
        ("GridWorld", "original", "got protocol='original' for 'GridWorld'"),
        ("Breakout-MinAtar", "atari", "protocol must be one of original, gymnax, got 'atari'"),
        ("CartPole-v1", "original", "got protocol='original' for 'CartPole-v1'"),
        ("no_such_module:factory", None, "cannot import the environment factory 'no_such_module:factory'"),
        ("builtins:dict", None, "'builtins:dict' made a dict without reset()"),
    ],
)
def test_bad_names(name: str, protocol: str | None, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make(name, protocol)


@pytest.mark.parametrize("name", ["Breakout-MinAtar", "CartPole-v1", "builtins:dict"])
def test_options_are_refused_where_there_are_none(name: str) -> None:
    with pytest.raises(ValueError, match=f"^map is not an option of {name}, which has none, got 'cliff'$"):
        make(name, map="cliff")


def test_continuous_actions_are_refused() -> None:
    with pytest.raises(ValueError, match="continuous actions"):
        num_discrete_actions(*make("Pendulum-v1"))
