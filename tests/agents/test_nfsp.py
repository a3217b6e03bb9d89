"""Neural fictitious self-play: what its players are, what each of its memories holds, and what they learn."""

import dataclasses
from functools import cache
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import game_theory
from jaxrl.agents.nfsp import NFSPHparams, Step, as_sample, nfsp, steps_of
from jaxrl.arguments import ArgumentError
from jaxrl.game_theory import make_game
from jaxrl.networks import q_network
from jaxrl.recipes.exact_games import NFSP, build_nfsp
from jaxrl.types import Input, Transition

GAME = make_game("kuhn_poker")
ENV, PARAMS = jaxrl.make("game:kuhn_poker")
CONFIG = NFSP(num_games=16, num_steps=2, batch_size=8, replay_capacity=96, reservoir_capacity=64, hidden_sizes=(8,))
HPARAMS = NFSPHparams(anticipatory=0.4, epsilon_start=0.0)
AGENT, TRAINER = build_nfsp(ENV, PARAMS, CONFIG)


@cache
def states() -> Any:
    """After each of six updates, and how to go on."""
    step, found = jax.jit(TRAINER.step), [jax.jit(TRAINER.init)(jax.random.key(0), HPARAMS)]
    for _ in range(6):
        found.append(step(found[-1])[0])
    return step, found


def test_a_move_is_followed_by_the_same_players_next_one() -> None:
    """Player 0 moves in sets 0 to 5, player 1 in 6 to 11. Three games, of 3, 2 and 2 moves, and the start of others."""
    sets = jnp.array([[0, 1, 2], [7, 8, 9], [3, 0, 0]])
    ends = jnp.array([[False] * 3, [False, True, True], [True, False, False]])
    reward = jnp.array([[0.0, 0, 0], [0, 1, -2], [2, 0, 0]])  # of who moves
    batch = Transition(sets, sets % 2, reward, ends, ends & False, sets, legal=jnp.ones((3, 3, 2), bool))
    steps = steps_of(GAME, batch)
    first = np.asarray(steps.counts)
    assert first.tolist() == [[True] * 3, [True] * 3, [True, False, False]]
    np.testing.assert_array_equal(np.where(first, steps.last, 0), [[0, 1, 1], [1, 1, 1], [1, 0, 0]])
    np.testing.assert_array_equal(np.where(first, steps.reward, 0), [[0, -1, 2], [-2, 1, -2], [2, 0, 0]])
    np.testing.assert_array_equal(np.where(first, steps.next_set, 0), [[3, 1, 2], [7, 8, 9], [3, 0, 0]])
    np.testing.assert_array_equal(steps.set, sets)
    np.testing.assert_array_equal(steps.action, sets % 2)


def test_what_a_player_is_holds_for_a_game() -> None:
    """Best responses are greedy without ε, and average policies draw."""
    state, number = states()[1][-1].agent, 4000
    sets = jnp.where(jnp.arange(number) < 2000, 5, 6)  # the last one of one player, the first one of the other
    legal = jnp.ones((number, 2), bool)
    first = Input(sets, legal, AGENT.memory(state, number))
    act = jax.jit(AGENT.act)
    decision = act(state, first, jax.random.key(0), jnp.float32(0))
    kinds = np.asarray(decision.memory)
    assert set(np.unique(kinds)) == {1, 2}
    np.testing.assert_allclose((kinds == 2).mean(0), 0.4, atol=0.035)
    assert ((kinds == 2).all(1)).mean() == pytest.approx(0.16, abs=0.03)  # each player draws for itself
    later = act(state, first._replace(memory=decision.memory), jax.random.key(1), jnp.float32(0))
    np.testing.assert_array_equal(later.memory, decision.memory)
    hparams = dataclasses.replace(state.response.hparams, epsilon_start=1 + 0 * state.response.hparams.epsilon_start)
    explores = state._replace(response=state.response._replace(hparams=hparams))
    drawn = act(explores, first._replace(memory=decision.memory), jax.random.key(0), jnp.float32(0)).action
    assert (drawn != decision.action)[np.asarray(decision.extras)].mean() == pytest.approx(0.5, abs=0.05)
    late = act(explores, first._replace(memory=decision.memory), jax.random.key(0), jnp.float32(1e9)).action
    np.testing.assert_array_equal(late, decision.action)
    evaluated = np.asarray(jax.jit(AGENT.policy)(state, first, jax.random.key(2)).action)
    for row, player in ((5, 0), (6, 1)):
        here = np.asarray(sets) == row
        responds = kinds[here, player] == 2
        np.testing.assert_array_equal(np.asarray(decision.extras)[here], responds)
        actions = np.asarray(decision.action)[here]
        assert (actions[responds] == int(greedy(state)[row].argmax())).all()
        average = jax.nn.softmax(AGENT.outputs(state, jnp.array([row])).logits)[0, 1]  # type: ignore[misc]
        assert actions[~responds].mean() == pytest.approx(float(average), abs=0.05)
        assert evaluated[here].mean() == pytest.approx(float(average), abs=0.05)  # who draws cannot be read


def greedy(state: Any, hidden: tuple[int, ...] = (8,)) -> jax.Array:
    """The greedy best responses, `[I, A]`."""
    seen = game_theory.features(GAME)
    q: Any = q_network(seen[0], 2, hidden).apply(state.response.params, seen)
    return jax.nn.one_hot(q.argmax(-1), 2)


def test_only_moves_of_best_responses_are_cloned_and_later_games_are_left_out() -> None:
    state, rows, shape = states()[1][3].agent, np.arange(16), (3, 16)
    responds = jnp.zeros(shape, bool).at[1, :3].set(True).at[2].set(True)  # the last row is of another game
    batch = Transition(
        jnp.stack([rows % 6, 6 + rows % 6, rows % 6]), jnp.ones(shape, jnp.int32), jnp.zeros(shape).at[1].set(1),
        jnp.zeros(shape, bool).at[1].set(True), jnp.zeros(shape, bool), jnp.zeros(shape, jnp.int32),
        jnp.ones((*shape, 2), bool), jnp.ones((*shape, 2), bool), responds,
    )  # fmt: skip
    update = jax.jit(AGENT.update)
    after = update(state, batch, jax.random.key(0), jnp.float32(0))[0]
    before = int(state.reservoir.offered)
    assert 0 < before < 64 - 3
    assert int(after.reservoir.offered) == before + 3
    np.testing.assert_array_equal(after.reservoir.items[0][before : before + 3], [6, 7, 8])
    np.testing.assert_array_equal(after.reservoir.items[1][before : before + 3], [1, 1, 1])
    assert int(after.rows) == int(state.rows) + 3
    for row, same in ((1, False), (2, True)):
        other = batch._replace(action=batch.action.at[row].set(0))
        found = update(state, other, jax.random.key(0), jnp.float32(0))[0].response.params
        moved = jax.tree.map(lambda x, y: bool((x == y).all()), found, after.response.params)
        assert all(jax.tree.leaves(moved)) == same
    far = batch._replace(reward=100 * batch.reward)  # the loss has squares of errors, whose minimum is the mean
    assert float(update(state, far, jax.random.key(0), jnp.float32(0))[1]["loss"].value()) > 300
    start, nothing = states()[1][0].agent, batch._replace(extras=batch.extras & False)
    found = update(start, nothing, jax.random.key(0), jnp.float32(0))[0].average.params
    jax.tree.map(np.testing.assert_array_equal, found, start.average.params)
    assert float(start.average.hparams.learning_rate) == np.float32(HPARAMS.average_learning_rate)


def test_samples_know_what_is_legal() -> None:
    legal = np.array([[True, False], [True, True], [False, True]])
    number, flag = jnp.zeros((1, 2)), jnp.zeros((1, 2), bool)
    moves = Step(jnp.array([[0, 1]]), jnp.array([[0, 1]]), number, flag, jnp.array([[2, 0]]), flag)
    steps = as_sample(SimpleNamespace(legal=legal), moves, jnp.ones(2)).transitions
    np.testing.assert_array_equal(steps.legal, legal[[[0, 1]]])
    np.testing.assert_array_equal(steps.next_legal, legal[[[2, 0]]])


def test_it_goes_on_from_any_state() -> None:
    step, found = states()
    again, metrics = step(found[3])
    jax.tree.map(np.testing.assert_array_equal, again.agent, found[4].agent)
    policy = jax.nn.softmax(AGENT.outputs(again.agent, jnp.arange(12)).logits)  # type: ignore[misc]
    np.testing.assert_allclose(metrics["nash_conv"].value(), game_theory.nash_conv(GAME, policy), atol=1e-5)
    responds = game_theory.nash_conv(GAME, greedy(again.agent))
    np.testing.assert_allclose(metrics["nash_conv_response"].value(), responds, atol=1e-5)
    assert int(metrics["loss"].count) == 2


def trained(game: str, config: NFSP, hparams: NFSPHparams, iterations: int) -> Any:
    env, params = jaxrl.make(f"game:{game}")
    _, trainer = build_nfsp(env, params, config)

    @jax.jit
    def run(key: jax.Array) -> Any:
        end, metrics = jax.lax.scan(lambda s, _: trainer.step(s), trainer.init(key, hparams), length=iterations)
        return end.agent, metrics

    return run(jax.random.key(0))


@pytest.mark.slow
def test_the_best_response_is_one() -> None:
    """To an average policy that hardly changes and is nearly uniform: it wins what the exact best response does."""
    config = NFSP(num_games=256, num_steps=8, hidden_sizes=(64,))
    hparams = NFSPHparams(
        anticipatory=0.1, learning_rate=2e-3, average_learning_rate=1e-9, epsilon_start=0.5, epsilon_end=0.5, tau=0.05
    )
    state, _ = trained("kuhn_poker", config, hparams, 1500)
    env, params = jaxrl.make("game:kuhn_poker")
    agent, _ = build_nfsp(env, params, config)
    average = jax.nn.softmax(agent.outputs(state, jnp.arange(12)).logits)  # type: ignore[misc]
    best = greedy(state, (64,))
    exact = game_theory.best_response(GAME, average)[1]
    for player in (0, 1):
        met = average.at[GAME.rows(player)].set(best[GAME.rows(player)])
        won = game_theory.value(GAME, met) * (1 if player == 0 else -1)
        print(player, won, exact[player])
        assert float(won) > float(exact[player]) - 0.05


@pytest.mark.slow
def test_it_approaches_an_equilibrium_of_kuhn_poker() -> None:
    hparams = NFSPHparams(learning_rate=1e-3, epsilon_decay_steps=1e6)
    _, metrics = trained("kuhn_poker", NFSP(), hparams, 3000)
    found = metrics["nash_conv"].sum
    print(found[::300])
    assert found[-1] < 0.08 < 0.2 < found[100]


def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentError, match="game must be of the kind Game"):
        nfsp("kuhn_poker", None, None)
    with pytest.raises(ArgumentError, match="num_steps must be > 0"):
        build_nfsp(ENV, PARAMS, dataclasses.replace(CONFIG, num_steps=0))
    env, params = jaxrl.make("game:connect_four")
    with pytest.raises(ArgumentError, match="env must be a game whose NashConv can be computed"):
        build_nfsp(env, params, CONFIG)
    with pytest.raises(ArgumentError, match="config must be of the kind NFSPConfig"):
        nfsp(GAME, None, None, 3)
    trainer = jaxrl.on_policy(AGENT, ENV, PARAMS, jaxrl.OnPolicyConfig(8, 3, True))
    with pytest.raises(ArgumentError, match="num_games must be the 8 environments of a rollout, got 16"):
        jax.eval_shape(trainer.step, jax.eval_shape(trainer.init, jax.random.key(0), HPARAMS))
