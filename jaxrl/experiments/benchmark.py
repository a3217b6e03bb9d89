"""Measures the worlds' steps per second beside gymnax and pgx."""

import dataclasses
import importlib.metadata
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import tyro
from annotated_types import Interval
from rich.console import Console

from jaxrl.arguments import ArgumentError
from jaxrl.benchmarks import report
from jaxrl.benchmarks.envs import PEERS, lineup, measure_world, missing_modules
from jaxrl.cli import run_directory
from jaxrl.cli.checks import UsageError, check_options, make_directory
from jaxrl.cli.train import fail
from jaxrl.envs import GAMES


@dataclasses.dataclass(frozen=True)
class Options:
    what: tyro.conf.Positional[Literal["envs"]]
    """envs: steps per second of N worlds under a random policy, and compile times."""
    worlds: tuple[str, ...] = (*GAMES, "CartPole-v1")
    """Which worlds."""
    num_envs: tuple[Annotated[int, Interval(gt=0, le=2**24)], ...] = (1, 64, 1024, 4096, 65536)
    """Numbers of worlds stepped side by side."""
    seconds: Annotated[float, Interval(gt=0, le=3600)] = 0.5
    """About how long one timed run takes; it has at least 8 steps."""
    repeats: Annotated[int, Interval(gt=0, lt=2**31)] = 5
    """Timed runs of each program, of which the median counts."""
    peers: bool = True
    """Also measure gymnax, and pgx where pgx and pgx-minatar are installed."""
    record: Path | None = None
    """Keep results, plot and a page that explains them in this directory (such as experiments/benchmark_envs)."""


def check(options: Options, peers: list[str]) -> None:
    """Checks all that can be checked before anything compiles.

    Raises:
        UsageError: an option cannot be used.
    """
    check_options(options)
    for name in ("worlds", "num_envs"):
        if not getattr(options, name):
            raise UsageError(f"--{name.replace('_', '-')} must name at least one, got none")
    for world in options.worlds:
        try:
            lineup(world, 1, peers)
        except ArgumentError as error:
            raise UsageError(str(error).replace("env_id", "--worlds", 1)) from error
    if options.record is not None:
        make_directory(options.record, "--record")


def results(rows: report.Rows, started: str, peers: list[str]) -> dict[str, Any]:
    """What `results.json` says: the rows, and how and where they were made."""
    provenance = run_directory.provenance()
    for module in (module for peer in peers for module in PEERS[peer]):
        provenance["versions"][module] = importlib.metadata.version(module)
    command = shlex.join(["python", "-m", "jaxrl.experiments.benchmark", *sys.argv[1:]])
    return {"command": command, "started": started, "commit": run_directory.commit(), **provenance, "rows": rows}


def benchmark(options: Options, console: Console) -> None:
    """Measures, shows, and records after every world, so that a long call that is stopped leaves what it found."""
    peers = []
    for peer in PEERS if options.peers else ():
        if missing := missing_modules(peer):
            console.print(f"note: {peer} is not measured: {' and '.join(missing)} not installed")
        else:
            peers.append(peer)
    check(options, peers)
    started, rows = run_directory.now(), []
    for world in dict.fromkeys(options.worlds):
        for num_envs in sorted(set(options.num_envs)):
            with console.status(f"{world}, N = {num_envs:,}"):
                rows += measure_world(world, num_envs, peers, options.seconds, options.repeats)
        here = [row for row in rows if row["world"] == world]
        console.print(f"\n{world} ({report.protocols(report.compare(here))})", soft_wrap=True)
        console.print(report.screen_table(here))
        if options.record is not None:
            found = results(rows, started, peers)
            run_directory.write_json(options.record / report.RESULTS, found)
            (options.record / "README.md").write_text(report.page(found))
            report.draw(rows, run_directory.device_name(), options.record / report.PLOT)


def main() -> None:
    options = tyro.cli(Options, description=__doc__, prog="python -m jaxrl.experiments.benchmark")
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
    try:
        benchmark(options, Console(highlight=False))
    except UsageError as error:
        fail(str(error), 2)
    except OSError as error:
        fail(str(error), 1)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        fail(f"not enough memory: {str(error).splitlines()[0]}", 1)
    except KeyboardInterrupt:
        fail("interrupted", 130)


if __name__ == "__main__":
    main()
