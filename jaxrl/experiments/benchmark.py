"""Measures the speed of environments beside gymnax and pgx, of prioritised sampling, and of populations of agents."""

import dataclasses
import importlib.metadata
import itertools
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro
from annotated_types import Gt, Interval
from rich.console import Console

from jaxrl.arguments import ArgumentError
from jaxrl.arguments import check as check_bounds
from jaxrl.benchmarks import agents as populations
from jaxrl.benchmarks import replay, report
from jaxrl.benchmarks.envs import PEERS, lineup, measure_env, missing_modules
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.envs import GAMES
from jaxrl.plots.errors import errors_as_notes
from jaxrl.runs import checks, provenance, run_directory
from jaxrl.runs import options as experiment_lib
from jaxrl.runs.checks import make_directory
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import EnvOptions, check_options, default_hint, flatten, make_options, with_values
from jaxrl.sweeps.spec import find_experiment


@dataclasses.dataclass(frozen=True)
class Envs:
    """Steps per second of N environments under a random policy, and compile times."""

    envs: tuple[str, ...] = (*GAMES, "CartPole-v1")
    """Which environments."""
    num_envs: tuple[Annotated[int, Interval(gt=0, le=2**24)], ...] = (1, 64, 1024, 4096, 65536)
    """Numbers of environments stepped side by side."""
    seconds: Annotated[float, Interval(gt=0, le=3600)] = 0.5
    """About how long one timed run takes; it has at least 8 steps."""
    repeats: Annotated[int, Interval(gt=0, lt=2**31)] = 5
    """Timed runs of each program, of which the median counts."""
    peers: bool = True
    """Also measure gymnax, and pgx where pgx and pgx-minatar are installed."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Keep results, plot and a page that explains them in this directory (such as experiments/benchmark_envs)."""


@dataclasses.dataclass(frozen=True)
class Replay:
    """Time of prioritised sampling: by the sum tree, and by a cumulative sum over all priorities."""

    capacities: tuple[Annotated[int, Interval(gt=0, le=2**30)], ...] = (100_000, 1_000_000)
    """Numbers of transitions."""
    agents: tuple[Annotated[int, Interval(gt=0, le=2**20)], ...] = (1, 64)
    """Numbers of agents in one program, each with its own priorities."""
    batch_sizes: tuple[Annotated[int, Interval(gt=0, le=2**20)], ...] = (32, 256)
    """Transitions sampled a step."""
    seconds: Annotated[float, Interval(gt=0, le=3600)] = 0.5
    """About how long one timed run takes; it has at least 8 steps."""
    repeats: Annotated[int, Interval(gt=0, lt=2**31)] = 5
    """Timed runs of each program, of which the median counts."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Keep results and a page that explains them in this directory (such as experiments/benchmark_replay)."""


@dataclasses.dataclass(frozen=True)
class Agents:
    """Steps per second of populations that learn, each beside one agent that has the machine to itself."""

    experiment: str = "dqn_minatar"
    """What they learn: any training experiment."""
    agents: tuple[Annotated[int, Interval(gt=0, le=2**20)], ...] = (1, 4, 16, 64, 256)
    """Numbers of agents."""
    config: Annotated[
        tuple[str, ...],
        tyro.conf.arg(metavar="[NAME=VALUE ...]", help_behavior_hint="(default: the experiment's)"),
    ] = ()
    """Static values other than the experiment's, such as replay_capacity=1000000."""
    num_devices: Annotated[int | None, Gt(0), default_hint("all accelerators, or cores")] = None
    """Devices, or cores of a CPU, to spread them over."""
    seconds: Annotated[float, Interval(gt=0, le=3600)] = 4.0
    """About how long one timed run takes; it has at least 8 iterations."""
    repeats: Annotated[int, Interval(gt=0, lt=2**31)] = 5
    """Timed runs of each program, of which the median counts."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Keep results, plot and a page that explains them in this directory (such as experiments/benchmark_agents)."""


Options = (
    Annotated[Envs, tyro.conf.subcommand("envs")]
    | Annotated[Replay, tyro.conf.subcommand("replay")]
    | Annotated[Agents, tyro.conf.subcommand("agents")]
)


def check(options: Envs | Replay | Agents, peers: Sequence[str] = ()) -> None:
    """Checks all that can be checked before anything compiles.

    Raises:
        ArgumentError: an option cannot be used.
    """
    check_bounds(options)
    for field in dataclasses.fields(options):
        if getattr(options, field.name) == () and field.name != "config":
            raise ArgumentError(field.name, "must name at least one", got="none")
    for env_id in options.envs if isinstance(options, Envs) else ():
        try:
            lineup(env_id, 1, peers)
        except ArgumentError as error:
            if error.name == "env_id":
                error.name = "envs"
            raise
    if options.record is not None:
        make_directory(options.record, "record")


def results(rows: report.Rows, started: str, peers: Sequence[str] = ()) -> dict[str, Any]:
    """What `results.json` says: the rows, and how and where they were made."""
    made = provenance.describe()
    for module in (module for peer in peers for module in PEERS[peer]):
        made["versions"][module] = importlib.metadata.version(module)
    command = shlex.join(["python", "-m", "jaxrl.experiments.benchmark", *sys.argv[1:]])
    return {"command": command, "started": started, "commit": provenance.commit(), **made, "rows": rows}


def benchmark_envs(options: Envs, console: Console) -> None:
    """Measures, shows and records after every environment, so that stopping a long call loses little."""
    peers = []
    for peer in PEERS if options.peers else ():
        if missing := missing_modules(peer):
            console.print(f"note: {peer} is not measured: {' and '.join(missing)} not installed")
        else:
            peers.append(peer)
    check(options, peers)
    started, rows = provenance.now(), []
    for env_id in dict.fromkeys(options.envs):
        for num_envs in sorted(set(options.num_envs)):
            with console.status(f"{env_id}, N = {num_envs:,}"):
                rows += measure_env(env_id, num_envs, peers, options.seconds, options.repeats)
        here = [row for row in rows if row["environment"] == env_id]
        console.print(f"\n{env_id} ({report.descriptions(report.compare(here))})", soft_wrap=True)
        console.print(report.screen_table(here))
        if options.record is not None:
            found = results(rows, started, peers)
            run_directory.write_json(options.record / report.RESULTS, found)
            (options.record / "README.md").write_text(report.page(found))
            with errors_as_notes(options.record / report.PLOT):
                report.draw(rows, provenance.device_name(), options.record / report.PLOT)


def benchmark_replay(options: Replay, console: Console) -> None:
    """The same for prioritised sampling."""
    check(options)
    started, rows = provenance.now(), []
    for sizes in itertools.product(options.capacities, options.agents, options.batch_sizes):
        with console.status("{:,} transitions, A = {:,}, B = {:,}".format(*sizes)):
            rows += replay.measure_replay(*sizes, options.seconds, options.repeats)
        if options.record is not None:
            found = results(rows, started)
            run_directory.write_json(options.record / report.RESULTS, found)
            (options.record / "README.md").write_text(replay.page(found))
    console.print(replay.screen_table(rows))


def benchmark_agents(options: Agents, console: Console) -> None:
    """The same for populations."""
    check(options)
    prepare_jax(num_cpu_devices=options.num_devices)
    devices = checks.devices(options.num_devices)
    experiment = find_experiment(options.experiment)
    run = changed(experiment, options.config)
    started, rows = provenance.now(), []
    for agents in options.agents:
        with console.status(f"A = {agents:,}"):
            rows.append(populations.measure_agents(experiment, run, agents, devices, options.seconds, options.repeats))
        if options.record is not None:
            found = results(rows, started)
            run_directory.write_json(options.record / report.RESULTS, found)
            (options.record / "README.md").write_text(populations.page(found, options.config))
            with errors_as_notes(options.record / populations.PLOT):
                populations.draw(rows, provenance.device_name(), options.record / populations.PLOT)
    console.print(populations.screen_table(rows))


def changed(experiment: Experiment, config: EnvOptions) -> experiment_lib.Options:
    """The options of a plain call with other static values.

    Raises:
        ArgumentError: there is no such value, or they cannot be run.
    """
    values = {f"config.{name}": value for name, value in make_options(config).items()}
    unknown = values.keys() - flatten(experiment.defaults).keys()
    if unknown:
        raise ArgumentError("config", f"must be of {experiment.name}, which has no {min(unknown)}", config)
    options = with_values(experiment.defaults, values)
    check_options(options)
    checks.build(experiment, *checks.make_env(options.task.env, options.task.rules, options.task.env_options), options)
    return options


@errors_in_one_line()
def main() -> None:
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
    options: Any = parse(Options, __doc__, prog="python -m jaxrl.experiments.benchmark")
    if not isinstance(options, Agents):  # they choose how many devices a CPU is
        checks.check_platform()
    run: Any = {Envs: benchmark_envs, Replay: benchmark_replay, Agents: benchmark_agents}[type(options)]
    run(options, screen())


if __name__ == "__main__":
    main()
