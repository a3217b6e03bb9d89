"""Trains hundreds of agents at once, as a file says that draws their hyperparameters."""

import contextlib
import dataclasses
import math
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import jax
import tyro
from annotated_types import Ge, Gt
from rich.console import Console

from jaxrl.arguments import ArgumentError, check, errors_in
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line, fail
from jaxrl.cli.parse import parse
from jaxrl.formatting import format_bytes, format_seconds
from jaxrl.runs import provenance, run_directory
from jaxrl.runs.options import default_hint, untrained_steps
from jaxrl.sweeps import execute as sweeps
from jaxrl.sweeps import plan as planning
from jaxrl.sweeps.report import record
from jaxrl.sweeps.spec import FORMAT, Spec, read_spec, with_map
from jaxrl.sweeps.trials import Group, check_effective, group
from jaxrl.training.devices import local_devices
from jaxrl.training.loggers import make_loggers


@dataclasses.dataclass(frozen=True)
class SweepOptions:
    spec: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SPEC")]
    """A TOML file that says what to train and what to draw."""
    out: Annotated[Path | None, default_hint("runs/sweep/DATE-TIME", "DIR")] = None
    """The sweep's directory."""
    resume: bool = False
    """Continue the sweep in --out, to the same bits, or begin it if there is none yet."""
    dry_run: bool = False
    """Only print the plan, for which each group's program is compiled and tried for a second."""
    memory: Annotated[float | None, Gt(0), default_hint("four fifths of what is free")] = None
    """GiB that the agents may take of the memory; what does not fit trains in chunks, one after another."""
    max_groups: Annotated[int, Gt(0)] = 16
    """The most programs: each combination of static values that is drawn needs one of its own."""
    checkpoint_every: Annotated[float, Gt(0)] = 60.0
    """Seconds between two checkpoints of the agents that are training."""
    loggers: Annotated[tuple[str, ...], default_hint("none")] = ()
    """What else records the metrics of each chunk: tensorboard, wandb, or your own module:attribute."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Also keep the results, and how they were made, in this directory."""
    num_devices: Annotated[int | None, Gt(0), default_hint("all accelerators, or cores")] = None
    """Devices of each process, or cores of a CPU, to spread the agents over."""
    distributed: bool = False
    """Join the processes that jax finds by itself, as under Slurm, Open MPI and on Cloud TPUs."""
    coordinator: Annotated[str | None, default_hint("none", "ADDRESS:PORT")] = None
    """Or say where the first process is, with --num-processes and --process-id."""
    num_processes: Annotated[int | None, Gt(0), default_hint("none")] = None
    """How many processes there are; all need the same --out, on a disk that all of them see."""
    process_id: Annotated[int | None, Ge(0), default_hint("none")] = None
    """Which of them this one is, from 0."""


JOIN_SECONDS = 300
"""How long several processes wait for each other."""


@errors_in_one_line()
def main() -> None:
    options = parse(SweepOptions, f"{__doc__}\n\n{FORMAT}", prog="python -m jaxrl.experiments.sweep")
    check(options)
    spec = read(options.spec)
    join(options)  # before jax looks at its devices
    prepare_jax(num_cpu_devices=options.num_devices)
    problems = run(options, spec, screen(quiet=jax.process_index() > 0))
    if problems:
        fail("; ".join(problems), 1)


def read(path: Path) -> Spec:
    """The sweep in a file.

    Raises:
        ArgumentError: the file cannot be read, or one of its fields cannot be used.
    """
    try:
        with errors_in(path):
            return with_map(read_spec(path))
    except ArgumentError as error:
        if error.name == "spec":
            error.name, error.source = "SPEC", None
        raise


def join(options: SweepOptions) -> None:
    """Joins the processes of a sweep that has several.

    Raises:
        ArgumentError: it is not said which, or they cannot be found.
    """
    given = (options.coordinator, options.num_processes, options.process_id)
    if not options.distributed and given == (None, None, None):
        return
    if not options.distributed and None in given:
        raise ArgumentError("coordinator", "needs num_processes and process_id, as they need it", got="")
    if options.num_processes is not None and (options.process_id or 0) >= options.num_processes:
        raise ArgumentError("process_id", f"must be < {options.num_processes}", options.process_id)
    address, _, port = (options.coordinator or "address:1").rpartition(":")
    if not address or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ArgumentError("coordinator", "must be ADDRESS:PORT, as in host:1234", options.coordinator)
    if options.out is None:
        raise ArgumentError("out", "is needed by several processes, which must write to the same directory", got="")
    where = f"at {options.coordinator}" if options.coordinator else "that jax finds"
    print(f"waiting for the other processes {where}, {JOIN_SECONDS} s at most", flush=True)

    def give_up() -> None:
        print(f"error: the processes {where} were not there within {JOIN_SECONDS} s", file=sys.stderr, flush=True)
        os._exit(1)

    timer = threading.Timer(JOIN_SECONDS, give_up)  # sooner than jax, which would abort the process with a stack trace
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.initialize(*given, initialization_timeout=JOIN_SECONDS + 60)
    except (ValueError, RuntimeError, IndexError) as error:
        name, why = "coordinator" if options.coordinator else "distributed", str(error).splitlines()[0]
        raise ArgumentError(name, f"must name processes that can be joined ({why})", options.coordinator) from error
    finally:
        timer.cancel()


def run(options: SweepOptions, spec: Spec, console: Console) -> list[str]:
    """Plans, trains and reports; gives what went wrong with it."""
    directory = options.out or run_directory.default_directory("sweep")
    plans = sweeps.check_directory(directory, options.out, options.resume, spec)
    run_directory.check_record(options.record, options.out)
    make_loggers(options.loggers)
    devices = devices_for(plans or [], options.num_devices)
    with errors_in(options.spec):
        groups = group(spec, options.max_groups)
        if plans is None:
            check_effective(spec, groups)
    limits = planning.limits(options.memory, run_directory.free_disk(directory))
    if plans is None:
        for each in groups:
            planning.most_at_once(each, devices, limits)  # before anything compiles
    with contextlib.ExitStack() as holding:
        if not options.dry_run:
            if options.record is not None:
                run_directory.make_directory(options.record, "record")
            directory = run_directory.make_out(options.out, "sweep")
            holding.enter_context(sweeps.lock(directory))
            if sweeps.check_directory(directory, options.out, options.resume, spec) != plans:
                raise ArgumentError("out", "must be a directory that no other process has just begun to use", directory)
        return carry_out(options, spec, directory, groups, plans, devices, limits, console)


def carry_out(
    options: SweepOptions,
    spec: Spec,
    directory: Path,
    groups: Sequence[Group],
    plans: Sequence[planning.GroupPlan] | None,
    devices: Sequence[jax.Device],
    limits: planning.Limits,
    console: Console,
) -> list[str]:
    """The same, once the directory is this process's own; `plans` are those of a sweep that goes on."""
    begins = plans is None
    if plans is None:
        console.print(f"planning: compiling the programs of {len(groups)} groups, and trying each for a second")
        plans = [planning.plan_group(each, devices, limits) for each in groups]
    algorithm, agents = spec.experiment.algorithm, sum(plan.agents for plan in plans)
    console.print(
        f"{algorithm} on {spec.options.task.env}: {agents:,} agents, {spec.options.budget.total_steps:,} steps each"
    )
    console.print(planning.show(groups, plans, limits))
    memory, disk = map(format_bytes, limits)
    total = format_seconds(sum(plan.seconds for plan in plans))
    console.print(f"about {total} of training on {len(devices)} × {provenance.device_name()}", soft_wrap=True)
    console.print(f"{memory} of memory and {disk} of disk may be used", soft_wrap=True)
    if idle_steps := max(untrained_steps(trial.options) for each in groups for trial in each.trials):
        ends = "the learning rate ends at 0 (hparams.learning_rate_decay_steps)"
        console.print(f"note: {ends}: the last {idle_steps:,} steps of some agents train nothing", soft_wrap=True)
    if options.dry_run:
        return []
    sweep = sweeps.Sweep(spec, options.spec, groups, plans, directory, options.checkpoint_every, options.loggers)
    if begins:
        if options.resume:
            console.print("note: there is no sweep to resume: it begins anew")
        sweeps.begin(sweep)
    else:
        for line in provenance.differences(sweeps.read_record(directory)):
            console.print(f"note: resuming elsewhere, the last bits may differ: {line}", soft_wrap=True)
    console.print(f"writing to {directory}", soft_wrap=True)
    failed = sweeps.carry_out(sweep, devices, console)
    if failed is None:
        console.print("stopped; continue with")
        console.print(f"  {run_directory.resume_command('jaxrl.experiments.sweep', directory)}", soft_wrap=True)
        return []
    errors = [f"{number}: {error}; see {sweep.error_file(number)}" for number, error in failed.items()]
    problems = [f"groups failed: {'; '.join(errors)}"] if errors else []
    if jax.process_index() == 0:
        best = sweeps.report(sweep, failed, console)
        if not best["finished"].sum():
            problems.append("no agent finished, so that there is none to train again")
        if options.record is not None:
            record(sweep, best, options.record)
    return problems


def devices_for(plans: Sequence[planning.GroupPlan], number: int | None) -> list[jax.Device]:
    """The devices to use: those asked for, or else as many as there are and as divide the chunks already planned.

    Raises:
        ArgumentError: there are fewer, or they do not divide the chunks.
    """
    devices = local_devices(number)
    sizes = sorted({plan.chunk_size for plan in plans})
    if number is None and jax.process_count() == 1:
        devices = devices[: math.gcd(len(devices), *sizes)]
    if any(size % len(devices) for size in sizes):
        raise ArgumentError("num_devices", f"must divide the chunks of {', '.join(map(str, sizes))} agents", number)
    return devices


if __name__ == "__main__":
    main()
