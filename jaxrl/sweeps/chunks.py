"""Training one chunk of a sweep: trials of a group that learn at the same time.

While it trains, the directory of a chunk holds what a run's holds. A finished chunk leaves its results, its curves and
its agents.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
from rich.console import Console

from jaxrl.formatting import format_count, format_number, format_si
from jaxrl.runs import run_directory
from jaxrl.runs.options import flatten
from jaxrl.runs.progress import ProgressLine
from jaxrl.sweeps.results import CURVES, RESULTS, with_outcome, write_parquet
from jaxrl.sweeps.trials import Group, pad
from jaxrl.training.best import Best
from jaxrl.training.checkpoint import Checkpoints
from jaxrl.training.devices import all_reduce_max, to_host
from jaxrl.training.host_loop import RunResult, run
from jaxrl.training.host_program import HostProgram
from jaxrl.training.loggers import CLOCK_COLUMNS, CSVLogger, Logger, Row, RunInfo
from jaxrl.training.program import Program, has_nan
from jaxrl.types import unit_of

AGENTS = "agents"


class SweepProgress(Logger):
    """Shows how far a sweep is, chunk after chunk, in one line.

    Attributes:
        done: steps of all agents in finished chunks.
        best: the largest training return in any agent's latest row, and the agent's number.
        show_best: whether to show it, which says little if environments differ.
    """

    def __init__(self, console: Console, total: int, show_best: bool) -> None:
        self.line, self.total, self.show_best = ProgressLine(console, total), total, show_best
        self.done, self.best = 0, (-np.inf, -1)

    def start_chunk(self, label: str, agents: Sequence[int], size: int) -> None:
        """Continues with other agents, by their numbers; `size` counts the padding too."""
        self.label, self.agents, self.size = label, agents, size

    def write(self, row: Row) -> None:
        if "episode_return" not in row:  # offline
            return
        returns = np.where(np.isfinite(row["episode_return"]), row["episode_return"], -np.inf)[: len(self.agents)]
        first = int(returns.argmax())
        self.best = max(self.best, (float(returns[first]), self.agents[first]))

    def progress(self, steps: int, total_steps: int, steps_per_second: float) -> None:
        number, (value, agent) = len(self.agents), self.best
        best = f"  best training return {format_number(value)} (agent {agent})" if agent >= 0 and self.show_best else ""
        speed = f"{format_count(number, 'agent')} × {format_si(steps_per_second / self.size)} steps/s"
        self.line.update(self.done + steps * number, self.total, f"{self.label}  {speed}{best}")


def train_chunk(
    group: Group,
    trials: pl.DataFrame,
    program: Program | HostProgram,
    directory: Path,
    checkpoint_every: float,
    progress: Logger,
    loggers: Sequence[Logger],
    notify: Callable[[str], None],
) -> bool:
    """Trains some trials of a group, from the newest checkpoint if there is one. A finished chunk stays as it is.

    Only the first process calls `loggers`.

    Returns:
        Whether to go on with the next chunk: false after a signal.
    """
    primary, stopped = jax.process_index() == 0, False
    metrics, checkpoints = directory / run_directory.METRICS, directory / run_directory.CHECKPOINTS
    if not all_reduce_max((directory / RESULTS).exists()):
        begun = bool(all_reduce_max(bool(Checkpoints(checkpoints).steps())))
        if primary and not begun:
            shutil.rmtree(directory, ignore_errors=True)  # left by a process that was killed before a checkpoint
            directory.mkdir(parents=True)
        all_reduce_max(0)  # wait for the first process
        best = Best(Checkpoints(directory / run_directory.BEST)) if group.options.execution.keep_best else None
        result = run(
            program,
            *group.inputs(pad(trials, program.agents[0])),
            group.options.budget.total_steps,
            log_every=group.options.budget.log_every,
            eval_every=group.options.budget.eval_every,
            evaluate=group.while_training(pad(trials, program.agents[0])),
            best=best,
            loggers=[progress, *([CSVLogger(), *loggers] if primary else [])],
            info=RunInfo(directory, shared_config(group, trials), trials["agent"].to_list(), "agent"),
            checkpoints=Checkpoints(checkpoints),
            checkpoint_every=checkpoint_every,
            resume=begun,
            notify=notify,
        )
        if not result.finished:
            return False
        _finish(group, trials, program, result, best, directory)
        stopped = result.stopped
    if primary:
        shutil.rmtree(checkpoints, ignore_errors=True)
        metrics.unlink(missing_ok=True)
    return not stopped


def shared_config(group: Group, trials: pl.DataFrame) -> dict[str, Any]:
    """The options of some trials by path. An option that differs between them is a list."""
    config = flatten(group.options)
    differs = (path for path in config if path in trials.columns and trials[path].n_unique() > 1)
    return config | {path: trials[path].to_list() for path in differs}


_have_nan = jax.jit(jax.vmap(has_nan))


def _finish(
    group: Group,
    trials: pl.DataFrame,
    program: Program | HostProgram,
    result: RunResult,
    best: Best | None,
    directory: Path,
) -> None:
    """Evaluates the agents and writes everything down, the results last: they mark the chunk as finished."""
    agents, number = result.state.agent, len(trials)
    evaluation = group.evaluate(pad(trials, program.agents[0]), agents, program)
    of_best = {} if best is None else best_columns(group, trials, program, best)
    Checkpoints(directory / AGENTS).save(result.steps, agents, {})
    lost = to_host(_have_nan(agents))[:number]
    if jax.process_index() > 0:
        return
    curves = read_curves(directory / run_directory.METRICS)
    write_parquet(curves, directory / CURVES)
    ended = np.asarray(result.diverged_at)[:number]
    diverged = lost | (ended >= 0)
    returns = np.asarray(evaluation.episode_return)[:number].mean(axis=1)
    has_returns = "episode_return" in curves.columns  # not offline
    trained = curves if has_returns else curves.with_columns(episode_return=pl.lit(None, pl.Float64))
    last = trained.drop_nulls("episode_return").group_by("agent").agg(pl.col("episode_return").last())
    results = with_outcome(
        trials,
        group.trainer.unit,
        status=pl.Series(np.where(diverged, "diverged", "finished")),
        eval_return=pl.Series(np.where(diverged, np.nan, returns), dtype=pl.Float64).fill_nan(None),
        train_return=trials.join(last, "agent", how="left", maintain_order="left")["episode_return"],
        steps=pl.Series(np.where(ended >= 0, ended, result.steps)),
        seconds=pl.lit(round(result.train_seconds, 3)),
        **of_best,
    )
    write_parquet(results, directory / RESULTS)


def best_columns(
    group: Group, trials: pl.DataFrame, program: Program | HostProgram, best: Best
) -> dict[str, pl.Series]:
    """The returns of the kept agents in the episodes of the last evaluation, and after how many steps they were so."""
    number, evaluation = len(trials), group.evaluate(pad(trials, program.agents[0]), best.agents, program)
    returns = np.asarray(evaluation.episode_return)[:number].mean(axis=1)
    steps = pl.Series(best.steps[:number], dtype=pl.Int64)
    return {"best_return": pl.Series(returns, dtype=pl.Float64), f"best_{group.trainer.unit.column}": steps}


def read_curves(metrics: Path) -> pl.DataFrame:
    """A chunk's `metrics.csv` sorted by agent, without the columns that depend on the machine."""
    curves = pl.read_csv(metrics, infer_schema=False).drop(CLOCK_COLUMNS, strict=False)
    steps = unit_of(curves.columns).column
    integers = dict.fromkeys(("agent", steps, "episodes"), pl.Int64)
    return curves.cast({name: integers.get(name, pl.Float64) for name in curves.columns}).sort("agent", steps)
