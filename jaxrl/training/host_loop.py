"""The host loop: one compiled program called over and over, and between the calls everything a host has to do.

Rows of metrics end at fixed iterations; how many iterations a call runs adapts to the machine and changes no bit.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from numbers import Real
from types import FrameType
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl.arguments import ArgumentError, check
from jaxrl.training import metrics as metrics_lib
from jaxrl.training.checkpoint import CheckpointError, Checkpoints
from jaxrl.training.debug_nans import DivergedError, step_by_step
from jaxrl.training.devices import all_reduce_max, to_devices, to_host
from jaxrl.training.loggers import Logger, Row, RunInfo
from jaxrl.training.population import RunState
from jaxrl.training.program import Program, has_nan
from jaxrl.types import Array, Hparams, Trainer, TrainState

CALL_SECONDS = 1.0
"""About how long one call of the compiled program may take: signals and progress wait for it."""


class RunResult(NamedTuple):
    """How a run ended.

    Attributes:
        state: the trainer's state at the end.
        env_steps: environment steps one agent has taken.
        finished: whether it reached its total; if not, a signal stopped it.
        compile_seconds: time spent compiling, in this process.
        train_seconds: time from the first step, warm-up included, to the last, without compiling, over all processes
            that worked on the run. Steps per second, on the screen and in summaries, are those of this time.
        row: the last row of metrics; empty if this process trained for none.
        diverged_at: after how many environment steps each agent diverged, or -1, int64 `[...]`; only where these are
            frozen, and not raised, may there be any.
        stopped: whether a signal came, in the last call perhaps, when the run was finished all the same.
    """

    state: TrainState
    env_steps: int
    finished: bool
    compile_seconds: float
    train_seconds: float
    row: Row
    diverged_at: np.ndarray
    stopped: bool


def run(
    trainer: Trainer | Program,
    key: Array,
    hparams: Hparams,
    total_steps: int,
    *,
    log_every: int = 20_000,
    loggers: Sequence[Logger] = (),
    info: RunInfo | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: float = 60.0,
    resume: bool = False,
    debug_nans: bool = False,
    notify: Callable[[str], None] = print,
) -> RunResult:
    """Trains until `total_steps`, or until SIGINT, SIGTERM, SIGHUP or SIGUSR1.

    A logger that fails stops the run too, as where what it prints is no longer read: the run is saved, and then its
    error is raised.

    Args:
        trainer: for one agent; or the `Program` made of it, which says on which devices it runs, and compiles only
            once if several runs share it.
        key, hparams: the run's random key and hyperparameters, or those of a population's `A` agents, `[A]`; of a
            resumed run only their shapes matter.
        total_steps: environment steps of one agent, rounded down to whole iterations.
        log_every: environment steps between two rows of metrics, rounded to whole iterations.
        loggers: where rows go.
        info: what they know about the run: its directory and configuration, and the numbers of its agents.
        checkpoints: where to save; nowhere if None.
        checkpoint_every: seconds between two checkpoints; one is also written at the end and on a signal.
        resume: continue from the newest whole checkpoint instead of starting anew.
        debug_nans: run step by step and stop at the operation that makes the first NaN. Slow.
        notify: takes one-line messages for the user.

    Raises:
        DivergedError: a NaN appeared, and the program freezes nobody. The rows up to it are written; no checkpoint is.
        CheckpointError: a checkpoint could not be written, or none could be read. If it was the last, the error has the
            `result`.
        ValueError: a hyperparameter out of bounds, too few steps or too many, or checkpoints that are there though the
            run is new, or not though it is resumed.
        MemoryError: the state, and what the program works with, are larger than the free memory.
    """
    started, compiled_before = time.perf_counter(), trainer.compile_seconds if isinstance(trainer, Program) else 0.0
    with ExitStack() as closing:
        for logger in loggers:
            closing.callback(logger.close)
        check(hparams, "hparams.")
        given = trainer.trainer if isinstance(trainer, Program) else trainer
        for name, value in (("log_every", log_every), ("checkpoint_every", checkpoint_every)):
            if not isinstance(value, Real) or not value > 0:
                raise ArgumentError(name, "must be a number > 0", value)
        _check_arguments(given, total_steps, checkpoints, resume)
        program = trainer if isinstance(trainer, Program) else Program(trainer, key, hparams)
        advance = step_by_step(program) if debug_nans else program.compiled()
        if not debug_nans:
            program.check_memory()
        if resume and checkpoints is not None:
            run_state, seconds_before = _restore(checkpoints, program.shapes, notify)
        else:
            run_state, seconds_before = program.init(key, hparams), 0.0
        started += program.compile_seconds - compiled_before - seconds_before
        loop = _Loop(program, advance, run_state, started, total_steps, log_every, loggers)
        loop.open_loggers(info or RunInfo(), resume, notify)
        result = loop.result(finished=loop.run(checkpoints, checkpoint_every))
        if isinstance(loop.failure, CheckpointError):
            loop.failure.result = result
        if loop.failure is not None:
            raise loop.failure
        return result


def row_length(trainer: Trainer, log_every: int) -> int:
    """Iterations between two rows of metrics."""
    return max(1, round(log_every / trainer.steps_per_iteration))


def row_ends(trainer: Trainer, log_every: int, iteration: int) -> range:
    """Environment steps of one agent at the ends of the rows that are complete after so many iterations."""
    step, length = trainer.steps_per_iteration, row_length(trainer, log_every)
    first, last = (trainer.warmup_steps + iterations * step for iterations in (length, iteration))
    return range(first, last + 1, length * step)


def _check_arguments(trainer: Trainer, total_steps: int, checkpoints: Checkpoints | None, resume: bool) -> None:
    if resume and checkpoints is None:
        raise ValueError("resume=True needs checkpoints, got checkpoints=None")
    if not resume and checkpoints is not None and checkpoints.steps():
        raise ValueError(f"{checkpoints.directory} already holds checkpoints; pass resume=True or another directory")
    check_total_steps(trainer, total_steps)


def check_total_steps(trainer: Trainer, total_steps: int) -> None:
    """Checks that a run of so many environment steps is one of at least one iteration, and that it can count them.

    Raises:
        ArgumentError: they are no whole number, too few, or too many.
    """
    if not isinstance(total_steps, Real) or total_steps % 1 != 0:
        raise ArgumentError("total_steps", "must be a whole number", total_steps)
    least = trainer.warmup_steps + trainer.steps_per_iteration
    if total_steps < least:
        raise ArgumentError("total_steps", f"must be at least {least} (warm-up and one iteration)", total_steps)
    too_many = trainer.warmup_steps + (trainer.max_iterations + 1) * trainer.steps_per_iteration
    if total_steps >= too_many:
        raise ArgumentError("total_steps", f"must be less than {too_many}, where counters overflow", total_steps)


def _restore(checkpoints: Checkpoints, shapes: RunState, notify: Callable[[str], None]) -> tuple[RunState, float]:
    """The newest whole checkpoint, and the seconds trained before it; damaged ones are moved out of the way."""
    run_state, info, damaged = checkpoints.restore(shapes)
    for step, reason in damaged.items():
        aside = checkpoints.move_aside(step)
        notify(f"checkpoint {step} is damaged ({reason}): moved to {aside}, falling back to the one before")
    return run_state, info["train_seconds"]


class _Loop:
    """The compiled program's caller: where it is, how fast, and what is due."""

    def __init__(
        self,
        program: Program,
        advance: Callable[[RunState, int], RunState],
        run_state: RunState,
        started: float,
        total_steps: int,
        log_every: int,
        loggers: Sequence[Logger],
    ) -> None:
        trainer = program.trainer
        self.program, self.trainer, self.advance = program, trainer, advance
        self.run_state, self.loggers = run_state, loggers
        self.started = (
            started  # on the clock of `time.perf_counter`, less compiling and the seconds of earlier processes
        )
        self.iteration = int(run_state.state.iteration)
        self.total_iterations = (total_steps - trainer.warmup_steps) // trainer.steps_per_iteration
        self.log_every, self.row_iterations = log_every, row_length(trainer, log_every)
        self.row_started = (self.iteration, time.perf_counter())
        self.seconds_per_iteration = self.rate = 0.0
        self.train_seconds = time.perf_counter() - started
        self.row: Row = {}
        self.stopped = False
        self.failure: BaseException | None = None  # what stopped the run, or its last checkpoint

    def steps_at(self, iteration: Any) -> Any:
        """Environment steps of one agent after an iteration."""
        return self.trainer.warmup_steps + iteration * self.trainer.steps_per_iteration

    @property
    def env_steps(self) -> int:
        return self.steps_at(self.iteration)

    @property
    def mean_rate(self) -> float:
        """Environment steps of all agents per second of `train_seconds`."""
        return np.size(self.run_state.nan_iteration) * self.env_steps / self.train_seconds

    @property
    def last_row_steps(self) -> int:
        """Environment steps at the end of the last complete row."""
        return self.steps_at(self.iteration - self.iteration % self.row_iterations)

    def open_loggers(self, info: RunInfo, resume: bool, notify: Callable[[str], None]) -> None:
        info = info._replace(
            agents=info.agents or range(np.size(self.run_state.nan_iteration)),
            metrics=list(self.run_state.metrics),
            row_ends=row_ends(self.trainer, self.log_every, max(self.iteration, self.total_iterations)),
            notify=notify,
        )
        opened = time.perf_counter()
        for logger in self.loggers:
            logger.open(info)
            if resume:
                logger.resume(self.last_row_steps)
        self.started += time.perf_counter() - opened  # W&B takes seconds
        if resume:
            notify(f"resuming at {self.env_steps:,} environment steps")

    def run(self, checkpoints: Checkpoints | None, checkpoint_every: float) -> bool:
        """Runs to the end, or until a signal or the failure of a logger; says whether it was the end."""

        def save() -> None:
            self.check_parameters()
            if checkpoints is not None:
                checkpoints.save(self.iteration, self.run_state, {"train_seconds": self.train_seconds})

        saved_at, total_steps = time.perf_counter(), self.steps_at(self.total_iterations)
        with _signals() as signalled:

            def stop() -> bool:
                return bool(all_reduce_max(signalled() or self.failure is not None))

            while self.iteration < self.total_iterations and not stop():
                self.call()
                self.check_nan()
                if self.iteration % self.row_iterations == 0:
                    self.write_row()
                self.notify_loggers(lambda logger: logger.progress(self.env_steps, total_steps, self.mean_rate))
                if all_reduce_max(time.perf_counter() - saved_at) >= checkpoint_every:
                    save()
                    saved_at = time.perf_counter()
            self.stopped = stop()
            try:
                save()
            except CheckpointError as error:
                self.failure = error
        finished = self.iteration >= self.total_iterations
        # The last row may be short. It comes after the checkpoint, which keeps its sums in case the run is extended.
        if finished and self.iteration % self.row_iterations:
            self.write_row()
        return finished

    def result(self, finished: bool) -> RunResult:
        """What came out, now that it has run."""
        where = to_host(self.run_state.nan_iteration).astype(np.int64)
        diverged_at = np.where(where < 0, -1, self.steps_at(where))
        seconds = self.program.compile_seconds, self.train_seconds
        return RunResult(self.run_state.state, self.env_steps, finished, *seconds, self.row, diverged_at, self.stopped)

    def pace(self) -> int:
        """How many iterations take about `CALL_SECONDS`: one at first, when nothing is known."""
        return int(all_reduce_max(CALL_SECONDS / self.seconds_per_iteration)) if self.seconds_per_iteration else 1

    def call(self) -> None:
        """Calls the program for about `CALL_SECONDS`, at most to the end of the row."""
        to_row_end = self.row_iterations - self.iteration % self.row_iterations
        iterations = max(1, min(self.pace(), to_row_end, self.total_iterations - self.iteration))
        clock = time.perf_counter()
        self.run_state = jax.block_until_ready(self.advance(self.run_state, iterations))
        self.seconds_per_iteration = (time.perf_counter() - clock) / iterations
        self.iteration += iterations
        self.train_seconds = time.perf_counter() - self.started
        agents = np.size(self.run_state.nan_iteration)
        since, seconds = self.iteration - self.row_started[0], time.perf_counter() - self.row_started[1]
        self.rate = agents * since * self.trainer.steps_per_iteration / seconds

    def write_row(self) -> None:
        """Hands the sums of this row to the loggers, and starts the next one."""
        self.row = {"env_steps": self.env_steps}
        for name, mean in to_host(self.run_state.metrics).items():
            self.row[name] = metrics_lib.value(mean)
            if name == "episode_return":
                self.row["episodes"] = mean.count
        self.row |= {"env_steps_per_second": self.rate, "wall_seconds": self.train_seconds}
        nothing = jax.tree.map(lambda x: to_devices(np.zeros(x.shape, x.dtype), x.sharding), self.run_state.metrics)
        self.run_state = self.run_state._replace(metrics=nothing)
        self.notify_loggers(lambda logger: logger.write(self.row))
        self.row_started = (self.iteration, time.perf_counter())

    def notify_loggers(self, notify: Callable[[Logger], None]) -> None:
        """Notifies all loggers, and keeps the first failure: what was trained is not lost with it."""
        for logger in self.loggers:
            try:
                notify(logger)
            except (Exception, SystemExit) as error:  # rich exits where what it prints is no longer read
                self.failure = self.failure or error

    def check_nan(self) -> None:
        """Stops at a NaN, after writing the row it is in."""
        where = to_host(self.run_state.nan_iteration)
        if (where < 0).all() or self.program.freeze_diverged:
            return
        self.write_row()
        first = where[where >= 0].min()
        agent = "" if where.ndim == 0 else f" of agent {np.flatnonzero(where == first)[0]}"
        raise DivergedError(f"the loss{agent} became NaN at environment step {self.steps_at(int(first))}")

    def check_parameters(self) -> None:
        """Stops at a NaN that the last update made and no loss has shown yet."""
        if not self.program.freeze_diverged and jax.jit(has_nan)(self.run_state.state.agent):
            raise DivergedError(f"the agent's parameters became NaN at environment step {self.env_steps}")


@contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Turns signals that end a process into a flag: raising in the middle of a call would lose the donated state.

    A second SIGINT or SIGTERM acts as it would have without us. A second SIGHUP does not, for a terminal that closes
    sends several. SIGHUP and SIGUSR1 are left to those who handle or ignore them, as `nohup` does.
    """
    caught: list[int] = []
    before: dict[int, Any] = {}
    others = [getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name)]

    def handler(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        if number not in others:
            restore(signal.SIGINT, signal.SIGTERM)

    def restore(*numbers: int) -> None:
        for number in before.keys() & set(numbers):
            signal.signal(number, before[number])

    try:
        for number in (signal.SIGINT, signal.SIGTERM, *others):
            if number not in others or signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, handler)
    except ValueError:
        before.clear()  # not in the main thread, where Python allows no handlers: signals belong to others
    try:
        yield lambda: bool(caught)
    finally:
        restore(*before)
