"""`make_game`: the arrays of a game from its name."""

import inspect
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any

from annotated_types import Ge

from jaxrl.arguments import ArgumentError, check_known, check_value, suggest
from jaxrl.game_theory import rules
from jaxrl.game_theory.game_tree import build
from jaxrl.game_theory.rules import Rules, matrix_game
from jaxrl.game_theory.sequence_form import Game

MOST_ACTIONS = 999
"""Matrix games of more have more positions than `build` takes."""


def _disc(rings: int = 4, directions: int = 12, transitive: float = 1.0) -> Rules:
    _check_sizes(rings=rings, directions=directions)
    check_value("transitive", transitive, Annotated[float, Ge(0)])
    _check_actions("rings, directions", rings * directions)
    return matrix_game(rules.disc_payoffs(rings, directions, transitive))


def _blotto(coins: int = 5, fields: int = 3) -> Rules:
    _check_sizes(coins=coins, fields=fields)
    _check_actions("coins, fields", math.comb(coins + fields - 1, fields - 1))
    return matrix_game(rules.blotto_payoffs(coins, fields))


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, int) or not 1 <= size <= 100:
            raise ArgumentError(name, "must be a whole number from 1 to 100", size)


def _check_actions(names: str, number: int) -> None:
    if number > MOST_ACTIONS:
        raise ArgumentError(names, f"must give a player at most {MOST_ACTIONS} actions", number, got=f"{number:,}")


GAMES: dict[str, Callable[..., Rules]] = {
    "rock_paper_scissors": lambda: matrix_game(rules.ROCK_PAPER_SCISSORS),
    "biased_rock_paper_scissors": lambda: matrix_game(rules.BIASED_ROCK_PAPER_SCISSORS),
    "disc": _disc,
    "blotto": _blotto,
    "kuhn_poker": lambda: rules.kuhn_poker,
    "leduc_poker": lambda: rules.leduc_poker,
}


@lru_cache(maxsize=None, typed=True)
def make_game(name: str, **options: Any) -> Game:
    """The arrays of a game. Equal calls return the same object.

        game = jaxrl.game_theory.make_game("kuhn_poker")

    Args:
        name: one of `GAMES`.
        options: of "disc", `rings`, `directions` and `transitive`; of "blotto", `coins` and `fields`.

    Raises:
        ArgumentError: an unknown name (the message suggests the nearest), or an option that the game does not have or
            cannot use.
    """
    if name not in GAMES:
        rule = f"must be a game of which all positions are known ({suggest(name, GAMES)})"
        raise ArgumentError("name", rule, name)
    check_known(options, inspect.signature(GAMES[name]).parameters, name)
    return build(name, GAMES[name](**options))
