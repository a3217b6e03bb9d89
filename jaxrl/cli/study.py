"""A study: several runs, one after another, their results in one table and one picture."""

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from jaxrl.cli import checks, run_directory
from jaxrl.cli.experiment import Experiment, Options
from jaxrl.cli.train import train
from jaxrl.training.report import read_returns

RESULTS, CURVES = "results.csv", "curves.csv"
COLUMNS = ("", "evaluation return", "environment steps/s", "minutes")


class Run(NamedTuple):
    """One run of a study.

    Attributes:
        label: what it is called in the picture.
        experiment: what trains it; evaluate, play and --resume take its directory for a run of that.
        options: its options, with its own directory as `out`.
    """

    label: str
    experiment: Experiment
    options: Options


def check(runs: Mapping[str, Run], out: Path | None, resume: bool) -> None:
    """Finds what cannot be run before anything is trained.

    Raises:
        UsageError: there is such a thing.
    """
    if resume and out is None:
        raise checks.UsageError("--resume needs --out DIR, the study to continue")
    for run in runs.values():
        checks.check_options(run.options)
        env, env_params = checks.make_env(run.options.env, run.options.protocol, run.options.env_options)
        checks.construct(run.experiment, env, env_params, run.options)


def train_all(name: str, runs: Mapping[str, Run], directory: Path, console: Console) -> list[dict[str, Any]] | None:
    """Trains all runs, but for those whose options say to resume and that are finished.

    Returns:
        What `summary.json` says of each, with its `name` and `label`; None if a signal stopped one of them.
    """
    for run_name, run in runs.items():
        if run.options.resume and (directory / run_name / run_directory.SUMMARY).exists():
            continue
        console.rule(run.label, align="left")
        if train(run.experiment, run.options, console)[1] is None:
            console.print("continue with")
            console.print(f"  {run_directory.resume_command(name, directory)}", soft_wrap=True)
            return None
    console.rule(align="left")
    return [
        {"name": name, "label": run.label, **json.loads((directory / name / run_directory.SUMMARY).read_text())}
        for name, run in runs.items()
    ]


def resumes(resume: bool, directory: Path) -> bool:
    """Whether the run in `directory` is to be continued: one that was not begun cannot be."""
    return resume and run_directory.holds_a_run(directory)


def table(found: list[dict[str, Any]]) -> Table:
    """Evaluation returns and what they cost, for the screen."""
    rows = Table(*COLUMNS, box=None, padding=(0, 2))
    for result in found:
        rows.add_row(result["label"], *cells(result))
    return rows


def cells(result: dict[str, Any]) -> tuple[str, str, str]:
    """What stands under `COLUMNS` for one result, after its label."""
    interval = result["eval_return_interval_95"]
    spread = f" ± {interval:.2f}" if interval else ""
    minutes = result["train_seconds"] / 60
    return f"{result['eval_return_mean']:.2f}{spread}", f"{result['env_steps_per_second']:,.0f}", f"{minutes:.1f}"


def smooth_returns(directory: Path, result: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps `[X]`, and the training return `[X]`: the mean of all seeds and of 5 % of the rows around."""
    steps, returns = read_returns(directory / result["name"] / run_directory.METRICS)
    kernel = np.ones(max(1, len(steps) // 20))
    return steps, np.convolve(returns.mean(0), kernel, "same") / np.convolve(np.ones(len(steps)), kernel, "same")


def record(
    directory: Path, destination: Path, found: list[dict[str, Any]], title: str, picture: str, more: str = ""
) -> None:
    """Keeps the picture, the evaluations, the curves and how they were made in `destination`.

    Args:
        directory: the study's.
        destination: where they go.
        found: what `train_all` gave.
        title: of the page.
        picture: the file in `directory`.
        more: what else the page shall say, in Markdown.
    """
    destination.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(directory / picture, destination / picture)
    results: list[list[Any]] = []
    curves: list[list[Any]] = []
    for result in found:
        cost = result["env_steps"], result["env_steps_per_second"], result["train_seconds"]
        steps, returns = read_returns(directory / result["name"] / run_directory.METRICS)
        for seed, value, curve in zip(result["seeds"], result["eval_return_per_seed"], returns, strict=True):
            results.append([result["name"], seed, f"{value:.4f}", *cost])
            curves.extend([result["name"], seed, x, f"{y:.5g}"] for x, y in zip(steps, curve, strict=True))
    columns = ["run", "seed", "eval_return", "env_steps", "env_steps_per_second", "train_seconds"]
    _write_csv(destination / RESULTS, columns, results)
    _write_csv(destination / CURVES, ["run", "seed", "env_steps", "episode_return"], curves)
    (destination / "README.md").write_text(_page(directory, found, title, picture, more))


def _write_csv(path: Path, columns: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def _page(directory: Path, found: list[dict[str, Any]], title: str, picture: str, more: str) -> str:
    first = found[0]
    config = run_directory.read_config(directory / first["name"])
    rows = "\n".join(f"| {result['label']} | {' | '.join(cells(result))} |" for result in found)
    versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    commit = config["commit"] or "none (an installed package)"
    seeds = (
        f"{first['num_seeds']} seeds of each run in one program" if first["num_seeds"] > 1 else "one seed of each run"
    )
    interval = ", with its 95 % interval over seeds" if first["num_seeds"] > 1 else ""
    return f"""# {title}

```
{config["command"]}
```

Protocol: {first["protocol"]}.
{first["env_steps"]:,} environment steps a seed, {seeds}.
The evaluation return is the mean of {first["eval_episodes"]} greedy episodes at the end{interval};
environment steps/s are those of all seeds together.

| {" | ".join(COLUMNS)} |
|{"---|" * len(COLUMNS)}
{rows}

![learning curves]({picture})
{more}
On {first["device"]}. Run on {config["started"][:10]} at commit {commit}, with
{versions}.
"""
