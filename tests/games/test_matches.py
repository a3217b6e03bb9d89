"""Matches, against games that are played one by one, and their players against the rules in all positions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Categorical
from jaxrl.games import (
    ILLEGAL,
    ConnectFour,
    TicTacToe,
    greedy_player,
    make,
    make_player,
    noisy_player,
    perfect_player,
    play_match,
    policy_player,
    random_openings,
    random_player,
    solve,
)
from jaxrl.types import Decision, Input
from tests.compiling import quick_jit


def lowest(given, key):
    return Decision(given.legal.argmax(1))


def illegal(given, key):
    return given.legal.argmin(1)


def most_stones(given, key):
    """Depends on who has which stones: the legal action whose number is nearest to that of its own stones, doubled."""
    stones = given.observation[..., 0].sum((1, 2))
    distance = jnp.abs(jnp.arange(given.legal.shape[1]) - 2 * stones[:, None])
    return jnp.where(given.legal, distance, 99).argmin(1)


def always(action: int, given, key):
    return jnp.full(len(given.legal), action)


def test_matches_go_as_games_one_by_one() -> None:
    """With both colours, and games that end in wins and losses after even and odd numbers of moves."""
    game = ConnectFour(4, 4, 3)
    play = quick_jit(partial(play_match, game, lowest, most_stones))
    step, legal, observe = (quick_jit(f) for f in (game.step, game.legal_actions, game.observe))
    longest, total = set(), np.zeros((2, 3), int)
    every = random_openings(game, jax.random.key(0), 12, moves=3)
    for pair in range(6):
        openings = jax.tree.map(lambda x, pair=pair: x[2 * pair : 2 * pair + 2], every)
        match, lengths = play(jax.random.key(1), openings), []
        assert match.outcomes.shape == (2, 2)
        for seat in range(2):
            for i, outcome in enumerate(np.asarray(match.outcomes)[seat]):
                state, turn, reward, length = jax.tree.map(lambda x, i=i: x[i], openings), seat, 0.0, 0
                while not state.terminated:
                    given = Input(observe(state)[None], legal(state)[None])
                    action = lowest(given, None).action if turn == 0 else most_stones(given, None)
                    state, reward = step(state, action[0])
                    turn, length = 1 - turn, length + 1
                assert outcome == (reward if turn == 1 else -reward)  # who moved last won, if anyone
                lengths.append(length)
        longest.add(max(lengths) % 2)
        total += np.asarray(match.counts)
        np.testing.assert_array_equal(match.counts[:, 0], (np.asarray(match.outcomes) == 1).sum(1))
        wins, draws, losses = np.asarray(match.counts).sum(0)
        np.testing.assert_allclose(match.points, [wins + draws / 2, losses + draws / 2])
    assert longest == {0, 1}  # whose turn it was when the last game ended
    assert (total.sum(1) == 12).all()
    assert (total.sum(0)[[0, 2]] > 0).all()


def test_random_games_end_as_often_as_they_must() -> None:
    """Of all random games of tic-tac-toe, the first player wins 737/1260 and the second 121/420."""
    openings = random_openings(TicTacToe(), jax.random.key(0), 6000, moves=0)
    match = quick_jit(partial(play_match, TicTacToe(), random_player, random_player))(jax.random.key(1), openings)
    first, second, draw = 737 / 1260, 121 / 420, 8 / 63
    expected = [[first, draw, second], [second, draw, first]]
    np.testing.assert_allclose(match.counts / 6000, expected, atol=0.025)
    assert (match.outcomes[0] != match.outcomes[1]).mean() > 0.3  # the two games of an opening differ


def test_an_illegal_move_loses() -> None:
    """Once, and for who made it, whatever the number of the action."""
    game = TicTacToe(1, 1, 1)  # whose only move wins
    openings = random_openings(game, jax.random.key(0), 4, moves=0)
    for action in (1, -1):
        match = quick_jit(partial(play_match, game, partial(always, action), lowest))
        np.testing.assert_array_equal(match(jax.random.key(1), openings).outcomes, np.full((2, 4), -1))
    with pytest.raises(ArgumentError, match=r"^player must return .*of shape \[4\], got float32\[4\]"):
        play_match(game, lowest, lambda given, key: jnp.zeros(4), jax.random.key(1), openings)


def test_an_illegal_move_ends_a_game_of_pgx() -> None:
    """Though pgx knows nothing of it."""
    pytest.importorskip("pgx")
    game = make("animal_shogi")
    openings = random_openings(game, jax.random.key(0), 2, moves=0)
    match = quick_jit(partial(play_match, game, illegal, lowest))
    np.testing.assert_array_equal(match(jax.random.key(1), openings).outcomes, np.full((2, 2), -1))


def test_every_move_has_a_key_of_its_own() -> None:
    game, keys = TicTacToe(1, 3, 3), []

    def spy(given, key):
        keys.append(tuple(jax.random.key_data(key).tolist()))
        return lowest(given, key)

    with jax.disable_jit():
        play_match(game, spy, spy, jax.random.key(0), random_openings(game, jax.random.key(0), 1, moves=0))
    assert len(set(keys)) == len(keys) == 6  # three moves in both games


def test_openings_have_as_many_moves_as_asked_for() -> None:
    game = TicTacToe()
    states = random_openings(game, jax.random.key(0), 50, moves=3)
    np.testing.assert_array_equal(jnp.bitwise_count(states.stones).sum((1, 2)), np.full(50, 3))
    with pytest.raises(ArgumentError, match=r"^moves must be from 0 to the 9 moves of the longest game, got 10$"):
        random_openings(game, jax.random.key(0), 50, moves=10)
    late = random_openings(game, jax.random.key(0), 50, moves=9)
    assert not late.terminated.any()
    assert len(np.unique(jax.vmap(game.key)(states))) > 30


@pytest.fixture(scope="module")
def solved():
    """A game of six cells, its solution, and all positions as the input of a player."""
    game = TicTacToe(2, 3, 3)
    solution = solve(game)
    states = jax.tree.map(jnp.asarray, solution.states)
    last = jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), states)
    given = Input(jax.vmap(game.observe)(states), jnp.asarray(solution.action_values != ILLEGAL), env_states=last)
    return game, solution, given


def chosen(player, given) -> np.ndarray:
    """How often each action is chosen in each position, of 200 draws: `[P, A]`."""
    keys = jax.random.split(jax.random.key(3), 200)
    actions = quick_jit(jax.vmap(player, in_axes=(None, 0)))(given, keys)
    return np.asarray(jax.nn.one_hot(actions, given.legal.shape[1]).sum(0))


def test_the_perfect_player_draws_among_the_best_moves(solved) -> None:
    game, solution, given = solved
    best = solution.action_values == solution.values[:, None]
    share = chosen(make_player("perfect", game), given) / 200
    np.testing.assert_allclose(share, best / best.sum(1, keepdims=True), atol=0.16)
    assert (share[~best] == 0).all()
    shuffled = np.random.default_rng(0).permutation(len(best))  # whatever the order of the solution
    other = solution._replace(
        states=jax.tree.map(lambda x: x[shuffled], solution.states), action_values=solution.action_values[shuffled]
    )
    np.testing.assert_array_equal(chosen(perfect_player(game, other), given) / 200, share)
    openings = random_openings(game, jax.random.key(0), 30, moves=0)
    match = quick_jit(partial(play_match, game, perfect_player(game, solution), greedy_player(game)))
    assert np.asarray(match(jax.random.key(1), openings).counts)[:, 2].sum() == 0
    with pytest.raises(ArgumentError, match=r"^solution must be of this game, which has 9 actions, got one of 6"):
        perfect_player(TicTacToe(), solution)


def test_words_are_compared_from_the_first() -> None:
    """Positions of 18 cells have two words; a wrong order would find other rows."""
    game = TicTacToe(3, 6, 6)
    states = random_openings(game, jax.random.key(0), 300, moves=6)
    _, rows = np.unique(np.asarray(jax.vmap(game.key)(states)), axis=0, return_index=True)
    states = jax.tree.map(lambda x: x[rows], states)
    legal = np.asarray(jax.vmap(game.legal_actions)(states))
    only = np.where(np.arange(18) == np.where(legal, np.arange(18) * 7 % 11, -1).argmax(1)[:, None], 1, 0)
    solution = solve(TicTacToe(1, 3, 3))._replace(states=states, action_values=only.astype(np.int8))
    given = Input(None, legal, env_states=jax.tree.map(lambda x: jnp.moveaxis(x, 0, -1), states))
    actions = quick_jit(perfect_player(game, solution))(given, jax.random.key(0))
    np.testing.assert_array_equal(actions, only.argmax(1))


def test_the_greedy_player_wins_and_blocks(solved) -> None:
    """In all positions, against boards looked at cell by cell."""
    game, _, given = solved
    lines = [(0, 1, 2), (3, 4, 5)]

    def completes(cells: np.ndarray) -> list[int]:
        return [a for a in range(6) if not given_cells[a] and any(a in x and cells[list(x)].sum() == 2 for x in lines)]

    both, wins_only = chosen(greedy_player(game), given), chosen(greedy_player(game, blocks=False), given)
    seen = set()
    for plane, legal, share, unblocked in zip(
        np.asarray(given.observation), np.asarray(given.legal), both, wins_only, strict=True
    ):
        own, other = plane.reshape(6, 2).T
        given_cells = own | other
        wins, threats = completes(own), completes(other)
        every = np.flatnonzero(legal).tolist()
        block = threats if len(threats) == 1 else every
        assert np.flatnonzero(share).tolist() == (wins or block)
        assert np.flatnonzero(unblocked).tolist() == (wins or every)
        seen.add((bool(wins), len(threats)))
    assert {(False, 1), (True, 1), (False, 0)} <= seen


def test_policies_and_noise(solved, monkeypatch) -> None:
    game, _, given = solved
    logits = jnp.array([3.0, 2.0, 1.0, 0.0, -1.0, -2.0])

    def policy(observations):
        return Categorical(jnp.broadcast_to(logits, (len(observations), 6)))

    np.testing.assert_array_equal(policy_player(policy)(given, jax.random.key(0)), given.legal.argmax(1))
    share = chosen(policy_player(policy, sample=True), given)[0] / 200
    np.testing.assert_allclose(share, jax.nn.softmax(logits), atol=0.1)
    noisy = chosen(noisy_player(lowest, 0.3), given)[0] / 200
    np.testing.assert_allclose(noisy, [0.7 + 0.3 / 6] + [0.3 / 6] * 5, atol=0.1)
    keys: list[list[int]] = []

    def spy(given, key):
        keys.append(jax.random.key_data(key).tolist())
        return lowest(given, key).action

    monkeypatch.setattr("jaxrl.games.players.random_player", spy)
    noisy_player(spy, 0.3)(given, jax.random.key(0))
    assert keys[0] != keys[1]
    with pytest.raises(ArgumentError, match=r"^player must be a known one \(the nearest is greedy\), got 'gredy'"):
        make_player("gredy", game)
