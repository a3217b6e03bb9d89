"""Two-player games as pure functions: `make` one by its name, `solve` it exactly."""

from jaxrl.games.board_game import BoardGame
from jaxrl.games.go import Go, GoState
from jaxrl.games.hex import Hex, HexState
from jaxrl.games.judge import judge
from jaxrl.games.lines import ConnectFour, LineState, TicTacToe
from jaxrl.games.names import make
from jaxrl.games.othello import Othello, OthelloState
from jaxrl.games.solution import ILLEGAL, Solution, UnsolvedError, solve
