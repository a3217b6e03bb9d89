"""The picture, the table and the record of an ablation."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from jaxrl.cli import run_directory
from jaxrl.training.report import figure_over_steps, read_returns

PICTURE, RESULTS, CURVES = "ablation.png", "results.csv", "curves.csv"


def results(directory: Path, labels: dict[str, str]) -> list[dict[str, Any]]:
    """What the `summary.json` of each variant says, the best first, with its `name` and `label`."""
    found = [
        {"name": name, "label": label, **json.loads((directory / name / run_directory.SUMMARY).read_text())}
        for name, label in labels.items()
    ]
    return sorted(found, key=lambda result: -result["eval_return_mean"])


def table(found: list[dict[str, Any]]) -> Table:
    """Evaluation returns and what they cost, for the screen."""
    columns = ("", "evaluation return", "environment steps/s", "minutes")
    rows = Table(*columns, box=None, padding=(0, 2))
    for result in found:
        rows.add_row(result["label"], *_row(result))
    return rows


def _row(result: dict[str, Any]) -> tuple[str, str, str]:
    interval = result["eval_return_interval_95"]
    spread = f" ± {interval:.2f}" if interval else ""
    seconds = result["train_seconds"]
    return f"{result['eval_return_mean']:.2f}{spread}", f"{result['env_steps_per_second']:,.0f}", f"{seconds / 60:.1f}"


def draw(directory: Path, found: list[dict[str, Any]], title: str) -> None:
    """Draws all training returns, means over seeds, and the evaluations at the end with their 95 % intervals."""
    from matplotlib import colormaps

    figure, axes = figure_over_steps(title, f"{found[0]['protocol']}; {found[0]['num_seeds']} seeds", "episode return")
    figure.set_size_inches(13, 5.5)
    axes.set_position((0.06, 0.12, 0.52, 0.74))
    bars = figure.add_axes((0.74, 0.12, 0.24, 0.74))
    figure.set_layout_engine("none")
    for place, result in enumerate(found):
        color = "black" if result["name"] == "dqn" else colormaps["tab20"](place % 20)
        steps, returns = read_returns(directory / result["name"] / run_directory.METRICS)
        line = "--" if result["name"].startswith("no-") else "-"
        axes.plot(steps, smooth(returns.mean(0)), line, color=color, label=result["label"])
        bars.errorbar(
            result["eval_return_mean"], -place, xerr=result["eval_return_interval_95"], fmt="o", color=color, capsize=3
        )
        bars.plot(result["eval_return_per_seed"], [-place] * result["num_seeds"], "|", color=color, markersize=9)
    bars.set_yticks([-place for place in range(len(found))], [result["label"] for result in found])
    best = max(max(result["eval_return_per_seed"]) for result in found)
    bars.set_xlim(min(0, *(min(result["eval_return_per_seed"]) for result in found)), 1.15 * max(best, 1e-3))
    bars.set_xlabel("greedy evaluation at the end: seeds, mean, 95 % interval", fontsize=9)
    bars.spines[["top", "right"]].set_visible(False)
    bars.grid(alpha=0.2)
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    figure.savefig(directory / PICTURE)


def smooth(values: np.ndarray) -> np.ndarray:
    """The mean of each value and its neighbours, about 5 % of them."""
    width = max(1, len(values) // 20)
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def record(directory: Path, destination: Path, found: list[dict[str, Any]], title: str) -> None:
    """Keeps the picture, the evaluations, the curves and how they were made in `destination`."""
    destination.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(directory / PICTURE, destination / PICTURE)
    with (destination / RESULTS).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["variant", "seed", "eval_return", "env_steps", "env_steps_per_second", "train_seconds"])
        for result in found:
            for seed, value in zip(result["seeds"], result["eval_return_per_seed"], strict=True):
                cost = result["env_steps"], result["env_steps_per_second"], result["train_seconds"]
                writer.writerow([result["name"], seed, f"{value:.4f}", *cost])
    with (destination / CURVES).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["variant", "seed", "env_steps", "episode_return"])
        for result in found:
            steps, returns = read_returns(directory / result["name"] / run_directory.METRICS)
            for seed, curve in zip(result["seeds"], returns, strict=True):
                writer.writerows([result["name"], seed, x, f"{y:.5g}"] for x, y in zip(steps, curve, strict=True))
    config = run_directory.read_config(directory / found[0]["name"])
    rows = "\n".join(f"| {result['label']} | {' | '.join(_row(result))} |" for result in found)
    commit = config["commit"] or "none (an installed package)"
    versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    (destination / "README.md").write_text(f"""# {title}

```
{config["command"]}
```

Protocol: {found[0]["protocol"]}.
{found[0]["env_steps"]:,} environment steps a seed, {found[0]["num_seeds"]} seeds of each variant in one program.
The evaluation return is the mean of {found[0]["eval_episodes"]} greedy episodes at the end, with its 95 % interval over
seeds; environment steps/s are those of all seeds together.

| | evaluation return | environment steps/s | minutes |
|---|---|---|---|
{rows}

![learning curves]({PICTURE})

On {found[0]["device"]}. Run on {config["started"][:10]} at commit {commit}, with
{versions}.
""")
