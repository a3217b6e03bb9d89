"""What jaxrl does on an accelerator, in a few minutes: whether it is right there, and how fast.

Some items compile at once, each in a thread of its own, and are then measured one after another. Each result is
reported as soon as it is known. Items that time does not allow are left out.
"""

import itertools
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import jax
import polars as pl

from jaxrl.benchmarks.accelerator_items import Figures, Sizes, items, text_of
from jaxrl.benchmarks.pages import Rows
from jaxrl.formatting import markdown_table


def measure(sizes: Sizes, minutes: float, workers: int, report: Callable[[dict[str, Any]], None]) -> None:
    """Measures one item after another, and reports a row for each.

    Args:
        sizes: how large everything is.
        minutes: after so long, no item begins any more.
        workers: items that compile at once.
        report: takes each row.
    """
    end, waiting = time.monotonic() + 60 * minutes, items(sizes)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(itertools.islice(waiting, workers)):
            if time.monotonic() > end:
                for item in (*batch, *waiting):
                    report({"group": item.group, "item": item.name, "left out": "no time"})
                return
            prepared_items = [pool.submit(item.prepare) for item in batch]
            wait(prepared_items)  # compiling would disturb what is measured
            for item, prepared in zip(batch, prepared_items, strict=True):
                report({"group": item.group, "item": item.name, **_figures(prepared, end)})


def _figures(prepared: Future[Callable[[], Figures]], end: float) -> Figures:
    """The figures of an item. An item that fails is reported as such, and the others go on."""
    try:
        call = prepared.result()
        return call() if time.monotonic() < end else {"left out": "no time"}
    except Exception as error:  # whatever a new kind of device makes of it
        said = getattr(error, "stderr", None) or str(error)  # a command's own words
        return {"failed": f"{type(error).__name__}: {said[-500:]}"}


def line(row: dict[str, Any]) -> str:
    """A row on the screen."""
    figures = ", ".join(f"{name} {text_of(value)}" for name, value in row.items() if name not in ("group", "item"))
    return f"{row['group']}: {row['item']}: {figures}"


TEXT = """# On an accelerator

{minutes} minutes on {kind}. Programs were compiled several at once: their seconds only compare with each other.
Speeds are medians of three runs of a compiled program. Seconds of learning are those of training, without compiling
and evaluating.

{tables}"""


def describe(rows: Rows, minutes: float) -> str:
    """What was measured, and the tables, in Markdown."""
    groups = dict.fromkeys(row["group"] for row in rows)
    tables = []
    for group in groups:
        here = [row for row in rows if row["group"] == group]
        table = tabulate(here)
        tables.append(f"## {group}\n\n{markdown_table(table, right=table.columns[1:])}")
    return TEXT.format(minutes=f"{minutes:g}", kind=jax.devices()[0].device_kind, tables="\n\n".join(tables))


def tabulate(rows: Rows) -> pl.DataFrame:
    """One line for each row of a group."""
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name != "group"]
    return pl.DataFrame({name: [text_of(row.get(name)) for row in rows] for name in names})
