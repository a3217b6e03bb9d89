"""Finding the operation that makes the first NaN."""

import traceback
from collections.abc import Callable

import jax
import numpy as np

from jaxrl.training.population import Progress, population
from jaxrl.training.program import Program, has_nan, iterate
from jaxrl.types import Trainer


class DivergedError(Exception):
    """A loss or a parameter became NaN."""


def step_by_step(program: Program) -> Callable[[Progress, int], Progress]:
    """`Program.advance`, one iteration at a time and without donation, so that one that makes a NaN can be run again.

    What it returns raises `DivergedError`, which names the operation and the line of ours that asked for it.
    """
    trainer = population(program.trainer) if program.agents else program.trainer
    # A population's step takes and gives what one agent's does, with a leading axis: `iterate` need not know.
    step = jax.jit(lambda progress: iterate(trainer, progress))

    def advance(progress: Progress, iterations: int) -> Progress:
        for _ in range(iterations):
            before, progress = progress, step(progress)
            if has_nan(progress.state.agent) or (np.asarray(progress.nan_iteration) >= 0).any():
                steps = trainer.warmup_steps + int(progress.state.iteration) * trainer.steps_per_iteration
                raise DivergedError(f"a NaN appeared at environment step {steps}{_where_nan_appears(trainer, before)}")
        return progress

    return advance


def _where_nan_appears(trainer: Trainer, progress: Progress) -> str:
    """Runs an iteration one operation at a time up to the first NaN; says which operation made it, and where."""
    try:
        with jax.debug_nans(True), jax.disable_jit():
            trainer.step(progress.state)
    except FloatingPointError as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
        return f": {error}, at {ours[-1].filename}:{ours[-1].lineno}: {ours[-1].line}"
    return ""
