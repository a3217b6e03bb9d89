"""The league: whom its learners play, what it keeps, and what it knows of its players."""

import dataclasses
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import game_theory
from jaxrl.agents.league import (
    LeagueConfig,
    LeagueHparams,
    copied,
    league,
    mixture,
    opponents,
    pfsp_weights,
    places,
    restarted,
    step_all,
)
from jaxrl.arguments import ArgumentError
from jaxrl.game_theory import make_game
from jaxrl.networks import actor_critic
from jaxrl.training.from_rules import from_rules
from jaxrl.types import Discrete

GAME = make_game("kuhn_poker")
NETWORK = actor_critic(game_theory.features(GAME)[0], Discrete(2), (16,))
CONFIG = LeagueConfig(num_steps=1, main_agents=2, main_exploiters=1, league_exploiters=1, copy_every=3, capacity=10)
HPARAMS = LeagueHparams(self_play=1.0, magnet=0.1)


@cache
def steps() -> Any:
    """A league after each of five updates: its copies are 24, of which 10 are left."""
    trainer = from_rules(league(GAME, NETWORK, CONFIG), jnp.int32(0), 12)
    step, states = jax.jit(trainer.step), [jax.jit(trainer.init)(jax.random.key(0), HPARAMS)]
    for _ in range(5):
        states.append(step(states[-1])[0])
    return step, states


def test_prioritised_weights() -> None:
    scores, present = jnp.array([0.5, 1.0, 0.0, 0.2]), jnp.array([True, True, True, False])
    np.testing.assert_allclose(pfsp_weights(scores, jnp.float32(2), present), [0.2, 0, 0.8, 0], rtol=1e-6)
    np.testing.assert_allclose(pfsp_weights(scores, jnp.float32(0), present), [1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)
    np.testing.assert_allclose(pfsp_weights(jnp.ones(4), jnp.float32(1), present), [1 / 3, 1 / 3, 1 / 3, 0], rtol=1e-6)


def test_it_keeps_what_the_equilibrium_plays_and_what_each_wins_from_each() -> None:
    _, states = steps()
    before, state = states[-2].agent, states[-1].agent
    assert state.size == 24
    assert sorted(np.asarray(states[1].agent.numbers).tolist()) == [-1, -1, *range(8)]
    kept = np.argsort(before.weights)[4:]  # the other four places have the newest copies
    np.testing.assert_array_equal(state.numbers[kept], before.numbers[kept])
    np.testing.assert_array_equal(state.numbers[places(CONFIG, state)], [20, 21, 22, 23])
    at = places(CONFIG, state)
    first, second = (np.asarray(x) for x in state.plans)
    for i, j in ((0, 7), (9, 3), (4, 5)):
        mine = game_theory.value(GAME, game_theory.behaviour(GAME, (first[i], second[j])))
        theirs = game_theory.value(GAME, game_theory.behaviour(GAME, (first[j], second[i])))
        np.testing.assert_allclose(state.payoffs[i, j], (mine - theirs) / 2, atol=1e-6)
    np.testing.assert_allclose(state.payoffs, -state.payoffs.T, atol=1e-6)
    np.testing.assert_allclose(state.weights.sum(), 1, rtol=1e-5)
    assert (state.payoffs @ state.weights).max() < 2e-3  # no copy wins from the equilibrium of all
    np.testing.assert_allclose(game_theory.plan(GAME, state.policies[0], 1), second[at[0]], atol=1e-6)  # the last copy


def test_a_full_league_keeps_its_equilibrium() -> None:
    """Copies that nobody plays make room, however new they are."""
    state = steps()[1][-1].agent
    weights = jnp.array([0.2, 0, 0.1, 0.3, 0, 0.1, 0, 0.2, 0.1, 0])
    after = jax.jit(lambda x: copied(GAME, CONFIG, x))(state._replace(weights=weights))
    np.testing.assert_array_equal(after.numbers[jnp.array([1, 4, 6, 9])], [24, 25, 26, 27])
    played = jnp.array([0, 2, 3, 5, 7, 8])
    np.testing.assert_array_equal(after.numbers[played], state.numbers[played])
    np.testing.assert_array_equal(after.payoffs[jnp.ix_(played, played)], state.payoffs[jnp.ix_(played, played)])


def test_a_mixture_plays_its_players_with_their_weights() -> None:
    state = steps()[1][-1].agent
    weights = jnp.zeros(10).at[jnp.array([2, 6])].set(jnp.array([0.25, 0.75]))
    policy = mixture(GAME, state, weights)
    for player in (0, 1):
        found = game_theory.plan(GAME, policy, player)
        expected = 0.25 * state.plans[player][2] + 0.75 * state.plans[player][6]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_whom_the_learners_play() -> None:
    """A changed copy matters to league exploiters, and to main agents that do not play themselves alone."""
    state = steps()[1][-1].agent
    weights, seen = opponents(CONFIG, state), game_theory.features(GAME)
    assert weights.shape == (4, 10)
    payoffs = np.asarray(state.payoffs)[places(CONFIG, state)]
    scores = (1 + payoffs / abs(payoffs).max(-1, keepdims=True)) / 2
    np.testing.assert_allclose(weights, (1 - scores) ** 2 / ((1 - scores) ** 2).sum(-1, keepdims=True), rtol=1e-4)
    changed = state._replace(plans=tuple(jnp.roll(x, 3, axis=0) ** 2 for x in state.plans))

    @jax.jit
    def step(state: Any) -> Any:
        return step_all(GAME, NETWORK, seen, CONFIG, weights, state)[0].policies

    def moved(before: Any, after: Any) -> list[bool]:
        return [bool(x) for x in abs(step(before) - step(after)).max((1, 2)) > 1e-7]

    assert moved(state, changed) == [False, False, False, True]
    some = HPARAMS.__class__(self_play=0.5, magnet=0.1)
    assert moved(state._replace(hparams=some), changed._replace(hparams=some)) == [True, True, False, True]
    # Another main agent matters to itself alone, and the first one to main exploiters too.
    for row, expected in ((1, [False, True, False, False]), (0, [True, False, True, False])):
        other = state._replace(policies=state.policies.at[row].set(state.policies[3]))
        assert moved(state, other) == expected


def test_exploiters_start_anew() -> None:
    state, seen = steps()[1][-1].agent, game_theory.features(GAME)

    @jax.jit
    def restart(probability: Any) -> Any:
        hparams = LeagueHparams(self_play=1.0, restart_probability=probability)
        return restarted(GAME, NETWORK, seen, CONFIG, state._replace(hparams=hparams), jax.random.key(5))

    def changes(probability: float) -> list[bool]:
        new = restart(jnp.float32(probability))
        moved = abs(new.policies - state.policies).max((1, 2)) > 0
        assert (np.asarray(new.opt_state[1][0].count)[2:3] == 0).all()
        np.testing.assert_array_equal(new.iteration, jnp.where(moved, 0, state.iteration))
        return [bool(x) for x in moved]

    assert changes(0.0) == [False, False, True, False]
    assert changes(1.0) == [False, False, True, True]


def test_no_two_learners_begin_alike() -> None:
    assert len(np.unique(steps()[1][0].agent.policies[:, 0, 0])) == CONFIG.learners


def test_who_starts_anew_learns_as_fast_as_at_the_start() -> None:
    """Learning rates are of each learner's own iteration. Before, exploiters of an old league could not learn."""
    state, seen = steps()[1][-1].agent, game_theory.features(GAME)
    old = state._replace(iteration=jnp.array([1e5, 1e5, 0, 1e5]))
    weights = opponents(CONFIG, state)
    after = jax.jit(lambda x: step_all(GAME, NETWORK, seen, CONFIG, weights, x)[0])(old)
    change = np.asarray(abs(after.policies - old.policies).max((1, 2)))
    assert change[2] > 20 * change[[0, 1, 3]].max()


def test_the_magnet_of_all_is_that_of_the_main_agents() -> None:
    """Who starts anew has the magnet of the others: with a constant learning rate, its own time changes nothing."""
    state, seen = steps()[1][-1].agent, game_theory.features(GAME)
    weights = opponents(CONFIG, state)
    constant = LeagueHparams(self_play=1.0, learning_rate_half_life=0.0)
    step = jax.jit(lambda x: step_all(GAME, NETWORK, seen, CONFIG, weights, x)[0].policies)
    early, late, all_early = (
        step(state._replace(hparams=constant, iteration=jnp.array([main, main, other, other])))
        for main, other in ((1e3, 0.0), (1e3, 1e3), (0.0, 0.0))
    )
    np.testing.assert_array_equal(early, late)
    assert (abs(all_early - early).max((1, 2)) > 0).all()


def test_it_goes_on_from_any_state() -> None:
    step, states = steps()
    again, metrics = step(states[2])
    jax.tree.map(np.testing.assert_array_equal, jax.random.key_data(again.key), jax.random.key_data(states[3].key))
    jax.tree.map(np.testing.assert_array_equal, again.agent, states[3].agent)
    expected = game_theory.nash_conv(GAME, mixture(GAME, again.agent, again.agent.weights))
    np.testing.assert_allclose(metrics["nash_conv_equilibrium"].sum, expected, atol=1e-6)
    assert again.agent.iteration[0] == 9
    weights, present = np.asarray(again.agent.weights, np.float64), again.agent.numbers >= 0
    played = weights[weights > 0]
    np.testing.assert_allclose(metrics["mixed"].sum, np.exp(-(played * np.log(played)).sum()), rtol=1e-4)
    uniform = game_theory.nash_conv(GAME, mixture(GAME, again.agent, present / present.sum()))
    np.testing.assert_allclose(metrics["nash_conv_uniform"].sum, uniform, atol=1e-6)


def test_its_answer_is_the_average_of_the_first_main_agent_or_the_equilibrium() -> None:
    """The average weighs iteration t with t, and copies every one, which makes it easy to see."""
    sizes = {"main_agents": 1, "main_exploiters": 1, "league_exploiters": 0, "copy_every": 1, "capacity": 16}
    config = LeagueConfig(num_steps=1, **sizes)
    agents: list[Any] = [
        league(GAME, NETWORK, dataclasses.replace(config, answer=x)) for x in ("average", "equilibrium")
    ]
    trainer = from_rules(agents[0], jnp.int32(0), 2)
    start = jax.jit(trainer.init)(jax.random.key(0), HPARAMS)
    end, metrics = jax.jit(lambda x: jax.lax.scan(lambda s, _: trainer.step(s), x, length=3))(start)
    state, rows = end.agent, jnp.arange(len(GAME.labels))
    for player in (0, 1):  # copies 0, 2 and 4 are of the main agent before iterations 1 to 3
        copies = state.plans[player]
        np.testing.assert_allclose(state.sums[player], copies[0] + 2 * copies[2] + 3 * copies[4], atol=1e-5)
    found = [game_theory.nash_conv(GAME, jax.nn.softmax(agent.outputs(state, rows).logits)) for agent in agents]
    names = ("nash_conv_average", "nash_conv_equilibrium")
    np.testing.assert_allclose(found, [metrics[name].sum[-1] for name in names], atol=1e-5)
    assert float(metrics["nash_conv"].sum[-1]) == float(metrics["nash_conv_average"].sum[-1])


def test_a_copy_is_of_the_policy_at_that_time() -> None:
    state = steps()[1][-1].agent
    after = jax.jit(lambda x: copied(GAME, CONFIG, x))(state)
    assert after.size == 28
    at = places(CONFIG, after)
    np.testing.assert_allclose(after.plans[0][at], [game_theory.plan(GAME, x, 0) for x in state.policies], atol=1e-6)


@pytest.mark.slow
def test_a_league_is_less_exploitable_than_self_play_in_the_disc_game() -> None:
    """At as many iterations of all learners, five seeds."""
    game = make_game("disc")
    network = actor_critic(game_theory.features(game)[0], Discrete(48), (64, 64))

    def trained(hparams: LeagueHparams, **config: int) -> np.ndarray:
        learners = 1 + 2 * config.get("main_exploiters", 0)
        sizes = LeagueConfig(num_steps=1, league_exploiters=config.get("main_exploiters", 0), **config, capacity=128)
        trainer = from_rules(league(game, network, sizes), jnp.int32(0), 100 * learners)

        @jax.jit
        def run(key: jax.Array) -> Any:
            start = trainer.init(key, hparams)
            metrics = jax.lax.scan(lambda s, _: trainer.step(s), start, length=60 // learners)[1]
            return jnp.stack([metrics[x].sum[-1] for x in ("nash_conv_equilibrium", "nash_conv_average")])

        return np.array([run(jax.random.key(seed)) for seed in range(5)])

    options: dict[str, Any] = {"magnet": 0.1, "magnet_half_life": 0.0}
    found = trained(LeagueHparams(**options), main_exploiters=1)
    alone = trained(LeagueHparams(self_play=1.0, **options), main_exploiters=0)
    print(found, alone)
    assert found[:, 0].max() < 0.5 * alone.min()  # the equilibrium of the league, and the better of self-play's answers


def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentError, match="main_agents must be at least 1: a league needs a main agent, got 0"):
        league(GAME, NETWORK, LeagueConfig(main_agents=0))
    with pytest.raises(ArgumentError, match="capacity must be at least 6, two copies of each learner, got 5"):
        league(GAME, NETWORK, LeagueConfig(capacity=5))
    with pytest.raises(ArgumentError, match="game must be of the kind Game"):
        league("kuhn_poker", NETWORK)
