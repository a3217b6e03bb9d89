"""AlphaZero, against targets by hand and the exact solution of a small game."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl.agents.alphazero import AlphaZeroHparams, SearchConfig, _search, alphazero, symmetric, value_targets
from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Categorical
from jaxrl.envs import action_space_of, make, vectorize
from jaxrl.games import ILLEGAL, TicTacToe, solve
from jaxrl.networks import actor_critic, example_of
from jaxrl.search import Searched
from jaxrl.training import OffPolicyConfig, Program, off_policy
from jaxrl.types import Input, Sample, Transition
from tests.compiling import quick_jit


def moves(reward, terminated) -> Transition:
    none = jnp.zeros_like(jnp.asarray(reward, jnp.float32))
    return Transition(none, none, none + jnp.asarray(reward), jnp.asarray(terminated), none != 0, none)


def test_outcomes_change_their_sign_with_the_player() -> None:
    """Three games side by side: a win after four moves, a draw after three, and one that goes on."""
    reward = jnp.array([[0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]], jnp.float32)
    ended = jnp.array([[0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 0]], bool)
    values = jnp.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9], [0.2, 0.4, 0.6], [0.1, 0.3, 0.5]])
    outcomes = value_targets(moves(reward, ended), values, 1.0)
    np.testing.assert_allclose(outcomes[:, 0], [-1, 1, -1, 1, 0.1], rtol=1e-6)
    np.testing.assert_allclose(outcomes[:, 1], [0, 0, 0, -0.3, 0.3], rtol=1e-6)
    np.testing.assert_allclose(outcomes[:, 2], [0.5, -0.5, 0.5, -0.5, 0.5], rtol=1e-6)
    one_step = value_targets(moves(reward, ended), values, 0.0)
    np.testing.assert_allclose(one_step[:, 0], [-0.4, -0.7, -0.2, 1, 0.1], rtol=1e-6)
    half = value_targets(moves(reward, ended), values, 0.5)
    expected = [1.0, 0.1]
    for value in (0.2, 0.7, 0.4):  # of the positions before the fourth, the third and the second move
        expected.insert(0, -(0.5 * value + 0.5 * expected[0]))
    np.testing.assert_allclose(half[:, 0], expected, rtol=1e-6)


@pytest.fixture(scope="module")
def game():
    return make("game:tic_tac_toe", rows=2, columns=3, random_moves=5)


@pytest.mark.parametrize(("search", "most"), [("gumbel", 0), pytest.param("puct", 6, marks=pytest.mark.slow)])
def test_a_small_game_is_played_perfectly(game, search: str, most: int) -> None:
    """The network alone makes no mistake in any of 241 positions, with PUCT a few, and knows who wins."""
    env, params = game
    network = actor_critic(example_of(env, params), action_space_of(env, params), (64,), "relu")
    agent = alphazero(network, env.game, SearchConfig(search, num_simulations=8))
    config = OffPolicyConfig(num_envs=64, rollout_length=8, updates_per_iteration=16, batch_size=256,
                             replay_capacity=4096, warmup_steps=512)  # fmt: skip
    hparams = AlphaZeroHparams(learning_rate=5e-3, learning_rate_decay_steps=51_200.0)
    program = Program(off_policy(agent, env, params, config), jax.random.key(0), hparams)
    run_state = program.compiled()(program.init(jax.random.key(0), hparams), 100)
    solution = solve(env.game)
    observations, legal = jax.vmap(env.game.observe)(solution.states), solution.action_values != ILLEGAL
    policy, values = quick_jit(network.apply)(run_state.state.agent.params, observations)
    actions = np.where(legal, policy.logits, -np.inf).argmax(1)
    assert solution.mistakes(actions).sum() <= most
    assert np.abs(np.tanh(values) - solution.values).mean() < 0.1


def test_the_network_learns_what_the_search_found(game) -> None:
    """The gradient of the loss at logits and values, in closed form: π − π′, and 2 c (v − z) (1 − v²)."""
    env, _ = game

    class Table:
        def init(self, key, observations):
            return {"logits": jnp.array([[0.3, -0.2, 0.5, 0.0, 1.0, -1.0]]), "value": jnp.array([0.4])}

        def apply(self, params, observations):
            return Categorical(params["logits"]), params["value"]

    agent = alphazero(Table(), env.game, optimizer=lambda hparams, env_steps: optax.sgd(1.0))
    state = quick_jit(agent.init)(jax.random.key(0), AlphaZeroHparams(value_coef=0.5), jnp.zeros((2, 3, 2), bool))
    legal = jnp.array([True, True, False, True, True, True])
    target = jnp.array([0.1, 0.2, 0.0, 0.3, 0.4, 0.0])
    step = moves(jnp.zeros((1, 1)), jnp.zeros((1, 1), bool))
    board = jnp.zeros((1, 1, 2, 3, 2), bool)
    step = step._replace(observation=board, legal=legal[None, None], extras=(target[None, None], jnp.array([[-0.6]])))
    after, metrics, _ = agent.update(state, Sample(step, jnp.ones(1)), jax.random.key(0), jnp.float32(0), ())
    prior = jax.nn.softmax(jnp.where(legal, state.params["logits"][0], -jnp.inf))
    np.testing.assert_allclose(state.params["logits"] - after.params["logits"], (prior - target)[None], atol=1e-6)
    value = np.tanh(0.4)
    np.testing.assert_allclose(state.params["value"] - after.params["value"], 0.5 * 2 * (value + 0.6) * (1 - value**2))
    np.testing.assert_allclose(metrics["value_loss"].value(), (value + 0.6) ** 2, rtol=1e-6)
    # Of four positions, each is learned with a symmetry of its own, here all of the same one.
    four = jax.tree.map(lambda x: jnp.repeat(x, 4, 1), step)
    after, _, _ = agent.update(state, Sample(four, jnp.ones(4)), jax.random.key(0), jnp.float32(0), ())
    cells = np.arange(6).reshape(2, 3)
    orders = [cells.ravel(), cells[:, ::-1].ravel(), cells[::-1].ravel(), cells[::-1, ::-1].ravel()]
    priors = [jax.nn.softmax(jnp.where(legal[order], state.params["logits"][0], -jnp.inf)) for order in orders]
    gradient = np.mean([prior - target[order] for prior, order in zip(priors, orders, strict=True)], axis=0)
    np.testing.assert_allclose(state.params["logits"] - after.params["logits"], gradient[None], atol=1e-6)


def test_each_symmetry_changes_an_equal_share_of_a_batch() -> None:
    game, (rows, columns) = TicTacToe(), (3, 3)
    boards = jax.random.bernoulli(jax.random.key(0), 0.5, (16, rows, columns, 2))
    policies = jax.random.uniform(jax.random.key(1), (16, 9))
    seen, learned = symmetric(game, boards, policies)
    sides = [lambda x, i=i: np.rot90(x, i) for i in range(4)]
    sides += [lambda x, i=i: np.rot90(x, i)[:, ::-1] for i in range(4)]
    which = []
    for i in range(16):
        before = np.asarray(boards[i]), np.asarray(policies[i]).reshape(3, 3)
        pairs = [tuple(side(x) for x in before) for side in sides]
        same = [(board == seen[i]).all() and (policy.ravel() == learned[i]).all() for board, policy in pairs]
        (found,) = np.flatnonzero(same)
        which.append(found)
    assert sorted(which) == [n for n in range(8) for _ in range(2)]
    assert which[0] == which[1] == 0
    few, _ = symmetric(game, boards[:1], policies[:1])
    np.testing.assert_array_equal(few, boards[:1])


def begin(game, config: SearchConfig):
    """A network, its agent with initial parameters, and 64 positions to move in."""
    env, params = game
    network = actor_critic(example_of(env, params), action_space_of(env, params), (8,))
    agent, envs = alphazero(network, env.game, config), vectorize(env, params, 64)
    begun = quick_jit(envs.reset)(jax.random.key(0))
    observations = envs.observe(begun)
    state = quick_jit(agent.init)(jax.random.key(1), AlphaZeroHparams(), observations[0])
    return network, agent, state, Input(observations, begun.legal, env_states=begun.env_states)


@pytest.mark.parametrize("search", ["gumbel", "puct"])
def test_it_explores_in_training_alone(game, search: str) -> None:
    """`act` draws, among legal moves; `policy` does the same with every key."""
    _, agent, state, given = begin(game, SearchConfig(search, num_simulations=4))
    act, policy = quick_jit(agent.act), quick_jit(agent.policy)
    acted, played = (
        np.stack([decide(jax.random.key(i)).action for i in range(4)])
        for decide in (lambda key: act(state, given, key, jnp.float32(0)), lambda key: policy(state, given, key))
    )
    assert (acted != acted[0]).any(0).mean() > 0.3
    np.testing.assert_array_equal(played, np.broadcast_to(played[0], played.shape))
    for actions in (*acted, *played):
        assert np.asarray(given.legal)[np.arange(64), actions].all()


def test_it_plays_with_more_simulations_and_without_noise(game, monkeypatch) -> None:
    calls = []

    def record(key, root, model, legal, num_simulations, gumbel_scale):
        calls.append((num_simulations, gumbel_scale))
        return Searched(root.value, root.logits, root.value, None)

    monkeypatch.setitem(alphazero.__globals__, "gumbel_search", record)
    _, agent, state, given = begin(game, SearchConfig(num_simulations=5, play_simulations=7))
    agent.act(state, given, jax.random.key(0), jnp.float32(0))
    agent.policy(state, given, jax.random.key(0))
    assert calls == [(5, 1.0), (7, 0.0)]


@pytest.mark.parametrize("search", ["gumbel", "puct"])
def test_its_search_knows_the_rules_and_its_network(game, search: str) -> None:
    """Every node has the network's view of its position, no worth behind an end, and else the other player's."""
    rules, config = game[0].game, SearchConfig(search, num_simulations=16, play_simulations=16)
    network, agent, state, given = begin(game, config)

    @quick_jit
    def look(key):
        found = [_search(network, rules, config, state.params, given, key, noise) for noise in (0.0, 1.0)]
        nodes = found[0].tree.embedding
        outputs = jax.vmap(partial(network.apply, state.params))(jax.vmap(jax.vmap(rules.observe))(nodes))
        legal = jax.vmap(jax.vmap(rules.legal_actions))(nodes)
        return found, agent.act(state, given, key, jnp.float32(0)), outputs, legal

    (quiet, noisy), decision, (distribution, values), legal = look(jax.random.key(2))
    tree = quiet.tree
    assert tree.parent.shape == (64, 17)
    over = np.asarray(tree.embedding.terminated)[:, 1:]
    assert over.any()
    np.testing.assert_array_equal(tree.discount[:, 1:], np.where(over, 0, -1))
    np.testing.assert_allclose(tree.nodes.raw_value, np.tanh(values), atol=1e-6)
    prior = np.asarray(jax.nn.softmax(jnp.where(legal, distribution.logits, -jnp.inf)))
    np.testing.assert_allclose(tree.nodes.prior, prior, atol=1e-6)
    np.testing.assert_array_equal(decision.action, noisy.action)
    np.testing.assert_allclose(decision.extras[0], noisy.policy, atol=1e-6)
    np.testing.assert_allclose(decision.extras[1], noisy.tree.root.value, atol=1e-6)
    if search == "puct":  # a quarter of the prior is noise, and the most visited action is not always the one
        assert (noisy.tree.root.prior > 0.75 * prior[:, 0] - 1e-6).all()
        assert (noisy.action != noisy.tree.root.visits.argmax(1)).any()


def test_what_does_not_fit_is_refused(game) -> None:
    network = actor_critic(jnp.zeros((2, 3, 2)), action_space_of(*game), (8,))
    with pytest.raises(ArgumentError, match=r"^game must be"):
        alphazero(network, "tic_tac_toe")
    with pytest.raises(ArgumentError, match=r"^num_simulations must be .*got 1"):
        alphazero(network, TicTacToe(), SearchConfig(num_simulations=1))


@pytest.mark.parametrize("value_lambda", [0.0, 1.0])
def test_targets_are_those_of_its_hyperparameter(game, value_lambda: float) -> None:
    _, agent, state, _ = begin(game, SearchConfig())
    state = state._replace(hparams=AlphaZeroHparams(value_lambda=value_lambda))
    played, values = moves(jnp.zeros((3, 1)), jnp.zeros((3, 1), bool)), jnp.array([[0.1], [0.2], [0.4]])
    _, targets = agent.prepare(state, played._replace(extras=(values, values)))
    np.testing.assert_allclose(targets, value_targets(played, values, value_lambda), rtol=1e-6)
