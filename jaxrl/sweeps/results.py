"""What a sweep found: its configurations in order, the best of them in a table, the command that trains one again.

`results` has a row for each agent: `agent`, `configuration`, `seed`, `group`, `chunk`, `status` ("finished", "diverged"
or "failed"), `error`, every hyperparameter and static field by its path ("hparams.learning_rate"), `eval_return`,
`train_return`, `env_steps` and `seconds`.
"""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from rich.table import Table

from jaxrl.formatting import format_mean, format_number
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options, flatten

COLUMNS = ("rank", "configuration", "evaluation return", "seeds finished", "training return")


def best_configurations(results: pl.DataFrame, swept: Sequence[str]) -> pl.DataFrame:
    """One row a configuration, the best first.

    Configurations go by their evaluation return, then by their training return, then by their number; one with a seed
    that diverged or failed comes after all that have none.

    Args:
        results: one row an agent.
        swept: the columns in which configurations differ.

    Returns:
        `configuration`, the swept columns, how many `seeds` it has and how many `finished`, the mean `eval_return` of
        those, each of their `eval_returns`, and the mean `train_return` of all seeds that have one.
    """
    best = (
        results.sort("agent")
        .group_by("configuration", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in swept),
            pl.len().alias("seeds"),
            (pl.col("status") == "finished").sum().alias("finished"),
            pl.col("eval_return").filter(pl.col("status") == "finished"),
            pl.col("train_return").fill_nan(None).mean(),
        )
    )
    return best.select(
        *("configuration", *swept, "seeds", "finished"),
        pl.col("eval_return").list.mean(),
        pl.col("eval_return").alias("eval_returns"),
        "train_return",
    ).sort(
        pl.col("finished") < pl.col("seeds"), "eval_return", "train_return", "configuration",
        descending=[False, True, True, False], nulls_last=True,
    )  # fmt: skip


def table(best: pl.DataFrame, swept: Sequence[str], rows: int = 10) -> Table:
    """The first rows of what `best_configurations` gives, for the screen."""
    shown = Table(box=None, padding=(0, 1))
    for header in _headers(swept):
        shown.add_column(header.replace(" ", "\n"), overflow="fold")
    for cells in _rows(best, swept, rows):
        shown.add_row(*cells)
    return shown


def markdown_table(best: pl.DataFrame, swept: Sequence[str], rows: int = 10) -> str:
    """The same in Markdown."""
    headers = _headers(swept)
    lines = [headers, *_rows(best, swept, rows)]
    head, *body = (f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([head, f"|{'---|' * len(headers)}", *body])


def _headers(swept: Sequence[str]) -> list[str]:
    return [*COLUMNS[:2], *short_labels(swept), *COLUMNS[2:]]


def _rows(best: pl.DataFrame, swept: Sequence[str], rows: int) -> list[list[str]]:
    return [
        [
            *(str(rank), str(row["configuration"]), *(format_value(row[name]) for name in swept)),
            format_mean(row["eval_returns"]),
            f"{row['finished']} of {row['seeds']}",
            "–" if row["train_return"] is None else format_mean([row["train_return"]]),
        ]
        for rank, row in enumerate(best.head(rows).iter_rows(named=True), 1)
    ]


def short_labels(swept: Sequence[str]) -> list[str]:
    """What to call fields: "learning rate" for hparams.learning_rate, unless another one has that name too."""
    fields = [path.rpartition(".")[2] for path in swept]
    return [
        (field if fields.count(field) == 1 else path).replace("_", " ")
        for path, field in zip(swept, fields, strict=True)
    ]


def format_value(value: Any) -> str:
    """A float in three significant digits, without an exponent unless it is very small or large."""
    return format_number(value) if isinstance(value, float) else str(value)


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """Writes a Parquet file in one replacement, so that it is never half there.

    Raises:
        OSError: it cannot be written; what was there before still is.
    """
    draft = path.with_suffix(".tmp")
    frame.write_parquet(draft)
    os.replace(draft, path)


def changes(experiment: Experiment, options: Options) -> dict[str, Any]:
    """The options that differ from those of a plain call, by path."""
    before = flatten(experiment.defaults)
    return {path: value for path, value in flatten(options).items() if value != before[path]}


def retrain_command(experiment: Experiment, changed: dict[str, Any]) -> str:
    """The shell command that trains an experiment with some of its options changed.

    Args:
        experiment: what to train.
        changed: values by their paths, as `flatten` gives them or as `results` has them (where lists are text).

    Raises:
        KeyError: the experiment has no such option.
    """
    defaults = flatten(experiment.defaults)
    words = ["python", "-m", experiment.module]
    for path, value in changed.items():
        words += _option(path, value, defaults[path])
    return shlex.join(words)


def _option(path: str, value: Any, default: Any) -> list[str]:
    """An option's words. A boolean has one flag, which turns its default round, or none."""
    *records, field = path.replace("_", "-").split(".")
    if isinstance(default, bool):
        return [] if value == default else ["--" + ".".join([*records, f"no-{field}" if default else field])]
    flag = "--" + ".".join([*records, field])
    if isinstance(default, list):
        return [flag, *(value.split() if isinstance(value, str) else map(str, value))]
    return [flag, str(value)]  # a float's text is its shortest that reads as the same bits
