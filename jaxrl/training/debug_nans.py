"""Finds the operation that makes the first NaN."""

import traceback
from collections.abc import Callable

import jax
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.training.host_program import HostProgram
from jaxrl.training.population import RunState, population
from jaxrl.training.program import DivergedError, Program, has_nan, iterate
from jaxrl.types import Trainer


def step_by_step(program: Program | HostProgram) -> Callable[[RunState, int], RunState]:
    """`Program.compiled`, but one iteration at a time and without donation, so that one with a NaN can be repeated.

    The function raises a `DivergedError` that names the operation and the line of code that made the NaN.

    Raises:
        ArgumentError: its environments step on the host.
    """
    if isinstance(program, HostProgram):
        raise ArgumentError("debug_nans", f"must be False, for {program.env.name} steps on the host", True)
    trainer = population(program.trainer) if program.agents else program.trainer
    # For a population, `step` has the same arguments and results with a leading axis, so `iterate` needs no vmap.
    step = jax.jit(lambda run_state, constants: iterate(trainer, run_state, constants))

    def advance(run_state: RunState, iterations: int) -> RunState:
        for _ in range(iterations):
            before, run_state = run_state, step(run_state, program.constants)
            if has_nan(run_state.state.agent) or (np.asarray(run_state.nan_iteration) >= 0).any():
                place = trainer.unit.place(trainer.steps_at(int(run_state.state.iteration)))
                raise DivergedError(f"a NaN appeared at {place}{_where_nan_appears(program, trainer, before)}")
        return run_state

    return advance


def _where_nan_appears(program: Program, trainer: Trainer, run_state: RunState) -> str:
    """Runs an iteration one operation at a time; returns which operation made the first NaN, and where."""
    try:
        with jax.debug_nans(True), jax.disable_jit():
            trainer.step(run_state.state, program.constants)
    except FloatingPointError as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
        return f": {error}, at {ours[-1].filename}:{ours[-1].lineno}: {ours[-1].line}"
    return ""
