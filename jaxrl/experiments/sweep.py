"""Trains hundreds of agents at once, as a TOML file specifies.

It may vary hyperparameters, static values (those that change the compiled program) and environments.
"""

import dataclasses
import os
import sys
import threading
from pathlib import Path
from typing import Annotated

import jax
import tyro
from annotated_types import Ge, Gt

from jaxrl.arguments import ArgumentError, first_line
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line, fail
from jaxrl.cli.parse import parse
from jaxrl.runs.options import default_hint
from jaxrl.sweeps import read_spec, sweep
from jaxrl.sweeps.comparison import ComparisonOptions
from jaxrl.sweeps.spec import FORMAT

MODULE = "jaxrl.experiments.sweep"
JOIN_SECONDS = 300
"""How long several processes wait for each other."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepOptions(ComparisonOptions):
    spec: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SPEC")]
    """A TOML file that says what to train and which fields to vary."""
    dry_run: bool = False
    """Only print the plan, after compiling the program of each group and timing it for a second."""
    memory: Annotated[float | None, Gt(0), default_hint("four fifths of the free memory")] = None
    """GiB of memory that the agents may take; agents that do not fit train in chunks, one after another."""
    max_groups: Annotated[int, Gt(0)] = 16
    """Maximum number of groups. Agents with equal static values form one group, which compiles its own program."""
    loggers: Annotated[tuple[str, ...], default_hint("none")] = ()
    """Additional loggers for the metrics of each chunk: tensorboard, wandb, or your own module:attribute."""
    num_devices: Annotated[int | None, Gt(0), default_hint("all accelerators, or cores")] = None
    """Devices of each process, or cores of a CPU, to spread the agents over."""
    distributed: bool = False
    """Join the processes that jax finds by itself, as under Slurm, Open MPI, and on Cloud TPUs."""
    coordinator: Annotated[str | None, default_hint("none", "ADDRESS:PORT")] = None
    """Join the processes at the first one's address; needs --num-processes and --process-id."""
    num_processes: Annotated[int | None, Gt(0), default_hint("none")] = None
    """How many processes there are. All need the same --out, on a disk that they share."""
    process_id: Annotated[int | None, Ge(0), default_hint("none")] = None
    """Which of the processes this is, from 0."""


@errors_in_one_line()
def main() -> None:
    options = parse(SweepOptions, f"{__doc__}\n\n{FORMAT}", prog=f"python -m {MODULE}")
    spec = read_spec(options.spec)
    join(options)  # before jax looks at its devices
    prepare_jax(num_cpu_devices=options.num_devices)
    console = screen(quiet=jax.process_index() > 0)
    names = ("out", "resume", "dry_run", "memory", "max_groups", "checkpoint_every", "loggers", "num_devices", "record")
    arguments = {name: getattr(options, name) for name in names}
    result = sweep(spec, console=console, module=MODULE, **arguments)
    if result is not None and result.problems:
        fail("; ".join(result.problems), 1)


def join(options: SweepOptions) -> None:
    """Joins the processes of a sweep that has several.

    Raises:
        ArgumentError: it is not said which, or they cannot be found.
    """
    given = (options.coordinator, options.num_processes, options.process_id)
    if not options.distributed and given == (None, None, None):
        return
    if not options.distributed and None in given:
        raise ArgumentError("coordinator", "needs --num-processes and --process-id", got="")
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
        name, why = "coordinator" if options.coordinator else "distributed", first_line(error)
        raise ArgumentError(name, f"must name processes that can be joined ({why})", options.coordinator) from error
    finally:
        timer.cancel()


if __name__ == "__main__":
    main()
