"""Measures the speed of environments, of prioritised sampling, of training, of emulators, and of accelerators."""

import dataclasses
import itertools
import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import platformdirs
import polars as pl
import tyro
from annotated_types import Gt, Interval
from rich.console import Console

from jaxrl.arguments import ArgumentError, renaming
from jaxrl.arguments import check as check_bounds
from jaxrl.benchmarks import (
    accelerator_items,
    baseline_process,
    env_tables,
    measure_accelerator,
    measure_agents,
    measure_atari,
    measure_envs,
    measure_limits,
    measure_replay,
    measure_robots,
    measure_train,
    pages,
    rejax_settings,
)
from jaxrl.benchmarks.baseline_process import BaselineError
from jaxrl.cli.command import check_platform, prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line, fail
from jaxrl.cli.parse import parse
from jaxrl.envs import GAMES
from jaxrl.envs.atari import ATARI
from jaxrl.formatting import screen_table
from jaxrl.runs import options as run_options
from jaxrl.runs import provenance
from jaxrl.runs.experiment import Experiment, build, find_experiment, trace
from jaxrl.runs.run_directory import make_directory
from jaxrl.runs.task import make_env, parse_env_options
from jaxrl.training.devices import local_devices

Size = Annotated[int, Interval(gt=0, le=2**20)]


@dataclasses.dataclass(frozen=True)
class Benchmark:
    seconds: Annotated[float, Interval(gt=0, le=3600)] = 0.5
    """Approximate duration of one timed run. A run has at least 8 steps."""
    repeats: Annotated[int, Interval(gt=0, lt=2**31)] = 5
    """Number of timed runs of each program. Results are their medians."""
    record: Annotated[Path | None, run_options.default_hint("nowhere", "DIR")] = None
    """Directory for the results and a README.md that explains them."""


@dataclasses.dataclass(frozen=True)
class Envs(Benchmark):
    """Steps per second of N environments under a random policy, compared with gymnax and pgx."""

    envs: tuple[str, ...] = (*GAMES, "CartPole-v1")
    """Environments to measure."""
    num_envs: tuple[Annotated[int, Interval(gt=0, le=2**24)], ...] = (1, 64, 1024, 4096, 65536)
    """Numbers of environments N to step at once."""
    baselines: bool = True
    """Also measure gymnax, and pgx if it and pgx-minatar are installed."""


@dataclasses.dataclass(frozen=True)
class Replay(Benchmark):
    """Time of prioritised sampling with the sum tree, compared with a cumulative sum over all priorities."""

    capacities: tuple[Annotated[int, Interval(gt=0, le=2**30)], ...] = (100_000, 1_000_000)
    """Capacities of the replay buffer, in transitions."""
    num_agents: tuple[Size, ...] = (1, 64)
    """Numbers of agents that share one program. Each has its own priorities."""
    batch_sizes: tuple[Size, ...] = (32, 256)
    """Numbers of transitions to sample at once."""


@dataclasses.dataclass(frozen=True)
class Agents(Benchmark):
    """Training speed of populations, compared with a single agent."""

    seconds: Annotated[float, Interval(gt=0, le=3600)] = 4.0
    """Approximate duration of one timed run. A run has at least 8 iterations."""
    experiment: str = "dqn_minatar"
    """The experiment that the agents train on."""
    num_agents: tuple[Size, ...] = (1, 4, 16, 64, 256)
    """Numbers of agents in one population."""
    config: Annotated[tuple[str, ...], run_options.default_hint("the experiment's", "[NAME=VALUE ...]")] = ()
    """Fields of the experiment's config to change, such as replay_capacity=1000000."""
    num_devices: Annotated[int | None, Gt(0), run_options.default_hint("all accelerators, or all cores")] = None
    """Number of devices (on a CPU, of cores) to distribute the agents over."""


@dataclasses.dataclass(frozen=True)
class Train(Benchmark):
    """Training speed of one agent and of populations, compared with rejax at the same settings."""

    seconds: Annotated[float, Interval(gt=0, le=3600)] = 2.0
    """Approximate duration of one timed run. A run has at least 8 iterations."""
    experiments: tuple[str, ...] = (
        "dqn_cartpole", "pqn_cartpole", "ppo_cartpole", "a2c_cartpole",
        "dqn_minatar", "rainbow_minatar", "pqn_minatar", "ppo_minatar",
    )  # fmt: skip
    """The experiments to measure with one agent."""
    populations: Annotated[tuple[str, ...], run_options.default_hint("the first four, on CartPole")] = experiments[:4]
    """The experiments to measure with a population."""
    num_agents: Size = 64
    """Number of agents in a population."""
    baselines: bool = True
    """Also measure rejax, which pip installs into a virtual environment of its own at the first time."""
    cache: Annotated[Path | None, run_options.default_hint("in the user's cache folder", "DIR")] = None
    """Directory of this virtual environment."""


@dataclasses.dataclass(frozen=True)
class Accelerator:
    """What works on this machine's accelerator, whether it is right there, and how fast, in a few minutes."""

    minutes: Annotated[float, Interval(gt=0, le=1440)] = 8.0
    """Minutes after which no measurement begins any more. The most important ones come first."""
    small: bool = False
    """Use small sizes, which any machine can run, to try the benchmark itself."""
    workers: Annotated[int, Interval(gt=0, le=64)] = 8
    """Programs to compile at once."""
    record: Annotated[Path | None, run_options.default_hint("nowhere", "DIR")] = None
    """Directory for the results and a README.md that explains them."""


@dataclasses.dataclass(frozen=True)
class Limits(Benchmark):
    """How near training comes to the time that its matrix products and other kernels need at best."""

    experiments: tuple[str, ...] = (
        "dqn_minatar", "rainbow_minatar", "pqn_minatar", "ppo_minatar", "ppo_cartpole", "a2c_cartpole",
    )  # fmt: skip
    """The experiments to measure."""
    num_agents: tuple[Size, ...] = (1,)
    """Numbers of agents in one program."""


@dataclasses.dataclass(frozen=True)
class Robots(Benchmark):
    """Training speed of PPO and SAC on robots, compared with brax's own at the same settings."""

    seconds: Annotated[float, Interval(gt=0, le=3600)] = 5.0
    """Approximate duration of one timed run. A run has at least 8 iterations."""
    experiments: tuple[Literal["ppo_robot", "sac_robot"], ...] = ("ppo_robot", "sac_robot")
    """The experiments to measure."""
    envs: tuple[str, ...] = ("brax:inverted_pendulum", "brax:hopper")
    """Robots of brax."""
    backend: Literal["generalized", "positional", "spring", "mjx"] = "spring"
    """The physics of brax."""


@dataclasses.dataclass(frozen=True)
class Atari(Benchmark):
    """Speed of Atari's emulators, compared with ale-py's own environment, and how much of it DQN hides."""

    seconds: Annotated[float, Interval(gt=0, le=3600)] = 5.0
    """Approximate duration of one timed run. A run has at least 8 steps, or iterations."""
    envs: tuple[str, ...] = ("atari:Pong", "atari:Breakout")
    """Games to measure."""
    num_envs: Size = 8
    """Number of games to step at once."""


BENCHMARKS = ("envs", "replay", "agents", "train", "robots", "atari", "limits", "accelerator")
Options = (
    Annotated[Envs, tyro.conf.subcommand("envs")]
    | Annotated[Replay, tyro.conf.subcommand("replay")]
    | Annotated[Agents, tyro.conf.subcommand("agents")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[Robots, tyro.conf.subcommand("robots")]
    | Annotated[Atari, tyro.conf.subcommand("atari")]
    | Annotated[Limits, tyro.conf.subcommand("limits")]
    | Annotated[Accelerator, tyro.conf.subcommand("accelerator")]
)


def check(options: Benchmark | Accelerator) -> None:
    """Checks all options before anything compiles.

    Raises:
        ArgumentError: an option cannot be used.
    """
    check_bounds(options)
    for field in dataclasses.fields(options):
        if getattr(options, field.name) == () and field.name not in ("config", "populations"):
            raise ArgumentError(field.name, "must have at least one value", got="none")
    if options.record is not None:
        make_directory(options.record, "record")


def benchmark_envs(options: Envs, console: Console) -> None:
    """Measures all environments. It shows and records each at once, so that stopping early loses little."""
    missing = {name: measure_envs.missing_modules(name) for name in measure_envs.BASELINES if options.baselines}
    baselines = [name for name in missing if not missing[name]]
    for env_id in options.envs:
        with renaming(env_id="envs"):
            measure_envs.implementations(env_id, 1, baselines)
    check(options)
    for name in missing:
        if missing[name]:
            console.print(f"note: {name} is not measured, because it needs {' and '.join(missing[name])}")
    modules = [module for name in baselines for module in measure_envs.BASELINES[name]]
    started, rows = provenance.now(), []
    for env_id in dict.fromkeys(options.envs):
        here: pages.Rows = []
        for num_envs in sorted(set(options.num_envs)):
            with console.status(f"{env_id}, {num_envs:,} environments"):
                here += measure_envs.measure(env_id, num_envs, baselines, options.seconds, options.repeats)
        rows += here
        console.print(f"\n{env_id} ({env_tables.rules_of(here)})", soft_wrap=True)
        show(env_tables.tabulate(here), console)
        if options.record is not None:
            text, picture = env_tables.describe(rows), env_tables.PICTURE
            pages.write(options.record, rows, started, text, picture, env_tables.draw, modules)


def benchmark_replay(options: Replay, console: Console) -> None:
    """Measures prioritised sampling for all combinations of sizes."""
    check(options)
    started, rows = provenance.now(), []
    for sizes in itertools.product(options.capacities, options.num_agents, options.batch_sizes):
        with console.status("{:,} transitions, {:,} agents, batches of {:,}".format(*sizes)):
            rows += measure_replay.measure(*sizes, options.seconds, options.repeats)
        if options.record is not None:
            pages.write(options.record, rows, started, measure_replay.describe(rows))
    show(measure_replay.tabulate(rows), console)


def benchmark_agents(options: Agents, console: Console) -> None:
    """Measures populations of all sizes."""
    check(options)
    prepare_jax(num_cpu_devices=options.num_devices)
    devices = local_devices(options.num_devices)
    experiment = find_experiment(options.experiment)
    run = change_config(experiment, options.config)
    started, rows = provenance.now(), []
    for number in options.num_agents:
        with console.status(f"{number:,} agents"):
            rows.append(measure_agents.measure(experiment, run, number, devices, options.seconds, options.repeats))
        if options.record is not None:
            text = measure_agents.describe(rows, options.config)
            pages.write(options.record, rows, started, text, measure_agents.PICTURE, measure_agents.draw)
    show(measure_agents.tabulate(rows), console)


def benchmark_train(options: Train, console: Console) -> None:
    """Measures all experiments. It records each at once, so that stopping early loses little."""
    check(options)
    prepare_jax(num_cpu_devices=None)
    names = [("experiments", name, 1) for name in options.experiments]
    names += [("populations", name, options.num_agents) for name in options.populations]
    runs = []
    for option, name, agents in names:
        with renaming(experiment=option):
            runs.append((find_experiment(name), agents))
    with console.status("installing rejax"):
        python = install_rejax(options)
    started, rows, devices = provenance.now(), [], local_devices(None)
    for experiment, agents in runs:
        with console.status(f"{experiment.name}, {agents:,} agents"):
            rows += measure_train.measure(experiment, agents, devices, python, options.seconds, options.repeats)
        if options.record is not None:
            pages.write(options.record, rows, started, measure_train.describe(rows, options.repeats))
    show(measure_train.tabulate(rows), console)
    for line in measure_train.failures(rows):
        console.print(f"note: rejax is not measured on {line}", soft_wrap=True)


def install_rejax(options: Train) -> Path | BaselineError:
    """The Python that has rejax, or why there is none."""
    if not options.baselines:
        return BaselineError("--no-baselines")
    cache = options.cache or Path(platformdirs.user_cache_dir("jaxrl")) / "baselines"
    make_directory(cache, "cache")
    try:
        return baseline_process.install(cache, rejax_settings.REQUIREMENTS)
    except BaselineError as error:
        return error


def benchmark_robots(options: Robots, console: Console) -> None:
    """Measures all experiments on all robots. It records each at once, so that stopping early loses little."""
    check(options)
    runs = list(itertools.product(map(find_experiment, options.experiments), options.envs))
    for experiment, env_id in runs:
        with renaming(env="envs"):
            if not env_id.startswith("brax:"):
                raise ArgumentError("env", "must be a robot of brax, such as brax:hopper", env_id)
            make_env(measure_robots.match(experiment, env_id, options.backend).task)
    started, rows = provenance.now(), []
    for experiment, env_id in runs:
        with console.status(f"{experiment.name}, {env_id}"):
            rows += measure_robots.measure(experiment, env_id, options.backend, options.seconds, options.repeats)
        if options.record is not None:
            pages.write(options.record, rows, started, measure_robots.describe(rows), packages=["brax"])
    show(measure_robots.tabulate(rows), console)


def benchmark_atari(options: Atari, console: Console) -> None:
    """Measures all games. It records each at once, so that stopping early loses little."""
    check(options)
    experiment = find_experiment("dqn_atari")
    for env_id in options.envs:
        with renaming(env="envs", env_id="envs"):
            if not env_id.startswith(f"{ATARI}:"):
                raise ArgumentError("env", f"must be a game of Atari, such as {ATARI}:Pong", env_id)
            make_env(run_options.with_values(experiment.defaults, {"env": env_id}).task)
    started, rows = provenance.now(), []
    for env_id in options.envs:
        with console.status(env_id):
            rows += measure_atari.measure(experiment, env_id, options.num_envs, options.seconds, options.repeats)
        if options.record is not None:
            pages.write(options.record, rows, started, measure_atari.describe(rows), packages=["ale-py"])
    show(measure_atari.tabulate(rows), console)


def benchmark_limits(options: Limits, console: Console) -> None:
    """Measures all experiments."""
    check(options)
    experiments = []
    for name in options.experiments:
        with renaming(experiment="experiments"):
            experiments.append(find_experiment(name))
    started, rows = provenance.now(), []
    for experiment, agents in itertools.product(experiments, options.num_agents):
        with console.status(f"{experiment.name}, {agents:,} agents"):
            rows.append(measure_limits.measure(experiment, agents, options.seconds, options.repeats))
        if options.record is not None:
            pages.write(options.record, rows, started, measure_limits.describe(rows, options.repeats))
    show(measure_limits.tabulate(rows), console)


def benchmark_accelerator(options: Accelerator, console: Console) -> None:
    """Measures what time allows. It shows and records each result at once."""
    check(options)
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")  # for large replays; the rest is for other commands
    check_platform()
    started, rows = provenance.now(), []

    def report(row: dict[str, Any]) -> None:
        rows.append(row)
        console.print(measure_accelerator.line(row), soft_wrap=True)
        if options.record is not None:
            pages.write(options.record, rows, started, measure_accelerator.describe(rows, options.minutes))

    sizes = accelerator_items.SMALL if options.small else accelerator_items.Sizes()
    measure_accelerator.measure(sizes, options.minutes, options.workers, report)
    if failed := [row["item"] for row in rows if "failed" in row]:
        fail(f"failed: {', '.join(failed)}", 1)


def show(table: pl.DataFrame, console: Console) -> None:
    """Prints a table of numbers."""
    console.print(screen_table(table, right=table.columns))


def change_config(experiment: Experiment, config: run_options.EnvOptions) -> run_options.Options:
    """The experiment's default options with some values of its config changed.

    Raises:
        ArgumentError: there is no such value, or the experiment cannot use it.
    """
    with renaming(env_options="config"):
        values = {f"config.{name}": value for name, value in parse_env_options(config).items()}
    unknown = values.keys() - run_options.flatten(experiment.defaults).keys()
    if unknown:
        raise ArgumentError("config", f"must name fields of {experiment.name}'s config", min(unknown))
    options = run_options.with_values(experiment.defaults, values)
    run_options.check_options(options)
    _, trainer = build(experiment, *make_env(options.task), options)
    trace(experiment, trainer, options)
    return options


@errors_in_one_line()
def main() -> None:
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
    if sys.argv[1:2] and not sys.argv[1].startswith("-") and sys.argv[1] not in BENCHMARKS:
        fail(f"the benchmark must be one of {', '.join(BENCHMARKS)}, got {sys.argv[1]!r}", 2)
    options: Any = parse(Options, __doc__, prog="python -m jaxrl.experiments.benchmark")
    if not isinstance(options, Agents | Train | Accelerator):  # which configure jax before it looks at its devices
        check_platform()
    run: Any = {
        Envs: benchmark_envs,
        Replay: benchmark_replay,
        Agents: benchmark_agents,
        Train: benchmark_train,
        Robots: benchmark_robots,
        Atari: benchmark_atari,
        Limits: benchmark_limits,
        Accelerator: benchmark_accelerator,
    }[type(options)]
    run(options, screen())


if __name__ == "__main__":
    main()
