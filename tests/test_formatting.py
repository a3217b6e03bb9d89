"""Numbers as text."""

import numpy as np
import polars as pl
import pytest
from rich.console import Console

from jaxrl.formatting import (
    describe_spread,
    format_bytes,
    format_count,
    format_mean,
    format_number,
    format_return,
    format_seconds,
    format_si,
    interval_95,
    markdown_table,
    screen_table,
)


def test_interval_95() -> None:
    assert interval_95([3.0]) == 0.0
    # Student's t with 2 degrees of freedom is 4.303 at 97.5 %, and with 1 it is 12.706; the deviations are 1 and √2.
    assert interval_95([1.0, 2.0, 3.0]) == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)
    columns = interval_95(np.array([[7.0, 1.0], [9.0, 1.0]]))
    np.testing.assert_allclose(columns, [12.706, 0.0], rtol=1e-4)


def test_numbers_have_no_trailing_zeros_and_short_exponents() -> None:
    values = (-0.0, 12_345, 123_456.7, 0.00123456, 0.5, -2.5e-7, 2.5e6, np.nan, -np.inf)
    assert [format_number(x) for x in values] == [
        "0", "12345", "123000", "0.00123", "0.5", "-2.5e-7", "2.5e6", "nan", "-inf"
    ]  # fmt: skip
    assert [format_number(x, 10) for x in (0.3 + 1e-17, 1e20, 0.1234567)] == ["0.3", "1e20", "0.1234567"]


def test_si_prefixes() -> None:
    values = (0.4, 950, 31_234, 999_936, 4e6, 2.5e9, -2e3, np.nan)
    assert [format_si(x) for x in values] == ["0.4", "950", "31.2k", "1M", "4M", "2.5G", "-2k", "nan"]
    assert [format_si(x, 10) for x in (0, 500, 20_000, 1.25e6, 2e9)] == ["0", "500", "20k", "1.25M", "2G"]


def test_returns() -> None:
    assert [format_return(x) for x in (0.0, -3.0, -0.153554, 1234.5, 2.5e7, np.nan)] == [
        "0", "-3", "-0.15", "1234.5", "2.5e7", "nan"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "mean", "spread"),
    [
        ([], "–", ""),
        ([0.25], "0.25", ""),
        ([-153.554], "-153.6", ""),
        ([4e-4], "0.0004", ""),
        ([-0.0], "0.00", ""),
        ([1.0, 3.0], "2.00 (1.00 to 3.00)", "range of 2 seeds"),
        ([1.0, 2.0, 3.0, 4.0, 5.0], "3.00 ± 1.96", "95 % interval over 5 seeds"),
    ],
)
def test_means_over_seeds(values: list[float], mean: str, spread: str) -> None:
    assert (format_mean(values), describe_spread(len(values))) == (mean, spread)


def test_sizes_and_durations() -> None:
    assert [format_bytes(x) for x in (0, 1.5 * 2**20, 2**30)] == ["0.00 MiB", "1.50 MiB", "1.00 GiB"]
    assert [format_seconds(x) for x in (45.2, 720, 36_000, 10 * 86_400)] == ["45 s", "12 min", "10 h", "10 days"]


def test_tables_align_numbers_to_the_right(capsys) -> None:
    frame = pl.DataFrame({"group of": ["one", "b"], "agents at once": ["5", "1,000"]})
    right = ["agents at once"]
    assert markdown_table(frame, right).splitlines() == [
        "| group of | agents at once |", "| --- | ---: |", "| one | 5 |", "| b | 1,000 |",
    ]  # fmt: skip
    Console(width=80).print(screen_table(frame, right), screen_table(frame, right, narrow=True))
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "group of  agents at once",
        "one                    5",
        "b                  1,000",
        "       agents",
        "group      at",
        "of       once",
        "one         5",
        "b       1,000",
    ]


def test_counts() -> None:
    assert [format_count(n, "agent") for n in (0, 1, 2, 1000)] == [
        "0 agents", "1 agent", "2 agents", "1,000 agents",
    ]  # fmt: skip
