"""Training: check the options, train, evaluate, and write the run directory."""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from jaxrl.arguments import ArgumentError
from jaxrl.envs import HostEnvironment, describe_rules
from jaxrl.formatting import format_bytes, format_rows, interval_95
from jaxrl.memory import available_memory
from jaxrl.plots.learning_curve import draw_learning_curve
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.plots.video import play, save_video
from jaxrl.random import key_streams
from jaxrl.runs import provenance, run_directory
from jaxrl.runs.experiment import Experiment, build, check_effective, naming_options, trace
from jaxrl.runs.options import Options, check_options, flatten, untrained_steps, with_values
from jaxrl.runs.progress import ScreenLogger
from jaxrl.runs.run_record import describe_entries, describe_measuring, describe_return, record
from jaxrl.runs.task import make_env, with_map
from jaxrl.training.best import Best
from jaxrl.training.checkpoint import CheckpointError, Checkpoints
from jaxrl.training.checks import check_constants, check_evaluates
from jaxrl.training.devices import bytes_of, local_copies, local_devices, mesh_of, to_host
from jaxrl.training.evaluation import Evaluation, evaluation_while_training
from jaxrl.training.host_loop import RunResult, run
from jaxrl.training.host_program import HostProgram, make_program
from jaxrl.training.hparams import repeat
from jaxrl.training.loggers import Profiler, RunInfo, make_loggers
from jaxrl.training.measure import Measure, measure_of
from jaxrl.training.program import DivergedError, Program
from jaxrl.training.rows import whole_steps
from jaxrl.types import Agent, Array, Hparams, PyTree, unit_of

VIDEO_STEPS = 400


class Setup(NamedTuple):
    """A run whose options are checked. `key` and `hparams` are of one agent, or `[A]` of several seeds."""

    experiment: Experiment
    options: Options
    env: Any
    env_params: Any
    rules: str
    agent: Agent
    program: Program | HostProgram
    key: Array
    hparams: Hparams
    measure: Measure
    eval_keys: Array
    video_key: Array
    devices: Sequence[jax.Device]


def train(experiment: Experiment, options: Options, console: Console) -> tuple[Path, dict[str, Any] | None]:
    """Trains, evaluates the trained agents, and writes the run directory.

    Returns:
        The directory, and the contents of its `summary.json`: None if a signal stopped the run, which can be resumed.

    Raises:
        ArgumentError: the options cannot be used; nothing was written.
        DivergedError, CheckpointError, OSError: the run had to stop, or not all of it could be written.
    """
    setup = prepare(experiment, options, console)
    with contextlib.ExitStack() as locks:
        directory, resume = open_directory(setup, console, locks)
        locks.enter_context(run_directory.noting_progress(directory, setup.program.trainer))
        result, problems = learn(setup, directory, resume, console)
        if not result.finished:
            console.print(f"stopped at {result.steps:,} {setup.program.trainer.unit.words}; the run is saved")
            return directory, None
        summary = report(setup, result, directory, problems, console)
        if problems:
            raise problems[0]
        return directory, summary


def prepare(experiment: Experiment, options: Options, console: Console) -> Setup:
    """Checks everything that can be checked before anything compiles or is written, the fastest checks first."""
    check_options(options)
    make_loggers(options.execution.loggers)
    options = dataclasses.replace(options, task=with_map(options.task))
    resumes = run_directory.check_out(experiment, options)
    run_directory.check_record(options.execution.record, options.execution.out)
    env, env_params = make_env(options.task)
    agent, trainer = build(experiment, env, env_params, options)
    if options.execution.keep_best:
        budget = options.budget
        check_evaluates(trainer, budget.total_steps, budget.log_every, budget.eval_every)
    if not resumes:
        check_effective(experiment, env, env_params, options)
    if isinstance(env, HostEnvironment) and options.execution.debug_nans:
        raise ArgumentError("debug_nans", f"must be left out, for {options.task.env} steps on the host", got="")
    rules = describe_rules(env, env_params)
    console.print(f"{experiment.algorithm} on {options.task.env} ({rules})", soft_wrap=True)
    trainer = trace(experiment, trainer, options)
    seeds = options.budget.seeds
    train_keys, eval_keys, video_keys = key_streams(seeds)
    key, hparams = (
        (train_keys, repeat(options.hparams, len(seeds))) if len(seeds) > 1 else (train_keys[0], options.hparams)
    )
    devices = local_devices(options.execution.num_devices)
    with naming_options(experiment, options):
        if resumes and options.execution.out is not None:
            out = options.execution.out
            check_constants(run_directory.checkpoints(out).info().get("constants"), trainer, out)
        program = make_program(trainer, key, hparams, devices=devices, sequential=options.execution.sequential)
    run_directory.check_disk(options.execution.out or Path("runs"), program.shapes)
    measure = measure_of(agent, env, env_params, options.budget.eval_episodes, options.budget.eval_max_steps)
    return Setup(
        experiment, options, env, env_params, rules, agent, program, key, hparams, measure, eval_keys,
        video_keys[0], devices,
    )  # fmt: skip


def open_directory(setup: Setup, console: Console, locks: contextlib.ExitStack) -> tuple[Path, bool]:
    """Makes and locks the directories of a run, and writes `config.json`.

    Returns:
        The run's directory, and whether the run continues from a checkpoint there.
    """
    experiment, options, execution = setup.experiment, setup.options, setup.options.execution
    for path, option in ((execution.record, "record"), (execution.profile, "profile")):
        if path is not None:
            run_directory.make_directory(path, option)
    directory = run_directory.make_out(execution.out, experiment.name)
    locks.enter_context(run_directory.lock(directory, "out"))
    if execution.record is not None:
        locks.enter_context(run_directory.lock(execution.record, "record"))
    resume = run_directory.check_out(experiment, options)  # another process may have written there since
    options = with_values(options, {"out": directory})
    console.print(f"writing to {directory}", soft_wrap=True)
    print_notes(setup, run_directory.read_config(directory) if resume else None, console)
    if resume:
        run_directory.add_resumption(directory, experiment, options)
    else:
        if execution.resume:
            run_directory.clear(directory)
        run_directory.write_config(directory, experiment, options, setup.rules)
    return directory, resume


def print_notes(setup: Setup, config: dict[str, Any] | None, console: Console) -> None:
    """Prints how much memory the run takes, and what may surprise its user. `config` is of the run it resumes."""
    shapes, constants = setup.program.shapes, setup.program.trainer.constants
    needed, free = bytes_of((shapes, constants)) * local_copies(setup.program.mesh), available_memory()
    total_steps, notes = setup.options.budget.total_steps, []
    if untrained := untrained_steps(setup.options):
        cause = "--hparams.learning-rate-decay-steps"
        notes.append(f"the learning rate reaches 0 ({cause}): the last {untrained:,} steps train nothing")
    trainer = setup.program.trainer
    if (steps := whole_steps(trainer, total_steps)) < 0.99 * total_steps:
        rest = f"{trainer.steps_per_iteration:,} are an iteration"
        notes.append(f"the run ends after {steps:,} of {total_steps:,} {trainer.unit.words}: {rest}")
    if config is None:
        if setup.options.execution.resume:
            notes.append("there is no checkpoint to resume from: the run starts anew")
    else:
        notes += [f"the last bits may differ when resuming with {line}" for line in provenance.differences(config)]
        if total_steps < (before := config["options"]["total_steps"]):
            notes.append(f"--total-steps is {total_steps:,}, and was {before:,} before")
    console.print(f"memory: {format_bytes(needed)}" + (f" ({format_bytes(free)} free)" if free else ""))
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)


def learn(setup: Setup, directory: Path, resume: bool, console: Console) -> tuple[RunResult, list[Exception]]:
    """Trains.

    Returns:
        The result, and why the last checkpoint could not be written, if it could not.

    Raises:
        DivergedError: a NaN, with `debug_nans`. The learning curve is drawn.
        CheckpointError: a checkpoint before the end could not be written.
    """
    options = setup.options
    loggers = [ScreenLogger(console, options.budget.total_steps), *make_loggers(options.execution.loggers)]
    if options.execution.profile is not None:
        loggers.append(Profiler(options.execution.profile))
    try:
        result = run(
            setup.program,
            setup.key,
            setup.hparams,
            options.budget.total_steps,
            log_every=options.budget.log_every,
            eval_every=options.budget.eval_every,
            evaluate=evaluation_while_training(setup.measure.evaluate, options.budget.seeds),
            best=best_of(directory) if options.execution.keep_best else None,
            loggers=loggers,
            info=RunInfo(directory, flatten(options), options.budget.seeds),
            checkpoints=Checkpoints(directory / run_directory.CHECKPOINTS),
            checkpoint_every=options.execution.checkpoint_every,
            resume=resume,
            debug_nans=options.execution.debug_nans,
            notify=lambda line: console.print(f"note: {line}", soft_wrap=True),
        )
    except DivergedError:
        draw_curve(setup, directory, [])
        raise
    except CheckpointError as error:
        if error.result is None or not error.result.finished:
            raise
        return error.result, [error]
    return result, []


def best_of(directory: Path) -> Best:
    """The best agents of the run in a directory."""
    return Best(Checkpoints(directory / run_directory.BEST))


def report(
    setup: Setup, result: RunResult, directory: Path, problems: list[Exception], console: Console
) -> dict[str, Any]:
    """Evaluates the trained agents, draws the pictures, and writes and shows the summary, which it returns.

    A summary that cannot be written is one more of the problems.
    """
    experiment, options = setup.experiment, setup.options
    agent_states = jax.tree.map(lambda x: x if options.budget.num_seeds > 1 else x[None], to_host(result.state.agent))
    console.print("evaluating, then drawing the curve and the video")  # compiling both may take a minute
    summary = summarize(setup, result, evaluate(setup, agent_states))
    own = experiment.report
    entries = own(setup.agent, setup.env, setup.env_params, agent_states, directory) if own else {}
    if options.execution.keep_best:
        entries |= summarize_best(setup, agent_states, directory)
    summary |= entries
    try:
        run_directory.write_json(directory / run_directory.SUMMARY, summary)
    except OSError as error:
        problems.append(error)
    draw_curve(setup, directory, summary["eval_return_per_seed"])
    record_video(setup, jax.tree.map(lambda x: x[0], agent_states), directory)
    if options.execution.record is not None and not problems:
        record(directory, options.execution.record, experiment.pictures, entries)
    show(summary, entries, experiment.pictures, directory, console)
    return summary


def evaluate(setup: Setup, agent_states: PyTree) -> Evaluation:
    """Evaluations `[A, episodes]` of all seeds, whose states are `[A, ...]`."""
    mesh = mesh_of(setup.devices if len(setup.eval_keys) > 1 else None, setup.eval_keys.shape)
    return setup.measure.evaluate(agent_states, setup.eval_keys, mesh)


def summarize(setup: Setup, result: RunResult, evaluation: Evaluation) -> dict[str, Any]:
    """The contents of `summary.json`."""
    per_seed, budget = np.mean(evaluation.episode_return, axis=1), setup.options.budget
    column = setup.program.trainer.unit.column
    return {
        "env": setup.options.task.env,
        "rules": setup.rules,
        "algorithm": setup.experiment.algorithm,
        "seed": budget.seed,
        "num_seeds": budget.num_seeds,
        "seeds": list(budget.seeds),
        column: result.steps,
        "eval_measure": setup.measure.words,
        "eval_return_mean": float(per_seed.mean()),
        "eval_return_std": float(evaluation.episode_return.std()),
        "eval_return_interval_95": float(interval_95(per_seed)) if budget.num_seeds > 1 else None,
        "eval_return_per_seed": per_seed.tolist(),
        "eval_episodes": int(evaluation.ended.size),
        "eval_unfinished": int((~evaluation.ended).sum()),
        "eval_epsilon": getattr(setup.options.hparams, "epsilon_eval", None),
        "compile_seconds": round(result.compile_seconds, 3),
        "train_seconds": round(result.train_seconds, 3),
        f"{column}_per_second": round(result.steps * budget.num_seeds / result.train_seconds, 1),
        "device": provenance.device_name(),
    }


def summarize_best(setup: Setup, agent_states: PyTree, directory: Path) -> dict[str, Any]:
    """The summary's entries about the best agents: their returns in the same episodes as those of the last ones."""
    best = best_of(directory)
    best.restore(agent_states)
    per_seed = np.mean(evaluate(setup, best.agents).episode_return, axis=1)
    return {
        "best_return": float(per_seed.mean()),
        "best_return_per_seed": per_seed.tolist(),
        f"best_{setup.program.trainer.unit.column}_per_seed": best.steps.tolist(),
    }


def draw_curve(setup: Setup, directory: Path, final_returns: list[float]) -> None:
    """Draws the learning curve, if there is a `metrics.csv`, with the evaluations of the trained agents."""
    metrics, picture = directory / run_directory.METRICS, directory / run_directory.CURVE
    if metrics.exists():
        title = f"{setup.experiment.algorithm} on {setup.options.task.env}"
        with errors_as_notes(picture):
            draw_learning_curve(metrics, picture, title, setup.rules, final_returns, setup.measure.words)


def record_video(setup: Setup, agent_state: PyTree, directory: Path) -> None:
    """Draws a video of one agent."""
    picture, memory = directory / run_directory.VIDEO, setup.agent.memory(agent_state, 1)
    steps = getattr(setup.env, "video_steps", VIDEO_STEPS)
    with errors_as_notes(picture):
        trajectory, pictures = play(
            setup.env, setup.env_params, setup.agent.policy, agent_state, memory, setup.video_key, steps
        )
        save_video(setup.env, trajectory, picture, setup.options.task.env, pictures)


def show(
    summary: dict[str, Any], entries: dict[str, Any], pictures: tuple[str, ...], directory: Path, console: Console
) -> None:
    """Prints the summary, the numbers and texts among the experiment's own entries, and the paths of the files."""
    seeds, seconds, unit = summary["num_seeds"], summary["train_seconds"], unit_of(summary)
    rows = [
        (summary["eval_measure"], describe_return(summary)),
        *describe_measuring(summary),
        *describe_entries(entries),
        (unit.words, f"{summary[unit.column]:,}" + (f" a seed, {seeds} seeds" if seeds > 1 else "")),
        ("training time", f"{seconds:.1f} s, {summary[f'{unit.column}_per_second']:,.0f} steps/s"),
        ("compile time", f"{summary['compile_seconds']:.1f} s"),
        ("device", summary["device"]),
    ]
    for name in (run_directory.CURVE, run_directory.VIDEO, *pictures, run_directory.METRICS, *run_directory.LOGS,
                 run_directory.SUMMARY, run_directory.CHECKPOINTS, run_directory.BEST):  # fmt: skip
        if (directory / name).exists():  # pictures that could not be drawn do not
            rows.append((name.split(".")[0].replace("_", " "), str(directory / name)))
    console.print(format_rows(rows), soft_wrap=True, markup=False)
