"""Sweeps that compare algorithms: tables, pictures and one page."""

import dataclasses
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import polars as pl
from annotated_types import Gt
from rich.console import Console

from jaxrl.formatting import FEW_SEEDS, describe_spread, format_mean, markdown_table, screen_table
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.runs import run_directory
from jaxrl.runs.experiment import EXPERIMENTS
from jaxrl.runs.options import default_hint, flatten
from jaxrl.sweeps.execute import choose_directory, lock_directories, prepare_sweep
from jaxrl.sweeps.report import epsilons, made_on, read_record
from jaxrl.sweeps.results import CURVES, RESULTS, SweepResult, count_status, retrain_command, write_parquet
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


class Picture(NamedTuple):
    """A picture of a comparison.

    Attributes:
        name: of its file, without ".png".
        shows: what it shows, in words.
        draw: `draw(trials, curves, title, subtitle, picture)` draws it. Both frames have an `algorithm`.
    """

    name: str
    shows: str
    draw: Callable[..., None]


class Comparison(NamedTuple):
    """Algorithms to compare.

    Attributes:
        name: of the command, in `jaxrl.experiments`.
        title: of the pictures and the page.
        specs: the sweeps by their algorithms, each with the name of its directory in that of the command.
        label: what to call a trial in the table.
        pictures: what to draw.
        summary: a second table, as text, of the trials that finished.
        more: what else the page says of them, in Markdown.
    """

    name: str
    title: str
    specs: Mapping[str, tuple[SweepSpec, str]]
    label: pl.Expr
    pictures: Sequence[Picture]
    summary: Callable[[pl.DataFrame], pl.DataFrame] | None = None
    more: Callable[[pl.DataFrame], str] | None = None


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
                run_directory.show_resumption(console, module, directory)
                return []
            results[algorithm] = result
        report_comparison(comparison, results, directory, options.record, console)
    return [problem for result in results.values() for problem in result.problems]


def report_comparison(
    comparison: Comparison, results: Mapping[str, SweepResult], directory: Path, record: Path | None, console: Console
) -> None:
    """Draws the pictures, prints the tables, and writes all of them and the frames to the directory `record`."""
    names = {algorithm: pl.lit(algorithm).alias("algorithm") for algorithm in results}
    parts = [(x.trials.with_columns(names[name]), x.curves.with_columns(names[name])) for name, x in results.items()]
    every, curves = (pl.concat(frames, how="diagonal_relaxed") for frames in zip(*parts, strict=True))
    trials = every.filter(status="finished").sort("configuration", maintain_order=True)
    if trials.is_empty():
        raise DivergedError("no agent finished: there is nothing to compare")
    made, seeds = read_record(next(iter(results.values())).directory), trials["seed"].n_unique()
    shown = f"{seeds} seeds and their mean" if seeds < FEW_SEEDS else f"mean and {describe_spread(seeds)}"
    subtitle = made["rules"] + f"; {shown}" * (seeds > 1)
    drawn = {}
    for name, shows, draw in comparison.pictures:
        picture = directory / f"{name}.png"
        with errors_as_notes(picture):
            draw(trials, curves, title=comparison.title, subtitle=subtitle, picture=picture)
        if picture.exists():
            drawn[picture] = shows
    tables = [comparison_table(every, comparison.label)]
    tables += [comparison.summary(trials)] if comparison.summary else []
    for table in tables:
        console.print(screen_table(table, narrow=True))
    for picture in drawn:
        console.print(f"picture: {picture}", soft_wrap=True)
    if record is None:
        return
    write_parquet(trials, record / RESULTS)
    write_parquet(curves, record / CURVES)
    for picture in drawn:
        shutil.copyfile(picture, record / picture.name)
    (record / "README.md").write_text(page(comparison, every, made, tables, drawn))


def page(
    comparison: Comparison,
    trials: pl.DataFrame,
    made: dict[str, Any],
    tables: Sequence[pl.DataFrame],
    drawn: Mapping[Path, str],
) -> str:
    """The page of a comparison, in Markdown.

    Args:
        comparison: what it compares.
        trials: all of them.
        made: the record of one of its sweeps.
        tables: the first and perhaps the second table.
        drawn: what the pictures show.
    """
    finished = trials.filter(status="finished")
    lengths = finished["env_steps"].to_list()
    counts = [spec.options.budget.eval_episodes for spec, _ in comparison.specs.values()]
    steps, episodes = (" to ".join(f"{x:,}" for x in sorted({min(xs), max(xs)})) for xs in (lengths, counts))
    seeds, lost = finished["seed"].n_unique(), len(trials) - len(finished)
    spread = f" (mean and {describe_spread(seeds)})" if seeds > 1 else ""
    left_out = f"\nAgents: {count_status(trials)}. Only those that finished are shown." if lost else ""
    commands = "\n".join(train_alone(spec) for spec, _ in comparison.specs.values())
    shown = "\n\n".join(map(markdown_table, tables))
    pictures = "".join(f"![{shows}]({picture.name})\n\n" for picture, shows in drawn.items())
    return f"""# {comparison.title}

```
{made["command"]}
```

Rules: {made["rules"]}.
{steps} environment steps a seed, {f"{seeds} seeds" if seeds > 1 else "one seed"} each.{left_out}
The evaluation return is the mean of {episodes} episodes at the end of each seed{epsilons(finished)}{spread}.
Environment steps/s are those of all agents that train together, which share the minutes equally. Both are those of the
training, without evaluations, on the machine below.

{shown}

{pictures}{comparison.more(finished) if comparison.more else ""}
The settings are the defaults of these commands, except for the options that are shown:

```
{commands}
```

On {made_on(made)}
"""


def train_alone(spec: SweepSpec) -> str:
    """The command that trains a sweep's seeds with all of its fields that have one value."""
    fields = {path: value for path, value in flatten(spec.options).items() if path not in spec.swept}
    return retrain_command(spec.experiment, fields | {"num_seeds": spec.seeds})


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
