"""Two-player games as pure functions: `make` one by its name, `solve` it exactly, and let players meet in matches."""

from jaxrl.games.board_game import BoardGame
from jaxrl.games.elo import Ratings, binomial_interval, elo_difference, elo_ratings
from jaxrl.games.go import Go, GoState
from jaxrl.games.hex import Hex, HexState
from jaxrl.games.judge import judge
from jaxrl.games.lines import ConnectFour, LineState, TicTacToe
from jaxrl.games.matches import Match, Player, play_match, random_openings
from jaxrl.games.names import make
from jaxrl.games.othello import Othello, OthelloState
from jaxrl.games.players import (
    greedy_player,
    make_player,
    noisy_player,
    perfect_player,
    policy_player,
    random_player,
)
from jaxrl.games.solution import ILLEGAL, Solution, UnsolvedError, solve
