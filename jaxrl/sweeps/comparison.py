"""Sweeps that compare algorithms: one table, one picture and one page."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import polars as pl
from annotated_types import Gt
from rich.console import Console

from jaxrl.formatting import describe_spread, format_mean, markdown_table, screen_table
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.runs import run_directory
from jaxrl.runs.experiment import EXPERIMENTS
from jaxrl.runs.options import default_hint
from jaxrl.sweeps.execute import choose_directory, lock_directories, prepare_sweep, show_resumption
from jaxrl.sweeps.report import epsilons, made_on, read_record
from jaxrl.sweeps.results import CURVES, RESULTS, SweepResult, write_parquet
from jaxrl.sweeps.spec import SweepSpec
from jaxrl.training.program import DivergedError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparisonOptions:
    """How a comparison, or a single sweep, is run."""

    out: Annotated[Path | None, default_hint("runs/COMMAND/DATE-TIME", "DIR")] = None
    """Output directory."""
    resume: bool = False
    """Continue the sweep in --out bit for bit, or start it if there is none."""
    checkpoint_every: Annotated[float, Gt(0)] = 60.0
    """Seconds between two checkpoints of the agents that are training."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Also write the results, and a page that says how they were made, to this directory."""


class Comparison(NamedTuple):
    """Algorithms to compare.

    Attributes:
        name: of the command, in `jaxrl.experiments`, and of the picture.
        title: of the picture and the page.
        specs: the sweeps by their algorithms, each with the name of its directory in that of the command.
        label: what to call a trial in the table.
        draw: `draw(trials, curves, title, subtitle, picture)` draws the picture. Both frames have an `algorithm`.
        more: what else the page says, in Markdown.
    """

    name: str
    title: str
    specs: Mapping[str, tuple[SweepSpec, str]]
    label: pl.Expr
    draw: Callable[..., None]
    more: str = ""


def compare(comparison: Comparison, options: ComparisonOptions, console: Console) -> list[str]:
    """Runs the sweeps of a comparison, one after another, and reports what they found.

    Returns:
        What went wrong, as `SweepResult.problems`.

    Raises:
        ArgumentError: something cannot be run; nothing was trained.
        DivergedError: no agent finished.
    """
    module = f"{EXPERIMENTS}.{comparison.name}"
    directory = choose_directory(options.out, options.resume, comparison.name)
    places = [place for _, place in comparison.specs.values()]
    for place in ("", *places):
        run_directory.check_record(options.record, directory / place)
    runs = {
        algorithm: prepare_sweep(
            spec, directory / place, options.resume, options.checkpoint_every, console, module,
            max_groups=len(spec.draws), num_devices=1,
        )
        for algorithm, (spec, place) in comparison.specs.items()
    }  # fmt: skip
    with lock_directories(options.out, comparison.name, options.record, places) as directory:
        results: dict[str, SweepResult] = {}
        for algorithm, (_, place) in comparison.specs.items():
            result = runs.pop(algorithm).run(directory / place)  # and frees its programs
            if result is None:
                show_resumption(console, module, directory)
                return []
            results[algorithm] = result
        report_comparison(comparison, results, directory, options.record, console)
    return [problem for result in results.values() for problem in result.problems]


def report_comparison(
    comparison: Comparison, results: Mapping[str, SweepResult], directory: Path, record: Path | None, console: Console
) -> None:
    """Draws the picture, prints the table, and writes both and the frames to the directory `record`."""
    names = {algorithm: pl.lit(algorithm).alias("algorithm") for algorithm in results}
    parts = [(x.trials.with_columns(names[name]), x.curves.with_columns(names[name])) for name, x in results.items()]
    trials, curves = (pl.concat(frames, how="diagonal_relaxed") for frames in zip(*parts, strict=True))
    table = comparison_table(trials, comparison.label)
    trials = trials.filter(status="finished").sort("configuration", maintain_order=True)
    if trials.is_empty():
        raise DivergedError("no agent finished: there is nothing to compare")
    made = read_record(next(iter(results.values())).directory)
    title, picture, seeds = comparison.title, directory / f"{comparison.name}.png", trials["seed"].n_unique()
    subtitle = made["rules"] + f"; {seeds} seeds and their mean" * (seeds > 1)
    with errors_as_notes(picture):
        comparison.draw(trials, curves, title=title, subtitle=subtitle, picture=picture)
    console.print(screen_table(table, narrow=True))
    drawn = picture.exists()
    if drawn:
        console.print(f"picture: {picture}", soft_wrap=True)
    if record is None:
        return
    write_parquet(trials, record / RESULTS)
    write_parquet(curves, record / CURVES)
    if drawn:
        shutil.copyfile(picture, record / picture.name)
    lengths, episodes = trials["env_steps"].to_list(), SweepSpec(**made["spec"]).options.budget.eval_episodes
    steps = " to ".join(f"{x:,}" for x in sorted({min(lengths), max(lengths)}))
    spread = f" (mean and {describe_spread(seeds)})" if seeds > 1 else ""
    shown = f"![learning curves]({picture.name})\n" if drawn else ""
    (record / "README.md").write_text(f"""# {title}

```
{made["command"]}
```

Rules: {made["rules"]}.
{steps} environment steps a seed, {f"{seeds} seeds" if seeds > 1 else "one seed"} each.
The evaluation return is the mean of {episodes} episodes at the end of each seed{epsilons(trials)}{spread}.
Environment steps/s are those of all agents that train together, which share the minutes equally.

{markdown_table(table)}

{shown}{comparison.more}
On {made_on(made)}
""")


def comparison_table(trials: pl.DataFrame, label: pl.Expr) -> pl.DataFrame:
    """The evaluation return of each configuration, its speed and its time, as text.

    Agents that diverged have no return, but trained with the others. A label of which none finished is left out.
    """
    together, finished = ("algorithm", "group", "chunk"), pl.col("status") == "finished"
    rows = (
        trials.sort("configuration", maintain_order=True)
        .with_columns(
            label=label,
            speed=(pl.col("env_steps").sum() / pl.col("seconds").first()).over(together),
            minutes=(pl.col("seconds") / 60 / pl.len()).over(together),
        )
        .group_by("label", maintain_order=True)
        .agg(pl.col("eval_return").filter(finished), pl.col("speed").first(), pl.col("minutes").sum())
        .filter(pl.col("eval_return").list.len() > 0)
    )
    columns = ("algorithm", "evaluation return", "environment steps/s", "minutes")
    cells = [(name, format_mean(x), f"{speed:,.0f}", f"{minutes:.1f}") for name, x, speed, minutes in rows.iter_rows()]
    return pl.DataFrame(cells, columns, orient="row")
