"""Timing of compiled loops."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxrl.formatting import format_si
from jaxrl.types import Array, PyTree

MIN_STEPS = 8
"""Fewest steps of a timed run."""


class Timing(NamedTuple):
    """The timed runs of a loop. Its fields are columns of every benchmark's results.

    Attributes:
        num_steps: the steps of each run.
        seconds: the wall time of each run.
        compile_seconds: the time that compiling the loop took.
    """

    num_steps: int
    seconds: list[float]
    compile_seconds: float

    @property
    def steps_per_second(self) -> float:
        return self.num_steps / statistics.median(self.seconds)


class Loop(Protocol):
    """What `time_loops` times.

    Attributes:
        compile_seconds: the time that compiling took.
    """

    compile_seconds: float

    def run(self, num_steps: int) -> float:
        """Runs `num_steps` more steps, and returns the seconds that they took."""


class TimedLoop:
    """A compiled loop with its carry.

    Args:
        advance: `(carry, num_steps) -> carry`, compiled, for any int32 `num_steps`. It may use up the carry.
        carry: what to start from.
        compile_seconds: the time that compiling took.
    """

    def __init__(self, advance: Callable[[PyTree, Any], PyTree], carry: PyTree, compile_seconds: float) -> None:
        self.advance, self.compile_seconds = advance, compile_seconds
        self.carry: Any = jax.block_until_ready(carry)
        self.steps = 0

    def run(self, num_steps: int) -> float:
        """Runs `num_steps` more steps, and returns the seconds that they took."""
        start = time.perf_counter()
        self.carry = jax.block_until_ready(self.advance(self.carry, np.int32(num_steps)))
        self.steps += num_steps
        return time.perf_counter() - start


def compile_loop(init: Callable[[Array], PyTree], run: Callable[[PyTree, Array], PyTree]) -> TimedLoop:
    """Compiles `run`, `(carry, num_steps) -> carry`, for the carry that `init`, `(key) -> carry`, returns."""
    carry = jax.jit(init)(jax.random.key(0))
    jax.clear_caches()  # or a loop would compile faster after one with which it shares code
    start = time.perf_counter()
    compiled = jax.jit(run, donate_argnums=0).lower(carry, np.int32(0)).compile()
    return TimedLoop(compiled, carry, time.perf_counter() - start)


def steps_of(loop: Loop, seconds: float) -> int:
    """How many steps of a loop take about so long, at least `MIN_STEPS`. Runs it to find out."""
    steps = MIN_STEPS
    while (elapsed := loop.run(steps)) < seconds / 4 and steps < 2**28:
        steps *= 4
    return max(MIN_STEPS, round(steps * seconds / elapsed))


def time_loops(loops: Sequence[Loop], seconds: float, repeats: int) -> list[Timing]:
    """Times each loop `repeats` times for about `seconds`, and for at least `MIN_STEPS` steps.

    The loops take turns, so that a slow moment of the machine affects all.
    """
    num_steps = [steps_of(loop, seconds) for loop in loops]
    rounds = [[loop.run(steps) for loop, steps in zip(loops, num_steps, strict=True)] for _ in range(repeats)]
    times = map(list, zip(*rounds, strict=True))
    return [Timing(n, x, loop.compile_seconds) for n, x, loop in zip(num_steps, times, loops, strict=True)]


def speeds_of(env_steps: int, seconds: Sequence[float]) -> dict[str, float]:
    """Columns of the results of training: the speeds of runs of `env_steps` each."""
    rates = [env_steps / x for x in seconds]
    return {"env_steps_per_second": statistics.median(rates), "slowest": min(rates), "fastest": max(rates)}


def format_speeds(row: dict[str, Any]) -> str:
    """These columns: 31.2k (30.1k to 32k)."""
    median, slowest, fastest = (format_si(row[name]) for name in ("env_steps_per_second", "slowest", "fastest"))
    return f"{median} ({slowest} to {fastest})"
