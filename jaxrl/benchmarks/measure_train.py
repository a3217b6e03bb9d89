"""Environment steps per second while training, beside rejax at the same settings."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import polars as pl

from jaxrl.benchmarks.baseline_process import BaselineError, BaselineLoop, run_baseline
from jaxrl.benchmarks.measure_agents import compile_program, devices_of
from jaxrl.benchmarks.pages import Rows
from jaxrl.benchmarks.rejax_settings import rejax_settings
from jaxrl.benchmarks.timing import TimedLoop, Timing, format_speeds, speeds_of, time_loops
from jaxrl.envs import GAMES
from jaxrl.formatting import format_count, markdown_table
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options, with_values
from jaxrl.runs.task import make_env
from jaxrl.training import OffPolicyConfig
from jaxrl.types import Trainer

WORKER = Path(__file__).with_name("rejax_worker.py")
"""The program that runs where rejax is."""
MATCHED = {"config.loss": "l2", "config.conv_features": 0, "config.shared": False}
"""Settings of jaxrl's networks that rejax cannot change."""

TEXT = """# Speed of training, beside rejax

Environment steps/s of all agents together while they train: medians of {repeats} runs, with their range. The two
libraries take turns, and each run has the whole machine. Compile times are in seconds; they include tracing and the
initial state.

{table}

{failures}Both have the same settings, those of jaxrl's experiments. An iteration steps N environments T times and then
makes these gradient steps, each with one minibatch. rejax's own counters agree with these numbers wherever it is
measured.

{settings}

- rejax runs in a process of its own. The measured loop is that of its `train` without the evaluation in between. A
  population is its `jax.vmap`. jaxrl trains a population on all cores, and a single agent as its experiment does.
- The rules are gymnax's. rejax counts the end of an episode by its time limit as a termination, jaxrl does not.
- rejax has no convolution, and no layers that policy and values share: where both are measured, boards are flattened
  into the dense layers, and PPO and A2C have separate networks.
- rejax has no A2C. It trains PPO with one epoch of one minibatch, which also clips the ratio of probabilities.
- rejax samples a replay without replacement, which takes longer the larger the replay is. jaxrl does it with
  replacement.
- The optimizer is Adam, but RAdam in jaxrl's PQN. rejax clips every number of a gradient, jaxrl its norm. jaxrl also
  records returns, losses and other metrics.

Not measured: purejaxrl, purejaxql and Stoix, for which pip finds no package, and SBX, whose environments step on the
host.{versions}"""


def measure(
    experiment: Experiment,
    agents: int,
    devices: Sequence[jax.Device],
    python: Path | BaselineError,
    seconds: float,
    repeats: int,
) -> Rows:
    """Measures an experiment, of one agent or of a population, and returns a row for each library.

    Args:
        experiment: the experiment.
        agents: how many agents.
        devices: a population is distributed over as many of them as divide it.
        python: the Python of an environment with rejax, or why there is none. Then, or if rejax fails, its row says
            why, and jaxrl is measured alone.
        seconds, repeats: the arguments of `time_loops`.
    """
    many = agents if agents > 1 else None
    options, settings = match(experiment, many)
    _, trainer = experiment.build(*make_env(options.task), options.config)
    used = devices_of(agents, devices)
    _, ours = compile_program(trainer, options, many, used)
    run = {"experiment": experiment.name, "env": options.task.env, "agents": agents, **sizes_of(options)}

    def row(library: str, timing: Timing, **others: Any) -> dict[str, Any]:
        env_steps = timing.num_steps * trainer.steps_per_iteration * agents
        speeds = speeds_of(env_steps, timing.seconds)
        return {**run, "library": library, **speeds, **timing._asdict(), **others}

    warm_up(ours, trainer)
    try:
        with run_rejax(settings, python) as theirs:
            warm_up(theirs, trainer)
            check_steps(theirs, trainer.steps_per_iteration, run["gradient_steps"])
            timing, timing_theirs = time_loops([ours, theirs], seconds, repeats)
        baseline = row("rejax", timing_theirs, versions=theirs.about["versions"])
    except BaselineError as error:
        (timing,) = time_loops([ours], seconds, repeats)
        baseline = {**run, "library": "rejax", "failed": str(error)}
    return [row("jaxrl", timing, devices=len(used)), baseline]


def match(experiment: Experiment, agents: int | None) -> tuple[Options, dict[str, Any] | BaselineError]:
    """The experiment's default options, changed as far as rejax needs it, and rejax's settings, or why it has none."""
    rules = {"rules": "gymnax"} if experiment.defaults.task.env in GAMES else {}
    options = with_values(experiment.defaults, rules)
    matched = with_values(options, MATCHED)
    try:
        return matched, rejax_settings(matched, agents)
    except BaselineError as error:
        return options, error


@contextlib.contextmanager
def run_rejax(settings: dict[str, Any] | BaselineError, python: Path | BaselineError) -> Iterator[BaselineLoop]:
    """The loop of rejax, compiled.

    Raises:
        BaselineError: it cannot be measured, or runs on another kind of device than jaxrl.
    """
    if isinstance(settings, BaselineError):
        raise settings
    if isinstance(python, BaselineError):
        raise python
    with run_baseline(python, WORKER, settings) as loop:
        if (platform := loop.about["platform"]) != (here := jax.default_backend()):
            raise BaselineError(f"it runs on a {platform}, and jaxrl on a {here}")
        yield loop


def sizes_of(options: Options) -> dict[str, Any]:
    """What the speed depends on, in JSON's types. The gradient steps are those of one iteration."""
    config = options.config
    if isinstance(config, OffPolicyConfig):
        epochs, updates, batch_size = None, config.updates_per_iteration, config.batch_size
    else:
        epochs, minibatches = getattr(config, "num_epochs", 1), getattr(config, "num_minibatches", 1)
        updates, batch_size = epochs * minibatches, config.num_envs * config.rollout_length // minibatches
    return {
        "num_envs": config.num_envs,
        "rollout_length": config.rollout_length,
        "gradient_steps": updates,
        "epochs": epochs,
        "batch_size": batch_size,
        "replay_capacity": getattr(config, "replay_capacity", None),
        "layers": layers_of(options),
    }


def layers_of(options: Options) -> str:
    """The layers of the default network, from the first one, in one line."""
    config = options.config
    if not hasattr(config, "hidden_sizes"):
        return "its own"
    channels = getattr(config, "conv_features", 0) if options.task.env in GAMES else 0
    parts = [f"{channels} channels"] * bool(channels) + [*map(str, config.hidden_sizes)]
    others = [name.replace("_", " ") for name in ("layer_norm", "shared") if getattr(config, name, False)]
    return ", ".join([*parts, getattr(config, "activation", "relu"), *others])


def warm_up(loop: TimedLoop | BaselineLoop, trainer: Trainer) -> None:
    """Runs a loop until it learns: for one iteration, and as many as only fill the replay."""
    loop.run(trainer.warmup_steps // trainer.steps_per_iteration + 1)


def check_steps(loop: BaselineLoop, env_steps: int, gradient_steps: int) -> None:
    """Checks the steps of an iteration by the counters of the baseline.

    Raises:
        BaselineError: they are others.
    """
    before = loop.last
    loop.run(1)
    counted = [loop.last[name] - before[name] for name in ("env_steps", "gradient_steps")]
    if counted != [env_steps, gradient_steps]:
        raise BaselineError(f"it makes {_steps(*counted)} in an iteration, not {_steps(env_steps, gradient_steps)}")


def _steps(env_steps: int, gradient_steps: int) -> str:
    return f"{format_count(env_steps, 'environment step')} and {format_count(gradient_steps, 'gradient step')}"


def tabulate(rows: Rows) -> pl.DataFrame:
    """One line for each measurement, of two rows."""

    def line(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
        failed = "failed" in theirs
        ratio = "–" if failed else f"{ours['env_steps_per_second'] / theirs['env_steps_per_second']:.2f}"
        compiling = f"{ours['compile_seconds']:.1f}, " + ("–" if failed else f"{theirs['compile_seconds']:.1f}")
        baseline = "not measured" if failed else format_speeds(theirs)
        return [ours["experiment"], f"{ours['agents']:,}", format_speeds(ours), baseline, ratio, compiling]

    columns = ["experiment", "agents", "jaxrl, steps/s", "rejax, steps/s", "ratio", "compile s"]
    lines = [line(*pair) for pair in zip(rows[::2], rows[1::2], strict=True)]
    return pl.DataFrame(lines, columns, orient="row")


def tabulate_settings(rows: Rows) -> pl.DataFrame:
    """One line for each experiment."""

    def line(row: dict[str, Any]) -> list[str]:
        epochs, replay = row["epochs"], row["replay_capacity"]
        numbers = [row["num_envs"], row["rollout_length"], row["gradient_steps"], epochs, row["batch_size"], replay]
        return [row["experiment"], row["env"], *("–" if x is None else f"{x:,}" for x in numbers), row["layers"]]

    columns = ["experiment", "environment", "N", "T", "gradient steps", "epochs", "minibatch", "replay", "layers"]
    lines = {row["experiment"]: line(row) for row in rows}
    return pl.DataFrame([*lines.values()], columns, orient="row")


def failures(rows: Rows) -> list[str]:
    """Why rejax was not measured, one line each."""
    failed = [row for row in rows if "failed" in row]
    return [f"{row['experiment']}, {format_count(row['agents'], 'agent')}: {row['failed']}" for row in failed]


def describe(rows: Rows, repeats: int) -> str:
    """What was measured, and the tables, in Markdown."""
    table, settings = tabulate(rows), tabulate_settings(rows)
    versions: dict[str, str] = next((row["versions"] for row in rows if "versions" in row), {})
    failed = [f"- rejax is not measured on {line}\n" for line in failures(rows)]
    return TEXT.format(
        repeats=repeats,
        table=markdown_table(table, right=table.columns[1:]),
        failures="".join(failed) + "\n" * bool(failed),
        settings=markdown_table(settings, right=settings.columns[2:8]),
        versions=f"\n\nrejax ran with {', '.join(f'{name} {x}' for name, x in versions.items())}." * bool(versions),
    )
