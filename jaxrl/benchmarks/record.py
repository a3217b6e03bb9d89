"""The tables and the pages of all benchmarks."""

import importlib.metadata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rich.table

from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.runs import provenance, run_directory

RESULTS = "results.json"

Rows = list[dict[str, Any]]
"""Measurements, in JSON's types."""


class Table(NamedTuple):
    """A table of numbers."""

    header: Sequence[str]
    lines: list[list[str]]

    def for_screen(self) -> rich.table.Table:
        table = rich.table.Table(box=None, padding=(0, 2, 0, 0))
        for name in self.header:
            table.add_column(name, justify="right")
        for line in self.lines:
            table.add_row(*line)
        return table

    def markdown(self) -> str:
        lines = [self.header, ["---:"] * len(self.header), *self.lines]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(
    directory: Path,
    rows: Rows,
    started: str,
    text: str,
    picture: str | None = None,
    draw: Callable[[Rows, str, Path], None] | None = None,
    packages: Iterable[str] = (),
) -> None:
    """Writes `results.json`, the picture and `README.md` into a directory.

    Args:
        directory: where to write.
        rows: the measurements.
        started: when they began.
        text: a heading, what was measured, and the tables, in Markdown.
        picture: the name of the picture, if there is one.
        draw: `(rows, device, path)`: draws it.
        packages: packages whose versions matter too.
    """
    results = provenance.describe("jaxrl.experiments.benchmark") | {"started": started, "rows": rows}
    del results["started_in"]  # recorded results name no folder of a machine
    results["versions"] |= {package: importlib.metadata.version(package) for package in packages}
    run_directory.write_json(directory / RESULTS, results)
    if picture is not None and draw is not None:
        with errors_as_notes(directory / picture):
            draw(rows, results["machine"]["device"], directory / picture)
    (directory / "README.md").write_text(page(results, text))


def page(results: dict[str, Any], text: str) -> str:
    """The page of a benchmark, in Markdown."""
    machine = results["machine"]
    heading, _, body = text.partition("\n")
    return f"""{heading}

```
{results["command"]}
```
{body}

Measured on {machine["device"]}, {machine["system"]}, on {results["started"][:10]} at commit
{results["commit"] or "none (an installed package)"}, with
{", ".join(f"{name} {version}" for name, version in results["versions"].items())}.
"""
