"""Fictitious play in extensive form (Brown 1951; Heinrich et al. 2015, https://proceedings.mlr.press/v37/heinrich15).

Each player answers the average of all policies of the other with a best response, which joins the average. NashConv of
the average falls about as O(1/√t) in practice. Averages are of plans, so a policy counts in a set as often as it gets
there.
"""

from functools import cache
from typing import Any, NamedTuple

from jaxrl.game_theory.sequence_form import Game, behaviour, best_response, plan, uniform_policy
from jaxrl.game_theory.solver import Solver
from jaxrl.types import Array


class FictitiousPlayState(NamedTuple):
    """The mean plans of both players `[S]`, and their last best responses `[I, A]`."""

    plans: tuple[Array, Array]
    response: Array


def _init(game: Game) -> FictitiousPlayState:
    policy = uniform_policy(game)
    return FictitiousPlayState((plan(game, policy, 0), plan(game, policy, 1)), policy)


def _step(game: Game, state: FictitiousPlayState, t: Array, hparams: Any) -> FictitiousPlayState:
    del hparams
    response, _ = best_response(game, behaviour(game, state.plans))
    weight = 1 / (t + 2)  # the uniform policy counts as one
    first, second = (x + weight * (plan(game, response, i) - x) for i, x in enumerate(state.plans))
    return FictitiousPlayState((first, second), response)


def _average(game: Game, state: FictitiousPlayState) -> Array:
    return behaviour(game, state.plans)


def _last(game: Game, state: FictitiousPlayState) -> Array:
    del game
    return state.response


@cache
def fictitious_play() -> Solver:
    """Fictitious play of both players at once, from the uniform policy."""
    return Solver(_init, _step, _average, _last)
