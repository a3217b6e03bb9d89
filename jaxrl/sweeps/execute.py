"""Carrying out a sweep: its directory, its chunks one after another, and what came out of all of them."""

import contextlib
import dataclasses
import shutil
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import polars as pl
from rich.console import Console

from jaxrl.arguments import ArgumentError
from jaxrl.envs import describe_rules
from jaxrl.formatting import describe_spread
from jaxrl.plots import sweep_results
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.runs import provenance, run_directory
from jaxrl.runs.options import with_values
from jaxrl.sweeps import results
from jaxrl.sweeps.chunks import CURVES, RESULTS, ChunkLogger, SweepProgress, describe, results_frame, train_chunk
from jaxrl.sweeps.plan import GroupPlan
from jaxrl.sweeps.spec import Spec
from jaxrl.sweeps.trials import Group
from jaxrl.training.checkpoint import CheckpointError, first_line
from jaxrl.training.devices import all_reduce_max
from jaxrl.training.loggers import make_loggers

SPEC, CHUNKS = "sweep.toml", "chunks"
LEARNING_CURVES, HPARAMS = "learning_curves.png", "hyperparameters.png"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """A sweep that is ready to be carried out."""

    spec: Spec
    spec_file: Path
    groups: Sequence[Group]
    plans: Sequence[GroupPlan]
    directory: Path
    checkpoint_every: float
    loggers: Sequence[str] = ()

    @property
    def swept(self) -> list[str]:
        return [dimension.path for dimension in self.spec.dimensions]

    @property
    def size(self) -> str:
        """How many agents it trains, in words."""
        configurations = f"{self.spec.configurations:,} configuration" + "s" * (self.spec.configurations > 1)
        return configurations + (f" × {self.spec.seeds} seeds" if self.spec.seeds > 1 else ", one seed each")

    def chunk_directory(self, group: int, chunk: int) -> Path:
        return self.directory / CHUNKS / f"{group}_{chunk}"

    def error_file(self, group: int) -> Path:
        """Where the traceback of a group that failed is."""
        return self.directory / f"group_{group}_error.txt"


def check_directory(directory: Path, out: Path | None, resume: bool, spec: Spec) -> list[GroupPlan] | None:
    """Checks that a sweep can begin in a directory, or go on there.

    Returns:
        The plan that it goes on with. None if it begins, as with --resume where there is no sweep yet, so that the same
        command serves for the first time and for all others.

    Raises:
        ArgumentError: it holds something else, or another sweep.
    """
    if directory.exists() and not directory.is_dir():
        raise ArgumentError("out", "must be a directory", directory)
    if not resume:
        if (directory / run_directory.SWEEP).exists() or run_directory.holds_a_run(directory):
            raise ArgumentError("out", "must not hold a sweep or a run already; resume continues it", directory)
        return None
    if out is None:
        raise ArgumentError("resume", "needs out, the directory of the sweep to continue", True, got="")
    if not (directory / run_directory.SWEEP).exists():
        if run_directory.holds_a_run(directory):
            raise ArgumentError("out", "must be the directory of a sweep, and not of a run", directory)
        return None
    record = read_record(directory)
    for name in sorted(spec.fields.keys() | record["fields"].keys()):
        before, now = record["fields"].get(name), spec.fields.get(name)
        if before != now:
            raise ArgumentError(name, f"must stay {_said(before)} to resume {directory}", now, got=_said(now))
    if list(spec.fields) != list(record["fields"]):
        raise ArgumentError("spec", f"must have its fields in the order of {directory / SPEC} to resume it", got="")
    if record["processes"] != jax.process_count():
        raise ArgumentError(
            "num_processes", f"must stay {record['processes']} to resume {directory}", jax.process_count()
        )
    return [GroupPlan(*plan) for plan in record["plan"]]


@contextlib.contextmanager
def lock(directory: Path) -> Iterator[None]:
    """Keeps other sweeps out of a directory; the first of several processes does, and all hear whether it can.

    Raises:
        ArgumentError: another process is writing there.
    """
    with contextlib.ExitStack() as holding:
        error = None
        if jax.process_index() == 0:
            try:
                holding.enter_context(run_directory.lock(directory, "out"))
            except ArgumentError as held:
                error = held
        if all_reduce_max(error is not None):
            raise error or ArgumentError("out", "must be a directory that no other sweep uses", directory)
        try:
            yield
        except (CheckpointError, MemoryError, OSError, KeyboardInterrupt, SystemExit) as stopped:
            begun = (directory / run_directory.SWEEP).exists()
            stopped.add_note("--resume goes on with what is saved" if begun else "nothing was saved yet")
            raise


def _said(value: Any) -> str:
    return "missing" if value is None else str(value)


def read_record(directory: Path) -> dict[str, Any]:
    """What `sweep.json` says.

    Raises:
        ArgumentError: it is not there, or something else.
    """
    try:
        record = run_directory.read_json(directory / run_directory.SWEEP)
    except OSError as error:
        raise ArgumentError("directory", f"must hold a sweep, which has a {run_directory.SWEEP}", directory) from error
    except ValueError as error:
        raise ArgumentError(
            "directory", f"must hold a sweep: its {run_directory.SWEEP} is not JSON ({error})", directory
        ) from error
    if not {"fields", "plan", "processes"} <= record.keys():
        raise ArgumentError(
            "directory", f"must hold a sweep: its {run_directory.SWEEP} is not the record of one", directory
        )
    return record


def begin(sweep: Sweep) -> None:
    """Writes down what is going to be done, in the first process."""
    if jax.process_index() > 0:
        return
    run_directory.make_directory(sweep.directory, "out")
    shutil.copyfile(sweep.spec_file, sweep.directory / SPEC)
    record = {
        "experiment": sweep.spec.experiment.name,
        "fields": sweep.spec.fields,
        "plan": [list(plan) for plan in sweep.plans],
        "processes": jax.process_count(),
        **provenance.describe("jaxrl.experiments.sweep"),
    }
    run_directory.write_json(sweep.directory / run_directory.SWEEP, record)


def carry_out(sweep: Sweep, devices: Sequence[jax.Device], console: Console) -> dict[int, str] | None:
    """Trains all chunks that are not finished.

    Returns:
        The errors of groups that failed, by their numbers; None if a signal stopped the sweep.
    """
    steps = [len(group.trials) * group.options.budget.total_steps for group in sweep.groups]
    line, failed = SweepProgress(console, sum(steps)), {}
    try:
        for group, plan in zip(sweep.groups, sweep.plans, strict=True):
            try:
                if not train_group(sweep, group, plan, devices, line, console):
                    return None
            except Exception as error:  # whatever is wrong with this group, the next may be sound
                if jax.process_count() > 1:
                    raise  # other processes would wait for this one
                failed[group.number] = first_line(error)
                path = sweep.error_file(group.number)
                path.write_text(traceback.format_exc())
                console.print(f"group {group.number} failed: {failed[group.number]}; see {path}", soft_wrap=True)
            else:
                sweep.error_file(group.number).unlink(missing_ok=True)
    finally:
        line.line.close()
    return failed


def train_group(
    sweep: Sweep, group: Group, plan: GroupPlan, devices: Sequence[jax.Device], line: SweepProgress, console: Console
) -> bool:
    """Trains a group's chunks; says whether all are finished, or else a signal stopped one."""
    for chunk in range(plan.chunks):
        trials = group.trials[chunk * plan.chunk_size :][: plan.chunk_size]
        label = f"group {group.number + 1} of {len(sweep.groups)}, chunk {chunk + 1} of {plan.chunks}"
        finished = train_chunk(
            group,
            trials,
            group.program(plan.chunk_size, devices),
            sweep.chunk_directory(group.number, chunk),
            sweep.checkpoint_every,
            ChunkLogger(line, label, trials, plan.chunk_size),
            make_loggers(sweep.loggers),
            lambda text: console.print(f"note: {text}", soft_wrap=True),
        )
        if not finished:
            return False
        line.done += len(trials) * group.options.budget.total_steps
    return True


def collect(sweep: Sweep, failed: dict[int, str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The results and curves of all agents, also written to the sweep's directory."""
    rows, curves = [], []
    for group, plan in zip(sweep.groups, sweep.plans, strict=True):
        for chunk in range(plan.chunks):
            directory = sweep.chunk_directory(group.number, chunk)
            if (directory / RESULTS).exists():
                found = pl.read_parquet(directory / RESULTS)
                curves.append(pl.read_parquet(directory / CURVES))
            else:
                trials = group.trials[chunk * plan.chunk_size :][: plan.chunk_size]
                found = results_frame([describe(group, trial) for trial in trials])
                found = found.with_columns(error=pl.lit(failed[group.number]))
            rows.append(found.with_columns(chunk=pl.lit(chunk, pl.Int64)))
    all_results = pl.concat(rows, how="diagonal_relaxed").sort("agent")
    none = pl.DataFrame(schema={"agent": pl.Int64, "env_steps": pl.Int64, "episode_return": pl.Float64})
    all_curves = pl.concat([none, *curves], how="diagonal_relaxed").sort("agent", "env_steps")
    results.write_parquet(all_results, sweep.directory / RESULTS)
    results.write_parquet(all_curves, sweep.directory / CURVES)
    return all_results, all_curves


def report(sweep: Sweep, failed: dict[int, str], console: Console) -> pl.DataFrame:
    """Writes the results and draws them, and shows the best; gives the configurations, the best first."""
    found, curves = collect(sweep, failed)
    best = results.best_configurations(found, sweep.swept)
    first, directory = sweep.groups[0], sweep.directory
    rules = describe_rules(first.env, first.env_params)
    title = f"{sweep.spec.experiment.algorithm} on {sweep.spec.options.task.env}"
    subtitle = f"{rules}; {sweep.size}"
    with errors_as_notes(directory / LEARNING_CURVES):
        sweep_results.draw_curves(found, curves, best, title, subtitle, directory / LEARNING_CURVES)
    if sweep.swept:
        logs = [dimension.path for dimension in sweep.spec.dimensions if dimension.distribution == "log_uniform"]
        with errors_as_notes(directory / HPARAMS):
            sweep_results.draw_hparams(found, sweep.swept, logs, title, subtitle, directory / HPARAMS)
    console.print(results.table(best, sweep.swept))
    if sweep.spec.seeds > 1:
        console.print(f"evaluation return: mean and {describe_spread(sweep.spec.seeds)}")
    counts = ", ".join(f"{count:,} {status}" for status, count in sorted(found["status"].value_counts().iter_rows()))
    console.print(f"agents: {counts}")
    names = (RESULTS, CURVES, LEARNING_CURVES, *((HPARAMS,) if sweep.swept else ()))
    for name in (name for name in names if (directory / name).exists()):
        console.print(f"{name.split('.')[0].replace('_', ' ')}: {directory / name}", soft_wrap=True)
    if best["finished"].sum():
        console.print("train the best again with")
        console.print(f"  {retrain(sweep, best)}", soft_wrap=True)
    return best


def retrain(sweep: Sweep, best: pl.DataFrame) -> str:
    """The command that trains the best configuration again, with the same seeds."""
    number, spec = best["configuration"][0], sweep.spec
    group, trial = next(
        (group, each) for group in sweep.groups for each in group.trials if each.configuration == number
    )
    options = with_values(trial.options, {"seed": spec.options.budget.seed, "num_seeds": spec.seeds})
    observation, _ = jax.eval_shape(group.env.reset, jax.random.key(0), group.env_params)
    ignored = spec.experiment.ignored(options, observation)
    changed = results.changes(spec.experiment, options)
    return results.retrain_command(
        spec.experiment, {path: value for path, value in changed.items() if path not in ignored}
    )
