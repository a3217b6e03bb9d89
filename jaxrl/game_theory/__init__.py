"""Small two-player zero-sum games with exact answers: best responses, NashConv, and solvers."""

from jaxrl.game_theory.cfr import cfr, cfr_plus
from jaxrl.game_theory.fictitious_play import fictitious_play
from jaxrl.game_theory.game_tree import build
from jaxrl.game_theory.mirror_descent import MirrorDescentHparams, magnetic_mirror_descent
from jaxrl.game_theory.psro import matrix_equilibrium, psro
from jaxrl.game_theory.rules import Chance, End, Turn, matrix_game
from jaxrl.game_theory.sequence_form import (
    Game,
    action_values,
    behaviour,
    best_response,
    check_policy,
    counterfactual_values,
    counting_wins,
    exploitability,
    features,
    nash_conv,
    plan,
    reach,
    uniform_policy,
    value,
    visits,
)
from jaxrl.game_theory.solver import Solved, Solver, solve
from jaxrl.game_theory.tensor_games import GAMES, make_game
