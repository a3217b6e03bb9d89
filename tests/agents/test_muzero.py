"""MuZero: its targets and gradients by hand, and its search, which in a true model is AlphaZero's."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxrl import ops
from jaxrl.agents.alphazero import SearchConfig
from jaxrl.agents.alphazero import _search as search_in_the_game
from jaxrl.agents.muzero import MuZeroConfig, MuZeroHparams, from_categories, muzero, targets_of, to_categories
from jaxrl.agents.muzero import _search as search_in_the_model
from jaxrl.agents.muzero import _symmetric as symmetric_sequences
from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Categorical, masked
from jaxrl.envs import make, vectorize
from jaxrl.games import TicTacToe, solve
from jaxrl.networks import LearnedModel, actor_critic, learned_model
from jaxrl.recipes.model_based import MuZero, build_muzero
from jaxrl.training import Program
from jaxrl.training.measure import mistakes, without_search
from jaxrl.types import Discrete, Input, Sample, Transition
from tests.compiling import quick_jit

BATCH, ACTIONS = 64, 3
CONFIG = MuZeroConfig(unroll_steps=2, target_steps=4, num_atoms=11, max_value=20.0, num_simulations=4)
K, N, LENGTH = 2, 4, 7


def random_steps(seed: int = 0) -> Transition:
    """Sequences with ends of both kinds anywhere, some at once."""
    rng = np.random.default_rng(seed)
    ends = rng.choice(4, p=[0.7, 0.15, 0.1, 0.05], size=(LENGTH, BATCH))
    policies = rng.dirichlet(np.ones(ACTIONS), size=(LENGTH, BATCH))
    reward, values, next_values = rng.normal(size=(3, LENGTH, BATCH))
    observation = rng.normal(size=(LENGTH, BATCH, 2))
    searched = [jnp.asarray(x, jnp.float32) for x in (policies, values)]
    extras = *searched, jnp.asarray(rng.random((LENGTH, BATCH)) < 0.2), jnp.asarray(next_values, jnp.float32)
    return Transition(
        jnp.asarray(observation, jnp.float32), jnp.asarray(rng.integers(ACTIONS, size=(LENGTH, BATCH))),
        jnp.asarray(reward, jnp.float32), jnp.asarray(ends % 2 == 1), jnp.asarray(ends >= 2),
        jnp.asarray(observation, jnp.float32), extras=extras,
    )  # fmt: skip


def by_hand(steps: Transition, b: int, discount: float, value_lambda: float):
    """The targets of one sequence: for each k the policy, the value, the reward before, and what has a loss."""
    policies, values, is_random, next_values = (np.asarray(x)[:, b] for x in steps.extras)
    reward, terminated, truncated = (np.asarray(x)[:, b] for x in (steps.reward, steps.terminated, steps.truncated))

    def value(k: int, n: int) -> float:
        if is_random[k]:
            return values[k]
        if terminated[k]:
            return reward[k]
        if truncated[k]:
            return reward[k] + discount * next_values[k]
        searched = values[k + 1]
        behind = searched if n == 1 else (1 - value_lambda) * searched + value_lambda * value(k + 1, n - 1)
        return reward[k] + discount * behind

    rows, state = [], "alive"
    for k in range(K + 1):
        before = "alive"
        if k > 0:
            before = state
            if state == "alive" and terminated[k - 1]:
                state = "absorbed"
            elif state == "alive" and truncated[k - 1]:
                state = "unknown"
        alive = state == "alive"
        rows.append((
            policies[k] if alive else np.zeros(ACTIONS), value(k, N) if alive else 0.0,
            reward[k - 1] if k > 0 and before == "alive" else 0.0, state != "unknown", before != "unknown",
        ))  # fmt: skip
    return [np.array(column) for column in zip(*rows, strict=True)]


@pytest.mark.parametrize(("discount", "value_lambda"), [(0.9, 1.0), (-0.9, 1.0), (-1.0, 0.6)])
def test_targets_are_those_by_hand(discount: float, value_lambda: float) -> None:
    steps = random_steps()
    targets = quick_jit(partial(targets_of, CONFIG))(steps, discount, value_lambda)
    kinds = set()
    for b in range(BATCH):
        policies, values, rewards, known, reward_known = by_hand(steps, b, discount, value_lambda)
        np.testing.assert_allclose(targets.policies[:, b], policies, atol=1e-6)
        np.testing.assert_array_equal(targets.known[:, b], known)
        np.testing.assert_allclose(targets.values[known, b], values[known], atol=1e-5)
        np.testing.assert_array_equal(targets.known[:-1, b], reward_known[1:])
        rewarded = reward_known[1:]
        np.testing.assert_allclose(targets.rewards[rewarded, b], rewards[1:][rewarded], atol=1e-6)
        kinds.add((bool(known.all()), bool(policies.any(-1).all())))
    assert kinds == {(True, True), (True, False), (False, False)}


def test_in_a_game_the_sign_changes_with_each_move() -> None:
    """The second player wins after four moves; nobody searches behind the end, and then a new game begins."""
    zeros = jnp.zeros((LENGTH, 1))
    values = zeros + jnp.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])[:, None]
    policies = jnp.full((LENGTH, 1, ACTIONS), 1 / 3)
    steps = Transition(
        zeros,
        zeros,
        zeros.at[3].set(1),
        (zeros.at[3].set(1) > 0),
        zeros > 0,
        zeros,
        extras=(policies, values, zeros > 0, zeros),
    )
    targets = targets_of(CONFIG, steps, jnp.float32(-1), jnp.float32(1))
    np.testing.assert_allclose(targets.values[:, 0], [-1, 1, -1])
    late = jax.tree.map(lambda x: jnp.roll(x, -2, 0), steps)
    targets = targets_of(CONFIG, late, jnp.float32(-1), jnp.float32(1))
    np.testing.assert_allclose(targets.values[:, 0], [-1, 1, 0])
    np.testing.assert_allclose(targets.rewards[:, 0], [0, 1])
    np.testing.assert_allclose(targets.policies.sum(-1)[:, 0], [1, 1, 0], atol=1e-6)
    assert targets.known.all()
    fifth = jax.tree.map(lambda x: jnp.roll(x, -4, 0), steps)  # no end within four steps
    np.testing.assert_allclose(targets_of(CONFIG, fifth, jnp.float32(-1), jnp.float32(1)).values[0, 0], 0.2)


def test_values_and_rewards_return_from_their_categories() -> None:
    x = jnp.array([-20.0, -3.0, 0.0, 0.01, 7.0, 20.0, 99.0])
    probs = to_categories(CONFIG, x)
    assert probs.shape == (7, 11)
    np.testing.assert_allclose(from_categories(CONFIG, jnp.log(probs)), x.at[-1].set(20), rtol=2e-6, atol=1e-5)
    end = np.sqrt(21) - 1 + 0.02
    np.testing.assert_array_equal(probs, ops.transform_to_2hot(ops.signed_hyperbolic(x), -end, end, 11))


def make_small(optimizer=None):
    network = learned_model(jnp.zeros(2), ACTIONS, 11, state_size=5, hidden_sizes=(6,))
    agent = muzero(network, CONFIG, True, optimizer or (lambda hparams, env_steps: optax.sgd(1.0)))
    hparams = MuZeroHparams(discount=0.9, value_coef=0.3, value_lambda=0.7)
    state = quick_jit(agent.init)(jax.random.key(0), hparams, jnp.zeros(2))
    leaves, tree = jax.tree.flatten(state.params)  # not the heads' initial zeros, through which no gradient flows
    keys = jax.random.split(jax.random.key(1), len(leaves))
    params = [0.5 * jax.random.normal(key, x.shape) for key, x in zip(keys, leaves, strict=True)]
    return network, agent, state._replace(params=jax.tree.unflatten(tree, params))


def test_gradients_are_those_of_backpropagation_by_hand() -> None:
    """Step by step with plain loops: each loss of the unroll by 1 / K, each state's gradient by 1/2 on its way back."""
    network, agent, state = make_small()
    steps, weights = random_steps(), jnp.linspace(0.2, 1, BATCH)
    after, metrics, errors = quick_jit(agent.update)(
        state, Sample(steps, weights), jax.random.key(0), jnp.float32(0), ()
    )
    columns = [by_hand(steps, b, -0.9, 0.7) for b in range(BATCH)]
    policies, values, rewards, known, reward_known = (np.stack(x, 1) for x in zip(*columns, strict=True))

    def cross_entropy(logits, probs):
        return -(probs * jax.nn.log_softmax(logits)).sum(-1)

    def losses(outputs, k):
        distribution, value_logits = outputs
        value_loss = known[k] * cross_entropy(value_logits, to_categories(CONFIG, values[k]))
        return (weights * (cross_entropy(distribution.logits, policies[k]) + 0.3 * value_loss)).mean()

    def reward_loss(logits, k):
        return (weights * reward_known[k] * cross_entropy(logits, to_categories(CONFIG, rewards[k]))).mean()

    @quick_jit
    def backpropagate(params):
        states, back = jax.vjp(lambda params: network.representation(params, steps.observation[0]), params)
        chain, gradient, scales = [], jax.tree.map(jnp.zeros_like, params), [1.0, *[1 / K] * K]
        for k in range(K + 1):
            if k > 0:
                (states, logits), into = jax.vjp(
                    lambda params, states, k=k: network.dynamics(params, states, steps.action[k - 1]), params, states
                )
                chain.append((into, jax.grad(reward_loss)(logits, k) / K))
            chain.append(jax.grad(lambda p, s, k=k: losses(network.prediction(p, s), k), (0, 1))(params, states))
        flowing = jnp.zeros_like(states)
        for k in range(K, -1, -1):
            to_params, to_states = chain.pop()
            gradient = jax.tree.map(lambda x, y, k=k: x + scales[k] * y, gradient, to_params)
            flowing = flowing + scales[k] * to_states
            if k > 0:
                into, to_logits = chain.pop()
                to_params, to_states = into((flowing, to_logits))
                gradient, flowing = jax.tree.map(jnp.add, gradient, to_params), 0.5 * to_states
        return jax.tree.map(jnp.add, gradient, back(flowing)[0])

    expected, actual = backpropagate(state.params), jax.tree.map(jnp.subtract, state.params, after.params)
    jax.tree.map(partial(np.testing.assert_allclose, atol=2e-6), actual, expected)
    assert all(np.abs(x).max() > 1e-4 for x in jax.tree.leaves(expected))
    np.testing.assert_allclose(errors, np.abs(steps.extras[1][0] - values[0]), atol=1e-5)
    assert set(metrics) == {"policy_loss", "value_loss", "reward_loss"}
    assert agent.searches
    assert agent.outputs is not None
    first = network.representation(state.params, steps.observation[0])
    logits = agent.outputs(state, steps.observation[0]).logits
    np.testing.assert_array_equal(logits, network.prediction(state.params, first)[0].logits)


@pytest.fixture(scope="module")
def positions():
    """Positions of a small game, with what a network that knows the rules says of them."""
    game = TicTacToe(2, 3, 3)
    env, params = make("game:tic_tac_toe", rows=2, columns=3, random_moves=5)
    states = jax.tree.map(
        lambda x: jnp.moveaxis(x, -1, 0), quick_jit(vectorize(env, params, 64).reset)(jax.random.key(0)).env_states
    )
    network = actor_critic(jnp.zeros((2, 3, 2)), Discrete(6), (8,))
    params = quick_jit(network.init)(jax.random.key(1), jnp.zeros((1, 2, 3, 2)))
    return game, states, network, jax.tree.map(lambda x: 3 * x, params)


@pytest.mark.parametrize("search", ["gumbel", pytest.param("puct", marks=pytest.mark.slow)])
def test_the_search_in_a_true_model_is_that_of_alphazero(positions, search: str) -> None:
    """With the rules as dynamics and the same network. Ends are absorbing there, and have no discount."""
    game, states, network, params = positions
    config = MuZeroConfig(search, 24, num_atoms=3)
    legal = jax.vmap(game.legal_actions)

    def dynamics(params, states, actions):
        states, rewards = jax.vmap(game.step)(states, actions)
        return states, jnp.log(to_categories(config, rewards))

    def prediction(params, states):
        distribution, values = network.apply(params, jax.vmap(game.observe)(states))
        values = jnp.where(states.terminated, 0.0, jnp.tanh(values))
        return Categorical(masked(distribution.logits, legal(states))), jnp.log(to_categories(config, values))

    model = LearnedModel(lambda key, observation: params, lambda params, states: states, dynamics, prediction)
    agent = muzero(model, config, two_players=True)
    state = agent.init(jax.random.key(0), MuZeroHparams(discount=1.0), jax.tree.map(lambda x: x[0], states))

    @quick_jit
    def both(key):
        seen = Input(jax.vmap(game.observe)(states), env_states=jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), states))
        theirs = search_in_the_game(
            network, game, SearchConfig(search, 24), params, seen, jax.random.split(key, 3)[0], 1.0
        )
        given = Input(states, legal(states))
        ours = search_in_the_model(model, config, -1.0, state, given, jax.random.split(key, 3)[0], 1.0)
        return ours, theirs, agent.act(state, given, key, jnp.float32(0))

    ours, theirs, decision = both(jax.random.key(2))
    np.testing.assert_array_equal(ours.tree.root.visits, theirs.tree.root.visits)
    np.testing.assert_array_equal(ours.action, theirs.action)
    for x, y in zip(ours.tree.root, theirs.tree.root, strict=True):
        np.testing.assert_allclose(x, y, atol=2e-6, rtol=1e-5)
    np.testing.assert_allclose(ours.policy, theirs.policy, atol=2e-5)
    assert (ours.tree.reward[:, 1:] > 0.5).any()
    np.testing.assert_array_equal(decision.action, ours.action)
    np.testing.assert_array_equal(decision.extras[0], ours.policy)
    np.testing.assert_array_equal(decision.extras[1], ours.tree.root.value)


def test_one_player_and_a_discount() -> None:
    """Behind each action of the root are its reward and the discounted value of what follows. It only masks there."""
    network, _, state = make_small()
    state = state._replace(params=jax.tree.map(lambda x: 0.3 * x, state.params))  # so that noise matters
    agent = muzero(network, CONFIG)
    given = Input(jax.random.normal(jax.random.key(1), (5, 2)), jnp.array([[True, False, True]] * 5))

    @quick_jit
    def look(key):
        found = search_in_the_model(network, CONFIG, 1.0, state, given, key, 1.0)
        first = network.representation(state.params, given.observation)
        following, reward = network.dynamics(state.params, first, found.tree.action[:, 1])
        distribution, value = network.prediction(state.params, following)
        keys = jax.random.split(key, 400)  # values decide, and noise rarely does
        played = jax.vmap(lambda key: agent.policy(state, given, key).action)(keys)

        def act(key, epsilon):
            return agent.act(state._replace(hparams=MuZeroHparams(epsilon=epsilon)), given, key, jnp.float32(0))

        acted = jax.vmap(jax.vmap(act, (0, None)), (None, 0))(keys, jnp.array([0.0, 0.5]))
        values = from_categories(CONFIG, reward), from_categories(CONFIG, value)
        return found, values, distribution, played, acted

    found, (reward, value), distribution, played, decisions = look(jax.random.key(0))
    acted, tried = (jax.tree.map(lambda x, i=i: x[i], decisions) for i in range(2))
    np.testing.assert_allclose(found.tree.discount[:, 1:], 0.9)
    np.testing.assert_allclose(found.tree.reward[:, 1], reward, atol=1e-5)
    np.testing.assert_allclose(found.tree.nodes.raw_value[:, 1], value, atol=1e-5)
    np.testing.assert_allclose(found.tree.nodes.prior[:, 1], jax.nn.softmax(distribution.logits), atol=1e-6)
    assert (found.policy[:, 1] == 0).all()
    assert (played != 1).all()
    assert (played == played[0]).all()
    assert (acted.action != 1).all()
    assert 0 < (acted.action != played).mean() < 0.2
    assert not acted.extras[2].any()
    is_random = tried.extras[2]  # half of the actions, of which half are those of the search all the same
    assert is_random.mean() == pytest.approx(0.5, abs=0.05)
    assert (tried.action != 1).all()
    assert (tried.action != played)[is_random].mean() == pytest.approx(0.5, abs=0.06)
    assert (tried.action != played)[~is_random].mean() < 0.2


def test_a_truncated_episode_has_the_value_of_its_last_observation() -> None:
    """Elsewhere, and where it terminated, the search's values stand."""
    network, agent, state = make_small()
    steps = random_steps()
    collected = steps._replace(extras=steps.extras[:3], next_observation=steps.observation + 1)
    *kept, following = quick_jit(agent.prepare)(state, collected)
    jax.tree.map(np.testing.assert_array_equal, tuple(kept), steps.extras[:3])
    model_values = from_categories(
        CONFIG,
        network.prediction(
            state.params, network.representation(state.params, collected.next_observation.reshape(-1, 2))
        )[1],
    ).reshape(LENGTH, BATCH)
    cut = np.asarray(steps.truncated & ~steps.terminated)
    np.testing.assert_allclose(following[cut], model_values[cut], atol=1e-5)


def test_it_fits_the_trainer() -> None:
    """With a prioritised replay, for one player whose actions are all legal: its shapes and errors fit."""
    config = MuZero(num_envs=4, batch_size=4, num_simulations=2, max_value=10.0, replay="prioritised")
    _, trainer = build_muzero(*make("CartPole-v1"), config)
    state = jax.eval_shape(trainer.init, jax.random.key(0), MuZeroHparams())
    after, metrics = jax.eval_shape(trainer.step, state)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert {"policy_loss", "value_loss", "reward_loss"} < set(metrics)


@pytest.mark.parametrize(("opponent", "sign"), [("itself", -1.0), ("random", 1.0)])
def test_with_an_opponent_no_sign_changes(opponent: str, sign: float) -> None:
    """The agent then makes every move that it learns from."""
    config = MuZero(num_envs=4, num_simulations=2, num_atoms=3, state_size=4, hidden_sizes=(4,))
    env, params = make("game:tic_tac_toe", rows=1, columns=2, length=2, opponent=opponent)
    agent, _ = build_muzero(env, params, config)
    state = quick_jit(agent.init)(jax.random.key(0), MuZeroHparams(discount=1.0), jnp.zeros((1, 2, 2), bool))
    zeros, one = jnp.zeros((LENGTH, 1)), jnp.ones(1)
    values = zeros + 0.5
    extras = jnp.full((LENGTH, 1, 2), 0.5), values, zeros > 0, zeros
    boards = jnp.zeros((config.sequence_length, 1, 1, 2, 2), bool)
    steps = Transition(zeros, zeros.astype(int), zeros, zeros > 0, zeros > 0, zeros, extras=extras)
    steps = jax.tree.map(lambda x: jnp.resize(x, (config.sequence_length, *x.shape[1:])), steps)
    steps = steps._replace(observation=boards, next_observation=boards)
    errors = quick_jit(agent.update)(state, Sample(steps, one), jax.random.key(0), jnp.float32(0), ())[2]
    np.testing.assert_allclose(errors, abs(0.5 - sign**config.target_steps * 0.5), atol=1e-6)


def test_sequences_are_learned_with_all_symmetries_of_the_game() -> None:
    """Turned actions lead from a turned board to the turned next ones, and turned policies name turned actions."""
    game, count, length = TicTacToe(), 16, 4
    rng = np.random.default_rng(0)
    actions = np.stack([rng.permutation(9)[:length] for _ in range(count)], axis=1)

    @quick_jit
    @partial(jax.vmap, in_axes=1, out_axes=1)
    def boards_before(actions):
        def move(state, action):
            return game.step(state, action)[0], game.observe(state)

        return jax.lax.scan(move, game.initial(), actions)[1]

    boards = boards_before(actions)
    for start in range(length):  # any board may be the first of a sequence
        first, policies, turned = symmetric_sequences(game, boards[start], jax.nn.one_hot(actions, 9), actions)
        np.testing.assert_array_equal(first, boards_before(np.asarray(turned))[start])
        np.testing.assert_array_equal(policies.argmax(-1), turned)
    changed = (np.asarray(turned) != actions).any(0)
    assert changed.sum() == count - 2, "one share of eight stays as it was"

    config = MuZeroConfig(unroll_steps=1, target_steps=1, num_atoms=3, num_simulations=2)
    network = learned_model(boards[0, 0], 9, 3, 4, (4,))
    rewards, drawn = jnp.zeros((3, count)), jax.nn.softmax(jnp.asarray(rng.normal(size=(3, count, 9))))
    extras = drawn, rewards + 0.5, rewards > 0, rewards
    ends = rewards > 0
    steps = Transition(boards[:3], jnp.asarray(actions[:3]), rewards, ends, ends, boards[1:], extras=extras)
    first, drawn, turned = symmetric_sequences(game, boards[0], drawn, steps.action)
    by_hand = steps._replace(observation=boards[:3].at[0].set(first), action=turned, extras=(drawn, *extras[1:]))

    def learned(steps: Transition, game: TicTacToe | None):
        agent = muzero(network, config, two_players=True, game=game)
        state = agent.init(jax.random.key(0), MuZeroHparams(), boards[0, 0])
        return agent.update(state, Sample(steps, jnp.ones(count)), jax.random.key(0), jnp.float32(0), ())[0].params

    with_game, without = quick_jit(lambda: (learned(steps, game), learned(by_hand, None)))()
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), with_game, without)


@pytest.mark.slow
def test_it_learns_a_small_game_and_its_rules() -> None:
    """Neither the network nor the search in the model makes a mistake in any of 241 positions."""
    env, params = make("game:tic_tac_toe", rows=2, columns=3, random_moves=5)
    config = MuZero(
        num_envs=64, rollout_length=8, updates_per_iteration=16, batch_size=128, replay_capacity=8192,
        warmup_steps=1024, num_simulations=16, unroll_steps=3, target_steps=6, num_atoms=3,
        state_size=32, hidden_sizes=(128,), conv_features=0,
    )  # fmt: skip
    hparams = MuZeroHparams(
        learning_rate=3e-3, learning_rate_decay_steps=130_000.0, discount=1.0, value_lambda=0.7, epsilon=0.25
    )
    agent, trainer = build_muzero(env, params, config)
    program = Program(trainer, jax.random.key(0), hparams)
    run_state = program.compiled()(program.init(jax.random.key(0), hparams), 250)
    solution = solve(env.game)
    for player in (without_search(agent), agent):
        assert mistakes(player, run_state.state.agent, env.game, solution).sum() == 0


def test_what_does_not_fit_is_refused() -> None:
    network, agent, state = make_small()
    with pytest.raises(ArgumentError, match=r"^network must be"):
        muzero(actor_critic(jnp.zeros(2), Discrete(3)))
    with pytest.raises(ArgumentError, match=r"^num_atoms must be what the network has.*got 13$"):
        muzero(network, MuZeroConfig(num_atoms=13)).init(jax.random.key(0), MuZeroHparams(), jnp.zeros(2))
    short = jax.tree.map(lambda x: x[:-1], random_steps())
    with pytest.raises(ArgumentError, match=r"^n_step must be unroll_steps \+ target_steps \+ 1 = 7.*got 6$"):
        agent.update(state, Sample(short, jnp.ones(BATCH)), jax.random.key(0), jnp.float32(0), ())
    with pytest.raises(ArgumentError, match=r"^batch must be"):
        agent.update(state, short, jax.random.key(0), jnp.float32(0), ())
    with pytest.raises(ArgumentError, match=r"^unroll_steps must be"):
        build_muzero(*make("CartPole-v1"), MuZero(unroll_steps=0))
