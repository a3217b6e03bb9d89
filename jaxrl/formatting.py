"""Numbers as text, the same on the screen, in tables, on pages and in pictures."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table

FEW_SEEDS = 5
"""Below this many seeds, the range of their values is shown: an interval of the mean would be far wider than that."""


def format_number(x: float, digits: int = 3) -> str:
    """Whole numbers below a million in full, others in `digits` significant digits: 12500, 0.00123, 2.5e-7."""
    if abs(x) < 1e6 and x == int(x):
        return str(int(x))
    mantissa, _, exponent = f"{float(f'{x:.{digits}g}'):.{max(digits, 6)}g}".partition("e")
    return mantissa + (f"e{int(exponent)}" if exponent else "")


def format_si(x: float, digits: int = 3) -> str:
    """A number with an SI prefix, in `digits` significant digits: 950, 31.2k, 4M."""
    x = float(f"{x:.{digits}g}")
    power = next((power for power in (3, 2, 1) if abs(x) >= 1000**power), 0)
    return format_number(x / 1000**power, digits) + ("", "k", "M", "G")[power]


def format_return(x: float) -> str:
    """The return of one episode, in two decimals at most: 12, -0.15, 1234.5."""
    return format_number(round(float(x), 2), 6)


def format_count(number: int, noun: str) -> str:
    """A number of things: 1 agent, 1,000 agents."""
    return f"{number:,} {noun}" + "s" * (number != 1)


def format_mean(values: Sequence[float] | np.ndarray) -> str:
    """The mean over seeds and their spread.

    "27.71" for one seed, "27.71 (14.40 to 39.20)" with the range of fewer than `FEW_SEEDS`, "27.71 ± 2.13" with the
    95 % confidence interval of more, and "–" for none.
    """
    if len(values) == 0:
        return "–"
    decimals = 1 if abs(np.mean(values)) >= 100 else 2

    def text(x: float) -> str:
        return f"{x + 0.0:.{decimals}f}" if x == 0 or 0.005 <= abs(x) < 1e6 else format_number(x)

    mean = text(float(np.mean(values)))
    if len(values) < 2:
        return mean
    if len(values) < FEW_SEEDS:
        return f"{mean} ({text(np.min(values))} to {text(np.max(values))})"
    return f"{mean} ± {text(float(interval_95(values)))}"


def describe_spread(num_seeds: int) -> str:
    """What `format_mean` shows beside the mean."""
    if num_seeds < 2:
        return ""
    return f"range of {num_seeds} seeds" if num_seeds < FEW_SEEDS else f"95 % interval over {num_seeds} seeds"


def interval_95(values: Sequence[float] | np.ndarray) -> np.ndarray:
    """Half the width of the 95 % confidence interval (Student's t) of the mean of `values[A, ...]`: `[...]`.

    It is 0 for a single value.
    """
    from scipy import stats

    if len(values) < 2:
        return np.zeros(np.shape(values)[1:])
    return stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)


def format_bytes(size: float) -> str:
    """A size in memory or on disk: 12.50 MiB, 1.25 GiB."""
    return f"{size / 2**30:.2f} GiB" if size >= 0.1 * 2**30 else f"{size / 2**20:.2f} MiB"


def format_seconds(seconds: float) -> str:
    """A duration: 45 s, 12 min, 30 h, 9 days."""
    units = ((100, 1, "s"), (6000, 60, "min"), (360_000, 3600, "h"), (float("inf"), 86_400, "days"))
    return next(f"{seconds / length:,.0f} {name}" for below, length, name in units if seconds < below)


def format_rows(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values, one pair a line."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def screen_table(frame: "pl.DataFrame", right: Collection[str] = (), narrow: bool = False) -> "Table":
    """A frame of text for the screen, with the columns in `right` aligned to the right.

    A narrow table has one word in each line of its header.
    """
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in frame.columns:
        header = name.replace(" ", "\n") if narrow else name
        table.add_column(header, justify="right" if name in right else "left", overflow="fold")
    for row in frame.iter_rows():
        table.add_row(*row)
    return table


def markdown_table(frame: "pl.DataFrame", right: Collection[str] = ()) -> str:
    """A frame of text in Markdown, with the columns in `right` aligned to the right."""
    rule = ["---:" if name in right else "---" for name in frame.columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (frame.columns, rule, *frame.iter_rows()))
