"""The record of a run: its results, and a page that says how they were made."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl.formatting import describe_spread, format_count, format_mean, format_number
from jaxrl.runs import provenance, run_directory
from jaxrl.training.measure import NASH_CONV, NO_MISTAKES, RETURN
from jaxrl.types import unit_of


def describe_return(summary: dict[str, Any]) -> str:
    """The mean evaluation return, with the spread over seeds, or over the episodes of a single one."""
    returns = summary["eval_return_per_seed"]
    if summary.get("eval_measure") == NO_MISTAKES:
        spread = describe_spread(len(returns))
        return f"{format_mean([100 * x for x in returns])} %" + (f", {spread}" if spread else "")
    if summary.get("eval_measure") == NASH_CONV:
        each = ", ".join(format_number(x, 3) for x in returns)
        return f"{format_number(float(np.mean(returns)), 4)}" + (f" (seeds: {each})" if len(returns) > 1 else "")
    spread = describe_spread(len(returns)) or f"standard deviation over episodes {summary['eval_return_std']:.2f}"
    return f"{format_mean(returns)}, {spread}"


def describe_measuring(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """In how many episodes a run was evaluated, or in how many positions of a judge; NashConv is exact."""
    number, measure = summary["eval_episodes"], summary.get("eval_measure", RETURN)
    if measure == NASH_CONV:
        return []
    if measure == NO_MISTAKES:
        return [("evaluation positions", f"{number:,}")]
    epsilon = with_epsilon(summary.get("eval_epsilon"))
    return [("evaluation episodes", f"{number}{epsilon}, {summary['eval_unfinished']} unfinished")]


def describe_entries(entries: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What an experiment adds to its summary, in words: the single numbers and the texts.

    The return of the best agents is of the same episodes as that of the last ones, not of those that chose them.
    """

    def text(value: str | int | float) -> str:
        return f"{value:,}" if isinstance(value, int) else value if isinstance(value, str) else format_number(value, 4)

    single = {name: value for name, value in entries.items() if isinstance(value, str | int | float)}
    words = {"best_return": "return of the best agents, in the same episodes"}
    return [(words.get(name, name.replace("_", " ")), text(value)) for name, value in single.items()]


def record(
    run: Path, directory: Path, pictures: tuple[str, ...] = (), entries: Mapping[str, Any] | None = None
) -> None:
    """Copies the results of a finished run, without checkpoints, to `directory`, and writes its `README.md`.

    Args:
        run: the directory of the run.
        directory: the directory of the record.
        pictures: the names of the experiment's own pictures.
        entries: what the experiment adds to its summary.
    """
    directory.mkdir(parents=True, exist_ok=True)
    drawn = [name for name in (run_directory.CURVE, run_directory.VIDEO, *pictures) if (run / name).exists()]
    metrics = [run_directory.METRICS] if (run / run_directory.METRICS).exists() else []
    for name in (*metrics, run_directory.SUMMARY, *drawn):
        shutil.copyfile(run / name, directory / name)
    config = run_directory.read_config(run)
    config.pop("started_in", None)  # a record names no folder of a machine
    config["options"]["out"] = None
    run_directory.write_json(directory / run_directory.CONFIG, config)
    summary = json.loads((run / run_directory.SUMMARY).read_text())
    (directory / "README.md").write_text(page(config, summary, drawn, entries or {}))


def with_epsilon(*epsilons: float | None) -> str:
    """ " with ε = 0.001", for evaluated policies that take random actions; "" for others."""
    low, high = min(epsilon or 0 for epsilon in epsilons), max(epsilon or 0 for epsilon in epsilons)
    return f" with ε = {high:g}" if 0 < low == high else f" with ε = {low:g} to {high:g}" if high else ""


def page(config: dict[str, Any], summary: dict[str, Any], pictures: Sequence[str], entries: Mapping[str, Any]) -> str:
    """The page in Markdown, with the pictures that exist."""
    returns = dict(zip(summary["seeds"], summary["eval_return_per_seed"], strict=True))
    rows = "\n".join(f"| {seed} | {format_mean([value])} |" for seed, value in returns.items())
    words = {
        run_directory.CURVE: "learning curve",
        run_directory.VIDEO: f"the policy of seed {summary['seed']} playing",
    }
    shown = "".join(f"![{words.get(name, Path(name).stem)}]({name})\n\n" for name in pictures)
    unit, measure = unit_of(summary), summary.get("eval_measure", RETURN)
    measured = "Mean return of" if measure == RETURN else f"{measure[0].upper()}{measure[1:]} in"
    if measure == NASH_CONV:
        measured = measured.removesuffix("in") + "of the policy at the end"
    elif measure == NO_MISTAKES:
        measured += f" {format_count(summary['eval_episodes'], 'position')} at the end"
    else:
        episodes, epsilon = format_count(summary["eval_episodes"], "episode"), with_epsilon(summary.get("eval_epsilon"))
        measured += f" {episodes} at the end{epsilon},\n{summary['eval_unfinished']} of them unfinished"
    own = "".join(f"| {name} | {number} |\n" for name, number in describe_entries(entries))
    own = f"| | |\n|---|---|\n{own}\n" if own else ""
    return f"""# {summary["algorithm"]} on {summary["env"]}

```
{config["command"]}
```

Rules: {summary["rules"]}.
{summary[unit.column]:,} {unit.words} a seed. {measured}: **{describe_return(summary)}**.

| seed | {measure} |
|---|---|
{rows}

{own}{shown}{summary["train_seconds"]:.0f} s of training after {summary["compile_seconds"]:.0f} s of compiling:
{summary[f"{unit.column}_per_second"]:,.0f} {unit.words}/s, all seeds together, on {summary["device"]}.
Run {provenance.made(config)}.
"""
