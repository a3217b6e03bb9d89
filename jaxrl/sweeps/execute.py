"""Running a sweep: its directory, its chunks one after another, and its results."""

import contextlib
import dataclasses
import math
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import polars as pl
from rich.console import Console

from jaxrl.arguments import ArgumentError, errors_in, first_line
from jaxrl.envs import describe_rules
from jaxrl.formatting import format_bytes, format_count, format_seconds
from jaxrl.runs import provenance, run_directory
from jaxrl.runs.options import untrained_steps
from jaxrl.sweeps import report, results
from jaxrl.sweeps.chunks import SweepProgress, train_chunk
from jaxrl.sweeps.plan import GroupPlan, Limits, make_limits, max_chunk_size, plan_group, plan_table
from jaxrl.sweeps.results import SweepResult
from jaxrl.sweeps.spec import SweepSpec, flatten_record, to_toml
from jaxrl.sweeps.trials import Group, check_effective, make_groups, swept_columns
from jaxrl.training.checkpoint import CheckpointError
from jaxrl.training.checks import check_constants
from jaxrl.training.devices import all_reduce_max, local_devices
from jaxrl.training.loggers import make_loggers
from jaxrl.types import ENV_STEPS


def sweep(
    spec: SweepSpec,
    out: str | Path | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
    memory: float | None = None,
    max_groups: int = 16,
    checkpoint_every: float = 60.0,
    loggers: Sequence[str] = (),
    num_devices: int | None = None,
    record: str | Path | None = None,
    console: Console | None = None,
    module: str | None = None,
) -> SweepResult | None:
    """Trains the agents of a sweep, as many at once as memory allows, and evaluates each of them.

        >>> spec = jaxrl.SweepSpec(
        ...     experiment="dqn_cartpole",
        ...     search="random",
        ...     configurations=2,
        ...     fields={
        ...         "total_steps": 2_000,
        ...         "config.warmup_steps": 500,
        ...         "hparams.learning_rate": {"distribution": "log_uniform", "low": 1e-4, "high": 1e-2},
        ...     },
        ... )
        >>> result = jaxrl.sweep(spec, "runs/sweep/cartpole")
        >>> result.configurations.select("configuration", "hparams.learning_rate", "eval_return")
        >>> policy = jaxrl.load(result.directory)  # the best agent

    Args:
        spec: what to train.
        out: the sweep's directory (default: runs/sweep/DATE-TIME).
        resume: continue the sweep in `out`, or begin it if there is none.
        dry_run: only print the plan, after compiling the program of each group and timing it for a second.
        memory: GiB that the agents may take (default: four fifths of the free memory). Agents that do not fit train in
            chunks, one after another.
        max_groups: the most groups of agents with equal static values. Each compiles its own program.
        checkpoint_every: seconds between two checkpoints.
        loggers: what else records the metrics of each chunk, as for a run.
        num_devices: devices of each process to spread the agents over (default: all that jax has; a CPU is one, unless
            `jax_num_cpu_devices` is set before jax starts).
        record: another directory, for the results and a page that describes them.
        console: where to print the plan, the progress and the best configurations (default: stdout).
        module: the module whose command line this is, if any.

    Returns:
        The results. None after a dry run, if a signal stopped the sweep, and in all processes but the first.

    Raises:
        ArgumentError: a field or an argument cannot be used; nothing was trained.
    """
    directory = choose_directory(out, resume, "sweep")
    run = prepare_sweep(
        spec, directory, resume, checkpoint_every, console or Console(highlight=False, markup=False), module,
        memory=memory, max_groups=max_groups, loggers=loggers, num_devices=num_devices,
    )  # fmt: skip
    record = None if record is None else Path(record)
    run_directory.check_record(record, directory)
    if dry_run:
        run.plan()
        return None
    with lock_directories(None if out is None else directory, "sweep", record) as directory:
        result = run.run(directory)
        if result is None and module is not None:
            run_directory.show_resumption(run.console, module, directory)
        if result is not None and record is not None:
            report.record_sweep(result, record)
        return result


def prepare_sweep(
    spec: SweepSpec,
    directory: Path,
    resume: bool,
    checkpoint_every: float,
    console: Console,
    module: str | None,
    *,
    max_groups: int,
    num_devices: int | None,
    memory: float | None = None,
    loggers: Sequence[str] = (),
) -> "SweepRun":
    """Checks all that can be checked before anything is written or compiled. The arguments are those of `sweep`."""
    spec = spec.with_maps()
    plans = check_directory(directory, resume, spec)
    make_loggers(loggers)  # checks their names
    limits = make_limits(memory, run_directory.free_disk(directory))
    groups = make_groups(spec, max_groups)
    on_host = any(group.trainer.on_host for group in groups)  # whose agents learn on one device, one after another
    devices = choose_devices(plans or [], 1 if on_host and num_devices is None else num_devices)
    for group, plan in zip(groups, plans or [], strict=False):
        check_constants(plan.constants, group.trainer, directory)
    if plans is None:
        check_effective(spec, groups)
        for group in groups:
            max_chunk_size(group, devices, limits)
    return SweepRun(spec, groups, plans, directory, resume, devices, limits, checkpoint_every, loggers, console, module)


@dataclasses.dataclass
class SweepRun:
    """A sweep that was checked.

    Attributes:
        planned: the plans of the sweep that goes on; None if it begins.
        directory: where the sweep was checked, and from `run` on where it is.
    """

    spec: SweepSpec
    groups: Sequence[Group]
    planned: list[GroupPlan] | None
    directory: Path
    resume: bool
    devices: Sequence[jax.Device]
    limits: Limits
    checkpoint_every: float
    loggers: Sequence[str]
    console: Console
    module: str | None
    plans: list[GroupPlan] = dataclasses.field(default_factory=list)

    def run(self, directory: Path) -> SweepResult | None:
        """Trains in a directory that the caller has locked, and reports. Returns as `sweep` does."""
        self.directory = directory
        if check_directory(directory, self.resume, self.spec) != self.planned:
            raise ArgumentError("out", "must be a directory that no other process has just begun to use", directory)
        self.plan()
        self.begin() if self.planned is None else self.note_differences()
        self.console.print(f"writing to {directory}", soft_wrap=True)
        failed = self.train()
        if failed is None:
            self.console.print("stopped; the sweep is saved")
        if failed is None or jax.process_index() > 0:
            return None
        result = self.collect(failed)
        report.report(result, self.console)
        return result

    def plan(self) -> None:
        """Plans a sweep that begins, and prints the plan."""
        if self.planned is None:
            programs = "the program" if len(self.groups) == 1 else "the programs"
            groups = format_count(len(self.groups), "group")
            self.console.print(f"planning: compiling {programs} of {groups}, and timing each for a second")
        self.plans = self.planned or [plan_group(group, self.devices, self.limits) for group in self.groups]
        self.show_plan()

    def show_plan(self) -> None:
        """Prints what trains, and how much memory, disk and time that takes."""
        spec, console, agents = self.spec, self.console, sum(plan.agents for plan in self.plans)
        steps = spec.options.budget.total_steps
        console.print(f"{report.title(spec)}: {format_count(agents, 'agent')}, {steps:,} steps each", soft_wrap=True)
        console.print(plan_table(self.groups, self.plans))
        time, device = format_seconds(sum(plan.seconds for plan in self.plans)), provenance.device_name()
        console.print(f"about {time} of training on {len(self.devices)} × {device}", soft_wrap=True)
        console.print("limits: {} of memory, {} of disk".format(*map(format_bytes, self.limits)), soft_wrap=True)
        if untrained := max(untrained_steps(spec.configuration(i)) for i in range(len(spec.draws))):
            ends = "the learning rate ends at 0 (hparams.learning_rate_decay_steps)"
            console.print(f"note: {ends}: the last {untrained:,} steps of some agents train nothing", soft_wrap=True)

    def note_differences(self) -> None:
        """Prints how this machine differs from that of the sweep that goes on."""
        for line in provenance.differences(report.read_record(self.directory)):
            self.console.print(f"note: resuming elsewhere, the last bits may differ: {line}", soft_wrap=True)

    def begin(self) -> None:
        """Writes down, in the first process, what is going to be done and how it was started."""
        if self.resume:
            self.console.print("note: there is no sweep to resume: it begins anew")
        if jax.process_index() > 0:
            return
        (self.directory / report.SPEC).write_text(to_toml(self.spec))
        record = {
            "spec": self.spec.record(),
            "rules": "; ".join(dict.fromkeys(describe_rules(each.env, each.env_params) for each in self.groups)),
            "plan": [plan._asdict() for plan in self.plans],
            "processes": jax.process_count(),
            **provenance.describe(self.module or ""),
        }
        if self.module is None:
            record["command"] = shlex.join(["python", *sys.argv])
        run_directory.write_json(self.directory / run_directory.SWEEP, record)

    def chunks(self) -> Iterator[tuple[Group, int, pl.DataFrame, Path]]:
        """Every group with every chunk: its number, its trials and its directory."""
        for group, plan in zip(self.groups, self.plans, strict=True):
            for chunk in range(plan.chunks):
                trials = group.trials[chunk * plan.chunk_size :][: plan.chunk_size]
                yield group, chunk, trials, self.directory / "chunks" / f"{group.number}_{chunk}"

    def train(self) -> dict[int, str] | None:
        """Trains all chunks that are not finished.

        Returns:
            The errors of groups that failed, by their numbers; None if a signal stopped the sweep.
        """
        steps = [len(group.trials) * group.options.budget.total_steps for group in self.groups]
        progress, failed = SweepProgress(self.console, sum(steps), self.spec.has_one_task), dict[int, str]()
        try:
            for group, chunk, trials, directory in self.chunks():
                if group.number in failed:
                    progress.done += len(trials) * group.options.budget.total_steps
                    continue
                plan, errors = self.plans[group.number], results.error_file(self.directory, group.number)
                label = f"group {group.number}, chunk {chunk + 1} of {plan.chunks}"
                progress.start_chunk(label, trials["agent"].to_list(), plan.chunk_size)
                try:
                    finished = train_chunk(
                        group,
                        trials,
                        group.program(plan.chunk_size, self.devices),
                        directory,
                        self.checkpoint_every,
                        progress,
                        make_loggers(self.loggers),
                        lambda text: self.console.print(f"note: {text}", soft_wrap=True),
                    )
                    if not finished:
                        return None
                    errors.unlink(missing_ok=True)
                except Exception as error:  # the next group may be sound
                    if jax.process_count() > 1:
                        raise  # the other processes would wait for this one
                    failed[group.number] = first_line(error)
                    errors.write_text(traceback.format_exc())
                    self.console.print(
                        f"group {group.number} failed: {first_line(error)}; see {errors}", soft_wrap=True
                    )
                progress.done += len(trials) * group.options.budget.total_steps
        finally:
            progress.line.close()
        return failed

    def collect(self, failed: dict[int, str]) -> SweepResult:
        """The results of all chunks, also written to the sweep's directory."""
        unit = self.groups[0].trainer.unit
        returns = {"episode_return": pl.Float64} if unit == ENV_STEPS else {}
        types = {"agent": pl.Int64, unit.column: pl.Int64, **returns}
        rows, curves = [], [pl.DataFrame(schema=types)]
        for group, chunk, trials, directory in self.chunks():
            if (directory / results.RESULTS).exists():
                trials = pl.read_parquet(directory / results.RESULTS)
                curves.append(pl.read_parquet(directory / results.CURVES))
            else:
                trials = results.with_outcome(trials, unit, error=pl.lit(failed[group.number]))
            rows.append(trials.with_columns(chunk=pl.lit(chunk, pl.Int64)))
        trials = pl.concat(rows, how="diagonal_relaxed").sort("agent")
        all_curves = pl.concat(curves, how="diagonal_relaxed").sort("agent", unit.column)
        results.write_parquet(trials, self.directory / results.RESULTS)
        results.write_parquet(all_curves, self.directory / results.CURVES)
        configurations = results.rank_configurations(trials, swept_columns(self.spec))
        return SweepResult(self.directory, trials, all_curves, configurations)


def choose_directory(out: str | Path | None, resume: bool, name: str) -> Path:
    """The directory of a sweep: `out`, or a new one. `resume` needs `out`."""
    if resume and out is None:
        raise ArgumentError("out", "must name the directory of the sweep to resume", got="")
    return run_directory.default_directory(name) if out is None else Path(out)


def check_directory(directory: Path, resume: bool, spec: SweepSpec) -> list[GroupPlan] | None:
    """Checks that a sweep can begin in a directory, or go on there.

    Returns:
        The plan that it goes on with. None if it begins, also with `resume` where there is no sweep yet.

    Raises:
        ArgumentError: the directory holds something else, or another sweep.
    """
    if directory.exists() and not directory.is_dir():
        raise ArgumentError("out", "must be a directory", directory)
    holds_a_sweep = (directory / run_directory.SWEEP).exists()
    if not resume and (holds_a_sweep or run_directory.holds_a_run(directory)):
        raise ArgumentError("out", "must be a directory without a sweep or a run, except to resume it", directory)
    if not holds_a_sweep:
        if run_directory.holds_a_run(directory):
            raise ArgumentError("out", "must be the directory of a sweep, and not of a run", directory)
        return None
    try:
        record = report.read_record(directory)
    except ArgumentError as error:
        error.name = "out"
        raise
    before, now = flatten_record(record["spec"]), flatten_record(spec.record())
    with errors_in(spec.source):
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                was, got = (str(fields.get(name, "unset")) for fields in (before, now))
                raise ArgumentError(name, f"must stay {was} to resume {directory}", now.get(name), got=got)
        swept = [path for path, value in record["spec"]["fields"].items() if isinstance(value, dict)]
        orders = {"variants": (record["spec"]["variants"], spec.variants), "swept fields": (swept, spec.swept)}
        for name, (was, is_now) in orders.items():
            if list(was) != list(is_now):
                raise ArgumentError(name, f"must stay in their order to resume {directory}", got="")
    if record["processes"] != jax.process_count():
        raise ArgumentError(
            "num_processes", f"must stay {record['processes']} to resume {directory}", jax.process_count()
        )
    return [GroupPlan(**plan) for plan in record["plan"]]


def choose_devices(plans: Sequence[GroupPlan], number: int | None) -> list[jax.Device]:
    """The devices to use: as many as asked for, or as many as exist and divide the chunks already planned.

    Raises:
        ArgumentError: there are fewer, or they do not divide the chunks.
    """
    devices, sizes = local_devices(number), sorted({plan.chunk_size for plan in plans})
    if number is None and jax.process_count() == 1:
        devices = devices[: math.gcd(len(devices), *sizes)]
    if any(size % len(devices) for size in sizes):
        raise ArgumentError("num_devices", f"must divide the chunks of {', '.join(map(str, sizes))} agents", number)
    return devices


@contextlib.contextmanager
def lock_directories(out: Path | None, name: str, record: Path | None, places: Sequence[str] = ("",)) -> Iterator[Path]:
    """Makes the directories of a command, and keeps other sweeps out. Adds to an error whether --resume can go on.

    Args:
        out: the command's directory (default: a new one).
        name: of the command, for a new directory.
        record: where the results are copied to, if anywhere.
        places: the sweeps' directories in that of the command.

    Raises:
        ArgumentError: a directory cannot be made, or another process writes there.
    """
    if record is not None:
        run_directory.make_directory(record, "record")
    directory = run_directory.make_out(out, name)
    with contextlib.ExitStack() as locks:
        for path in dict.fromkeys([directory, *(directory / place for place in places)]):
            run_directory.make_directory(path, "out")
            error = None
            if jax.process_index() == 0:  # it locks, and all processes learn whether it can
                try:
                    locks.enter_context(run_directory.lock(path, "out"))
                except ArgumentError as held:
                    error = held
            if all_reduce_max(error is not None):
                raise error or ArgumentError("out", "must be a directory that no other sweep uses", path)
        try:
            yield directory
        except (CheckpointError, MemoryError, OSError, KeyboardInterrupt) as stopped:
            begun = any((directory / place / run_directory.SWEEP).exists() for place in places)
            stopped.add_note("--resume goes on with what is saved" if begun else "nothing was saved yet")
            raise
