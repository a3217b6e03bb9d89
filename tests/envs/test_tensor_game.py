"""Small games of imperfect information as environments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrl
from jaxrl import game_theory
from jaxrl.arguments import ArgumentError
from jaxrl.envs.tensor_game import TensorGame
from jaxrl.game_theory.rules import describe, pot_in


def test_games_by_random_players_earn_what_is_exact() -> None:
    """The mean winnings are the value of the uniform policy, and sets are visited as often as computed."""
    env, params = jaxrl.make("game:leduc_poker")
    game = env.game
    uniform = game_theory.uniform_policy(game)

    def act(given: jaxrl.Input, key: jax.Array) -> jax.Array:
        return jax.random.categorical(key, jnp.where(given.legal, 0.0, -jnp.inf))

    steps = jax.jit(lambda key: jaxrl.rollout(env, act, key, game.longest, 20_000, params))(jax.random.key(0))
    first = np.cumsum(steps.terminated, axis=0) - steps.terminated == 0
    assert steps.terminated.any(0).all()  # no game is longer
    assert not steps.truncated.any()
    assert (steps.reward[~steps.terminated] == 0).all()
    mover = np.asarray(steps.observation) >= game.num_sets[0]
    winnings = (first * np.where(mover, -1, 1) * np.asarray(steps.reward)).sum(0)
    error = winnings.std() / len(winnings) ** 0.5
    assert abs(winnings.mean() - float(game_theory.value(game, uniform))) < 4 * error
    counts = np.bincount(np.asarray(steps.observation)[first], minlength=len(game.labels)) / 20_000
    expected = np.asarray(jax.jit(lambda x: game_theory.visits(game, x))(uniform))
    np.testing.assert_allclose(counts, expected, atol=4 * (expected.max() / 20_000) ** 0.5)
    legal = np.asarray(game.legal)[np.asarray(steps.observation)]
    assert (legal == np.asarray(steps.legal)).all()


def test_every_outcome_of_chance_is_as_probable_as_it_should_be() -> None:
    env, params = jaxrl.make("game:kuhn_poker")
    words = np.array([0, 2**32 - 1, 2**31], np.uint32)
    first, second = np.meshgrid(words, words)
    positions = env.initial(jnp.stack([first.ravel(), second.ravel()]), params).position
    assert (np.asarray(env.game.tree.player)[positions] == 0).all()  # no card is dealt twice
    labels = [env.game.labels[row] for row in np.asarray(env.game.tree.set)[positions]]
    assert labels == ["J", "K", "Q"] * 3  # the extremes of the random words are the first and the last outcome
    _, states = jax.vmap(lambda key: env.reset(key, params))(jax.random.split(jax.random.key(1), 6000))
    counts = np.bincount(np.asarray(states.position))
    assert np.count_nonzero(counts) == 6
    assert (abs(counts[counts > 0] - 1000) < 150).all()


def test_its_observations_are_numbers_of_sets() -> None:
    env, params = jaxrl.make("game:kuhn_poker")
    assert env == TensorGame(game_theory.make_game("kuhn_poker"))
    assert hash(env) == hash(TensorGame(game_theory.make_game("kuhn_poker")))
    assert env != jaxrl.make("game:rock_paper_scissors")[0]
    assert env.observation_space(params).n == 12
    assert env.describe_rules(params) == "kuhn poker; one agent moves for both players"
    assert jaxrl.make("game:disc", rings=2, directions=5)[0].num_actions == 10
    with pytest.raises(ArgumentError, match="game:kuhn_poker"):
        jaxrl.make("game:kuhn_pocker")
    with pytest.raises(ArgumentError, match="cards is not an option of kuhn_poker"):
        jaxrl.make("game:kuhn_poker", cards=4)


@pytest.mark.parametrize(("name", "fold"), [("game:kuhn_poker", "pass"), ("game:leduc_poker", "fold")])
def test_the_pot_is_what_a_fold_gives_up(name: str, fold: str) -> None:
    env, _ = jaxrl.make(name)
    game, tree, action = env.game, env.game.tree, env.action_names.index(fold)
    assert len(env.action_names) == env.num_actions
    checked = 0
    for position in np.flatnonzero(np.asarray(tree.player) < 2):
        player, after = int(tree.player[position]), int(tree.child[position][action])
        label = game.labels[int(tree.set[position])]
        pot = pot_in(game.name, label)
        faces_a_bet = label[-1] in "br"
        if faces_a_bet:
            assert tree.player[after] == 3
            assert pot is not None
            assert (1 - 2 * player) * tree.utility[after] == -pot[player]
            assert pot[1 - player] > pot[player]
            checked += 1
        else:
            assert pot is not None
            assert pot[0] == pot[1]
    assert checked > 5
    assert pot_in("blotto", "player 1") is None
    assert describe("blotto", "player 1") == ["player", "1"]
    assert describe("kuhn_poker", "K") == ["own card K", "pot 1 + 1"]
    assert describe("kuhn_poker", "Jpb") == ["own card J", "pass, bet", "pot 1 + 2"]
    assert describe("leduc_poker", "J1 cc Q2") == ["own card J", "call, call", "open card Q", "pot 1 + 1"]
    seen = ["own card Q", "call, raise, raise, call", "open card K", "call, raise", "pot 5 + 9"]
    assert describe("leduc_poker", "Q2 crrc K1 cr") == seen
