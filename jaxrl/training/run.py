"""The host loop: one compiled program called over and over, and between the calls everything a host has to do.

Rows of metrics end at fixed iterations; how many iterations a call runs adapts to the machine and changes no bit.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.training import metrics as metrics_lib
from jaxrl.training.checkpoint import Checkpoints
from jaxrl.types import Array, Hparams, Metrics, PyTree, Trainer, TrainState

CALL_SECONDS = 1.0
"""About how long one call of the compiled program may take: signals and progress wait for it."""

Row = dict[str, Any]
"""One row of metrics: numbers, or arrays `[A]` for a population."""


class Progress(NamedTuple):
    """All that a run is, and what a checkpoint holds.

    Attributes:
        state: the trainer's state.
        metrics: sums and counts since the last row was complete.
        nan_iteration: the iteration in which a NaN first appeared, or -1, int32 `[...]`.
    """

    state: TrainState
    metrics: Metrics
    nan_iteration: Array


class Sink(Protocol):
    """Where rows of metrics go."""

    def resume(self, env_steps: int) -> None:
        """The run goes on after `env_steps`: forget any row that lies beyond."""

    def write(self, row: Row) -> None:
        """Takes one complete row."""

    def tick(self, env_steps: int, total_steps: int, rate: float) -> None:
        """Hears how far the run is, after every call of the program."""

    def close(self) -> None:
        """The run is over, well or badly."""


class RunResult(NamedTuple):
    """How a run ended.

    Attributes:
        state: the trainer's state at the end.
        env_steps: environment steps one agent has taken.
        finished: whether it reached its total; if not, a signal stopped it.
        compile_seconds: time spent compiling, in this process.
        train_seconds: time spent training, over all processes that worked on the run.
        row: the last row of metrics.
    """

    state: TrainState
    env_steps: int
    finished: bool
    compile_seconds: float
    train_seconds: float
    row: Row


class DivergedError(Exception):
    """A loss or a parameter became NaN."""


def run(
    trainer: Trainer,
    key: Array,
    hparams: Hparams,
    total_steps: int,
    *,
    log_every: int = 20_000,
    sinks: Sequence[Sink] = (),
    checkpoints: Checkpoints | None = None,
    checkpoint_every: float = 60.0,
    resume: bool = False,
    debug_nans: bool = False,
    tell: Callable[[str], None] = print,
) -> RunResult:
    """Trains until `total_steps`, or until SIGINT or SIGTERM.

    Args:
        trainer: for one agent, or `population(trainer)` with `key` and `hparams` of `[A]`.
        key: the run's random key.
        hparams: the agent's hyperparameters.
        total_steps: environment steps of one agent, rounded down to whole iterations.
        log_every: environment steps between two rows of metrics, rounded to whole iterations.
        sinks: where rows go.
        checkpoints: where to save; nowhere if None.
        checkpoint_every: seconds between two checkpoints; one is also written at the end and on a signal.
        resume: continue from the newest whole checkpoint instead of starting anew.
        debug_nans: run step by step and stop at the operation that makes the first NaN. Slow.
        tell: takes one-line messages for the user.

    Raises:
        DivergedError: a loss or a parameter became NaN. The metrics up to there are written; no checkpoint is, so that the
            last one is from before.
        CheckpointError: a checkpoint could not be written, or none could be read.
    """
    hparams = jax.tree.map(as_traced, hparams)
    start = lambda key, hparams: _start(trainer, key, hparams)  # noqa: E731
    shapes = jax.eval_shape(start, key, hparams)
    if debug_nans:
        jax.config.update("jax_debug_nans", True)
    clock = time.perf_counter()
    advance = _step_by_step(trainer) if debug_nans else _compiled(trainer, shapes)
    earlier_seconds = 0.0
    if resume:
        if checkpoints is None:
            raise ValueError("resume=True needs checkpoints, got checkpoints=None")
        compile_seconds = time.perf_counter() - clock
        progress, info, damaged = checkpoints.restore(shapes)
        for line in damaged:
            tell(line)
        earlier_seconds = info["train_seconds"]
        clock = time.perf_counter()
    else:
        # This program runs once: on a CPU, compiling it quickly saves more than running it fast.
        quickly = {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}
        compiled_start = jax.jit(start).lower(key, hparams).compile(compiler_options=quickly)
        compile_seconds = time.perf_counter() - clock
        clock = time.perf_counter()
        # Restored arrays are committed to their device: commit fresh ones too, so that both mean the same program.
        progress = jax.device_put(compiled_start(key, hparams), jax.devices()[0])
    loop = _Loop(trainer, advance, progress, total_steps, log_every, sinks)
    if resume:
        for sink in sinks:
            sink.resume(loop.env_steps_of(loop.iteration - loop.iteration % loop.row_iterations))
    try:
        return loop.run(checkpoints, checkpoint_every, compile_seconds, earlier_seconds, clock)
    finally:
        for sink in sinks:
            sink.close()


class _Loop:
    """The state of the host loop."""

    def __init__(
        self, trainer: Trainer, advance: Callable, progress: Progress, total_steps: int, log_every: int, sinks: Sequence[Sink]
    ) -> None:
        self.trainer, self.advance, self.progress, self.sinks = trainer, advance, progress, sinks
        self.iteration = int(progress.state.iteration)
        self.total_iterations = (total_steps - trainer.warmup_steps) // trainer.steps_per_iteration
        self.total_steps = self.env_steps_of(self.total_iterations)
        self.row_iterations = max(1, round(log_every / trainer.steps_per_iteration))
        self.agents = np.size(progress.nan_iteration)
        self.zeros = jax.tree.map(jnp.zeros_like, progress.metrics)
        self.seconds_per_iteration = 0.0
        self.row: Row = {}

    def env_steps_of(self, iteration: int) -> int:
        return self.trainer.warmup_steps + iteration * self.trainer.steps_per_iteration

    @property
    def env_steps(self) -> int:
        return self.env_steps_of(self.iteration)

    def run(
        self, checkpoints: Checkpoints | None, checkpoint_every: float, compile_seconds: float, earlier: float, clock: float
    ) -> RunResult:
        def train_seconds() -> float:
            return earlier + time.perf_counter() - clock

        def save() -> None:
            if checkpoints is not None:
                checkpoints.save(self.iteration, self.progress, {"train_seconds": train_seconds()})

        saved_at = row_clock = time.perf_counter()
        row_start = self.iteration
        with _signals() as stop_requested:
            while self.iteration < self.total_iterations and not stop_requested():
                self.call()
                rate = (self.iteration - row_start) * self.steps_all / max(time.perf_counter() - row_clock, 1e-9)
                self.check_nan(rate, train_seconds())
                if self.iteration % self.row_iterations == 0:
                    self.write_row(rate, train_seconds())
                    row_clock, row_start = time.perf_counter(), self.iteration
                for sink in self.sinks:
                    sink.tick(self.env_steps, self.total_steps, rate)
                if time.perf_counter() - saved_at >= checkpoint_every:
                    save()
                    saved_at = time.perf_counter()
            finished = self.iteration >= self.total_iterations
            seconds = train_seconds()
            save()
            if finished and self.iteration % self.row_iterations:
                rate = (self.iteration - row_start) * self.steps_all / max(time.perf_counter() - row_clock, 1e-9)
                self.write_row(rate, seconds)
        return RunResult(self.progress.state, self.env_steps, finished, compile_seconds, seconds, self.row)

    @property
    def steps_all(self) -> int:
        """Environment steps of all agents together in one iteration."""
        return self.agents * self.trainer.steps_per_iteration

    def call(self) -> None:
        """Calls the program for about `CALL_SECONDS`, at most to the end of the row."""
        to_row_end = self.row_iterations - self.iteration % self.row_iterations
        pace = CALL_SECONDS / self.seconds_per_iteration if self.seconds_per_iteration else 1
        iterations = max(1, min(to_row_end, self.total_iterations - self.iteration, int(pace)))
        clock = time.perf_counter()
        self.progress = jax.block_until_ready(self.advance(self.progress, iterations))
        self.seconds_per_iteration = (time.perf_counter() - clock) / iterations
        self.iteration += iterations

    def write_row(self, rate: float, wall_seconds: float) -> None:
        means = jax.device_get(self.progress.metrics)
        self.row = {"env_steps": self.env_steps}
        for name, mean in means.items():
            self.row[name] = metrics_lib.value(mean)
            if name == "episode_return":
                self.row["episodes"] = mean.count
        self.row |= {"env_steps_per_second": rate, "wall_seconds": wall_seconds}
        for sink in self.sinks:
            sink.write(self.row)
        self.progress = self.progress._replace(metrics=jax.tree.map(jnp.copy, self.zeros))

    def check_nan(self, rate: float, wall_seconds: float) -> None:
        where = np.asarray(self.progress.nan_iteration)
        if (where < 0).all():
            return
        self.write_row(rate, wall_seconds)
        first = int(where[where >= 0].min())
        agents = "" if where.ndim == 0 else f" in agent {int(np.flatnonzero(where == first)[0])}"
        raise DivergedError(f"the loss or the parameters became NaN at environment step {self.env_steps_of(first)}{agents}")


def as_traced(x: Any) -> Array:
    """A hyperparameter as an array of a fixed kind: float32, int32 or bool."""
    x = np.asarray(x)
    kind = {"f": np.float32, "i": np.int32, "u": np.int32, "b": np.bool_}[x.dtype.kind]
    return jnp.asarray(x, kind)


def _start(trainer: Trainer, key: Array, hparams: Hparams) -> Progress:
    state = trainer.init(key, hparams)
    _, metrics = jax.eval_shape(trainer.step, state)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)
    return Progress(state, zeros, jnp.full(_agents_shape(metrics), -1, jnp.int32))


def _agents_shape(metrics: Metrics) -> tuple[int, ...]:
    """`()` for one agent, `(A,)` for a population."""
    return jax.tree.leaves(metrics)[0].shape


def _iterate(trainer: Trainer, progress: Progress) -> Progress:
    state, metrics = trainer.step(progress.state)
    # A NaN anywhere makes the sum NaN; and a NaN in a parameter makes the next loss NaN.
    found = jnp.isnan(sum(mean.sum for mean in metrics.values()))
    first = found & (progress.nan_iteration < 0)
    nan_iteration = jnp.where(first, state.iteration, progress.nan_iteration)
    return Progress(state, metrics_lib.add(progress.metrics, metrics), nan_iteration)


def _compiled(trainer: Trainer, shapes: Progress) -> Callable[[Progress, int], Progress]:
    """One program for any number of iterations: the count is an argument of the loop, not a shape."""

    def advance(progress: Progress, iterations: Array) -> Progress:
        body = lambda _, progress: _iterate(trainer, progress)  # noqa: E731
        return jax.lax.fori_loop(0, iterations, body, progress)

    count = jax.ShapeDtypeStruct((), jnp.int32)
    program = jax.jit(advance, donate_argnums=0).lower(shapes, count).compile()
    return lambda progress, iterations: program(progress, jnp.int32(iterations))


def _step_by_step(trainer: Trainer) -> Callable[[Progress, int], Progress]:
    """Without a loop and without donation, so that JAX can run an iteration again and find the NaN."""
    step = jax.jit(lambda progress: _iterate(trainer, progress))

    def advance(progress: Progress, iterations: int) -> Progress:
        for _ in range(iterations):
            try:
                progress = step(progress)
            except FloatingPointError as error:
                raise DivergedError(f"iteration {int(progress.state.iteration) + 1}: {error}") from error
        return progress

    return advance


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Turns the first SIGINT or SIGTERM into a flag: raising in the middle of a call would lose the donated state.

    A second one acts as it would have without us.
    """
    caught: list[int] = []
    before = {}

    def handler(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        for signum, old in before.items():
            signal.signal(signum, old)

    try:
        for signum in (signal.SIGINT, signal.SIGTERM):
            before[signum] = signal.signal(signum, handler)
    except ValueError:
        before.clear()  # not in the main thread, where Python allows no handlers: signals are somebody else's business
    try:
        yield lambda: bool(caught)
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)
