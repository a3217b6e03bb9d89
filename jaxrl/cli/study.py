"""A study: several runs, one after another, their results in one table and one picture."""

import csv
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from jaxrl.arguments import UsageError
from jaxrl.cli.command import screen
from jaxrl.plots.errors import errors_as_notes
from jaxrl.plots.learning_curve import FEW_SEEDS, read_returns
from jaxrl.runs import checks, run_directory
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options
from jaxrl.runs.page import return_text, with_epsilon
from jaxrl.runs.train import train
from jaxrl.training.debug_nans import DivergedError

RESULTS, CURVES = "results.csv", "curves.csv"
COLUMNS = ("", "evaluation return", "environment steps/s", "minutes")


class Run(NamedTuple):
    """One run of a study.

    Attributes:
        label: what it is called in the picture.
        experiment: what trains it; evaluate, play and --resume take its directory for a run of that.
        options: its options, as `options_in` gives them.
    """

    label: str
    experiment: Experiment
    options: Options


class Study(NamedTuple):
    """Several runs and what is made of them.

    Attributes:
        name: the module's.
        title: of the page.
        runs: by the names of their directories.
        draw: `(directory, results, picture)`: draws what `train_all` gives.
        more: what else the page says, in Markdown.
    """

    name: str
    title: str
    runs: dict[str, Run]
    draw: Callable[[Path, list[dict[str, Any]], Path], None]
    more: str = ""


def options_in(options: Options, out: Path, resume: bool) -> Options:
    """The options of a run in its own directory, where it goes on if it has begun."""
    return dataclasses.replace(options, out=out, resume=resume and run_directory.holds_a_run(out), record=None)


def carry_out(study: Study, directory: Path, out: Path | None, resume: bool, destination: Path | None) -> None:
    """Trains what is not trained yet, draws all of it, shows it, and records it if asked to.

    Args:
        study: what to do.
        directory: where; each run has a directory of its own in it.
        out: what --out said.
        resume: whether to go on with what is there.
        destination: where to record the results.

    Raises:
        UsageError: something cannot be run; nothing was trained.
        DivergedError: all runs diverged.
    """
    if resume and out is None:
        raise UsageError("--resume needs --out DIR, the study to continue")
    checks.check_record(destination, out)
    finished = {name for name, run in study.runs.items() if is_finished(run, directory / name)}
    if destination is not None:
        checks.make_directory(destination, "--record")
    checks.make_directory(directory, "--out")
    console = screen()
    with checks.hold(directory, "--out"):
        found = train_all(study, finished, directory, console)
        if found is None:
            return
        picture = directory / f"{study.name}.png"
        with errors_as_notes(picture):
            study.draw(directory, found, picture)
        if destination is not None:
            record(study, directory, destination, found)
        console.print(table(found))
        if picture.exists():
            console.print(f"picture: {picture}", soft_wrap=True)


def is_finished(run: Run, directory: Path) -> bool:
    """Whether nothing is left to do of a run in its directory.

    Raises:
        UsageError: it cannot be run, or is there already and is not to be continued.
    """
    options = run.options
    checks.check_options(options)
    env, env_params = checks.make_env(options.env, options.rules, options.env_options)
    _, trainer = checks.construct(run.experiment, env, env_params, options)
    checks.check_directory(directory, run.experiment, options)
    try:
        summary = run_directory.read_json(directory / run_directory.SUMMARY)
    except (OSError, ValueError):  # there is none, or none that can be read: the run's end is done once more
        return False
    iterations = (options.total_steps - trainer.warmup_steps) // trainer.steps_per_iteration
    return summary.get("env_steps", 0) >= trainer.warmup_steps + iterations * trainer.steps_per_iteration


def train_all(study: Study, finished: set[str], directory: Path, console: Console) -> list[dict[str, Any]] | None:
    """Trains all runs that are not finished.

    Returns:
        What `summary.json` says of each, with its `name` and `label`; those that diverged are left out, with a line on
        the screen. None if a signal stopped one of them.

    Raises:
        DivergedError: all of them did.
    """
    found = []
    for name, run in study.runs.items():
        if name not in finished:
            console.rule(run.label, align="left")
            try:
                _, summary = train(run.experiment, run.options, console)
            except DivergedError as error:
                console.print(f"{run.label} is left out: {error}", soft_wrap=True)
                continue
            if summary is None:
                console.print("continue with")
                console.print(f"  {run_directory.resume_command(study.name, directory)}", soft_wrap=True)
                return None
        summary = run_directory.read_json(directory / name / run_directory.SUMMARY)
        found.append({"name": name, "label": run.label, **summary})
    console.rule(align="left")
    if not found:
        raise DivergedError("all runs diverged: there is nothing to compare")
    return found


def table(found: list[dict[str, Any]]) -> Table:
    """Evaluation returns and what they cost, for the screen."""
    rows = Table(*COLUMNS, box=None, padding=(0, 2))
    for result in found:
        rows.add_row(result["label"], *cells(result))
    return rows


def cells(result: dict[str, Any]) -> tuple[str, str, str]:
    """What stands under `COLUMNS` for one result, after its label."""
    minutes = result["train_seconds"] / 60
    return return_text(result, alone=False), f"{result['env_steps_per_second']:,.0f}", f"{minutes:.1f}"


def smooth_returns(directory: Path, result: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps `[X]`, and the training returns of all seeds `[A, X]`, means of 5 % of the rows around."""
    steps, returns = read_returns(directory / result["name"] / run_directory.METRICS)
    if not len(steps):
        return steps, returns
    kernel = np.ones(max(1, len(steps) // 20))
    weight = np.convolve(np.ones(len(steps)), kernel, "same")
    return steps, np.array([np.convolve(curve, kernel, "same") / weight for curve in returns])


def record(study: Study, directory: Path, destination: Path, found: list[dict[str, Any]]) -> None:
    """Keeps the picture, the evaluations, the curves and how they were made in `destination`."""
    if (directory / f"{study.name}.png").exists():
        shutil.copyfile(directory / f"{study.name}.png", destination / f"{study.name}.png")
    results: list[list[Any]] = []
    curves: list[list[Any]] = []
    for result in found:
        cost = result["env_steps"], result["env_steps_per_second"], result["train_seconds"]
        for seed, value in zip(result["seeds"], result["eval_return_per_seed"], strict=True):
            results.append([result["name"], seed, f"{value:.4f}", *cost])
        steps, returns = read_returns(directory / result["name"] / run_directory.METRICS)
        for seed, curve in zip(result["seeds"], returns, strict=False):  # no curve if no episode ended
            curves.extend([result["name"], seed, x, f"{y:.5g}"] for x, y in zip(steps, curve, strict=True))
    columns = ["run", "seed", "eval_return", "env_steps", "env_steps_per_second", "train_seconds"]
    _write_csv(destination / RESULTS, columns, results)
    _write_csv(destination / CURVES, ["run", "seed", "env_steps", "episode_return"], curves)
    (destination / "README.md").write_text(_page(study, directory, found))


def _write_csv(path: Path, columns: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _page(study: Study, directory: Path, found: list[dict[str, Any]]) -> str:
    first = found[0]
    configs = [run_directory.read_config(directory / result["name"]) for result in found]
    commits = ", ".join(sorted({config["commit"] or "none (an installed package)" for config in configs}))
    versions = ", ".join(f"{name} {version}" for name, version in configs[0]["versions"].items())
    rows = "\n".join(f"| {result['label']} | {' | '.join(cells(result))} |" for result in found)
    lengths = [result["env_steps"] for result in found]
    steps = " to ".join(f"{x:,}" for x in sorted({min(lengths), max(lengths)}))
    many = first["num_seeds"] > 1
    seeds = f"{first['num_seeds']} seeds of each run in one program" if many else "one seed of each run"
    few = "followed by those of the seeds" if first["num_seeds"] < FEW_SEEDS else "with its 95 % interval over seeds"
    spread = f", {few}" if many else ""
    drawn = (directory / f"{study.name}.png").exists()
    shown = f"![learning curves]({study.name}.png)\n" if drawn else ""
    epsilon = with_epsilon(*(result.get("eval_epsilon") for result in found))
    return f"""# {study.title}

```
{run_directory.command(study.name)}
```

Rules: {first["rules"]}.
{steps} environment steps a seed, {seeds}.
The evaluation return is the mean of {first["eval_episodes"]} episodes at the end{epsilon}{spread};
environment steps/s are those of all seeds together.

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
{rows}

{shown}{study.more}
On {first["device"]}. Run on {configs[0]["started"][:10]} at commit {commits}, with
{versions}.
"""
