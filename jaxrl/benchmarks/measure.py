"""Timing of compiled loops: each compiled once for any number of steps, all run in turns."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxrl.types import Array, PyTree

MIN_STEPS = 8
"""Fewest steps of a timed run, however slow they are."""


class Timing(NamedTuple):
    """What a program took.

    Attributes:
        num_steps: T, the steps of each timed run.
        seconds: wall time of each run.
        compile_seconds: tracing, lowering and compiling, with nothing cached.
    """

    num_steps: int
    seconds: list[float]
    compile_seconds: float


class Timed(Protocol):
    """What can be timed: it goes on from where it stopped for any number of steps, and was compiled before."""

    compile_seconds: float

    def run(self, num_steps: int, /) -> float:
        """The seconds that so many steps take."""


class Program:
    """A compiled loop and what it carries.

    Args:
        init: `(key) -> carry`; compiled too, and not timed.
        run: `(carry, num_steps) -> carry`, where `num_steps` is a traced int32.
    """

    def __init__(self, init: Callable[[Array], PyTree], run: Callable[[PyTree, Array], PyTree]) -> None:
        self.carry: Any = jax.jit(init)(jax.random.key(0))
        self.steps = 0
        jax.clear_caches()  # or a program would compile faster for what it shares with one before it
        start = time.perf_counter()
        self.compiled = jax.jit(run, donate_argnums=0).lower(self.carry, np.int32(0)).compile()
        self.compile_seconds = time.perf_counter() - start

    def run(self, num_steps: int) -> float:
        """Goes on for `num_steps` steps from where it stopped; the seconds this took."""
        start = time.perf_counter()
        self.carry = jax.block_until_ready(self.compiled(self.carry, np.int32(num_steps)))
        self.steps += num_steps
        return time.perf_counter() - start


def steps_in(program: Timed, seconds: float) -> int:
    """The steps a program does in about `seconds`, at least `MIN_STEPS`; finding out warms it up."""
    steps = MIN_STEPS
    while (elapsed := program.run(steps)) < seconds / 4 and steps < 2**28:
        steps *= 4
    return max(MIN_STEPS, round(steps * seconds / elapsed))


def measure(programs: Sequence[Timed], seconds: float, repeats: int) -> list[Timing]:
    """Times each program `repeats` times for about `seconds`; in turns, so that all meet the machine's slow moments."""
    num_steps = [steps_in(program, seconds) for program in programs]
    rounds = [[program.run(steps) for program, steps in zip(programs, num_steps, strict=True)] for _ in range(repeats)]
    return [
        Timing(steps, list(times), program.compile_seconds)
        for program, steps, times in zip(programs, num_steps, zip(*rounds, strict=True), strict=True)
    ]
