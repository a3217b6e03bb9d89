"""Training one chunk of a sweep: the agents of a group that learn at the same time, and what they leave.

While it trains, a chunk's directory has what a run's has; once it is finished, its results, its curves and its agents.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
from rich.console import Console

from jaxrl.formatting import format_number, format_si
from jaxrl.runs import run_directory
from jaxrl.runs.options import flatten
from jaxrl.runs.progress import ProgressLine
from jaxrl.sweeps.results import write_parquet
from jaxrl.sweeps.trials import Group, Trial, pad
from jaxrl.training.checkpoint import Checkpoints
from jaxrl.training.devices import all_reduce_max, to_host
from jaxrl.training.host_loop import RunResult, run
from jaxrl.training.loggers import CLOCK_COLUMNS, CSVLogger, Logger, Row, RunInfo
from jaxrl.training.program import Program, has_nan

RESULTS, CURVES, AGENTS = "results.parquet", "curves.parquet", "agents"
WHOLE_NUMBERS = ("agent", "env_steps", "episodes")


class SweepProgress:
    """How far a whole sweep is, on the screen.

    Attributes:
        done: environment steps of all agents in the chunks that are finished.
        best: the largest training return in any agent's last row, and the agent's number.
    """

    def __init__(self, console: Console, total: int) -> None:
        self.line, self.total = ProgressLine(console, total), total
        self.done, self.best = 0, (-np.inf, -1)


class ChunkLogger(Logger):
    """Tells a `SweepProgress` how far a chunk is."""

    def __init__(self, line: SweepProgress, label: str, trials: Sequence[Trial], size: int) -> None:
        self.line, self.label, self.trials, self.size = line, label, trials, size

    def write(self, row: Row) -> None:
        returns = np.where(np.isfinite(row["episode_return"]), row["episode_return"], -np.inf)[: len(self.trials)]
        first = int(returns.argmax())
        self.line.best = max(self.line.best, (float(returns[first]), self.trials[first].number))

    def progress(self, env_steps: int, total_steps: int, steps_per_second: float) -> None:
        agents, (value, agent) = len(self.trials), self.line.best
        best = f"  best {format_number(value)} (agent {agent})" if agent >= 0 else ""
        speed = f"{agents:,} agents × {format_si(steps_per_second / self.size)} steps/s"
        self.line.line.update(self.line.done + env_steps * agents, self.line.total, f"{self.label}  {speed}{best}")


def train_chunk(
    group: Group,
    trials: Sequence[Trial],
    program: Program,
    directory: Path,
    checkpoint_every: float,
    progress: Logger,
    loggers: Sequence[Logger],
    notify: Callable[[str], None],
) -> bool:
    """Trains some trials of a group and leaves what they learned in `directory`, unless it is there already.

    A chunk that was begun goes on from its newest checkpoint. Only the first process calls `loggers`.

    Returns:
        Whether to go on with the next; if not, a signal came.
    """
    primary, stopped = jax.process_index() == 0, False
    metrics, checkpoints = directory / run_directory.METRICS, directory / run_directory.CHECKPOINTS
    if not all_reduce_max((directory / RESULTS).exists()):
        begun = bool(all_reduce_max(bool(Checkpoints(checkpoints).steps())))
        if primary and not begun:
            shutil.rmtree(directory, ignore_errors=True)  # killed before its first checkpoint
            directory.mkdir(parents=True)
        all_reduce_max(0)  # all processes wait for that
        result = run(
            program,
            *group.inputs(pad(trials, program.agents[0])),
            group.options.budget.total_steps,
            log_every=group.options.budget.log_every,
            loggers=[progress, *([CSVLogger(), *loggers] if primary else [])],
            info=RunInfo(directory, shared_config(trials), [trial.number for trial in trials], "agent"),
            checkpoints=Checkpoints(checkpoints),
            checkpoint_every=checkpoint_every,
            resume=begun,
            notify=notify,
        )
        if not result.finished:
            return False
        _finish(group, trials, program, result, directory)
        stopped = result.stopped
    if primary:
        shutil.rmtree(checkpoints, ignore_errors=True)
        metrics.unlink(missing_ok=True)
    return not stopped


def shared_config(trials: Sequence[Trial]) -> dict[str, Any]:
    """The options of some trials, flat; an option that differs between them is a list."""
    configs = [flatten(trial.options) for trial in trials]
    columns = {path: [config[path] for config in configs] for path in configs[0]}
    return {path: values[0] if all(x == values[0] for x in values) else values for path, values in columns.items()}


_have_nan = jax.jit(jax.vmap(has_nan))


def _finish(group: Group, trials: Sequence[Trial], program: Program, result: RunResult, directory: Path) -> None:
    """Evaluates the agents and writes down what is known of them; the results last, for they say that all is there."""
    agents = result.state.agent
    evaluation = group.evaluate(pad(trials, program.agents[0]), agents, program)
    Checkpoints(directory / AGENTS).save(result.env_steps, agents, {})
    lost = to_host(_have_nan(agents))
    if jax.process_index() > 0:
        return
    curves = read_curves(directory / run_directory.METRICS)
    write_parquet(curves, directory / CURVES)
    last = dict(curves.drop_nulls("episode_return").group_by("agent").agg(pl.col("episode_return").last()).iter_rows())
    rows = []
    for i, trial in enumerate(trials):
        diverged = lost[i] or result.diverged_at[i] >= 0
        rows.append(
            describe(group, trial)
            | {
                "status": "diverged" if diverged else "finished",
                "eval_return": None if diverged else float(evaluation.episode_return[i].mean()),
                "train_return": last.get(trial.number),
                "env_steps": int(result.diverged_at[i]) if result.diverged_at[i] >= 0 else result.env_steps,
                "seconds": round(result.train_seconds, 3),
            }
        )
    write_parquet(results_frame(rows), directory / RESULTS)


def describe(group: Group, trial: Trial) -> dict[str, Any]:
    """A row of the results for an agent of which nothing came: who it is, and all its options."""
    row: dict[str, Any] = {
        "agent": trial.number,
        "configuration": trial.configuration,
        "seed": trial.options.budget.seed,
    }
    row |= {"group": group.number, "status": "failed", "error": None}
    for path, value in flatten(trial.options).items():
        if path.startswith(("hparams.", "config.")):
            row[path] = " ".join(map(str, value)) if isinstance(value, list) else value
    return row | {"eval_return": None, "train_return": None, "env_steps": 0, "seconds": 0.0}


def results_frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """Rows of `describe`'s kind, each column of one type even where there is no value in it."""
    types = {"error": pl.String, "eval_return": pl.Float64, "train_return": pl.Float64}
    return pl.DataFrame(rows, schema_overrides=types, infer_schema_length=None)


def read_curves(metrics: Path) -> pl.DataFrame:
    """A chunk's `metrics.csv` without the columns that depend on the machine, sorted by agent."""
    text = pl.read_csv(metrics, infer_schema=False)
    kinds = {name: pl.Int64 if name in WHOLE_NUMBERS else pl.Float64 for name in text.columns}
    columns = [pl.col(name).cast(kind) for name, kind in kinds.items() if name not in CLOCK_COLUMNS]
    return text.select(columns).sort("agent", "env_steps")
