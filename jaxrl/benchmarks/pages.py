"""The pages of all benchmarks."""

import importlib.metadata
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.runs import provenance, run_directory

RESULTS = "results.json"

Rows = list[dict[str, Any]]
"""Measurements, in JSON's types."""


def write(
    directory: Path,
    rows: Rows,
    started: str,
    text: str,
    picture: str = "",
    draw: Callable[[Rows, str, Path], None] | None = None,
    packages: Iterable[str] = (),
) -> None:
    """Writes `results.json`, `README.md` and the picture, if any, into a directory.

    Args:
        directory: where to write.
        rows: the measurements.
        started: when they began.
        text: a heading, what was measured, and the tables, in Markdown.
        picture: the name of the picture.
        draw: `(rows, device, path)`: draws the picture.
        packages: other packages whose versions matter.
    """
    results = provenance.describe("jaxrl.experiments.benchmark") | {"started": started, "rows": rows}
    del results["started_in"]  # recorded results name no folder of a machine
    results["versions"] |= {package: importlib.metadata.version(package) for package in packages}
    run_directory.write_json(directory / RESULTS, results)
    machine = results["machine"]
    if draw is not None:
        with errors_as_notes(directory / picture):
            draw(rows, machine["device"], directory / picture)
    heading, _, body = text.partition("\n")
    (directory / "README.md").write_text(f"""{heading}

```
{results["command"]}
```
{body}

Measured on {machine["device"]}, {machine["system"]}, {provenance.made(results)}.
""")
