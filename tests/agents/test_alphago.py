"""AlphaGo, step by step: who moves, the gradient of whole games, the pool, and what a search makes of a position."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl.agents import AlphaGoConfig, AlphaGoHparams, alphago, clone
from jaxrl.agents.alphago import _Parts, _search, default_optimizer, play_out, prior_of, with_cloned_policy
from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Categorical
from jaxrl.envs import action_space_of, make, rollout, vectorize
from jaxrl.games import ConnectFour, TicTacToe, perfect_player, play_match, random_openings, random_player, solve
from jaxrl.networks import actor_critic, example_of, policy_network
from jaxrl.training import OnPolicyConfig, on_policy
from jaxrl.types import Input, Transition
from tests.compiling import quick_jit

GAME = TicTacToe(2, 3, 3)


class Table:
    """One distribution for all positions, and a value for each number in their first cell."""

    def init(self, key, observations):
        return {"logits": jnp.zeros(6), "value": jnp.zeros(8)}

    def apply(self, params, observations):
        row = observations.reshape(len(observations), -1)[:, 0].astype(int)
        return Categorical(jnp.broadcast_to(params["logits"], (len(observations), 6))), params["value"][row]


class Fast(Table):
    def apply(self, params, observations):
        return super().apply(params, observations)[0]


def table_agent(**config):
    agent = alphago(Table(), Fast(), GAME, AlphaGoConfig(**config), lambda hparams, env_steps: optax.sgd(1.0))
    return agent, quick_jit(agent.init)(jax.random.key(0), AlphaGoHparams(value_coef=0.5), jnp.zeros((2, 3, 2)))


def test_it_moves_in_turn_with_past_policies() -> None:
    """In environment n as player n mod 2, the first share of environments against the first past policy, and so on."""
    agent, state = table_agent(pool_size=2)
    only = 50 * jnp.eye(6)
    policy = {"logits": only[5], "value": jnp.zeros(8)}
    pool = {"logits": only[jnp.array([2, 3])], "value": jnp.zeros((2, 8))}
    uniform, learner = state.agent, state.agent._replace(params=state.agent.params | {"policy": policy})
    state = state._replace(agent=learner, pool=pool)
    act = quick_jit(agent.act)
    players = jnp.array([0, 0, 1, 1, 0, 0, 1, 1])
    states = jax.tree.map(lambda x: jnp.stack([x] * 8, axis=-1), GAME.initial())._replace(player=players)
    given = Input(jnp.zeros((8, 2, 3, 2)), jnp.ones((8, 6), bool), env_states=states)
    decision = act(state, given, jax.random.key(0), jnp.float32(0))
    np.testing.assert_array_equal(decision.extras, [True, False, False, True] * 2)
    np.testing.assert_array_equal(decision.action, [5, 2, 2, 5, 5, 3, 3, 5])
    legal = jnp.ones((8, 6), bool).at[:, 5].set(False)
    assert not (act(state, given._replace(legal=legal), jax.random.key(0), 0.0).action == 5).any()
    even = state._replace(agent=uniform)
    drawn = np.stack([act(even, given, jax.random.key(i), 0.0).action for i in range(8)])
    assert np.unique(drawn[:, [0, 3]]).size > 3
    assert (drawn[:, 1] == 2).all()
    other, _ = table_agent(pool_size=3)
    with pytest.raises(ArgumentError, match=r"^num_envs must be a multiple of 6, twice the pool_size, got 8"):
        other.act(state, given, jax.random.key(0), jnp.float32(0))


def games(steps: int, actions, ours, rewards, ends) -> Transition:
    """Rollouts `[T, N]` whose observations hold the number of the step."""
    rewards = jnp.asarray(rewards, jnp.float32).T
    observation = jnp.broadcast_to(jnp.arange(steps)[:, None, None, None, None], (*rewards.shape, 2, 3, 2))
    legal = jnp.ones((*rewards.shape, 6), bool).at[..., 4].set(False)
    ends = jnp.asarray(ends, bool).T
    none = jnp.zeros_like(ends)
    return Transition(observation, jnp.asarray(actions).T, rewards, ends, none, observation, legal, legal,
                      jnp.asarray(ours, bool).T)  # fmt: skip


def test_the_gradient_is_that_of_the_first_game() -> None:
    """By hand: it wins one game with its third move, loses one to the second move, and draws one."""
    agent, state = table_agent(pool_size=1)
    values = jnp.array([0.1, -0.2, 0.3, 0.4, 0, 0, 0, 0])
    logits = jnp.array([0.3, -0.1, 0.0, 0.2, 5.0, -0.5])
    params = {"policy": {"logits": logits, "value": values + 1}, "value": {"logits": logits - 1, "value": values}}
    state = state._replace(agent=state.agent._replace(params=params))
    actions = [[0, 1, 2, 3], [1, 2, 3, 0], [5, 0, 1, 2]]
    ours = [[1, 0, 1, 0], [1, 0, 1, 0], [0, 1, 0, 1]]
    rewards = [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 0]]
    ends = [[0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 0, 1]]
    batch = games(4, actions, ours, rewards, ends)
    after, metrics, _ = quick_jit(agent.update)(state, batch, jax.random.key(0), jnp.float32(0), ())
    probabilities = np.asarray(jax.nn.softmax(jnp.where(jnp.arange(6) == 4, -jnp.inf, logits)))
    baseline, gradient = np.tanh(values), np.zeros(6)
    for action, step, outcome in ((0, 0, 1), (2, 2, 1), (1, 0, -1), (0, 1, 0), (2, 3, 0)):
        gradient += (outcome - baseline[step]) * (np.eye(6)[action] - probabilities) / 3
    policy, value = after.agent.params["policy"], after.agent.params["value"]
    np.testing.assert_allclose(policy["logits"] - logits, gradient, atol=1e-6)
    np.testing.assert_array_equal(policy["value"], params["policy"]["value"])
    np.testing.assert_array_equal(value["logits"], params["value"]["logits"])
    np.testing.assert_allclose(metrics["outcome"].value(), 0, atol=1e-7)
    np.testing.assert_array_equal(after.prior["logits"], state.prior["logits"])


def test_the_value_learns_one_position_of_each_game() -> None:
    """All of three moves equally often, none of the next game, and the outcome of who moves: −1, 1 and −1."""
    agent, state = table_agent(pool_size=1)
    n = 3000
    one = ([0] * 5, [1, 0, 1, 0, 1], [0, 0, -1, 1, 0], [0, 0, 1, 1, 0])  # the learner loses with its third move
    batch = games(5, *([rows] * n for rows in one))
    after, metrics, _ = quick_jit(agent.update)(state, batch, jax.random.key(0), jnp.float32(0), ())
    change = np.asarray(after.agent.params["value"]["value"])  # 0.5 · 2 (0 − z) of a third of the games each, downhill
    np.testing.assert_allclose(change[:3], [-1 / 3, 1 / 3, -1 / 3], atol=0.03)
    np.testing.assert_array_equal(change[3:], 0)
    np.testing.assert_allclose(metrics["value_loss"].value(), 1.0, rtol=1e-6)
    np.testing.assert_allclose(metrics["outcome"].value(), -1, rtol=1e-6)


def test_past_policies_are_replaced_in_turn() -> None:
    agent, state = table_agent(pool_size=3, pool_every=2)
    batch = games(1, [[0]] * 2, [[1]] * 2, [[1]] * 2, [[1]] * 2)
    update = quick_jit(agent.update)
    policies = []
    for i in range(9):
        state, _, _ = update(state, batch, jax.random.key(i), jnp.float32(0), ())
        policies.append(np.asarray(state.agent.params["policy"]["logits"]))
        numbers = [2 * (k + 1) for k in range(4) if 2 * (k + 1) <= i + 1]  # of updates after which one was added
        expected = [np.zeros(6)] * 3
        for k, number in enumerate(numbers):
            expected[k % 3] = policies[number - 1]
        np.testing.assert_array_equal(state.pool["logits"], np.stack(expected))


class Uniform:
    """A policy that prefers none of its actions."""

    def __init__(self, num_actions: int) -> None:
        self.num_actions = num_actions

    def apply(self, params, observations):
        return Categorical(jnp.zeros((len(observations), self.num_actions)))


def outcomes_of_rollouts(game, moves: int, games: int = 5000):
    """Of random play, for who moves first after some random moves."""
    parts: Any = _Parts(None, Uniform(game.num_actions), game, None, None)
    seeds = jax.random.bits(jax.random.key(1), (games, 2), jnp.uint32)
    openings = random_openings(game, jax.random.key(2), games, moves)
    play = quick_jit(partial(play_out, parts, ()))
    over = play(openings._replace(terminated=jnp.ones(games, bool)), seeds)
    np.testing.assert_array_equal(over, 0)
    return play(openings, seeds)


def test_rollouts_end_as_often_as_random_games_must() -> None:
    """From the first position of tic-tac-toe, 737/1260 − 121/420; after a move, the same for the other player.

    In Connect Four, where a column may be taken twice, as often as a match of random players.
    """
    expected = 737 / 1260 - 121 / 420
    outcomes = outcomes_of_rollouts(TicTacToe(), 0)
    assert set(np.unique(outcomes)) == {-1, 0, 1}
    np.testing.assert_allclose(outcomes.mean(), expected, atol=0.04)
    np.testing.assert_allclose(outcomes_of_rollouts(TicTacToe(), 1).mean(), -expected, atol=0.04)
    game = ConnectFour(3, 3, 3)
    openings = random_openings(game, jax.random.key(2), 5000, moves=0)
    match = quick_jit(partial(play_match, game, random_player, random_player))(jax.random.key(3), openings)
    outcomes = outcomes_of_rollouts(game, 0)
    shares = [(outcomes == outcome).mean() for outcome in (1, 0, -1)]
    np.testing.assert_allclose(shares, match.counts[0] / 5000, atol=0.03)


def test_a_position_is_worth_the_value_and_a_rollout() -> None:
    """At λ = 0 the value alone, at λ = 1 the outcome of a game, in between both; the prior is the cloned policy."""
    env, params = make("game:tic_tac_toe", rows=2, columns=3, random_moves=3)
    network = actor_critic(example_of(env, params), action_space_of(env, params), (8,))
    fast = policy_network(example_of(env, params), action_space_of(env, params), ())
    agent = alphago(network, fast, GAME, AlphaGoConfig(num_simulations=8))
    envs = vectorize(env, params, 32)
    begun = envs.reset(jax.random.key(0))
    given = Input(envs.observe(begun), begun.legal, env_states=begun.env_states)
    state = quick_jit(agent.init)(jax.random.key(1), AlphaGoHparams(), given.observation[0])
    state = state._replace(prior=quick_jit(network.init)(jax.random.key(5), given.observation))  # another one than p_ρ
    parts = _Parts(network, fast, GAME, AlphaGoConfig(num_simulations=8), default_optimizer)
    assert prior_of(AlphaGoConfig(prior="improved"), state) is state.agent.params["policy"]
    assert agent.searches
    cloned = with_cloned_policy(state)
    assert agent.outputs is not None
    np.testing.assert_array_equal(
        agent.outputs(cloned, given.observation).logits, network.apply(state.prior, given.observation)[0].logits
    )

    @quick_jit
    def look(weight):
        weighted = state.agent._replace(hparams=AlphaGoHparams(rollout_weight=weight))
        tree = _search(parts, state._replace(agent=weighted), given, jax.random.key(2)).tree
        states, _ = tree.embedding
        observations = jax.vmap(jax.vmap(GAME.observe))(states)
        values = jax.vmap(lambda x: network.apply(state.agent.params["value"], x)[1])(observations)
        logits = jax.vmap(lambda x: network.apply(state.prior, x)[0].logits)(observations)
        legal = jax.vmap(jax.vmap(GAME.legal_actions))(states)
        return tree, jnp.tanh(values), jax.nn.softmax(jnp.where(legal, logits, -jnp.inf))

    (none, values, prior), (half, own, _), (full, *_) = look(0.0), look(0.5), look(1.0)
    np.testing.assert_allclose(none.nodes.raw_value, values, atol=1e-6)
    np.testing.assert_allclose(none.nodes.prior, prior, atol=1e-6)
    assert set(np.unique(full.nodes.raw_value)) == {-1, 0, 1}
    np.testing.assert_allclose(half.nodes.raw_value[:, 0], (values[:, 0] + full.nodes.raw_value[:, 0]) / 2, atol=1e-6)
    outcomes = np.asarray(2 * half.nodes.raw_value - own)
    np.testing.assert_allclose(outcomes, np.round(outcomes), atol=1e-5)
    over = np.asarray(none.embedding[0].terminated)[:, 1:]
    np.testing.assert_array_equal(none.discount[:, 1:], np.where(over, 0, -1))
    assert over.any()
    seeds = np.asarray(full.embedding[1])  # each position has a seed of its own
    assert all(len(np.unique(rows, axis=0)) == len(rows) for rows in seeds)


def test_a_rollout_is_the_same_with_any_default_generator() -> None:
    parts: Any = _Parts(None, Uniform(6), GAME, None, None)
    states = random_openings(GAME, jax.random.key(0), 8, moves=1)
    seeds = jax.random.bits(jax.random.key(1), (8, 2), jnp.uint32)
    expected = play_out(parts, (), states, seeds)
    with jax.default_prng_impl("rbg"):
        np.testing.assert_array_equal(play_out(parts, (), states, seeds), expected)


def test_it_begins_with_clones() -> None:
    """Of perfect play: p_σ explains the moves best, p_π better than chance; at first all policies are p_σ."""
    env, params = make("game:tic_tac_toe", rows=2, columns=3, random_moves=5)
    network = actor_critic(example_of(env, params), action_space_of(env, params), (32,), "relu")
    fast = policy_network(example_of(env, params), action_space_of(env, params), ())
    config = AlphaGoConfig(pool_size=2, pool_every=5, cloning_steps=200, cloning_batch_size=128)
    expert = perfect_player(GAME, solve(GAME))
    played = quick_jit(lambda key: rollout(env, expert, key, 50, 40, params))(jax.random.key(0))
    dataset = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), played)
    agent = alphago(network, fast, GAME, config)
    sizes = OnPolicyConfig(64, GAME.max_moves, reset_each_rollout=True)
    trainer = clone(on_policy(agent, env, params, sizes), network, fast, dataset, config)
    hparams = AlphaGoHparams(cloning_learning_rate=1e-2)
    state = quick_jit(trainer.init)(jax.random.key(1), hparams, trainer.constants)

    def surprise(logits) -> float:
        return float(-Categorical(jnp.where(dataset.legal, logits, -jnp.inf)).log_prob(dataset.action).mean())

    own = state.agent
    outputs: Any = network.apply(own.prior, dataset.observation), fast.apply(own.rollout, dataset.observation)
    assert surprise(outputs[0][0].logits) < 0.97 * surprise(outputs[1].logits) < 0.95 * surprise(jnp.zeros(6))
    jax.tree.map(np.testing.assert_array_equal, own.prior, own.agent.params["policy"])
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, jnp.stack([y, y])), own.pool, own.prior)
    after, metrics = quick_jit(trainer.step)(state, trainer.constants)
    assert metrics["outcome"].count == 64
    jax.tree.map(np.testing.assert_array_equal, after.agent.prior, own.prior)
    changed = jax.tree.map(lambda x, y: (x != y).any(), after.agent.agent.params["policy"], own.prior)
    assert any(jax.tree.leaves(changed))
