"""Self-play in small games: what it learns from, its gradient, and where it leads."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import game_theory
from jaxrl.agents.game_tables import game_solver
from jaxrl.agents.self_play_ppo import (
    Experience,
    SelfPlayConfig,
    SelfPlayHparams,
    exact_experience,
    learns_in,
    magnet_at,
    sample_experience,
    self_play_loss,
    self_play_ppo,
)
from jaxrl.arguments import ArgumentError
from jaxrl.game_theory import Game, make_game
from jaxrl.networks import actor_critic
from jaxrl.training.from_rules import from_rules
from jaxrl.types import Discrete
from tests.compiling import quick_jit


def random_policy(game: Game, seed: int) -> np.ndarray:
    weights = np.random.default_rng(seed).gamma(1.0, size=game.legal.shape) * game.legal
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


def agent_for(game: Game, sampled: bool, num_steps: int = 1, hidden: tuple[int, ...] = (32,)) -> jaxrl.Agent:
    network = actor_critic(game_theory.features(game)[0], Discrete(game.legal.shape[1]), hidden)
    return self_play_ppo(game, network, SelfPlayConfig(num_steps), sampled)


def test_the_gradient_is_that_of_each_players_own_utility() -> None:
    """At the old policy, without entropy: −∂L/∂logits of a player's sets is the derivative of what it wins."""
    game = make_game("leduc_poker")
    logits = jnp.log(jnp.maximum(random_policy(game, 0), 1e-9))

    def policy_of(logits: Any) -> Any:
        return jnp.where(game.legal, jax.nn.softmax(jnp.where(game.legal, logits, -1e9)), 0)

    old = policy_of(logits)
    experience = quick_jit(partial(exact_experience, game))
    found = experience(old, old, jnp.float32(0))

    def loss(logits: Any) -> Any:
        log_policy = jax.nn.log_softmax(jnp.where(game.legal, logits, -1e9))
        outputs = policy_of(logits), jnp.where(game.legal, log_policy, 0)
        return self_play_loss(game, outputs, jnp.zeros(936), old, found, jnp.float32(0.2), jnp.float32(0))[0]

    ours, theirs = jax.jit(lambda x: (jax.grad(loss)(x), jax.grad(lambda y: game_theory.value(game, policy_of(y)))(x)))(
        logits
    )
    sign = np.where(np.arange(936) < 468, 1, -1)[:, None]
    assert abs(np.asarray(theirs)).max() > 0.01
    np.testing.assert_allclose(-ours, sign * theirs, atol=1e-5)
    spread = experience(old, old, 0.0, 1.5)
    np.testing.assert_allclose(spread.gains - spread.losses, found.gains - found.losses, atol=1e-6)
    np.testing.assert_allclose((spread.gains - found.gains).sum(-1), 1.5 * found.visits, atol=1e-6)


@pytest.mark.parametrize("past", [0.0, 0.5, 1.0])
def test_sampled_experience_has_the_mean_of_the_exact_one(past: float) -> None:
    game, number = make_game("kuhn_poker"), 60_000
    env, params = jaxrl.make("game:kuhn_poker")
    policy, average = random_policy(game, 1), random_policy(game, 2)
    learns = learns_in(game, past, jnp.arange(number), number, jnp.zeros(number, int))
    assert np.mean(~np.asarray(learns)) == pytest.approx(past / 2, abs=1e-3)

    def act(given: jaxrl.Input, key: jax.Array) -> jax.Array:
        mine = learns_in(game, past, jnp.arange(number), number, given.observation)
        table = jnp.where(
            mine[:, None], jnp.asarray(policy)[given.observation], jnp.asarray(average)[given.observation]
        )
        return jax.random.categorical(key, jnp.log(table))

    batch = jax.jit(lambda key: jaxrl.rollout(env, act, key, game.longest + 2, number, params))(jax.random.key(0))
    exact = exact_experience(game, policy, average, jnp.float32(past))
    # Conditional values of the same opponents, for which the advantages are those that are summed exactly.
    q = [
        (1 - past) * game_theory.counterfactual_values(game, policy.copy())[game.rows(i)]
        + past / 2 * game_theory.counterfactual_values(game, mixed(game, policy, average, i))[game.rows(i)]
        for i in (0, 1)
    ]
    own = jnp.concatenate([game_theory.reach(game, jnp.asarray(policy), i) for i in (0, 1)])
    values = (policy * jnp.concatenate(q)).sum(-1) * own / exact.visits
    found = sample_experience(game, batch, values, past)
    np.testing.assert_allclose(found.visits, exact.visits, atol=0.012)
    np.testing.assert_allclose(found.gains - found.losses, exact.gains - exact.losses, atol=0.012)
    np.testing.assert_allclose(found.returns, exact.visits * values, atol=0.02)


def mixed(game: Game, policy: np.ndarray, average: np.ndarray, player: int) -> np.ndarray:
    """The policy of a player, against the average of the other."""
    rows = game.rows(player)
    table = average.copy()
    table[rows] = policy[rows]
    return table


def test_the_loss_clips_what_gains_too_much_and_rewards_entropy() -> None:
    game = make_game("rock_paper_scissors")
    old = jnp.full((2, 3), 1 / 3)
    new = jnp.array([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]])
    found = Experience(jnp.ones(2), jnp.array([[1.0, 0, 0]] * 2), jnp.array([[0, 2.0, 0]] * 2), None)
    loss, entropy = self_play_loss(game, (new, jnp.log(new)), jnp.zeros(2), old, found, 0.2, 0.1)
    total = -(0.5 * np.log(0.5) + 0.5 * np.log(0.25)) + np.log(3)
    np.testing.assert_allclose(entropy, total / 2, rtol=1e-6)
    # A ratio of 1.5 counts as 1.2, and one of 0.75 as 0.8; the second player changed nothing.
    np.testing.assert_allclose(loss, -(1.2 * 1 - 0.8 * 2) - (1 - 2) - 0.1 * total, rtol=1e-6)
    with_values = found._replace(returns=jnp.array([3.0, -1.0]))
    values = jnp.array([2.0, 1.0])
    learned, _ = self_play_loss(game, (new, jnp.log(new)), values, old, with_values, 0.2, 0.1)
    np.testing.assert_allclose(learned - loss, (4 / 2 - 6) + (1 / 2 + 1), rtol=1e-5)


@cache
def exact_run(name: str, num_steps: int, hidden: tuple[int, ...], iterations: int) -> Any:
    trainer = from_rules(agent_for(make_game(name), False, num_steps, hidden), jnp.int32(0))

    def run(key: jax.Array, hparams: SelfPlayHparams) -> Any:
        return jax.lax.scan(lambda state, _: trainer.step(state), trainer.init(key, hparams), length=iterations)

    return jax.jit(run)


def curves(metrics: Any) -> dict[str, np.ndarray]:
    return {name: np.asarray(x.sum / x.count) for name, x in metrics.items()}


def test_policy_gradients_circle_in_rock_paper_scissors_and_the_past_or_a_magnet_stops_them() -> None:
    magnet, past = jnp.array([0.0, 0.5, 0.1, 0.1]), jnp.array([0.0, 0.0, 0.0, 0.5])
    hparams = SelfPlayHparams(learning_rate_half_life=0.0, magnet=magnet, magnet_half_life=0.0, past=past)
    axes = jax.tree.map(lambda x: 0 if jnp.ndim(x) else None, hparams)
    run = jax.vmap(exact_run("rock_paper_scissors", 1, (32,), 3000), in_axes=(None, axes))
    found = curves(run(jax.random.key(0), hparams)[1])
    alone, drawn, weakly_drawn, with_past = found["nash_conv_last"][:, -1000:]
    assert alone.min() > 0.5  # it never comes back
    assert drawn.max() < 0.05
    assert weakly_drawn.min() > 0.2
    assert with_past.max() < 0.2
    assert found["nash_conv"][3, -1] < found["nash_conv"][2, -1] / 10
    # A network represents the average, also of a policy that is never there itself.
    np.testing.assert_allclose(found["nash_conv_network"][:, -1], found["nash_conv"][:, -1], rtol=0.02, atol=1e-3)


def test_the_magnet_falls_to_its_floor() -> None:
    """Half as much after its half-life; a floor above where it begins is none."""
    iterations = jnp.array([0.0, 100.0, 300.0, 1e6])
    for floor, expected in ((0.0, [0.4, 0.2, 0.1, 4e-5]), (0.15, [0.4, 0.2, 0.15, 0.15]), (0.5, [0.4] * 4)):
        hparams = SelfPlayHparams(magnet=0.4, magnet_half_life=100.0, magnet_floor=floor)
        np.testing.assert_allclose(magnet_at(hparams, iterations), expected, rtol=1e-3)
    constant = SelfPlayHparams(magnet=0.4, magnet_half_life=0.0)
    np.testing.assert_allclose(magnet_at(constant, iterations), 0.4, rtol=1e-6)


@pytest.mark.slow
def test_exact_self_play_solves_kuhn_poker() -> None:
    hparams = SelfPlayHparams(magnet=0.2, magnet_half_life=500.0, magnet_floor=0.005, past=0.5)
    state, metrics = exact_run("kuhn_poker", 4, (64,), 6000)(jax.random.key(0), hparams)
    metrics = curves(metrics)
    assert metrics["nash_conv"][-1] < 0.03
    assert abs(metrics["nash_conv_network"][-1] - metrics["nash_conv"][-1]) < 0.01
    np.testing.assert_allclose(metrics["magnet"][[0, 500]], [0.2, 0.1], rtol=1e-5)
    assert state.agent.iteration == 6000
    assert state.iteration == 6000


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_exact_self_play_reaches_two_thousandths_in_kuhn_poker(seed: int) -> None:
    """In about 10 s of CPU time."""
    hparams = SelfPlayHparams(magnet=0.2, magnet_half_life=500.0, magnet_floor=0.005, past=0.5)
    _, metrics = exact_run("kuhn_poker", 4, (64, 64), 50_000)(jax.random.key(seed), hparams)
    assert curves(metrics)["nash_conv"][-1] < 0.002


def test_sampled_self_play_goes_on_from_any_state_and_is_measured() -> None:
    game = make_game("kuhn_poker")
    env, params = jaxrl.make("game:kuhn_poker")
    agent = agent_for(game, sampled=True, num_steps=2)
    trainer = jaxrl.on_policy(agent, env, params, jaxrl.OnPolicyConfig(256, game.longest, True))
    hparams = SelfPlayHparams(learning_rate=3e-3, magnet=0.2, past=0.5)

    @jax.jit
    def run(state: Any) -> Any:
        return jax.lax.scan(lambda state, _: trainer.step(state), state, length=250)

    state = trainer.init(jax.random.key(0), hparams)
    first = float(game_theory.nash_conv(game, state.agent.policy))
    middle, _ = run(state)
    end, metrics = run(middle)
    assert float(metrics["nash_conv"].sum[-1]) < first / 3
    # The average weighs iteration t with t: it is the sum of these plans.
    assert end.agent.plans[0][-1] == pytest.approx(500 * 501 / 2)
    measured = float(metrics["nash_conv"].sum[-1])
    outputs: Any = agent.outputs
    policy = jax.nn.softmax(outputs(end.agent, jnp.arange(12)).logits)
    assert float(game_theory.nash_conv(game, policy)) == pytest.approx(measured, abs=1e-5)


def test_a_solver_is_an_agent() -> None:
    game = make_game("kuhn_poker")
    trainer = from_rules(game_solver(game_theory.cfr_plus(), game, 10), jnp.int32(0), 10)
    state = trainer.init(jax.random.key(0), ())
    step = jax.jit(trainer.step)
    for _ in range(10):
        state, metrics = step(state)
    expected = game_theory.solve(game_theory.cfr_plus(), game, 100)
    np.testing.assert_allclose(metrics["nash_conv"].sum, expected.nash_conv[-1], atol=1e-7)
    np.testing.assert_allclose(metrics["nash_conv_last"].sum, expected.nash_conv_last[-1], atol=1e-7)
    assert (trainer.steps_per_iteration, trainer.unit.column) == (10, "iterations")
    # It weighs iterations by its own count, also if the trainer counts otherwise.
    other = from_rules(game_solver(game_theory.cfr_plus(), game, 10), jnp.int32(0), 3)
    state = jax.lax.scan(lambda x, _: other.step(x), other.init(jax.random.key(0), ()), length=10)[0]
    found = game_theory.cfr_plus().average(game, state.agent.solver)
    np.testing.assert_allclose(found, expected.policy, atol=1e-6)


def test_arguments_are_checked() -> None:
    game = make_game("kuhn_poker")
    with pytest.raises(ArgumentError, match="game must be of the kind Game"):
        self_play_ppo("kuhn_poker", None)
    with pytest.raises(ArgumentError, match="config must be of the kind SelfPlayConfig"):
        self_play_ppo(game, actor_critic(jnp.zeros(3), Discrete(2)), 4)
    with pytest.raises(ArgumentError, match="iterations must be a whole number >= 1"):
        from_rules(agent_for(game, False), jnp.int32(0), 0)
    env, params = jaxrl.make("game:kuhn_poker")
    with pytest.raises(ArgumentError, match="reset_each_rollout must be True"):
        jaxrl.on_policy(agent_for(game, True), env, params, jaxrl.OnPolicyConfig(4, 3))
