"""Solvers approach the equilibria that are known, as open_spiel's do, and PSRO and fictitious play by their rules."""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import game_theory
from jaxrl.arguments import ArgumentError
from jaxrl.game_theory import MirrorDescentHparams, make_game, solve
from tests.game_theory import in_open_spiel


@pytest.mark.parametrize(("name", "iterations"), [("kuhn_poker", 100), ("leduc_poker", 8)])
def test_cfr_and_cfr_plus_have_the_policies_of_open_spiel(name: str, iterations: int) -> None:
    pyspiel = pytest.importorskip("pyspiel", reason="open_spiel is not installed (pip install open-spiel)")
    game = make_game(name)
    keys, theirs = in_open_spiel.keys_of(game), in_open_spiel.load(game)
    for ours, their_solver in ((game_theory.cfr(), pyspiel.CFRSolver), (game_theory.cfr_plus(), pyspiel.CFRPlusSolver)):
        solver = their_solver(theirs)
        for _ in range(iterations):
            solver.evaluate_and_update_policy()
        average = solver.average_policy()
        with jax.enable_x64(True):
            policy = solve(ours, game, iterations).policy
        for row, key in enumerate(keys):
            expected = average.action_probabilities(key)
            np.testing.assert_allclose([policy[row, a] for a in expected], [*expected.values()], rtol=0, atol=1e-9)


@pytest.mark.slow
def test_cfr_plus_solves_leduc_faster_than_open_spiel() -> None:
    """1,000 iterations in single precision, at least 20 times as fast as its C++ in the same run."""
    pyspiel = pytest.importorskip("pyspiel", reason="open_spiel is not installed (pip install open-spiel)")
    game = make_game("leduc_poker")
    jax.block_until_ready(solve(game_theory.cfr_plus(), game, 1000))
    start = time.process_time()
    found = jax.block_until_ready(solve(game_theory.cfr_plus(), game, 1000))
    ours = time.process_time() - start
    assert found.nash_conv[-1] < 1e-3
    assert abs(game_theory.value(game, found.policy) + 0.0856) < 1e-3
    solver, start = pyspiel.CFRPlusSolver(in_open_spiel.load(game)), time.process_time()
    for _ in range(20):
        solver.evaluate_and_update_policy()
    theirs = 50 * (time.process_time() - start)
    print(f"1,000 iterations: {ours:.2f} s of CPU time, open_spiel {theirs:.1f} s")
    assert theirs > 20 * ours


def test_fictitious_play_is_that_of_matrix_games() -> None:
    game, payoffs = make_game("biased_rock_paper_scissors"), game_theory.rules.BIASED_ROCK_PAPER_SCISSORS
    sums = np.full((2, 3), 1 / 3)
    for _ in range(50):
        answers = (payoffs @ sums[1]).argmax(), (-sums[0] @ payoffs).argmax()
        sums += np.eye(3)[list(answers)]
    with jax.enable_x64(True):
        found = solve(game_theory.fictitious_play(), game, 50)
    np.testing.assert_allclose(found.policy, sums / sums.sum(-1, keepdims=True), atol=1e-12)


def test_fictitious_play_approaches_an_equilibrium_of_leduc() -> None:
    found = solve(game_theory.fictitious_play(), make_game("leduc_poker"), 100, every=10)
    np.testing.assert_allclose(found.nash_conv[0], 2.3475, atol=1e-3)  # measured with open_spiel's XFP
    assert (np.diff(found.nash_conv) < 0).all()


def test_a_magnet_draws_the_policy_to_the_equilibrium_with_entropy() -> None:
    """Sokota et al. 2023: with a constant uniform magnet, the fixed point is π ∝ exp(q / α)."""
    game = make_game("kuhn_poker")
    hparams = MirrorDescentHparams(magnet=0.3, magnet_half_life=0.0, step_size=0.2)
    solver = game_theory.magnetic_mirror_descent()
    last = solver.last(game, solve(solver, game, 2000, hparams=hparams).state)
    expected = jax.nn.softmax(jax.jit(lambda x: game_theory.action_values(game, x))(last) / 0.3)
    np.testing.assert_allclose(last, expected, atol=1e-5)


def test_a_step_of_mirror_descent_by_hand() -> None:
    """Of iteration 50, where the magnet and the step size are at two thirds, and the average weighs it with 51."""
    game, solver = make_game("biased_rock_paper_scissors"), game_theory.magnetic_mirror_descent()
    payoffs = game_theory.rules.BIASED_ROCK_PAPER_SCISSORS
    policy = np.array([[0.5, 0.3, 0.2], [0.3, 0.4, 0.3]])
    q = np.stack([payoffs @ policy[1], -policy[0] @ payoffs])
    alpha, eta = 0.6 * 2 / 3, 0.03 * 2 / 3
    expected = (policy * (1 / 3) ** (alpha * eta) * np.exp(eta * q)) ** (1 / (1 + alpha * eta))
    expected /= expected.sum(-1, keepdims=True)
    hparams = MirrorDescentHparams(magnet=0.6, magnet_half_life=100.0, step_size=0.03)
    start = solver.init(game)._replace(log_policy=jnp.log(policy))
    state = solver.step(game, start, jnp.float32(50), hparams)
    np.testing.assert_allclose(solver.last(game, state), expected, rtol=1e-5)
    for player in (0, 1):
        np.testing.assert_allclose(state.plans[player], 51 * np.append(policy[player], 1), rtol=1e-5)


def test_the_annealed_magnet_leads_the_last_policy_to_an_equilibrium() -> None:
    found = solve(game_theory.magnetic_mirror_descent(), make_game("kuhn_poker"), 4000, every=1000)
    assert (np.diff(found.nash_conv_last) < 0).all()
    assert found.nash_conv_last[-1] < 0.02


def test_without_a_magnet_the_policy_circles_away_and_with_one_it_comes_back() -> None:
    """Both players of rock-paper-scissors learn at once, from a policy off the equilibrium."""
    game, solver = make_game("rock_paper_scissors"), game_theory.magnetic_mirror_descent()
    start = jnp.log(jnp.array([[0.5, 0.3, 0.2], [0.3, 0.4, 0.3]]))

    def distances(magnet: float) -> np.ndarray:
        hparams = MirrorDescentHparams(magnet=magnet, magnet_half_life=0.0, step_size=0.1)

        def step(state: Any, t: Any) -> tuple[Any, Any]:
            state = solver.step(game, state, t, hparams)
            policy = solver.last(game, state)
            return state, -jnp.log(3 * policy).mean(-1).sum()  # Σ KL(equilibrium ‖ policy)

        state = solver.init(game)._replace(log_policy=start)
        return np.asarray(jax.jit(lambda: jax.lax.scan(step, state, jnp.arange(400.0)))()[1])

    away, back = distances(0.0), distances(0.2)
    assert (np.diff(away) > 0).all()
    assert away[-1] > 2 * away[0]
    assert back[-1] < 1e-6 < back[0]


def test_psro_adds_best_responses_until_there_are_none() -> None:
    game = make_game("kuhn_poker")
    found = solve(game_theory.psro(capacity=16), game, 12, every=4)
    assert found.nash_conv[-1] < 2e-3 < found.nash_conv[0]
    state = found.state
    assert state.size == 13
    for i, j in ((0, 0), (3, 5), (12, 2)):
        policy = game_theory.behaviour(game, (state.plans[0][i], state.plans[1][j]))
        np.testing.assert_allclose(state.payoffs[i, j], game_theory.value(game, policy), atol=1e-6)
    response, _ = game_theory.best_response(game, solve(game_theory.psro(capacity=16), game, 11).policy)
    np.testing.assert_allclose(game_theory.plan(game, response, 1), state.plans[1][12], atol=1e-6)


def test_a_matrix_game_is_solved_as_by_a_loop() -> None:
    """Regret matching+ in turns, whose average weighs iteration t with t. The last row and column do not exist."""
    payoffs = np.zeros((4, 4))
    payoffs[:3, :3] = game_theory.rules.BIASED_ROCK_PAPER_SCISSORS
    regrets, sums = np.zeros((2, 3)), np.zeros((2, 3))

    def mixture(player: int) -> np.ndarray:
        total = regrets[player].sum()
        return regrets[player] / total if total else np.full(3, 1 / 3)

    for t in range(1, 31):
        played = [mixture(0), mixture(1)]
        for player, table in ((0, payoffs[:3, :3]), (1, -payoffs[:3, :3].T)):
            values = table @ played[1 - player]
            sums[player] += t * played[player]
            regrets[player] = np.maximum(regrets[player] + values - values @ played[player], 0)
            played[player] = mixture(player)
    payoffs[3], payoffs[:, 3] = 100, -100
    with jax.enable_x64(True):
        found = game_theory.matrix_equilibrium(jnp.asarray(payoffs), jnp.arange(4) < 3, 30)
    expected = np.pad(sums / sums.sum(-1, keepdims=True), ((0, 0), (0, 1)))
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_psro_stops_when_all_places_are_taken() -> None:
    game = make_game("biased_rock_paper_scissors")
    found = solve(game_theory.psro(capacity=8), game, 12)
    np.testing.assert_allclose(found.policy, [np.array([1, 10, 5]) / 16] * 2, atol=5e-3)
    assert found.state.size == 8
    few = solve(game_theory.psro(capacity=3), game, 12, every=1)
    assert (few.nash_conv[2:] == few.nash_conv[2]).all()


def test_a_thousand_games_are_solved_in_one_call() -> None:
    """Kuhn's poker with other stakes: all payoffs are scaled, and so are the values."""
    game, scale = make_game("kuhn_poker"), np.linspace(0.1, 10, 1000)

    def scaled(side: Any) -> Any:
        return side._replace(payoff=scale[:, None, None] * side.payoff)

    axes = jax.tree.map(lambda _: None, game)
    axes = dataclasses.replace(axes, sides=tuple(x._replace(payoff=0) for x in axes.sides))
    many = dataclasses.replace(game, sides=tuple(map(scaled, game.sides)))

    def solved(game: game_theory.Game) -> tuple[Any, Any]:
        found = solve(game_theory.cfr_plus(), game, 200)
        return game_theory.value(game, found.policy), found.nash_conv[0]

    values, nash_conv = jax.jit(jax.vmap(solved, in_axes=(axes,)))(many)
    np.testing.assert_allclose(values / scale, -1 / 18, atol=2e-3)
    assert (nash_conv / scale < 3e-3).all()


def test_arguments_are_checked() -> None:
    game = make_game("kuhn_poker")
    with pytest.raises(ArgumentError, match="every must divide the 10 iterations, got 3"):
        solve(game_theory.cfr(), game, 10, every=3)
    with pytest.raises(ArgumentError, match=r"solver must be of the kind Solver"):
        solve("cfr", game, 10)
    with pytest.raises(ArgumentError, match=r"game must be of the kind Game"):
        solve(game_theory.cfr(), "kuhn_poker", 10)
