"""The host loop: it calls one compiled program over and over, and does between the calls what only a host can do.

Rows of metrics end at fixed iterations. How many iterations a call runs adapts to the machine, and changes no result.
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Generic, NamedTuple

import jax
import numpy as np

from jaxrl.arguments import check
from jaxrl.envs import HostError
from jaxrl.training.best import Best
from jaxrl.training.checkpoint import CheckpointError, Checkpoints, fingerprint_of_constants
from jaxrl.training.checks import check_constants, check_evaluates, check_intervals, check_total_steps
from jaxrl.training.debug_nans import step_by_step
from jaxrl.training.devices import all_reduce_max, mesh_of, to_devices, to_host
from jaxrl.training.evaluation import EvaluateAt
from jaxrl.training.host_program import HostProgram, make_program
from jaxrl.training.loggers import EVAL_RETURN, Logger, Row, RunInfo
from jaxrl.training.population import RunState
from jaxrl.training.program import DivergedError, Program, has_nan
from jaxrl.training.rows import eval_length, row_ends, row_length
from jaxrl.training.signals import caught_signals
from jaxrl.types import Array, Hparams, PyTree, StateT, Trainer, TrainState

CALL_SECONDS = 1.0
"""Approximate duration of one call of the compiled program. Signals and progress wait for it."""


class RunResult(NamedTuple, Generic[StateT]):
    """How a run ended.

    Attributes:
        state: the trainer's state at the end.
        steps: of one agent, counted in `Trainer.unit`.
        finished: whether the run reached its total; otherwise, a signal stopped it.
        compile_seconds: seconds spent on compiling in this process.
        train_seconds: seconds from the first step, warm-up included, to the last, without compiling, over all processes
            that worked on the run. Steps per second refer to this time.
        row: the last row of metrics; empty if this process did not complete one.
        diverged_at: the steps at which each agent diverged, or -1, int64 `[...]`; -1 for all agents
            unless the program freezes diverged ones.
        stopped: whether a signal arrived, even if the run finished in the same call.
    """

    state: TrainState[StateT]
    steps: int
    finished: bool
    compile_seconds: float
    train_seconds: float
    row: Row
    diverged_at: np.ndarray
    stopped: bool


def run(
    trainer: Trainer[StateT] | Program[StateT] | HostProgram[StateT],
    key: Array,
    hparams: Hparams,
    total_steps: int,
    *,
    log_every: int = 20_000,
    eval_every: int = 0,
    evaluate: EvaluateAt | None = None,
    best: Best | None = None,
    loggers: Sequence[Logger] = (),
    info: RunInfo | None = None,
    checkpoints: Checkpoints | None = None,
    checkpoint_every: float = 60.0,
    resume: bool = False,
    debug_nans: bool = False,
    notify: Callable[[str], None] = print,
) -> RunResult[StateT]:
    """Trains until `total_steps`, or until SIGINT, SIGTERM, SIGHUP or SIGUSR1.

    A logger that raises an exception stops the run too: the run is saved first.

    Args:
        trainer: the trainer of one agent, or a `Program` of it, which chooses the devices, and compiles only once for
            several runs; of environments on the host, a `HostProgram`.
        key, hparams: the random key and hyperparameters of one agent, or those of a population, `[A]`. In a resumed
            run, only their shapes matter.
        total_steps: steps of one agent, counted in `Trainer.unit`, rounded down to whole iterations.
        log_every: steps between two rows of metrics, rounded to whole iterations.
        eval_every: steps between two evaluations, rounded to whole rows; 0 for none. A shorter run has none either.
        evaluate: evaluates the agents, from `jaxrl.training.evaluation_while_training`. Its result is in the
            metric `eval_return` of the row that ends there. It changes no bit of the training.
        best: keeps each agent as it was at its best evaluation; by default, nowhere.
        loggers: record the rows.
        info: what the loggers know about the run, such as its directory.
        checkpoints: where to save the run; by default, nowhere.
        checkpoint_every: seconds between two checkpoints. The end of the run and signals also write one.
        resume: continue from the newest intact checkpoint.
        debug_nans: run step by step, and stop at the operation that makes the first NaN. Slow.
        notify: takes one-line messages for the user.

    Raises:
        DivergedError: a NaN appeared, and the program does not freeze diverged agents. Its row is written.
        CheckpointError: a checkpoint could not be written or read. If it was the last one, the error has the `result`.
        HostError: an environment on the host raised an error. The run is saved.
        ValueError: a hyperparameter is out of bounds, `total_steps` is too small or too large, checkpoints exist for a
            new run, or do not for a resumed one, or those are of a run with other `Trainer.constants`.
        MemoryError: the state, or the program, does not fit into the free memory.
    """
    start = time.perf_counter()
    compiled_before = 0.0 if isinstance(trainer, Trainer) else trainer.compile_seconds
    with ExitStack() as closing:
        for logger in loggers:
            closing.callback(logger.close)
        check(hparams, "hparams.")
        check_intervals(log_every, checkpoint_every, eval_every, evaluate)
        if resume and checkpoints is None:
            raise ValueError("resume=True needs checkpoints, got checkpoints=None")
        if not resume and checkpoints is not None and checkpoints.steps():
            where = checkpoints.directory
            raise ValueError(f"{where} already holds checkpoints; pass resume=True or another directory")
        of_one = trainer if isinstance(trainer, Trainer) else trainer.trainer
        check_total_steps(of_one, total_steps)
        if best is not None:
            check_evaluates(of_one, total_steps, log_every, eval_every)
        if resume and checkpoints is not None:
            check_constants(checkpoints.info().get("constants"), of_one, checkpoints.directory.parent)
        program = make_program(trainer, key, hparams) if isinstance(trainer, Trainer) else trainer
        advance = step_by_step(program) if debug_nans else program.compiled()
        if not debug_nans:
            program.check_memory()
        if resume and checkpoints is not None:
            run_state, seconds_before, envs = _restore(checkpoints, program.shapes, notify)
            if lost := program.restore_envs(run_state, envs):
                notify(lost)
        else:
            run_state, seconds_before = program.init(key, hparams), 0.0
        start += program.compile_seconds - compiled_before - seconds_before
        loop = _Loop(program, advance, run_state, start, total_steps, log_every, loggers, evaluate, eval_every, best)
        if resume and best is not None:
            best.restore(loop.all_agents())
        loop.open_loggers(info or RunInfo(), resume, notify)
        return loop.run(checkpoints, checkpoint_every)


def _restore(
    checkpoints: Checkpoints, shapes: RunState, notify: Callable[[str], None]
) -> tuple[RunState, float, bytes | None]:
    """The newest intact checkpoint, the seconds trained before it, and its environments.

    Damaged ones are moved aside.
    """
    run_state, info, damaged = checkpoints.restore(shapes)
    for step, reason in damaged.items():
        aside = checkpoints.move_aside(step)
        notify(f"checkpoint {step} is damaged ({reason}): moved to {aside}, falling back to the one before")
    return run_state, info["train_seconds"], info["envs"]


@dataclasses.dataclass
class _Loop:
    """Calls the compiled program; knows where the run is, how fast, and what is due."""

    program: Program | HostProgram
    advance: Callable[[RunState, int], RunState]
    run_state: RunState
    start: float  # when the run would have started if it had never compiled or stopped
    total_steps: int
    log_every: int
    loggers: Sequence[Logger]
    evaluate: EvaluateAt | None
    eval_every: int
    best: Best | None
    seconds_per_iteration: float = 0.0
    rate: float = 0.0
    row: Row = dataclasses.field(default_factory=dict)
    failure: BaseException | None = None  # of a logger, or of the last checkpoint

    def __post_init__(self) -> None:
        self.trainer = trainer = self.program.trainer
        self.iteration = int(self.run_state.state.iteration)
        self.total_iterations = (self.total_steps - trainer.warmup_steps) // trainer.steps_per_iteration
        self.row_iterations = row_length(trainer, self.log_every)
        self.eval_iterations = eval_length(trainer, self.log_every, self.eval_every)
        self.train_seconds = time.perf_counter() - self.start

    @property
    def steps(self) -> int:
        return self.trainer.steps_at(self.iteration)

    @cached_property
    def constants(self) -> str:
        """What identifies the trainer's constants, which a checkpoint does not hold."""
        return fingerprint_of_constants(self.trainer.constants)

    @property
    def num_agents(self) -> int:
        return np.size(self.run_state.nan_iteration)

    def open_loggers(self, info: RunInfo, resume: bool, notify: Callable[[str], None]) -> None:
        """Opens the loggers, which does not count as training: that of W&B takes seconds."""
        opening = time.perf_counter()
        info = info._replace(
            agents=info.agents or range(self.num_agents),
            metrics=[*self.run_state.metrics, *([EVAL_RETURN] if self.eval_every else [])],
            unit=self.trainer.unit,
            row_ends=row_ends(self.trainer, self.log_every, max(self.iteration, self.total_iterations)),
            notify=notify,
        )
        for logger in self.loggers:
            logger.open(info)
            if resume:
                logger.resume(self.trainer.steps_at(self.iteration - self.iteration % self.row_iterations))
        if resume:
            notify(f"resuming at {self.steps:,} {self.trainer.unit.words}")
        self.start += time.perf_counter() - opening
        self.row_start = (self.iteration, time.perf_counter())

    def run(self, checkpoints: Checkpoints | None, checkpoint_every: float) -> RunResult:
        """Runs to the end, or until a signal arrives or a logger fails, and saves the run.

        Raises:
            BaseException: `failure`.
        """
        saved_at = time.perf_counter()
        with caught_signals() as signalled:

            def stop() -> bool:
                return bool(all_reduce_max(signalled() or self.failure is not None))

            while self.iteration < self.total_iterations and not stop():
                self.call()
                self.check_nan()
                if self.iteration % self.row_iterations == 0:
                    self.write_row()
                if self.iteration < self.total_iterations:  # the end is shown below, with the last row
                    self.show_progress()
                if all_reduce_max(time.perf_counter() - saved_at) >= checkpoint_every:
                    self.save(checkpoints)
                    saved_at = time.perf_counter()
            try:
                self.save(checkpoints)
            except CheckpointError as error:
                self.failure = error
            # The last row may be short. It follows the checkpoint, which keeps its sums in case the run is extended.
            if self.iteration >= self.total_iterations:
                if self.iteration % self.row_iterations:
                    self.write_row()
                self.show_progress()
            stopped = stop()
        result = self.result(stopped)
        if isinstance(self.failure, CheckpointError):
            self.failure.result = result
        if self.failure is not None:
            raise self.failure
        return result

    def result(self, stopped: bool) -> RunResult:
        where = to_host(self.run_state.nan_iteration).astype(np.int64)
        return RunResult(
            state=self.run_state.state,
            steps=self.steps,
            finished=self.iteration >= self.total_iterations,
            compile_seconds=self.program.compile_seconds,
            train_seconds=self.train_seconds,
            row=self.row,
            diverged_at=np.where(where < 0, -1, self.trainer.steps_at(where)),
            stopped=stopped,
        )

    def save(self, checkpoints: Checkpoints | None) -> None:
        """Writes a checkpoint, unless the last update made a NaN that no loss has shown yet."""
        if not self.program.freeze_diverged and jax.jit(has_nan)(self.run_state.state.agent):
            raise DivergedError(f"the agent's parameters became NaN at {self.trainer.unit.place(self.steps)}")
        if checkpoints is not None:
            info = {"train_seconds": self.train_seconds, "constants": self.constants}
            checkpoints.save(self.iteration, self.run_state, info, self.program.save_envs(self.run_state))

    def pace(self) -> int:
        """How many iterations take about `CALL_SECONDS`; at first one."""
        return int(all_reduce_max(CALL_SECONDS / self.seconds_per_iteration)) if self.seconds_per_iteration else 1

    def call(self) -> None:
        """Calls the program for about `CALL_SECONDS`, at most to the end of the row."""
        to_row_end = self.row_iterations - self.iteration % self.row_iterations
        iterations = max(1, min(self.pace(), to_row_end, self.total_iterations - self.iteration))
        calling = time.perf_counter()
        try:
            self.run_state = jax.block_until_ready(self.advance(self.run_state, iterations))
        except HostError as error:
            if error.run_state is None:
                raise
            self.run_state, self.failure = error.run_state, error
            iterations = int(self.run_state.state.iteration) - self.iteration
        now = time.perf_counter()
        self.seconds_per_iteration = (now - calling) / max(1, iterations)
        self.iteration += iterations
        self.train_seconds = now - self.start
        first, since = self.row_start
        self.rate = self.num_agents * (self.iteration - first) * self.trainer.steps_per_iteration / (now - since)

    def write_row(self) -> None:
        """Passes the means of this row to the loggers, and starts the next one."""
        column = self.trainer.unit.column
        self.row = {column: self.steps}
        for name, mean in to_host(self.run_state.metrics).items():
            self.row[name] = mean.value()
            if name == "episode_return":
                self.row["episodes"] = mean.count
        if self.eval_every:
            self.row[EVAL_RETURN] = self.eval_return()
        self.row |= {f"{column}_per_second": self.rate, "wall_seconds": self.train_seconds}
        nothing = jax.tree.map(lambda x: to_devices(np.zeros(x.shape, x.dtype), x.sharding), self.run_state.metrics)
        self.run_state = self.run_state._replace(metrics=nothing)
        self.call_loggers(lambda logger: logger.write(self.row))
        self.row_start = (self.iteration, time.perf_counter())

    def eval_return(self) -> np.ndarray:
        """The mean evaluation return of each agent; NaN in rows without an evaluation. Its time is not training's."""
        if self.evaluate is None or self.iteration % self.eval_iterations:
            return np.full(self.program.agents, np.nan)
        evaluating = time.perf_counter()
        agents, mesh = self.run_state.state.agent, self.program.mesh
        if not self.program.agents:
            agents, mesh = self.all_agents(), mesh_of(None, (1,))
        returns = self.evaluate(agents, self.iteration, mesh)
        if self.best is not None:
            self.best.offer(agents, returns, self.steps)
        self.start += time.perf_counter() - evaluating
        return returns.reshape(self.program.agents)

    def all_agents(self) -> PyTree:
        """The states of the agents, `[A, ...]`; of one agent, with an axis of 1."""
        agents = self.run_state.state.agent
        return agents if self.program.agents else jax.tree.map(lambda x: x[None], to_host(agents))

    def show_progress(self) -> None:
        total_steps = self.trainer.steps_at(self.total_iterations)
        rate = self.num_agents * self.steps / self.train_seconds
        self.call_loggers(lambda logger: logger.progress(self.steps, total_steps, rate))

    def call_loggers(self, method: Callable[[Logger], None]) -> None:
        """Calls all loggers, and keeps the first failure until the run is saved."""
        for logger in self.loggers:
            try:
                method(logger)
            except (Exception, SystemExit) as error:  # rich exits when nobody reads its output any more
                self.failure = self.failure or error

    def check_nan(self) -> None:
        """Stops at a NaN, after writing the row that contains it."""
        where = to_host(self.run_state.nan_iteration)
        if (where < 0).all() or self.program.freeze_diverged:
            return
        self.write_row()
        first = where[where >= 0].min()
        agent = "" if where.ndim == 0 else f" of agent {np.flatnonzero(where == first)[0]}"
        place = self.trainer.unit.place(self.trainer.steps_at(int(first)))
        causes = "too large a learning rate, or rewards or observations that are not finite?"
        raise DivergedError(f"the loss{agent} became NaN at {place} ({causes})")
