"""The command of every training experiment: check, train, evaluate, and leave a run directory to look at."""

import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from jaxrl.envs import describe_rules, rollout, vectorize
from jaxrl.formatting import format_bytes, format_number, interval_95
from jaxrl.memory import available_memory
from jaxrl.plots.errors import errors_as_notes
from jaxrl.plots.learning_curve import draw_learning_curve
from jaxrl.plots.video import save_video
from jaxrl.random import key_streams
from jaxrl.runs import checks, provenance, run_directory
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options, check_options, flatten, with_values
from jaxrl.runs.page import describe_return, record, with_epsilon
from jaxrl.runs.progress import ScreenLogger
from jaxrl.training.checkpoint import CheckpointError, Checkpoints
from jaxrl.training.debug_nans import DivergedError
from jaxrl.training.devices import bytes_of, gather, mesh_of
from jaxrl.training.evaluation import Evaluation, evaluate_agents
from jaxrl.training.host_loop import RunResult, run
from jaxrl.training.hparams import repeat
from jaxrl.training.loggers import Profiler, RunInfo, make_loggers
from jaxrl.training.program import Program, local_copies
from jaxrl.types import Agent, Array, Hparams, PyTree, Transition

VIDEO_STEPS = 400


def train(experiment: Experiment, options: Options, console: Console) -> tuple[Path, dict[str, Any] | None]:
    """Trains as the options say, and writes the run directory.

    Returns:
        The directory, and what its `summary.json` says: None if a signal stopped the run, which can be continued.

    Raises:
        ArgumentError: the options cannot be run; nothing was written.
        DivergedError, CheckpointError, OSError: the run had to stop, or not all of it could be written.
    """
    check_options(options)
    make_loggers(options.execution.loggers)
    options = with_values(options, {"env_options": checks.with_texts(options.task.env, options.task.env_options)})
    goes_on = checks.check_directory(options.execution.out, experiment, options)
    checks.check_record(options.execution.record, options.execution.out)
    env, env_params = checks.make_env(options.task.env, options.task.rules, options.task.env_options)
    agent, trainer = checks.construct(experiment, env, env_params, options)
    if not goes_on:
        checks.check_idle(experiment, env, env_params, options, [options])
    rules = describe_rules(env, env_params)
    console.print(f"{experiment.algorithm} on {options.task.env} ({rules})", soft_wrap=True)
    trainer = checks.trace_trainer(experiment, trainer, options)
    train_keys, eval_keys, video_keys = key_streams(
        range(options.budget.seed, options.budget.seed + options.budget.num_seeds)
    )
    many = options.budget.num_seeds > 1
    key = train_keys if many else train_keys[0]
    hparams = repeat(options.hparams, options.budget.num_seeds) if many else options.hparams
    devices = checks.devices(options.execution.num_devices)
    with checks.naming_options(experiment, options):
        program = Program(trainer, key, hparams, devices=devices, sequential=options.execution.sequential)
    checks.check_disk(options.execution.out or Path("runs"), program.shapes)
    with contextlib.ExitStack() as holding:
        directory, resume = begin(experiment, options, rules, program, console, holding)
        holding.enter_context(checks.saying_what_is_saved(directory / run_directory.CHECKPOINTS, trainer))
        try:
            result, problems = carry_out(program, key, hparams, options, directory, resume, console)
        except DivergedError:
            draw_curve(experiment, options, directory, rules, [])
            raise
        if not result.finished:
            console.print(f"stopped at {result.env_steps:,} environment steps; the run is saved")
            return directory, None

        agent_states = jax.tree.map(lambda x: x if many else x[None], gather(result.state.agent))
        evaluation = evaluate_seeds(agent, agent_states, env, env_params, eval_keys, devices, options)
        entries = experiment.report(env, env_params, agent_states, directory) if experiment.report else {}
        summary = summarize(experiment, options, rules, result, evaluation) | entries
        try:
            run_directory.write_json(directory / run_directory.SUMMARY, summary)
        except OSError as error:  # what was found is shown all the same
            problems.append(error)
        draw_curve(experiment, options, directory, rules, summary["eval_return_per_seed"])
        first = jax.tree.map(lambda x: x[0], agent_states)
        record_video(agent, first, env, env_params, video_keys[0], directory, options)
        if options.execution.record is not None and not problems:
            record(directory, options.execution.record, experiment.pictures)
        show(summary, entries, experiment.pictures, directory, console)
        if problems:
            raise problems[0]
        return directory, summary


def carry_out(
    program: Program, key: Array, hparams: Hparams, options: Options, directory: Path, resume: bool, console: Console
) -> tuple[RunResult, list[Exception]]:
    """Runs the program; gives what came out, and why its last checkpoint could not be written, if it could not."""
    seeds = range(options.budget.seed, options.budget.seed + options.budget.num_seeds)
    profilers = [Profiler(options.execution.profile)] if options.execution.profile is not None else []

    def notify(line: str) -> None:
        console.print(f"note: {line}", soft_wrap=True)

    loggers = [
        ScreenLogger(console, options.budget.total_steps),
        *make_loggers(options.execution.loggers),
        *profilers,
    ]
    try:
        result = run(
            program,
            key,
            hparams,
            options.budget.total_steps,
            log_every=options.budget.log_every,
            loggers=loggers,
            info=RunInfo(directory, flatten(options), seeds),
            checkpoints=Checkpoints(directory / run_directory.CHECKPOINTS),
            checkpoint_every=options.execution.checkpoint_every,
            resume=resume,
            debug_nans=options.execution.debug_nans,
            notify=notify,
        )
    except CheckpointError as error:
        if error.result is None or not error.result.finished:
            raise
        return error.result, [error]
    return result, []


def begin(
    experiment: Experiment,
    options: Options,
    rules: str,
    program: Program,
    console: Console,
    holding: contextlib.ExitStack,
) -> tuple[Path, bool]:
    """Makes the directories, keeps other processes out of them, and writes down what is going to be run.

    Returns:
        The run's directory, and whether there is a checkpoint in it to go on from.
    """
    for path, name in ((options.execution.record, "record"), (options.execution.profile, "profile")):
        if path is not None:
            checks.make_directory(path, name)
    directory = checks.make_out(options.execution.out, experiment.name)
    holding.enter_context(checks.hold(directory, "out"))
    if options.execution.record is not None:
        holding.enter_context(checks.hold(options.execution.record, "record"))
    resume = checks.check_directory(directory if options.execution.out else None, experiment, options)
    console.print(f"writing to {directory}", soft_wrap=True)
    console.print(memory_line(program), soft_wrap=True)
    if untrained := checks.untrained_steps(options):
        ends = "the learning rate ends at 0 (--hparams.learning-rate-decay-steps)"
        console.print(f"note: {ends}: the last {untrained:,} steps train nothing", soft_wrap=True)
    if not resume:
        if options.execution.resume:
            console.print("note: there is no checkpoint to resume from: the run begins anew")
            run_directory.clear(directory)
        run_directory.write_config(directory, experiment, options, rules)
        return directory, False
    config = run_directory.read_config(directory)
    for line in provenance.differences(config):
        console.print(f"note: resuming elsewhere, the last bits may differ: {line}", soft_wrap=True)
    if options.budget.total_steps < config["options"]["total_steps"]:
        before = f"{config['options']['total_steps']:,}"
        console.print(f"note: --total-steps is {options.budget.total_steps:,}, and was {before} before")
    run_directory.note_resumption(directory, experiment, options)
    return directory, True


def memory_line(program: Program) -> str:
    """What the state of a run takes of the memory that there is."""
    needed, there = bytes_of(program.shapes) * local_copies(program.mesh), available_memory()
    return f"memory: {format_bytes(needed)}" + (f" of {format_bytes(there)} that are free" if there is not None else "")


def evaluate_seeds(
    agent: Agent,
    agent_states: PyTree,
    env: Any,
    env_params: Any,
    keys: Array,
    devices: Sequence[jax.Device],
    options: Options,
) -> Evaluation:
    """Evaluations `[A, episodes]` of all agents, spread over the devices if they are several."""
    envs = vectorize(env, env_params, options.budget.eval_episodes)
    mesh = mesh_of(devices if len(keys) > 1 else None, keys.shape)
    return evaluate_agents(agent.policy, envs, options.budget.eval_max_steps)(agent_states, keys, mesh)


def summarize(
    experiment: Experiment, options: Options, rules: str, result: RunResult, evaluation: Evaluation
) -> dict[str, Any]:
    """What `summary.json` says."""
    per_seed = np.mean(evaluation.episode_return, axis=1)
    seeds = list(range(options.budget.seed, options.budget.seed + options.budget.num_seeds))
    return {
        "env": options.task.env,
        "rules": rules,
        "algorithm": experiment.algorithm,
        "seed": options.budget.seed,
        "num_seeds": options.budget.num_seeds,
        "seeds": seeds,
        "env_steps": result.env_steps,
        "eval_return_mean": float(per_seed.mean()),
        "eval_return_std": float(evaluation.episode_return.std()),
        "eval_return_interval_95": float(interval_95(per_seed)) if len(seeds) > 1 else None,
        "eval_return_per_seed": per_seed.tolist(),
        "eval_episodes": int(evaluation.ended.size),
        "eval_truncated": int((~evaluation.ended).sum()),
        "eval_epsilon": getattr(options.hparams, "epsilon_eval", None),
        "compile_seconds": round(result.compile_seconds, 3),
        "train_seconds": round(result.train_seconds, 3),
        "env_steps_per_second": round(result.env_steps * options.budget.num_seeds / result.train_seconds, 1),
        "device": provenance.device_name(),
    }


def draw_curve(experiment: Experiment, options: Options, directory: Path, rules: str, final: list[float]) -> None:
    metrics, picture = directory / run_directory.METRICS, directory / run_directory.CURVE
    if metrics.exists():
        with errors_as_notes(picture):
            draw_learning_curve(metrics, picture, f"{experiment.algorithm} on {options.task.env}", rules, final)


def record_video(
    agent: Agent, agent_state: PyTree, env: Any, env_params: Any, key: Array, directory: Path, options: Options
) -> None:
    """Records a video of the first seed's policy."""

    def play(agent_state: PyTree, key: Array) -> Transition:
        return rollout(env, partial(agent.policy, agent_state), key, VIDEO_STEPS, 1, env_params)

    picture = directory / run_directory.VIDEO
    with errors_as_notes(picture):
        save_video(env, jax.jit(play)(agent_state, key), picture, options.task.env)


def show(
    summary: dict[str, Any], entries: dict[str, Any], pictures: tuple[str, ...], directory: Path, console: Console
) -> None:
    """What came out, with the experiment's own entries, and where it lies: a line each, none of them ever cut."""
    seeds, seconds = summary["num_seeds"], summary["train_seconds"]
    episodes = f"{summary['eval_episodes']}{with_epsilon(summary['eval_epsilon'])}"
    rows = [
        ("evaluation return", describe_return(summary)),
        ("evaluation episodes", f"{episodes}, {summary['eval_truncated']} cut short"),
    ]
    for name, value in entries.items():
        if isinstance(value, int | float):
            rows.append((name.replace("_", " "), f"{value:,}" if isinstance(value, int) else format_number(value)))
    rows += [
        ("environment steps", f"{summary['env_steps']:,}" + (f" a seed, {seeds} seeds" if seeds > 1 else "")),
        ("training", f"{seconds:.1f} s, warm-up included: {summary['env_steps_per_second']:,.0f} steps/s"),
        ("compiling", f"{summary['compile_seconds']:.1f} s more"),
        ("device", summary["device"]),
    ]
    for name in (run_directory.CURVE, run_directory.VIDEO, *pictures, run_directory.METRICS, run_directory.SUMMARY,
                 run_directory.CHECKPOINTS):  # fmt: skip
        if not (directory / name).exists():  # a picture that could not be drawn
            continue
        rows.append((name.split(".")[0].replace("_", " "), str(directory / name)))
    show_rows(rows, console)


def show_rows(rows: Sequence[tuple[str, str]], console: Console) -> None:
    """Names and values, a line each; one that is longer than the screen goes on in the next line, and none is cut."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(f"{name:{width}}  {value}", soft_wrap=True, markup=False)
