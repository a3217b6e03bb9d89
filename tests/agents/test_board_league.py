"""The league in board games: who moves where, who meets whom, what a learner learns from, and what is noted."""

import dataclasses
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import games
from jaxrl.agents.board_league import (
    BoardLeagueConfig,
    BoardLeagueHparams,
    Played,
    board_league,
    copied,
    game_returns,
    matched,
    noted,
    opponents,
)
from jaxrl.arguments import ArgumentError
from jaxrl.networks import board_network, example_of
from jaxrl.training.measure import mistakes
from jaxrl.types import Input, Transition

CONFIG = BoardLeagueConfig(
    main_agents=1, main_exploiters=1, league_exploiters=1, copy_every=2, capacity=7, opponents=2, num_steps=2,
    batch_size=8,
)  # fmt: skip
HPARAMS = BoardLeagueHparams(self_play=0.5, restart_probability=0.0)
ENV, PARAMS = jaxrl.make("game:connect_four", rows=2, columns=3, length=3)
NETWORK = board_network(example_of(ENV, PARAMS), 3, (8,))
AGENT = board_league(NETWORK, CONFIG)
NUM_ENVS, LONGEST = 24, 6  # of a learner 8, of a group 4


@cache
def steps() -> Any:
    """The league after each of six updates: its copies are 12, of which 7 are left."""
    trainer = jaxrl.on_policy(AGENT, ENV, PARAMS, jaxrl.OnPolicyConfig(NUM_ENVS, LONGEST, True))
    step, states = jax.jit(trainer.step), [jax.jit(trainer.init)(jax.random.key(0), HPARAMS)]
    for _ in range(6):
        states.append(step(states[-1])[0])
    return step, states


def rollout(**fields: Any) -> Transition:
    """Two games `[3, N]` in each environment, both of two moves, of which the second one is cut after its first."""
    shape = (3, NUM_ENVS)
    values: dict[str, Any] = {
        "observation": jnp.zeros((*shape, 2, 3, 2), bool),
        "action": jnp.zeros(shape, jnp.int32),
        "reward": jnp.zeros(shape),
        "terminated": jnp.zeros(shape, bool).at[1].set(True),
        "truncated": jnp.zeros(shape, bool),
        "next_observation": jnp.zeros((*shape, 2, 3, 2), bool),
        "legal": jnp.ones((*shape, 3), bool),
        "extras": Played(jnp.ones(shape, bool), jnp.full(shape, -1.1)),
    }
    return Transition(**values | fields)


def test_returns_are_of_who_moves_and_trust_the_learners_own_values_alone() -> None:
    reward = jnp.array([0.0, 0, 0, 1])[:, None]  # the other player wins with the last move
    learns = jnp.array([True, False, True, False])[:, None]
    values = jnp.array([0.1, 0.2, 0.3, 0.4])[:, None]
    nothing: Any = ()
    last = jnp.array([False, False, False, True])[:, None]
    ends = Transition(nothing, nothing, reward, last, nothing, nothing)
    returns = partial(game_returns, ends, values)
    np.testing.assert_allclose(returns(learns, 1.0)[:, 0], [-1, 1, -1, 1])
    np.testing.assert_allclose(returns(learns, 0.0)[:, 0], [0.3, -0.3, -1, 1], rtol=1e-6)
    np.testing.assert_allclose(returns(learns | True, 0.0)[:, 0], [-0.2, -0.3, -0.4, 1], rtol=1e-6)
    cut = ends._replace(reward=0 * reward, terminated=ends.terminated & False)
    np.testing.assert_allclose(game_returns(cut, values, learns, 1.0)[:, 0], [-0.4, 0.4, -0.4, 0.4], rtol=1e-6)


def test_learners_and_their_opponents_move_in_their_own_games() -> None:
    state = steps()[1][-1].agent
    boards = jax.vmap(ENV.game.observe)(games.random_openings(ENV.game, jax.random.key(1), NUM_ENVS, 2))
    player = jnp.arange(NUM_ENVS) // 2 % 2
    first = jax.tree.map(lambda x: jnp.stack([x] * NUM_ENVS, -1), ENV.game.initial())
    given = Input(boards, jnp.ones((NUM_ENVS, 3), bool), env_states=first._replace(player=player))
    decision = jax.jit(AGENT.act)(state, given, jax.random.key(2), jnp.float32(0))
    played, met = decision.extras, np.asarray(state.met)
    for n in range(NUM_ENVS):
        learner, group = n // 8, n // 4 % 2
        turn = int(player[n]) == n % 2
        own = jax.tree.map(lambda x, i=learner: x[i], state.params)
        other = jax.tree.map(lambda x, i=learner, j=group: x[i, j], state.opponents)
        logits = NETWORK.apply(own if turn else other, boards[n : n + 1])[0].logits[0]
        expected = jax.nn.log_softmax(logits)[decision.action[n]]
        np.testing.assert_allclose(played.log_prob[n], expected, rtol=1e-5)
        assert bool(played.learns[n]) == (turn or (learner == 0 and met[0, group] < 0))


def test_whom_the_learners_meet() -> None:
    state = steps()[1][-1].agent

    @jax.jit
    def draw(share: Any) -> Any:
        given = state._replace(hparams=dataclasses.replace(HPARAMS, self_play=share))
        found = jax.vmap(lambda key: matched(CONFIG, given, key))(jax.random.split(jax.random.key(3), 1000))
        return found.met, found.opponents["params"]["policy"]["bias"]

    met, bias = (np.asarray(x) for x in draw(jnp.float32(0.5)))
    assert (met[:, 1] == -1).all()
    assert (met[:, 2] >= 0).all()
    assert ((met[:, 0] < 0).sum(-1) == 1).all()  # half of two groups
    shares = np.stack([(met[:, 2] == k).mean() for k in range(7)])
    np.testing.assert_allclose(shares, opponents(CONFIG, state)[2], atol=0.05)
    own, copies = (x["params"]["policy"]["bias"] for x in (state.params, state.copies))
    np.testing.assert_array_equal(bias[:, 1], np.broadcast_to(own[0], (1000, 2, 3)))
    np.testing.assert_array_equal(bias[:, 2], np.asarray(copies)[met[:, 2]])
    assert np.mean(np.asarray(draw(jnp.float32(0.3))[0])[:, 0] < 0) == pytest.approx(0.3, abs=0.03)


def test_what_a_learner_scores_is_noted() -> None:
    """Only of the first game in each environment, and of copies."""
    state = steps()[1][-1].agent._replace(met=jnp.array([[-1, 4], [-1, -1], [5, 5]]))
    state = state._replace(points=jnp.ones((3, 7)), games=jnp.full((3, 7), 2.0))
    learns = jnp.zeros((3, NUM_ENVS), bool).at[1].set(jnp.arange(NUM_ENVS) % 2 == 0)  # who makes the last move
    reward = jnp.zeros((3, NUM_ENVS)).at[1, :20].set(1).at[2].set(7)  # the last four games are drawn
    batch = rollout(reward=reward, extras=Played(learns, jnp.zeros((3, NUM_ENVS))))
    after, scores = noted(CONFIG, state, batch)
    expected = np.full((3, 7), 0.99)
    expected[0, 4] += 2
    expected[2, 5] += 2 + 2
    np.testing.assert_allclose(after.points, expected, rtol=1e-6)
    games_ = np.full((3, 7), 1.98)
    games_[0, 4] += 4
    games_[2, 5] += 8
    np.testing.assert_allclose(after.games, games_, rtol=1e-6)
    assert float(scores["score_copies"].value()) == 0.5
    won = noted(CONFIG, state, batch._replace(extras=Played(learns | True, learns * 0.0)))[1]
    assert (float(won["score_copies"].value()), int(won["score_copies"].count)) == (1, 4)  # of the main agent alone
    assert float(won["score_exploiters"].value()) == 1
    assert int(won["score_exploiters"].count) == 8
    np.testing.assert_allclose(opponents(CONFIG, after)[0, 4], (1 - 3.49 / 6.98) ** 2 / 1.75, rtol=1e-2)


def test_copies_take_the_place_of_those_that_nobody_would_play() -> None:
    state = steps()[1][-1].agent
    assert state.size == 12
    assert sorted(np.asarray(steps()[1][2].agent.numbers).tolist()) == [-1, *range(6)]
    beaten = jnp.array([[0], [2]]), jnp.array([1, 6])  # by those who meet copies; a main exploiter knows none of them
    points = jnp.full((3, 7), 0.5).at[beaten].set(100)
    numbers = jnp.array([9, 11, 10, 3, 8, 7, 6])
    state = state._replace(points=points, games=jnp.ones((3, 7)).at[beaten].set(100), numbers=numbers)
    after = copied(CONFIG, state, jnp.bool_(True))
    assert sorted(np.asarray(after.numbers).tolist()) == [7, 8, 9, 10, 12, 13, 14]  # among equals, the oldest goes
    at = np.argsort(after.numbers)[-3:]
    bias = after.copies["params"]["policy"]["bias"]
    np.testing.assert_array_equal(bias[at], state.params["params"]["policy"]["bias"])
    assert (after.games[:, at] == 0).all()
    assert (after.points[:, at] == 0).all()
    # The oldest copy stays, if main agents would play it. That main exploiters meet no copies says nothing.
    plays = jnp.array([[0, 14, 10, 10, 10, 28, 28], [0] * 7, [20, 0, 10, 10, 10, 25, 25]]) / 100
    hparams = dataclasses.replace(HPARAMS, pfsp_exponent=1.0)
    games_ = jnp.full((3, 7), 99.0).at[1].set(0)
    needed = state._replace(points=games_ * (1 - plays) + 0.5 - plays, games=games_, hparams=hparams)
    needed = needed._replace(numbers=jnp.array([9, 3, 10, 11, 8, 7, 6]), points=needed.points.at[1].set(0))
    np.testing.assert_allclose(opponents(CONFIG, needed)[::2], plays[::2], atol=1e-5)
    assert sorted(np.asarray(copied(CONFIG, needed, jnp.bool_(True)).numbers).tolist()) == [3, 6, 7, 9, 12, 13, 14]
    same = copied(CONFIG, state, jnp.bool_(False))
    jax.tree.map(np.testing.assert_array_equal, same, state)


def test_a_learner_learns_from_its_own_moves_alone() -> None:
    state = steps()[1][2].agent  # no copy is due after the next update
    update = jax.jit(AGENT.update)
    observation = jax.random.bernoulli(jax.random.key(0), 0.5, (3, NUM_ENVS, 2, 3, 2))
    learns = jnp.ones((3, NUM_ENVS), bool).at[0].set(False)
    reward = jnp.zeros((3, NUM_ENVS)).at[1].set(1)
    log_prob = jnp.full((3, NUM_ENVS), -1.1)
    batch = rollout(observation=observation, reward=reward, extras=Played(learns, log_prob))

    def changed(**fields: float) -> Any:
        given = {name: 0 * getattr(state.hparams, name) + value for name, value in fields.items()}
        return state._replace(hparams=dataclasses.replace(state.hparams, **given))

    def learned(batch: Transition, state: Any = state) -> np.ndarray:
        after = update(state, batch, jax.random.key(1), jnp.float32(0))[0]
        return np.asarray(after.opt_state[1][0].mu["params"]["policy"]["kernel"])

    before = learned(batch)
    assert (abs(before).max((1, 2)) > 0).all()
    elsewhere = learned(batch._replace(action=batch.action.at[:, 8:16].set(1)))  # of the second learner
    assert (abs(elsewhere - before).max((1, 2)) > 0).tolist() == [False, True, False]
    np.testing.assert_array_equal(learned(batch._replace(action=batch.action.at[0].set(1))), before)
    before_copy = steps()[1][3].agent
    assert (before_copy.games[2] > 0).any()
    anew = dataclasses.replace(before_copy.hparams, restart_probability=jnp.float32(1))
    after = update(before_copy._replace(hparams=anew), batch, jax.random.key(1), jnp.float32(0))[0]
    assert (after.games[1:] == 0).all()  # who starts anew has no results
    assert (after.points[1:] == 0).all()
    assert after.updates.tolist() == [4, 0, 0]
    legal = learned(batch._replace(legal=jnp.ones((3, NUM_ENVS, 3), bool).at[..., 2].set(False)))
    assert (abs(legal - before).max((1, 2)) > 0).all()
    long = batch._replace(terminated=batch.terminated & False, reward=reward.at[2].set(1))
    assert (learned(long) != learned(long, changed(gae_lambda=0.0))).any()
    # The rate of who learns for two updates is at its end. That of the exploiter, which began anew, is not.
    decayed = changed(learning_rate_decay_steps=2 * 3 * NUM_ENVS)
    after = update(decayed, batch, jax.random.key(1), jnp.float32(0))[0]
    kernels = (x.params["params"]["policy"]["kernel"] for x in (after, state))
    assert jnp.not_equal(*kernels).any((1, 2)).tolist() == [False, True, False]
    # What won becomes more probable than what lost, for each of them. Nobody made the last moves.
    won = jnp.arange(NUM_ENVS) % 2 == 0
    first = rollout(
        action=jnp.broadcast_to(jnp.where(won, 0, 1), (3, NUM_ENVS)),
        reward=jnp.zeros((3, NUM_ENVS)).at[1].set(jnp.where(won, 1.0, -1.0)),
        extras=Played(learns.at[2].set(False), log_prob),
    )

    def prefers(params: Any) -> np.ndarray:
        logits = jax.vmap(NETWORK.apply, (0, None))(params, jnp.zeros((1, 2, 3, 2), bool))[0].logits
        return np.asarray(logits[:, 0, 0] - logits[:, 0, 1])

    assert (prefers(update(state, first, jax.random.key(1), jnp.float32(0))[0].params) > prefers(state.params)).all()
    sure = state._replace(params=jax.tree.map(lambda x: 1000 * x, state.params))
    assert float(update(sure, batch, jax.random.key(1), jnp.float32(0))[1]["value_loss"].value()) <= 4


def test_no_two_learners_begin_alike() -> None:
    kernels = steps()[1][0].agent.params["params"]["policy"]["kernel"]
    assert len(np.unique(kernels[:, 0, 0])) == CONFIG.learners


def test_the_first_main_agent_plays_legal_moves() -> None:
    state, legal = steps()[1][-1].agent, jnp.eye(3, dtype=bool)
    given = Input(jnp.zeros((3, 2, 3, 2), bool), legal)
    assert AGENT.policy(state, given, jax.random.key(0)).action.tolist() == [0, 1, 2]


def test_it_goes_on_from_any_state_and_exploiters_start_anew_with_each_copy() -> None:
    step, states = steps()
    again, _ = step(states[3])
    jax.tree.map(np.testing.assert_array_equal, again.agent, states[4].agent)
    assert [x.agent.updates.tolist() for x in states[1:5]] == [[1, 1, 1], [2, 0, 2], [3, 1, 3], [4, 0, 4]]
    counts = states[4].agent.opt_state[1][0].count
    np.testing.assert_array_equal(counts, [8, 0, 8])
    assert (states[4].agent.games[1] == 0).all()
    newest = np.argsort(states[4].agent.numbers)[-3:]
    bias = states[4].agent.copies["params"]["policy"]["bias"][newest]
    learners = states[4].agent.params["params"]["policy"]["bias"]
    np.testing.assert_array_equal(bias[jnp.array([0, 2])], learners[jnp.array([0, 2])])  # copies are of the last policy
    assert (bias[1] != learners[1]).any()


@pytest.mark.slow
def test_a_league_learns_connect_three() -> None:
    env, params = jaxrl.make("game:connect_four", rows=3, columns=4, length=3, random_moves=10)
    network = board_network(example_of(env, params), 4, (64, 64))
    agent = board_league(network, BoardLeagueConfig(copy_every=10))
    trainer = jaxrl.on_policy(agent, env, params, jaxrl.OnPolicyConfig(384, 12, True))
    state = jax.jit(trainer.init)(jax.random.key(0), BoardLeagueHparams(gae_lambda=1.0))
    step, solution = jax.jit(trainer.step), games.solve(env.game)
    before = mistakes(agent, state.agent, env.game, solution).mean()
    for _ in range(65):
        state, _ = step(state)
    after = mistakes(agent, state.agent, env.game, solution).mean()
    print(before, after)
    assert after < 0.5 * before


def test_arguments_are_checked() -> None:
    with pytest.raises(ArgumentError, match="main_agents must be at least 1: a league needs a main agent, got 0"):
        board_league(NETWORK, BoardLeagueConfig(main_agents=0))
    with pytest.raises(ArgumentError, match="capacity must be at least 6, two copies of each learner, got 5"):
        board_league(NETWORK, BoardLeagueConfig(capacity=5))
    with pytest.raises(ArgumentError, match="reset_each_rollout must be True"):
        jaxrl.on_policy(AGENT, ENV, PARAMS, jaxrl.OnPolicyConfig(NUM_ENVS, LONGEST))
    trainer = jaxrl.on_policy(AGENT, ENV, PARAMS, jaxrl.OnPolicyConfig(20, LONGEST, True))
    with pytest.raises(ArgumentError, match="num_envs must be a multiple of 12, twice the 3 learners with 2 opponents"):
        jax.eval_shape(trainer.init, jax.random.key(0), HPARAMS)
