"""`make`: a game from its name."""

import dataclasses
from typing import Any

from jaxrl.arguments import ArgumentError, check_known, suggest
from jaxrl.games.board_game import BoardGame
from jaxrl.games.go import Go
from jaxrl.games.hex import Hex
from jaxrl.games.lines import ConnectFour, TicTacToe
from jaxrl.games.othello import Othello
from jaxrl.games.pgx_game import AnimalShogi, Chess, GardnerChess, Shogi

GAMES: dict[str, Any] = {
    "tic_tac_toe": TicTacToe,
    "connect_four": ConnectFour,
    "go": Go,
    "othello": Othello,
    "hex": Hex,
    "chess": Chess,
    "gardner_chess": GardnerChess,
    "shogi": Shogi,
    "animal_shogi": AnimalShogi,
}


def make(name: str, **options: Any) -> BoardGame:
    """A game.

        game = jaxrl.games.make("connect_four", rows=4, columns=5)

    Args:
        name: one of `GAMES`.
        options: of the game, such as the size of its board.

    Raises:
        ArgumentError: an unknown name (the message suggests the nearest), an option that the game does not have, or a
            board that there cannot be.
    """
    if name not in GAMES:
        raise ArgumentError("name", f"must be a known game ({suggest(name, GAMES)})", name)
    check_known(options, [field.name for field in dataclasses.fields(GAMES[name])], name)
    return GAMES[name](**options)
