"""Solvers of games, and running one."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.arguments import ArgumentError, check_count, check_kind
from jaxrl.game_theory.sequence_form import Game, nash_conv
from jaxrl.types import Array, PyTree


class Solver(NamedTuple):
    """An algorithm that approaches an equilibrium, as a record of pure functions.

    Attributes:
        init: `(game) -> state`.
        step: `(game, state, t, hparams) -> state`, where `t` is the number of iterations before, float32 scalar.
        average: `(game, state) -> policy [I, A]`, the answer: of most algorithms, the average over all iterations.
        last: `(game, state) -> policy [I, A]`, that of the last iteration.
        hparams: the default hyperparameters.
    """

    init: Callable[[Game], PyTree]
    step: Callable[[Game, PyTree, Array, Any], PyTree]
    average: Callable[[Game, PyTree], Array]
    last: Callable[[Game, PyTree], Array]
    hparams: Any = ()


class Solved(NamedTuple):
    """What `solve` found.

    Attributes:
        policy: the average policy `[I, A]`.
        nash_conv: of the average policy after each `every` iterations, `[iterations / every]`.
        nash_conv_last: of the policies of these iterations.
        state: the solver's.
    """

    policy: Array
    nash_conv: Array
    nash_conv_last: Array
    state: PyTree


def iterate(solver: Solver, game: Game, state: PyTree, start: Array, count: int, hparams: Any) -> PyTree:
    """The state after `count` more iterations, the first of which is number `start`."""

    def body(state: PyTree, t: Array) -> tuple[PyTree, None]:
        return solver.step(game, state, t, hparams), None

    return jax.lax.scan(body, state, start + jnp.arange(count, dtype=jnp.float32))[0]


@partial(jax.jit, static_argnums=(0, 2, 3))
def _solve(solver: Solver, game: Game, iterations: int, every: int, hparams: Any) -> Solved:
    def chunk(state: PyTree, start: Array) -> tuple[PyTree, tuple[Array, Array]]:
        state = iterate(solver, game, state, start, every, hparams)
        return state, (nash_conv(game, solver.average(game, state)), nash_conv(game, solver.last(game, state)))

    starts = every * jnp.arange(iterations // every, dtype=jnp.float32)
    state, curves = jax.lax.scan(chunk, solver.init(game), starts)
    return Solved(solver.average(game, state), *curves, state)


def solve(solver: Solver, game: Game, iterations: int, every: int | None = None, hparams: Any = None) -> Solved:
    """Solves a game in one compiled program.

        game = game_theory.make_game("leduc_poker")
        found = game_theory.solve(game_theory.cfr_plus(), game, 1000, every=100)

    Args:
        solver: which algorithm.
        game: a game, or many of one shape: under `jax.vmap`, with an axis of their own in all arrays.
        iterations: how many.
        every: iterations between two measurements; by default, only the end is measured.
        hparams: hyperparameters; by default, `solver.hparams`.

    Raises:
        ArgumentError: a number is below 1, the iterations are no multiple of `every`, or an argument is of the wrong
            kind.
    """
    check_kind("solver", solver, Solver)
    check_kind("game", game, Game, ", as from jaxrl.game_theory.make_game")
    check_count("iterations", iterations)
    every = iterations if every is None else check_count("every", every)
    if iterations % every:
        raise ArgumentError("every", f"must divide the {iterations} iterations", every)
    return _solve(solver, game, iterations, every, solver.hparams if hparams is None else hparams)
