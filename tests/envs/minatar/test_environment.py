"""What all MinAtar games share: both sets of rules, actions, the restart, and elementwise programs."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.envs import make
from jaxrl.envs.minatar import GAMES
from tests.envs.minatar import ORIGINALS, dense_steps
from tests.envs.minatar.originals import our_single_steps, our_state, our_step


def primitives(jaxpr: Any) -> Iterator[str]:
    """The names of all operations of a program, and of the programs inside it."""

    def is_program(x: Any) -> bool:
        return hasattr(x, "eqns") or hasattr(x, "jaxpr")

    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in jax.tree.leaves(list(equation.params.values()), is_leaf=is_program):
            if is_program(value):
                yield from primitives(getattr(value, "jaxpr", value))


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("batch", [(), (3,)])
def test_a_step_is_elementwise(name: str, batch: tuple[int, ...]) -> None:
    env, params = make(name)
    words = jnp.zeros((env.random_words, *batch), jnp.uint32)

    def program(words: jax.Array, action: jax.Array) -> Any:
        state, final, *_ = env.advance(env.initial(words, params), action, words, params)
        return env.encode(state), env.encode(final)

    names = list(primitives(jax.make_jaxpr(program)(words, jnp.zeros(batch, jnp.int32)).jaxpr))
    assert "select_n" in names
    assert names.count("cond") == names.count("platform_index")  # a choice that is made when it compiles
    branches = ("gather", "scatter", "dynamic", "while", "scan", "sort", "callback")
    assert not [name for name in names if name.startswith(branches)]


@pytest.mark.parametrize("name", GAMES)
def test_rules(name: str) -> None:
    minimal = {"Asterix": 5, "Breakout": 3, "Freeway": 3, "Seaquest": 6, "SpaceInvaders": 4}[name.split("-")[0]]
    cap = 2500 if name == "Freeway-MinAtar" else 1000
    for rules, num_actions, sticky, steps in (("original", 6, 0.1, 2**31 - 1), ("gymnax", minimal, 0.0, cap)):
        env, params = make(name, rules=rules)
        assert params == env.default_params
        assert (params.sticky_action_prob, params.max_steps_in_episode) == (sticky, steps)
        assert params.difficulty_ramping
        assert env.num_actions == env.action_space(params).n == num_actions
        space = env.observation_space(params)
        assert (space.shape, space.dtype) == ((10, 10, len(env.game.channels)), bool)


@pytest.mark.parametrize("name", GAMES)
def test_actions_that_mean_nothing_do_nothing(name: str) -> None:
    chosen = (0, 1, 2, 3, 4, 5, -1, 99)
    rows = dense_steps(name).rows[:625]  # 8 actions times 625 rows: the batch of the other uncompiled steps
    words = np.tile(dense_steps(name).words[:, :625], len(chosen))
    state = our_state(ORIGINALS[name], rows * len(chosen))

    def outcomes(rules: str) -> dict[int, list[np.ndarray]]:
        """For each action all that one step changes, except for the memory of the action."""
        env, params = make(name, rules=rules)
        params = params.replace(sticky_action_prob=0.0)
        (game, _, _), *rest = env.transition(state, np.repeat(chosen, 625).astype(np.int32), words, params)
        leaves = [np.moveaxis(np.asarray(leaf), -1, 0) for leaf in jax.tree.leaves((game, rest))]
        return {action: [leaf[i * 625 : i * 625 + 625] for leaf in leaves] for i, action in enumerate(chosen)}

    minimal = make(name, rules="gymnax")[0].actions
    full, gymnax = outcomes("original"), outcomes("gymnax")
    for action in chosen:
        does_nothing = all((x == y).all() for x, y in zip(full[action], full[0], strict=True))
        assert does_nothing == (action not in minimal[1:])
        meaning = minimal[action] if 0 <= action < len(minimal) else 0
        jax.tree.map(np.testing.assert_array_equal, gymnax[action], full[meaning])


@pytest.mark.parametrize("name", GAMES)
def test_what_an_end_resets_and_what_survives_it(name: str) -> None:
    env, _ = make(name)
    ours = our_single_steps(env, ORIGINALS[name], dense_steps(name), our_step, len(dense_steps(name).rows))
    end = ours.terminated
    assert end.sum() > 100
    assert (ours.next_state.time == ~end).all()
    assert (ours.state.time == 1).all()
    assert set(ours.state.last_action[end]) == set(range(6))
    np.testing.assert_array_equal(ours.next_state.last_action, ours.state.last_action)
    for new, old in zip(jax.tree.leaves(ours.next_state.game), jax.tree.leaves(ours.state.game), strict=True):
        np.testing.assert_array_equal(new[..., ~end], old[..., ~end])


@pytest.mark.parametrize("name", ["Breakout-MinAtar", "Freeway-MinAtar"])
def test_the_gymnax_interface_resets_itself_and_shows_the_final_observation(name: str) -> None:
    env, params = make(name, rules="gymnax")
    params = params.replace(max_steps_in_episode=5)
    first, state = env.reset(jax.random.key(0), params)
    assert (first.shape, first.dtype) == ((10, 10, len(env.game.channels)), bool)
    for t in range(5):
        observation, state, reward, terminated, truncated, info = env.step(jax.random.key(t), state, 1, params)
        assert (reward.shape, reward.dtype) == ((), jnp.float32)
        assert not terminated
        assert truncated == info["truncated"] == (t == 4)
        assert (info["final_observation"] == observation).all() == (t < 4)
    assert (state.time, state.last_action) == (0, env.actions[1])
    np.testing.assert_array_equal(observation, env.observe(state))
