"""Games of pgx, against pgx itself and published counts."""

import importlib.util
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from jaxrl.arguments import ArgumentError
from jaxrl.envs.game import GameEnvironment
from jaxrl.games import make, solve
from jaxrl.games.pgx_game import AnimalShogi, Chess, GardnerChess, PgxGame, Shogi
from tests.compiling import quick_jit
from tests.games.random_games import play

needs_pgx = pytest.mark.skipif(importlib.util.find_spec("pgx") is None, reason="pgx is not installed: pip install pgx")


def test_it_is_installed_apart(monkeypatch) -> None:
    monkeypatch.setattr("jaxrl.games.pgx_game.find_spec", lambda name: None)
    with pytest.raises(ArgumentError, match=r"^name must be .*\(pip install 'jaxrl\[games\]'\), got 'chess'$"):
        make("chess")


@needs_pgx
@pytest.mark.slow
def test_a_game_is_that_of_pgx() -> None:
    """Animal shogi: players, legal actions, observations, rewards of who moves, ends; and what comes after them."""
    import pgx

    game, env = make("animal_shogi"), pgx.make("animal_shogi")
    games, num_games = play(game, 30, 80), 30
    state = jax.jit(jax.vmap(env.init))(jax.random.split(jax.random.key(0), num_games))
    first, step, ends = state.current_player, jax.jit(jax.vmap(env.step)), 0
    for t, action in enumerate(games.action):
        goes_on = ~np.asarray(state.terminated)
        np.testing.assert_array_equal(games.player[t], state.current_player ^ first)
        np.testing.assert_array_equal(games.legal[t], state.legal_action_mask)
        np.testing.assert_allclose(games.observation[t][..., :-1], state.observation)
        np.testing.assert_array_equal(games.observation[t][:, 0, 0, -1], games.player[t] == 0)
        mover = state.current_player
        state = step(state, action)
        np.testing.assert_array_equal(games.reward[t], np.asarray(state.rewards)[np.arange(num_games), mover])
        np.testing.assert_array_equal(games.terminated[t], state.terminated)
        ends += (goes_on & games.terminated[t]).sum()
    assert ends > 10
    assert (games.reward != 0).any()
    assert (games.reward[1:][games.terminated[:-1]] == 0).all()


@needs_pgx
@pytest.mark.slow
def test_fractions_are_packed_exactly() -> None:
    """Planes of bits and planes of one number; with the board from the first player's side, and its pieces."""
    env = GameEnvironment(make("animal_shogi"), random_moves=20)
    bits = jax.random.bits(jax.random.key(0), (env.random_words, 8), jnp.uint32)
    states = quick_jit(lambda bits: env.initial(bits, None))(bits)
    seen = quick_jit(env.observe)(states)
    alone = jax.vmap(env.game.observe, in_axes=-1)(states)
    np.testing.assert_array_equal(seen, alone)
    assert len(np.unique(seen)) > 5
    state = env.game.initial()
    for turn in range(2):
        observation = env.game.observe(state)
        assert env.game.board(observation).tolist() == [[2, 2, 2], [0, 2, 0], [0, 1, 0], [1, 1, 1]] or turn
        assert ["".join(row) for row in env.game.pieces(observation)] == ["GLE", "C", "C", "ELG"] or turn
        state, _ = env.game.step(state, env.game.legal_actions(state).argmax())


@needs_pgx
def test_it_has_no_solver() -> None:
    with pytest.raises(ArgumentError, match=r"^game must be one with a solver, .*, got animal_shogi$"):
        solve(make("animal_shogi"))
    with pytest.raises(ArgumentError, match=r"^size is not an option of animal_shogi, which has none"):
        make("animal_shogi", size=4)


@needs_pgx
@pytest.mark.slow
@pytest.mark.parametrize(("name", "counts"), [("chess", [20, 400, 8902]), ("shogi", [30, 900, 25470])])
def test_games_are_counted(name: str, counts: list[int]) -> None:
    """So many games of each number of moves, as is well known."""
    game = make(name)
    step = jax.jit(jax.vmap(lambda state, action: game.step(state, action)[0]))
    states, found = jax.tree.map(lambda x: np.asarray(x)[None], game.initial()), []
    for _ in counts:
        rows, actions = np.nonzero(jax.vmap(game.legal_actions)(states))
        found.append(len(rows))
        if found[-1] <= 1000:
            states = step(jax.tree.map(lambda x, rows=rows: x[rows], states), actions)
    assert found == counts


@struct.dataclass
class FakeState:
    """As of pgx: player 1 begins, by lot."""

    current_player: jax.Array
    rewards: jax.Array
    terminated: jax.Array
    legal_action_mask: jax.Array
    observation: jax.Array


class FakeEnv:
    """Who takes action 2 wins."""

    def step(self, state, action):
        wins = (action == 2) & ~state.terminated
        rewards = jnp.where(wins, jnp.array([-1.0, 1.0]) * jnp.where(state.current_player == 1, 1, -1), 0)
        return state.replace(current_player=1 - state.current_player, rewards=rewards,
                             terminated=state.terminated | wins)  # fmt: skip

    def observe(self, state):
        return jnp.zeros((1, 2, 4))


class FakeGame(PgxGame):
    name, max_moves = "fake", 9
    letters, first_of_other, turns = ("A", "B"), 2, False


def test_who_moves_first_is_player_0_and_rewards_are_those_of_who_moved(monkeypatch) -> None:
    first = FakeState(jnp.int32(1), jnp.zeros(2), jnp.bool(False), jnp.ones(3, bool), jnp.zeros(1))
    monkeypatch.setattr("jaxrl.games.pgx_game.find_spec", lambda name: name)
    monkeypatch.setattr("jaxrl.games.pgx_game._load", lambda name: SimpleNamespace(env=FakeEnv(), first=first))
    game = FakeGame()
    state = game.initial()
    for player in range(3):
        assert state.player == player % 2
        assert game.observe(state)[0, :, -1].tolist() == [1 - player % 2] * 2
        assert game.step(state, jnp.int32(2))[1] == 1
        state, reward = game.step(state, jnp.int32(0))
        assert reward == 0
    over, _ = game.step(state, jnp.int32(2))
    assert over.terminated
    assert game.step(over, jnp.int32(2))[1] == 0


def test_the_second_player_sees_the_board_mirrored_or_turned(monkeypatch) -> None:
    monkeypatch.setattr("jaxrl.games.pgx_game.find_spec", lambda name: name)
    monkeypatch.setattr("jaxrl.games.pgx_game._load", lambda name: None)
    seen = np.zeros((2, 2, 5))
    seen[0, 0, 1] = seen[1, 0, 2] = 1  # its own B above the other's A
    game = FakeGame()
    assert game.board(seen).tolist() == [[1, 0], [2, 0]]
    assert game.pieces(seen).tolist() == [["A", ""], ["B", ""]]
    monkeypatch.setattr(FakeGame, "turns", True)
    assert game.board(seen).tolist() == [[0, 1], [0, 2]]
    seen[..., -1] = 1
    assert game.board(seen).tolist() == [[1, 0], [2, 0]]
    assert game.pieces(seen).tolist() == [["B", ""], ["A", ""]]
    assert [kind.turns for kind in (Chess, GardnerChess, Shogi, AnimalShogi)] == [False, False, True, True]
