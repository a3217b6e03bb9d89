"""The host loop: one compiled program called over and over, and between the calls everything a host has to do.

Rows of metrics end at fixed iterations; how many iterations a call runs adapts to the machine and changes no bit.
"""

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import check
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
    sequential: bool = False,
    tell: Callable[[str], None] = print,
) -> RunResult:
    """Trains until `total_steps`, or until SIGINT or SIGTERM.

    Args:
        trainer: for one agent, or `population(trainer)` with `key` and `hparams` of `[A]`.
        key, hparams: the run's random key and hyperparameters; of a resumed run only their shapes matter.
        total_steps: environment steps of one agent, rounded down to whole iterations.
        log_every: environment steps between two rows of metrics, rounded to whole iterations.
        sinks: where rows go.
        checkpoints: where to save; nowhere if None.
        checkpoint_every: seconds between two checkpoints; one is also written at the end and on a signal.
        resume: continue from the newest whole checkpoint instead of starting anew.
        debug_nans: run step by step and stop at the operation that makes the first NaN. Slow.
        sequential: on a CPU, run the program's kernels one after another instead of several at once, to the same bits.
            Where they are many and small, as with small networks in few worlds, handing one to another core takes
            longer than the kernel; large ones use all cores by themselves.
        tell: takes one-line messages for the user.

    Raises:
        DivergedError: a NaN appeared. The rows up to it are written; no checkpoint is, so the last is from before.
        CheckpointError: a checkpoint could not be written, or none could be read.
        ValueError: a hyperparameter out of bounds, too few steps, or checkpoints that are there though the run is new,
            or not though it is resumed.
        MemoryError: the state is larger than the memory there is.
    """
    # Under `jit` the step is traced once, for its shapes as well as for its program.
    trainer = trainer._replace(step=jax.jit(trainer.step))
    try:
        check(hparams, "hparams.")
        _check_arguments(trainer, total_steps, checkpoints, resume)
        clock = time.perf_counter()
        beginning = jax.jit(lambda key, hparams: start(trainer, key, hparams)).trace(key, hparams)
        _check_memory(beginning.out_info)
        advance = _step_by_step(trainer) if debug_nans else _compiled(trainer, beginning.out_info, sequential)
        compile_seconds = time.perf_counter() - clock
        seconds_before = 0.0
        if resume and checkpoints is not None:
            progress, seconds_before = _restore(checkpoints, beginning.out_info, tell)
        else:
            compiled = beginning.lower().compile(compiler_options=_quickly())
            compile_seconds = time.perf_counter() - clock
            # Restored arrays are committed to their device: commit fresh ones too, so that both mean the same program.
            progress = jax.device_put(compiled(key, hparams), jax.devices()[0])
        started = clock + compile_seconds - seconds_before
        loop = _Loop(trainer, advance, progress, total_steps, log_every, sinks, started)
        if resume:
            loop.resume_sinks(tell)
        finished = loop.run(checkpoints, checkpoint_every)
    finally:
        for sink in sinks:
            sink.close()
    return RunResult(loop.progress.state, loop.env_steps, finished, compile_seconds, loop.train_seconds, loop.row)


def _check_arguments(trainer: Trainer, total_steps: int, checkpoints: Checkpoints | None, resume: bool) -> None:
    if resume and checkpoints is None:
        raise ValueError("resume=True needs checkpoints, got checkpoints=None")
    if not resume and checkpoints is not None and checkpoints.steps():
        raise ValueError(f"{checkpoints.directory} already holds checkpoints; pass resume=True or another directory")
    least = trainer.warmup_steps + trainer.steps_per_iteration
    if total_steps < least:
        raise ValueError(f"total_steps must be at least {least} (warm-up and one iteration), got {total_steps}")


def _quickly() -> dict[str, Any]:
    """Compiler options for a program that runs once: on a CPU, compiling it quickly saves more than running it fast."""
    return {"xla_backend_optimization_level": 0} if jax.default_backend() == "cpu" else {}


def _restore(checkpoints: Checkpoints, shapes: Progress, tell: Callable[[str], None]) -> tuple[Progress, float]:
    """The newest whole checkpoint, and the seconds trained before it; damaged ones are moved out of the way."""
    progress, info, damaged = checkpoints.restore(shapes)
    for step, reason in damaged.items():
        aside = checkpoints.set_aside(step)
        tell(f"checkpoint {step} is damaged ({reason}): moved to {aside}, falling back to the one before")
    return progress, info["train_seconds"]


class _Loop:
    """The compiled program's caller: where it is, how fast, and what is due."""

    def __init__(
        self,
        trainer: Trainer,
        advance: Callable[[Progress, int], Progress],
        progress: Progress,
        total_steps: int,
        log_every: int,
        sinks: Sequence[Sink],
        started: float,
    ) -> None:
        self.trainer, self.advance, self.progress, self.sinks = trainer, advance, progress, sinks
        self.started = started  # on the clock of `time.perf_counter`, less the seconds of earlier processes
        self.iteration = int(progress.state.iteration)
        self.total_iterations = (total_steps - trainer.warmup_steps) // trainer.steps_per_iteration
        self.row_iterations = max(1, round(log_every / trainer.steps_per_iteration))
        self.row_started = (self.iteration, time.perf_counter())
        self.seconds_per_iteration = self.rate = 0.0
        self.row: Row = {}

    def steps_at(self, iteration: int) -> int:
        """Environment steps of one agent after an iteration."""
        return self.trainer.warmup_steps + iteration * self.trainer.steps_per_iteration

    @property
    def env_steps(self) -> int:
        return self.steps_at(self.iteration)

    @property
    def train_seconds(self) -> float:
        return time.perf_counter() - self.started

    @property
    def last_row_steps(self) -> int:
        """Environment steps at the end of the last complete row."""
        return self.steps_at(self.iteration - self.iteration % self.row_iterations)

    def resume_sinks(self, tell: Callable[[str], None]) -> None:
        for sink in self.sinks:
            sink.resume(self.last_row_steps)
        tell(f"resuming at {self.env_steps:,} environment steps")

    def run(self, checkpoints: Checkpoints | None, checkpoint_every: float) -> bool:
        """Runs to the end, or until a signal; says whether it was the end."""

        def save() -> None:
            self.check_parameters()
            if checkpoints is not None:
                checkpoints.save(self.iteration, self.progress, {"train_seconds": self.train_seconds})

        saved_at = time.perf_counter()
        with _signals() as stop_requested:
            while self.iteration < self.total_iterations and not stop_requested():
                self.call()
                self.check_nan()
                if self.iteration % self.row_iterations == 0:
                    self.write_row()
                for sink in self.sinks:
                    sink.tick(self.env_steps, self.steps_at(self.total_iterations), self.rate)
                if time.perf_counter() - saved_at >= checkpoint_every:
                    save()
                    saved_at = time.perf_counter()
            save()
        finished = self.iteration >= self.total_iterations
        # The last row may be short. It comes after the checkpoint, which keeps its sums in case the run is extended.
        if finished and self.iteration % self.row_iterations:
            self.write_row()
        return finished

    def call(self) -> None:
        """Calls the program for about `CALL_SECONDS`, at most to the end of the row."""
        to_row_end = self.row_iterations - self.iteration % self.row_iterations
        pace = int(CALL_SECONDS / self.seconds_per_iteration) if self.seconds_per_iteration else 1
        iterations = max(1, min(pace, to_row_end, self.total_iterations - self.iteration))
        clock = time.perf_counter()
        self.progress = jax.block_until_ready(self.advance(self.progress, iterations))
        self.seconds_per_iteration = (time.perf_counter() - clock) / iterations
        self.iteration += iterations
        agents = np.size(self.progress.nan_iteration)
        since, seconds = self.iteration - self.row_started[0], time.perf_counter() - self.row_started[1]
        self.rate = agents * since * self.trainer.steps_per_iteration / seconds

    def write_row(self) -> None:
        """Hands the sums of this row to the sinks, and starts the next one."""
        self.row = {"env_steps": self.env_steps}
        for name, mean in jax.device_get(self.progress.metrics).items():
            self.row[name] = metrics_lib.value(mean)
            if name == "episode_return":
                self.row["episodes"] = mean.count
        self.row |= {"env_steps_per_second": self.rate, "wall_seconds": self.train_seconds}
        for sink in self.sinks:
            sink.write(self.row)
        self.progress = self.progress._replace(metrics=jax.tree.map(jnp.zeros_like, self.progress.metrics))
        self.row_started = (self.iteration, time.perf_counter())

    def check_nan(self) -> None:
        """Stops at a NaN, after writing the row it is in."""
        where = np.asarray(self.progress.nan_iteration)
        if (where < 0).all():
            return
        self.write_row()
        first = where[where >= 0].min()
        agent = "" if where.ndim == 0 else f" of agent {np.flatnonzero(where == first)[0]}"
        raise DivergedError(f"the loss{agent} became NaN at environment step {self.steps_at(int(first))}")

    def check_parameters(self) -> None:
        """Stops at a NaN that the last update made and no loss has shown yet."""
        if _has_nan(self.progress.state.agent):
            raise DivergedError(f"the agent's parameters became NaN at environment step {self.env_steps}")


def start(trainer: Trainer, key: Array, hparams: Hparams) -> Progress:
    """A run at its beginning: the trainer's first state, and nothing measured yet."""
    state = trainer.init(key, hparams)
    _, metrics = jax.eval_shape(trainer.step, state)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics)
    return Progress(state, zeros, jnp.full(_agents_shape(metrics), -1, jnp.int32))


def _agents_shape(metrics: Metrics) -> tuple[int, ...]:
    """`()` for one agent, `(A,)` for a population."""
    return jax.tree.leaves(metrics)[0].shape


def _check_memory(shapes: Progress) -> None:
    """Refuses a state that is larger than the memory there is, which an operating system would only find out slowly."""
    key_bytes = 16
    needed = sum(x.size * (key_bytes if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x.dtype.itemsize)
                 for x in jax.tree.leaves(shapes))  # fmt: skip
    stats = jax.devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        there = stats["bytes_limit"]
    elif hasattr(os, "sysconf"):
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    else:
        return
    if needed > there:
        raise MemoryError(
            f"the run's state takes {needed / 2**30:.1f} GiB, and there are {there / 2**30:.1f} GiB of memory; "
            "a smaller replay_capacity or fewer seeds need less"
        )


def _iterate(trainer: Trainer, progress: Progress) -> Progress:
    state, metrics = trainer.step(progress.state)
    # A NaN anywhere makes the sum NaN; and a NaN in a parameter makes the next loss NaN (see `_Loop.check_parameters`).
    found = jnp.isnan(sum(mean.sum for mean in metrics.values()))
    first = found & (progress.nan_iteration < 0)
    nan_iteration = jnp.where(first, state.iteration, progress.nan_iteration)
    return Progress(state, metrics_lib.add(progress.metrics, metrics), nan_iteration)


def _compiled(trainer: Trainer, shapes: Progress, sequential: bool) -> Callable[[Progress, int], Progress]:
    """One program for any number of iterations: the count is an argument of the loop, not a shape."""
    one_by_one = sequential and jax.default_backend() == "cpu"
    options: dict[str, str | bool] = (
        {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"} if one_by_one else {}
    )

    def advance(progress: Progress, iterations: Array) -> Progress:
        return jax.lax.fori_loop(0, iterations, lambda _, progress: _iterate(trainer, progress), progress)

    count = jax.ShapeDtypeStruct((), jnp.int32)
    program = jax.jit(advance, donate_argnums=0).lower(shapes, count).compile(compiler_options=options)
    return lambda progress, iterations: program(progress, jnp.int32(iterations))


def _step_by_step(trainer: Trainer) -> Callable[[Progress, int], Progress]:
    """Iteration by iteration and without donation, so that one that makes a NaN can be run again."""
    step = jax.jit(lambda progress: _iterate(trainer, progress))

    def advance(progress: Progress, iterations: int) -> Progress:
        for _ in range(iterations):
            before, progress = progress, step(progress)
            if _has_nan(progress.state.agent) or (np.asarray(progress.nan_iteration) >= 0).any():
                steps = trainer.warmup_steps + int(progress.state.iteration) * trainer.steps_per_iteration
                raise DivergedError(f"a NaN appeared at environment step {steps}{_where_nan_appears(trainer, before)}")
        return progress

    return advance


def _has_nan(tree: PyTree) -> bool:
    return any(bool(np.isnan(leaf).any()) for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating))


def _where_nan_appears(trainer: Trainer, progress: Progress) -> str:
    """Runs an iteration one operation at a time up to the first NaN; says which operation made it, and where."""
    try:
        with jax.debug_nans(True), jax.disable_jit():
            trainer.step(progress.state)
    except FloatingPointError as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
        return f": {error}, at {ours[-1].filename}:{ours[-1].lineno}: {ours[-1].line}"
    return ""


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Turns the first SIGINT or SIGTERM into a flag: raising in the middle of a call would lose the donated state.

    A second one acts as it would have without us.
    """
    caught: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def handler(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        restore()

    def restore() -> None:
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
        restore()
