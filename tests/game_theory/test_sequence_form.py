"""Games as arrays: what policies are worth, and how far they are from an equilibrium."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import game_theory
from jaxrl.arguments import ArgumentError
from jaxrl.game_theory import Game, make_game
from jaxrl.game_theory.rules import Chance, End, History, Turn, disc_points
from tests.game_theory import in_open_spiel

POKER = ("kuhn_poker", "leduc_poker")


def random_policies(game: Game, number: int, seed: int = 0) -> np.ndarray:
    """Policies `[number, I, A]`, half of them with some actions that are never chosen."""
    random = np.random.default_rng(seed)
    weights = random.gamma(0.5, size=(number, *game.legal.shape)) * game.legal + 1e-30 * game.legal
    dropped = np.where(random.random(weights.shape) < 0.3, 1e-300 * game.legal, weights)
    weights[::2] = dropped[::2]
    return weights / weights.sum(-1, keepdims=True)


def check_against_open_spiel(name: str, number: int) -> None:
    import pyspiel

    game = make_game(name)
    keys, theirs = in_open_spiel.keys_of(game), in_open_spiel.load(game)
    policies = random_policies(game, number)
    with jax.enable_x64(True):
        ours = jax.jit(jax.vmap(lambda x: (game_theory.nash_conv(game, x), game_theory.value(game, x))))(policies)
    for i, policy in enumerate(policies):
        as_theirs = in_open_spiel.as_policy(game, keys, policy)
        np.testing.assert_allclose(ours[0][i], pyspiel.nash_conv(theirs, as_theirs), rtol=0, atol=1e-12)
        expected = pyspiel.expected_returns(theirs.new_initial_state(), as_theirs, -1, True, 0.0)
        np.testing.assert_allclose(ours[1][i], expected[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "number"),
    [("rock_paper_scissors", 20), ("biased_rock_paper_scissors", 20), ("blotto", 20), ("kuhn_poker", 1000),
     ("leduc_poker", 8)],
)  # fmt: skip
def test_nash_conv_and_value_equal_open_spiel(name: str, number: int) -> None:
    pytest.importorskip("pyspiel", reason="open_spiel is not installed (pip install open-spiel)")
    check_against_open_spiel(name, number)


@pytest.mark.slow
def test_nash_conv_and_value_equal_open_spiel_for_a_thousand_policies_of_leduc() -> None:
    pytest.importorskip("pyspiel", reason="open_spiel is not installed (pip install open-spiel)")
    check_against_open_spiel("leduc_poker", 1000)


def enumerated_values(game: Game, policy: np.ndarray, player: int) -> tuple[np.ndarray, np.ndarray]:
    """Counterfactual values `[I, A]` of a player, and what the others contribute to each set, by walking the tree."""
    tree, sign = game.tree, 1 - 2 * player
    values, reached = np.zeros(game.legal.shape), np.zeros(len(game.legal))

    def expected(here: int) -> float:
        if tree.player[here] == 3:
            return float(sign * tree.utility[here])
        weights: Any = tree.chance[here] if tree.player[here] == 2 else policy[tree.set[here]]
        return sum([w * expected(tree.child[here, a]) for a, w in enumerate(weights) if tree.child[here, a] > 0])

    def walk(here: int, others: float) -> None:
        if tree.player[here] == 3:
            return
        row, mine = tree.set[here], tree.player[here] == player
        weights = tree.chance[here] if tree.player[here] == 2 else policy[row]
        reached[row] += others * mine
        for action, weight in enumerate(weights):
            if below := tree.child[here, action]:
                if mine:
                    values[row, action] += others * expected(below)
                walk(below, others * (1 if mine else weight))

    walk(0, 1.0)
    return values, reached


@pytest.mark.parametrize("name", POKER)
def test_counterfactual_values_and_reach_equal_a_walk_of_the_tree(name: str) -> None:
    game = make_game(name)
    policy = random_policies(game, 2)[1]
    with jax.enable_x64(True):
        found = jax.jit(
            lambda x: (
                game_theory.counterfactual_values(game, x), game_theory.visits(game, x),
                game_theory.action_values(game, x), [game_theory.reach(game, x, i) for i in (0, 1)],
            )
        )  # fmt: skip
        q, visits, given, own = found(policy)
        for player in (0, 1):
            rows = game.rows(player)
            values, reached = enumerated_values(game, policy, player)
            np.testing.assert_allclose(q[rows], values[rows], rtol=0, atol=1e-12)
            np.testing.assert_allclose(visits[rows], own[player] * reached[rows], rtol=0, atol=1e-12)
            np.testing.assert_allclose(given[rows] * reached[rows][:, None], values[rows], rtol=0, atol=1e-12)
        assert 2 <= float(visits.sum()) <= game.longest  # the decisions of a game


def test_a_best_response_wins_what_nash_conv_says() -> None:
    game = make_game("leduc_poker")
    policy = jnp.asarray(random_policies(game, 1)[0], jnp.float32)

    @jax.jit
    def found(policy: Any) -> Any:
        response, wins = game_theory.best_response(game, policy)
        mixed = jnp.stack([policy.at[game.rows(i)].set(response[game.rows(i)]) for i in (0, 1)])
        values = jax.vmap(lambda x: game_theory.value(game, x))(mixed)
        return response, wins, values, game_theory.nash_conv(game, policy), game_theory.exploitability(game, policy)

    response, wins, values, nash_conv, exploitability = found(policy)
    np.testing.assert_allclose(values * np.array([1, -1]), wins, atol=1e-5)
    np.testing.assert_allclose([nash_conv, 2 * exploitability], [wins.sum()] * 2, atol=1e-5)
    assert not (np.asarray(response) * ~game.legal).any()


def test_kuhns_family_of_equilibria() -> None:
    """Kuhn 1950: for all α in [0, 1/3], a bet of the jack with probability α goes with one of the king with 3 α."""
    game, policies = make_game("kuhn_poker"), []
    for alpha in (0.0, 0.2, 1 / 3):
        bets = {"J": alpha, "Q": 0, "K": 3 * alpha, "Jpb": 0, "Qpb": alpha + 1 / 3, "Kpb": 1}
        bets |= {"Jp": 1 / 3, "Qp": 0, "Kp": 1, "Jb": 0, "Qb": 1 / 3, "Kb": 1}
        policies.append([[1 - bets[label], bets[label]] for label in game.labels])
    with jax.enable_x64(True):
        both = jax.jit(jax.vmap(lambda x: (game_theory.nash_conv(game, x), game_theory.value(game, x))))
        nash_conv, values = both(np.array(policies, np.float64))
        np.testing.assert_allclose(nash_conv, 0, atol=1e-15)
        np.testing.assert_allclose(values, -1 / 18, atol=1e-15)


def test_policies_are_averaged_by_reach() -> None:
    """Who never bets and who always bets, averaged: a set that only one of them reaches is its own."""
    game = make_game("kuhn_poker")
    rows = {label: i for i, label in enumerate(game.labels)}
    calm = jnp.tile(jnp.array([1.0, 0.0]), (12, 1))
    wild = jnp.tile(jnp.array([0.0, 1.0]), (12, 1))
    plans = [[game_theory.plan(game, x, i) for x in (calm, wild)] for i in (0, 1)]
    mean = game_theory.behaviour(game, (sum(plans[0]) / 2, sum(plans[1]) / 2))
    np.testing.assert_allclose(mean[rows["J"]], [0.5, 0.5])
    np.testing.assert_allclose(mean[rows["Jpb"]], [1.0, 0.0])  # only the calm one passes first
    np.testing.assert_allclose(mean[rows["Jb"]], [0.5, 0.5])


def disc_nash_conv(mixtures: np.ndarray, rings: int, directions: int, transitive: float) -> float:
    """NashConv of two mixtures `[2, rings * directions]` of a disc game in closed form.

    With m the mean of the other's points, the best answer is of the outer ring, in the direction that is nearest to a
    quarter turn from m. For many directions, it wins |m|, and `transitive` times the difference of skill.
    """
    points = disc_points(rings, directions)
    skill = np.linalg.norm(points, axis=1)
    answers = points[-directions:] @ np.array([[0.0, 1.0], [-1.0, 0.0]]) @ (mixtures @ points).T  # [directions, 2]
    return float(answers.max(0).sum() + transitive * (2 - (mixtures @ skill).sum()))


def test_the_disc_game_has_its_closed_form() -> None:
    for transitive in (0.0, 0.7):
        game = make_game("disc", rings=3, directions=8, transitive=transitive)
        for policy in random_policies(game, 3):
            with jax.enable_x64(True):
                found = float(game_theory.nash_conv(game, jnp.asarray(policy)))
            expected = disc_nash_conv(policy, 3, 8, transitive)
            np.testing.assert_allclose(found, expected, atol=1e-12)
        ring = np.zeros((2, 24))
        ring[:, -8:] = 1 / 8
        with jax.enable_x64(True):
            assert abs(game_theory.nash_conv(game, jnp.asarray(ring))) < 1e-12
            uniform = float(game_theory.nash_conv(game, game_theory.uniform_policy(game)))
        np.testing.assert_allclose(uniform, 2 * transitive / 3, atol=1e-12)  # skill 2/3 on average


def test_a_point_of_the_disc_draws_with_itself_and_its_opposite() -> None:
    wins = np.sign(game_theory.rules.disc_payoffs(4, 12, 0.5))
    np.testing.assert_array_equal(wins, -wins.T)
    for ring in range(4):
        points = 12 * ring + np.arange(12)
        assert (wins[points, points] == 0).all()
        assert (wins[points, np.roll(points, 6)] == 0).all()


def test_features_say_which_letter_is_where() -> None:
    """Of the card, the bets, the public card, and more bets, so that no two sets look alike."""
    labels, seen = make_game("leduc_poker").labels, np.asarray(game_theory.features(make_game("leduc_poker")))
    np.testing.assert_array_equal(seen.sum(1), [len(label.replace(" ", "")) for label in labels])
    assert len(np.unique(seen, axis=0)) == len(labels)
    rows = {label: seen[i] for i, label in enumerate(labels)}
    assert (rows["J1"] != rows["J2"]).sum() == 2
    assert (rows["J1 cc Q1"] - rows["J1"]).sum() == 4


@pytest.mark.parametrize("name", ["kuhn_poker", "biased_rock_paper_scissors"])
def test_counting_wins_is_the_game_with_signs_for_payoffs(name: str) -> None:
    rules = game_theory.tensor_games.GAMES[name]()

    def signs(history: History) -> Turn | Chance | End:
        event = rules(history)
        return End(float(np.sign(event.utility))) if isinstance(event, End) else event

    expected, found = game_theory.build(name, signs), game_theory.counting_wins(make_game(name))
    jax.tree.map(np.testing.assert_array_equal, found.sides, expected.sides)


def test_a_policy_is_checked() -> None:
    game = make_game("leduc_poker")
    policy = np.asarray(game_theory.uniform_policy(game))
    game_theory.check_policy(game, policy)
    illegal = policy.copy()
    illegal[0] = [0.5, 0.5, 0]
    with pytest.raises(ArgumentError, match=r"policy must not choose an illegal action.*in the information set 'J1'"):
        game_theory.check_policy(game, illegal)
    with pytest.raises(ArgumentError, match="policy must have probabilities that add up to 1"):
        game_theory.check_policy(game, policy * 0.9)
    with pytest.raises(ArgumentError, match="policy must have probabilities >= 0"):
        game_theory.check_policy(game, np.where(game.legal, np.nan, 0))
    for check in (game_theory.check_policy, game_theory.nash_conv, game_theory.value, game_theory.best_response):
        with pytest.raises(ArgumentError, match=r"policy must be of shape \[936, 3\]"):
            check(game, policy[:5])
        with pytest.raises(ArgumentError, match="policy must have probabilities that add up to 1"):
            check(game, policy * 2)
        with pytest.raises(ArgumentError, match="game must be of the kind Game"):
            check(policy, game)
    with pytest.raises(ArgumentError, match=r"policy must be of shape \[936, 3\]"):
        jax.jit(game_theory.nash_conv)(game, policy[:5])  # where numbers are unknown, shapes are not


def forgetful(history: History) -> Turn | Chance | End:
    if len(history) == 2:
        return End(1.0)
    return Turn(0, "always the same", (0, 1))


def lopsided(history: History) -> Turn | Chance | End:
    return End(0.0) if history else Chance((0, 1), (0.5, 0.4))


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        (Turn(0, "a", ("heads", "tails")), "a tuple of actions, numbers from 0 in increasing order"),
        (Turn(0, "a", (1, 0)), "a tuple of actions, numbers from 0 in increasing order"),
        (Turn(0, "a", (0, 0)), "a tuple of actions, numbers from 0 in increasing order"),
        (Turn(0, "a", (-1, 0)), "a tuple of actions, numbers from 0 in increasing order"),
        (Turn(0, "a", ()), "a tuple of actions, numbers from 0 in increasing order"),
        (Turn(2, "a", (0, 1)), "players 0 and 1"),
        (Turn(0, ["a"], (0, 1)), "say what a player knows in a string"),
        (Chance((0, 1), (1.0,)), "as many probabilities as outcomes"),
        (Chance((), ()), "probabilities that add up to 1"),
        (Chance((0, 1), (1.5, -0.5)), "probabilities that add up to 1"),
        (End(float("nan")), "end with one finite number"),
        (End((1.0, -1.0)), "end with one finite number"),
        (1.0, "return a Turn, a Chance or an End"),
    ],
)
def test_rules_that_nobody_can_play(event, rule: str) -> None:
    after = {(): Turn(0, "first", (0, 1)), (0,): End(1.0), (1,): event}
    with pytest.raises(ArgumentError, match=rf"rules must .*{rule}.* after \[1\]"):
        game_theory.build("a game", after.__getitem__)


def test_rules_and_names_are_checked() -> None:
    with pytest.raises(ArgumentError, match="rules must let a player decide something"):
        game_theory.build("nothing", lambda history: End(1.0))
    with pytest.raises(ArgumentError, match="remember what it knew and did"):
        game_theory.build("forgetful", forgetful)
    with pytest.raises(ArgumentError, match="probabilities that add up to 1"):
        game_theory.build("lopsided", lopsided)
    with pytest.raises(ArgumentError, match=r"name must be a game of which all positions are known.*kuhn_poker"):
        make_game("kun_poker")
    with pytest.raises(ArgumentError, match="cards is not an option of kuhn_poker, which has none"):
        make_game("kuhn_poker", cards=4)
    with pytest.raises(ArgumentError, match="coins must be a whole number from 1 to 100"):
        make_game("blotto", coins=0)
    with pytest.raises(ArgumentError, match="payoffs must be a matrix"):
        game_theory.matrix_game([1, 2, 3])


def test_sizes_of_matrix_games() -> None:
    """Tables that are too large are refused before they are made, and many fields with few coins are few ways."""
    assert make_game("blotto", coins=1, fields=40).legal.shape == (2, 40)
    for name, sizes, number in (
        ("blotto", {"coins": 100, "fields": 5}, "4,598,126"),
        ("disc", {"rings": 100, "directions": 100}, "10,000"),
    ):
        with pytest.raises(ArgumentError, match=f"^{', '.join(sizes)} must give .* at most 999 actions, got {number}$"):
            make_game(name, **sizes)
