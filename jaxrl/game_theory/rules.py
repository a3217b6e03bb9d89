"""Rules of small games for two players: what happens after a history.

A game is a function of the history, the actions and outcomes so far: whose turn it is, or what chance decides, or what
the first player has won. `game_theory.build` turns it into arrays.
"""

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxrl.arguments import ArgumentError

History = tuple[int, ...]


class Turn(NamedTuple):
    """A player's turn.

    Attributes:
        player: 0 or 1.
        information: all that this player knows. Positions of one player with the same information are one information
            set.
        actions: the legal ones, in increasing order.
    """

    player: int
    information: str
    actions: tuple[int, ...]


class Chance(NamedTuple):
    """A random outcome: `outcomes` are drawn with `probabilities`, which add up to 1."""

    outcomes: tuple[int, ...]
    probabilities: tuple[float, ...]


class End(NamedTuple):
    """The end of a game, and what the first player wins and the second one loses."""

    utility: float


Rules = Callable[[History], Turn | Chance | End]


def uniform(outcomes: tuple[int, ...]) -> Chance:
    """Equally probable outcomes."""
    return Chance(outcomes, (1 / len(outcomes),) * len(outcomes))


def matrix_game(payoffs: ArrayLike) -> Rules:
    """Both players choose at once.

    Args:
        payoffs: what the first player wins if it chooses the row and the second one the column, `[R, C]`.

    Raises:
        ArgumentError: not a matrix of finite numbers.
    """
    table = np.asarray(payoffs, np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise ArgumentError("payoffs", "must be a matrix of finite numbers", payoffs, got=f"shape {list(table.shape)}")

    def rules(history: History) -> Turn | Chance | End:
        if len(history) == 2:
            return End(float(table[history]))
        player = len(history)
        return Turn(player, f"player {player + 1}", tuple(range(table.shape[player])))

    return rules


ROCK_PAPER_SCISSORS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float64)
BIASED_ROCK_PAPER_SCISSORS = np.array([[0, -25, 50], [25, 0, -5], [-50, 5, 0]], np.float64)
"""Its only equilibrium plays (1, 10, 5) / 16."""


def disc_points(rings: int, directions: int) -> np.ndarray:
    """The strategies of a disc game, points `[rings * directions, 2]` of the unit disc, the inner ring first."""
    radius, angle = np.meshgrid(np.arange(1, rings + 1) / rings, 2 * np.pi * np.arange(directions) / directions)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).swapaxes(0, 1).reshape(-1, 2)


def disc_payoffs(rings: int = 4, directions: int = 12, transitive: float = 1.0) -> np.ndarray:
    """A game of skill and style, between points of a disc (Balduzzi et al. 2019, https://arxiv.org/abs/1901.08106).

    Point x wins `x_1 y_2 − x_2 y_1 + transitive (|x| − |y|)` from y: what is a quarter turn ahead wins, and so does
    skill, the distance from the centre. With a transitive part, the equilibria are the mixtures of points of the outer
    ring whose mean is the centre.
    """
    points = disc_points(rings, directions)
    skill = np.linalg.norm(points, axis=1)
    payoffs = points @ np.array([[0.0, 1.0], [-1.0, 0.0]]) @ points.T + transitive * (skill[:, None] - skill)
    return np.round(payoffs, 13)  # a draw is exactly 0, which `counting_wins` needs


def blotto_payoffs(coins: int = 5, fields: int = 3) -> np.ndarray:
    """Colonel Blotto (Borel 1921): who puts more coins on more of the fields wins 1.

    Actions are all ways to distribute the coins, in lexicographic order.
    """
    places = coins + fields - 1  # of coins in a row, and of bars between the fields
    ways = np.array([np.diff((-1, *bars, places)) - 1 for bars in combinations(range(places), fields - 1)])
    return np.sign(np.sign(ways[:, None] - ways[None]).sum(-1)).astype(np.float64)


CARDS = ("J", "Q", "K")
ACTION_NAMES = {
    "kuhn_poker": ("pass", "bet"),
    "leduc_poker": ("fold", "call", "raise"),
    "rock_paper_scissors": ("rock", "paper", "scissors"),
    "biased_rock_paper_scissors": ("rock", "paper", "scissors"),
}
"""What actions are called, of games in which they have names."""


def pot_in(name: str, information: str) -> tuple[int, int] | None:
    """What both players of a poker game have paid in an information set; None of other games.

    Args:
        name: of the game.
        information: the label of the set, with the bets so far.
    """
    if name not in ("kuhn_poker", "leduc_poker"):
        return None
    paid = [1, 1]
    bets = [information[1:]] if name == "kuhn_poker" else information.split(" ")[1::2]
    for number, moves in enumerate(bets, 1):
        for i, move in enumerate(moves):
            if move != "p" and move != "f":  # a bet, a raise or a call
                paid[i % 2] = max(paid) + (move == "b") + 2 * number * (move == "r")
    return paid[0], paid[1]


def describe(name: str, information: str) -> list[str]:
    """What a player knows in an information set, a line each: in poker, the cards, the bets and the pot.

    Args:
        name: of the game.
        information: the label of the set.
    """
    if (pot := pot_in(name, information)) is None:
        return information.split(" ")
    known = information.split(" ") if name == "leduc_poker" else [information[0], information[1:]]
    names, lines = {action[0]: action for action in ACTION_NAMES[name]}, list[str]()
    for whose, card, bets in zip(("own", "open"), known[::2], [*known[1::2], ""], strict=False):
        lines += [f"{whose} card {card[0]}", *([", ".join(names[bet] for bet in bets)] if bets else [])]
    return [*lines, f"pot {pot[0]} + {pot[1]}"]


def kuhn_poker(history: History) -> Turn | Chance | End:
    """Kuhn's poker (1950): three cards, one bet. Action 0 passes, 1 bets; its value is −1/18."""
    if len(history) < 2:
        return uniform(tuple(card for card in range(3) if card not in history))
    cards, moves = history[:2], history[2:]
    if moves in ((1, 0), (0, 1, 0)):  # a fold
        return End(1.0 if moves == (1, 0) else -1.0)
    if moves in ((0, 0), (1, 1), (0, 1, 1)):
        stake = 1 + (moves[-1] == 1)
        return End(float(stake if cards[0] > cards[1] else -stake))
    player = len(moves) % 2
    return Turn(player, CARDS[cards[player]] + "".join("pb"[move] for move in moves), (0, 1))


FOLD, CALL, RAISE = range(3)


def leduc_poker(history: History) -> Turn | Chance | End:
    """Leduc poker (Southey et al. 2005, https://arxiv.org/abs/1207.1411): six cards of two suits, two rounds of bets.

    Action 0 folds, 1 calls or checks, 2 raises: by 2 in the first round, by 4 in the second, twice a round at most.
    Both put in 1 at first. A public card follows the first round. A pair with it wins, or else the higher card.
    """
    if len(history) < 2:
        return uniform(tuple(card for card in range(6) if card not in history))
    cards, paid, facing, rounds = history[:2], [1, 1], False, [""]
    player = raises = checks = 0
    public: int | None = None
    for move in history[2:]:
        if len(rounds) == 1 and checks == 2:  # this one is the public card
            public, player, raises, checks, facing = move, 0, 0, 0, False
            rounds.append("")
            continue
        if move == FOLD:
            return End(float(paid[1] if player else -paid[0]))
        paid[player] = max(paid) + (move == RAISE) * 2 * len(rounds)
        raises, facing = raises + (move == RAISE), move == RAISE
        checks = 2 if move == CALL and (checks or raises) else 1  # 2: the round is over
        rounds[-1] += "fcr"[move]
        player = 1 - player
    if checks == 2:
        if public is None:
            return uniform(tuple(card for card in range(6) if card not in cards))
        strength = [6 * (card // 2 == public // 2) + card // 2 for card in cards]
        return End(float(np.sign(strength[0] - strength[1]) * paid[0]))
    names = [CARDS[card // 2] + "12"[card % 2] for card in (cards[player], *(() if public is None else (public,)))]
    information = " ".join(x for pair in zip(names, rounds, strict=False) for x in pair if x)
    return Turn(player, information, (FOLD,) * facing + (CALL,) + (RAISE,) * (raises < 2))
