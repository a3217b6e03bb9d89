"""Games as environments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.envs import make, vectorize
from jaxrl.envs.game import GameEnvironment
from jaxrl.games import ConnectFour, TicTacToe
from tests.compiling import quick_jit


def test_games_are_made_by_their_names() -> None:
    env, params = make("game:connect_four", rows=4, columns=5, random_moves=3)
    assert (env.game, env.random_moves, env.num_actions, env.name) == (ConnectFour(4, 5), 3, 5, "game:connect_four")
    assert env.describe_rules(params).startswith(
        "connect four, rows 4, columns 5, length 4, beginning with 0 to 3 random"
    )
    with pytest.raises(ArgumentError, match=r"the nearest is game:tic_tac_toe\), got 'game:tic_tac'"):
        make("game:tic_tac")
    with pytest.raises(ArgumentError, match=r"^random_moves must be .*got -1"):
        make("game:tic_tac_toe", random_moves=-1)


def test_many_games_go_as_each_alone() -> None:
    """Positions, rewards, ends, legal actions and observations, with the next game after each end."""
    env, params = make("game:connect_four", rows=4, columns=4, length=3)
    game, envs = env.game, vectorize(env, params, 6)
    step, key = quick_jit(envs.step), jax.random.key(0)
    one_step, observe, legal_of = (quick_jit(f) for f in (game.step, game.observe, game.legal_actions))
    many, alone, ends = quick_jit(envs.reset)(key), [game.initial()] * 6, 0
    rng = np.random.default_rng(0)
    for t in range(40):
        observations, legal = envs.observe(many), np.asarray(many.legal)
        for i, state in enumerate(alone):
            np.testing.assert_array_equal(observations[i], observe(state))
            np.testing.assert_array_equal(legal[i], legal_of(state))
            jax.tree.map(lambda x, y, i=i: np.testing.assert_array_equal(x[..., i], y), many.env_states, state)
        actions = [rng.choice(np.flatnonzero(row)) for row in legal]
        many, moves, _ = step(many, jnp.array(actions), jax.random.fold_in(key, t))
        moves = envs.decode(moves)
        for i, action in enumerate(actions):
            state, reward = one_step(alone[i], jnp.int32(action))
            assert (float(moves.reward[i]), bool(moves.terminated[i])) == (float(reward), bool(state.terminated))
            np.testing.assert_array_equal(moves.next_observation[i], observe(state))
            ends += bool(state.terminated)
            alone[i] = game.initial() if state.terminated else state
        assert not moves.truncated.any()
    assert ends > 10


def test_games_begin_after_random_moves() -> None:
    """From none to as many as asked for, each as often; all first moves as often; never with an end."""
    env, params = make("game:tic_tac_toe", random_moves=4)
    bits = jax.random.bits(jax.random.key(0), (env.random_words, 20_000), jnp.uint32)
    states = quick_jit(env.initial)(bits, params)
    stones = np.asarray(jnp.bitwise_count(states.stones).sum((0, 1)))
    np.testing.assert_allclose(np.bincount(stones) / 20_000, np.full(5, 0.2), atol=0.015)
    np.testing.assert_array_equal(states.player, stones % 2)
    assert not states.terminated.any()
    first = np.asarray(env.observe(jax.tree.map(lambda x: x[..., stones == 1], states)))[..., 1].reshape(-1, 9)
    np.testing.assert_allclose(first.mean(0), np.full(9, 1 / 9), atol=0.015)
    # With up to nine moves some would end: those games stay before the move that ends them.
    env, params = make("game:tic_tac_toe", random_moves=9)
    bits = jax.random.bits(jax.random.key(1), (env.random_words, 2_000), jnp.uint32)
    states = quick_jit(env.initial)(bits, params)
    assert not states.terminated.any()
    assert np.asarray(jnp.bitwise_count(states.stones).sum((0, 1))).max() == 8
    assert TicTacToe().max_moves == 9


def test_a_random_player_answers() -> None:
    """Each move by the rules, then a legal one, all as often; rewards are the agent's, and ends need no answer."""
    env, params = make("game:tic_tac_toe", rows=2, columns=2, length=2, opponent="random", random_moves=1)
    assert env.describe_rules(params).endswith("beginning with 0 to 1 random moves; against a random player")
    bits = jax.random.bits(jax.random.key(4), (2, env.random_words, 6_000), jnp.uint32)
    first = quick_jit(env.initial)(bits[0], params)
    begun = np.asarray(jnp.bitwise_count(first.stones).sum((0, 1)))
    np.testing.assert_allclose(np.bincount(begun) / 6_000, [0.5, 0.5], atol=0.02)
    np.testing.assert_array_equal(first.player, begun)
    step = quick_jit(env.transition)
    legal = np.asarray(env.legal_actions(first, params))
    state, reward, terminated = step(first, jnp.asarray(legal.argmax(0)), bits[1], params)
    # On 2 × 2 cells, any two stones are a line. Who has begun wins with the second move, here the other player.
    np.testing.assert_array_equal(terminated, begun == 1)
    np.testing.assert_array_equal(reward, np.where(begun == 1, -1, 0))
    answers = np.asarray(state.stones[1])[:, begun == 0]
    assert (np.bitwise_count(answers).sum(0) == 1).all()
    cells = np.array([[(answers[column] >> row & 1).mean() for column in range(2)] for row in (1, 0)])
    np.testing.assert_allclose(cells, [[0, 1 / 3], [1 / 3, 1 / 3]], atol=0.03)
    goes_on = jax.tree.map(lambda x: x[..., begun == 0], state)
    legal = np.asarray(env.legal_actions(goes_on, params))
    state, reward, terminated = step(goes_on, jnp.asarray(legal.argmax(0)), bits[1][:, begun == 0], params)
    assert terminated.all()
    assert (reward == 1).all()
    assert (np.asarray(jnp.bitwise_count(state.stones).sum((0, 1))) == 3).all()  # nobody answers


def test_all_random_moves_are_drawn_by_themselves() -> None:
    """Of two moves, each pair of columns is as frequent: both are independent, also of how many moves there are."""
    env, params = make("game:connect_four", random_moves=2)
    bits = jax.random.bits(jax.random.key(2), (env.random_words, 30_000), jnp.uint32)
    stones = np.asarray(quick_jit(env.initial)(bits, params).stones)
    first, second = stones[:, :, (stones != 0).sum((0, 1)) == 2].argmax(1)
    pairs = np.bincount(7 * first + second, minlength=49) / len(first)
    np.testing.assert_allclose(pairs, np.full(49, 1 / 49), atol=0.007)


def test_observations_of_large_boards_have_several_words() -> None:
    env, params = make("game:connect_four", rows=6, columns=7, random_moves=30)
    bits = jax.random.bits(jax.random.key(3), (env.random_words, 20), jnp.uint32)
    states = quick_jit(env.initial)(bits, params)
    words = quick_jit(env.encode)(states)
    assert words.shape == (3, 20)
    alone = jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), states)
    seen = quick_jit(env.decode)(jnp.moveaxis(words, 0, -1))
    np.testing.assert_array_equal(seen, jax.vmap(env.game.observe)(alone))
    assert np.asarray(seen).any((0, 3)).sum() > 32


class Fractions(TicTacToe):
    """Planes of one number each, another one for each player and number of moves."""

    def observe(self, state):
        planes = super().observe(state)
        moves = planes.sum(dtype=jnp.float32)
        return planes * jnp.stack([1 / (3 + moves), 0.3 + moves])


def test_planes_of_fractions_are_exact() -> None:
    env = GameEnvironment(Fractions(), random_moves=6)
    bits = jax.random.bits(jax.random.key(0), (env.random_words, 30), jnp.uint32)
    states = quick_jit(lambda bits: env.initial(bits, None))(bits)
    seen = quick_jit(env.observe)(states)
    alone = jax.vmap(env.game.observe, in_axes=-1)(states)
    assert seen.dtype == jnp.float32
    np.testing.assert_array_equal(seen, alone)
    assert len(np.unique(seen)) > 8
