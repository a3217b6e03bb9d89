"""Both searches against mctx's, visit by visit, and against the value of small trees by hand."""

from functools import partial

import jax
import jax.numpy as jnp
import mctx
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.games import ILLEGAL, Solution, TicTacToe, solve
from jaxrl.search import Expansion, Root, gumbel_search, puct_search
from jaxrl.search.gumbel import visit_schedule
from tests.compiling import quick_jit
from tests.instruments import watching

BATCH, ACTIONS, STATES = 24, 5, 300


def random_model(seed: int):
    """A graph of states with random rewards, discounts (some end, some change the player), priors and values."""
    rng = np.random.default_rng(seed)
    following = jnp.asarray(rng.integers(0, STATES, (STATES, ACTIONS)))
    discount = jnp.asarray(rng.choice([0, -1, 1, 0.9], (STATES, ACTIONS)).astype(np.float32))
    reward, logits = (jnp.asarray(rng.normal(size=(STATES, ACTIONS)).astype(np.float32)) for _ in range(2))
    value = jnp.asarray(rng.normal(size=STATES).astype(np.float32))

    def model(state, action):
        after = following[state, action]
        return Expansion(reward[state, action], discount[state, action], 2 * logits[after], value[after]), after

    states = jnp.arange(BATCH)
    legal = jnp.asarray(rng.random((BATCH, ACTIONS)) < 0.6).at[:, 2].set(True)
    return Root(2 * logits[states], value[states], states), model, legal


def as_recurrent(model):
    def recurrent(params, key, action, state):
        del params, key
        x, after = model(state, action)
        step = mctx.RecurrentFnOutput(reward=x.reward, discount=x.discount, prior_logits=x.logits, value=x.value)
        return step, after

    return recurrent


SEARCHES = {
    "gumbel": (partial(gumbel_search, gumbel_scale=0.0), partial(mctx.gumbel_muzero_policy, gumbel_scale=0.0)),
    "puct": (
        partial(puct_search, noise_fraction=0.0, temperature=0.0),
        partial(mctx.muzero_policy, dirichlet_fraction=0.0, temperature=0.0),
    ),
}


@pytest.mark.parametrize(("name", "simulations"), [("gumbel", 2), ("gumbel", 40), ("puct", 40)])
def test_trees_are_those_of_mctx(name: str, simulations: int) -> None:
    """To the last visit of the last node, without noise. Where mctx breaks ties at random there are none."""
    ours, theirs = SEARCHES[name]

    def both(root, legal, tables):
        del tables
        found = ours(jax.random.key(0), root, model, legal, simulations)
        start = mctx.RootFnOutput(prior_logits=root.logits, value=root.value, embedding=root.embedding)
        return found, theirs((), jax.random.key(0), start, as_recurrent(model), simulations, invalid_actions=~legal)

    root, model, legal = random_model(simulations)
    found, expected = quick_jit(both)(root, legal, ())
    tree = expected.search_tree
    np.testing.assert_array_equal(found.tree.children, tree.children_index)
    np.testing.assert_array_equal(found.tree.nodes.visits, tree.children_visits)
    np.testing.assert_array_equal(found.tree.embedding, tree.embeddings)
    np.testing.assert_allclose(found.tree.nodes.value, tree.node_values, rtol=1e-5, atol=1e-6)
    q_values = tree.children_rewards + tree.children_discounts * tree.children_values
    q_values = np.where(tree.children_visits > 0, q_values, 0)
    np.testing.assert_allclose(found.tree.nodes.q_values, q_values, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.policy, expected.action_weights, atol=1e-6)
    np.testing.assert_array_equal(found.action, expected.action)
    np.testing.assert_array_equal(found.value, found.tree.root.value)


def test_halving_visits_all_and_then_the_better_half() -> None:
    assert visit_schedule(4, 8) == (0, 0, 0, 0, 1, 1, 2, 2)
    assert visit_schedule(2, 5) == (0, 0, 1, 1, 2)
    assert visit_schedule(1, 3) == (0, 1, 2)
    assert visit_schedule(16, 3) == (0, 0, 0)
    assert len(visit_schedule(5, 400)) == 400


def uniform_model(game):
    """A game's rules, without any knowledge of who stands better."""

    def model(state, action):
        after, reward = jax.vmap(game.step)(state, action)
        legal, over = jax.vmap(game.legal_actions)(after), after.terminated
        discount = jnp.where(over, 0.0, -1.0)
        return Expansion(reward, discount, jnp.where(legal, 0.0, -1e9), jnp.zeros(len(over))), after

    return model


@pytest.fixture(scope="module")
def positions():
    """Tic-tac-toe with five or more stones, and the worth of each move."""
    solution = solve(TicTacToe())
    late = np.asarray(jnp.bitwise_count(solution.states.stones).sum((1, 2))) >= 5
    return Solution(jax.tree.map(lambda x: x[late], solution.states), solution.action_values[late])


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_plays_by_the_rules_and_well(name: str, positions) -> None:
    """It knows nothing but the rules, and finds what is won and lost in a few moves."""
    game, ours = TicTacToe(), SEARCHES[name][0]

    def play(states, legal):
        root = Root(jnp.where(legal, 0.0, -1e9), jnp.zeros(len(legal)), states)
        return ours(jax.random.key(0), root, uniform_model(game), legal, 60)

    legal = positions.action_values != ILLEGAL
    found = quick_jit(play)(positions.states, legal)
    assert positions.mistakes(found.action).mean() < 0.02
    assert (np.asarray(found.tree.root.visits)[~legal] == 0).all()
    assert (np.asarray(found.policy)[~legal] == 0).all()
    np.testing.assert_allclose(np.asarray(found.policy).sum(1), 1, rtol=1e-5)
    # Below the root too, no stone lies on another one: every node has one more than its parent, or is an end.
    stones = np.asarray(jnp.bitwise_count(found.tree.embedding.stones).sum((2, 3)))
    before = np.take_along_axis(stones, np.asarray(found.tree.parent), 1)
    over = np.take_along_axis(np.asarray(found.tree.embedding.terminated), np.asarray(found.tree.parent), 1)
    np.testing.assert_array_equal(stones[:, 1:], np.where(over, before, before + 1)[:, 1:])


def one_root(copies: int, legal: list[bool]) -> tuple[Root, jax.Array]:
    logits = jnp.tile(jnp.log(jnp.array([0.1, 0.2, 0.3, 0.4])), (copies, 1))
    return Root(logits, jnp.zeros(copies), jnp.zeros(copies)), jnp.tile(jnp.array(legal), (copies, 1))


def nothing_happens(state, action):
    zero = jnp.zeros(len(action))
    return Expansion(zero, zero + 1, jnp.zeros((len(action), 4)), zero), state


def test_gumbel_noise_draws_from_the_prior() -> None:
    """With one action considered it is drawn from the legal part of the prior; none is drawn twice."""
    root, legal = one_root(4000, [True, False, True, True])
    search = partial(gumbel_search, jax.random.key(1), root, nothing_happens, legal)
    one = quick_jit(partial(search, 2, max_considered=1))()
    np.testing.assert_allclose(np.bincount(one.action, minlength=4) / 4000, np.array([1, 0, 3, 4]) / 8, atol=0.03)
    two = quick_jit(partial(search, 2, max_considered=2))()
    assert (np.asarray(two.tree.root.visits) <= 1).all()
    first = 1 / 8 + 3 / 8 * 1 / 5 + 4 / 8 * 1 / 4  # drawn at once, or after the third or the fourth action
    np.testing.assert_allclose(np.asarray(two.tree.root.visits)[:, 0].mean(), first, atol=0.03)


def test_root_noise_and_temperature_of_puct() -> None:
    root, legal = one_root(4000, [True, False, True, True])
    search = partial(puct_search, jax.random.key(1), root, nothing_happens, legal, 12)
    noisy = np.exp(quick_jit(partial(search, noise_fraction=0.5, noise_concentration=2.0))().tree.root.logits)
    mean = np.array([1, 0, 3, 4]) / 16 + np.array([1, 0, 1, 1]) / 6
    np.testing.assert_allclose(noisy.mean(0), mean, atol=0.01)
    deviation = 0.5 * np.sqrt((1 / 3) * (2 / 3) / 7)  # of Dirichlet(2, 2, 2)
    np.testing.assert_allclose(noisy[:, [0, 2, 3]].std(0), deviation, rtol=0.05)
    found = quick_jit(partial(search, noise_fraction=0.0, temperature=0.5))()
    shares = np.asarray(found.policy)[0] ** 2
    np.testing.assert_allclose(np.bincount(found.action, minlength=4) / 4000, shares / shares.sum(), atol=0.03)
    greedy = quick_jit(partial(search, noise_fraction=0.0, temperature=0.0))()
    np.testing.assert_array_equal(greedy.action, np.argmax(greedy.policy, 1))


def test_puct_draws_noise_and_action_with_keys_of_their_own() -> None:
    root, legal = one_root(2, [True] * 4)
    with watching(compiled=True) as log:
        quick_jit(puct_search, static_argnums=(2, 4))(jax.random.key(0), root, nothing_happens, legal, 1)
    log.check()
    assert len(log.uses) == 3


def test_too_few_simulations_are_refused() -> None:
    root, legal = one_root(1, [True] * 4)
    with pytest.raises(ArgumentError, match=r"^num_simulations must be at least 2, got 1$"):
        gumbel_search(jax.random.key(0), root, nothing_happens, legal, 1)
    with pytest.raises(ArgumentError, match=r"^num_simulations must be a whole number >= 1, got 0$"):
        puct_search(jax.random.key(0), root, nothing_happens, legal, 0)


@pytest.mark.parametrize("search", [gumbel_search, puct_search])
@pytest.mark.parametrize("shape", [(4,), (1, 4), (2, 3)])
def test_a_mask_of_another_shape_is_refused(search, shape: tuple[int, ...]) -> None:
    root, _ = one_root(2, [True] * 4)
    with pytest.raises(ArgumentError, match=r"^legal must have the shape of root.logits, \[2, 4\], got \[.*\]$"):
        search(jax.random.key(0), root, nothing_happens, jnp.ones(shape, bool), 2)
