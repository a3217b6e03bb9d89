"""Where rows of metrics go: a CSV file, TensorBoard, the screen."""

import csv
import io
import os
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jaxrl.formatting import format_number, format_si
from jaxrl.training.host_loop import Row

CLOCK_COLUMNS = ("env_steps_per_second", "wall_seconds")
"""The columns that depend on the machine; all others are the same in every repetition of a run."""


def per_agent(row: Row, agents: Sequence[int], column: str = "seed") -> list[dict[str, Any]]:
    """A row of a population as one plain row for each of its first agents, which are known by their seeds."""
    return [
        {column: agent} | {name: np.atleast_1d(x)[i if np.ndim(x) else 0].item() for name, x in row.items()}
        for i, agent in enumerate(agents)
    ]


class CSVLogger:
    """`metrics.csv`: one row a chunk (and seed), on disk as soon as it is written.

    A mean over nothing, such as the return of a chunk in which no episode ended, is an empty cell.
    """

    def __init__(self, path: Path, agents: Sequence[int], column: str = "seed") -> None:
        self.path, self.agents, self.column = path, agents, column

    def mend(self, ends: Sequence[int], metrics: Collection[str], notify: Callable[[str], None]) -> None:
        """Says which rows are not there any more before a run goes on; a file that cannot be used is moved aside.

        Args:
            ends: environment steps at the ends of all rows that there should be.
            metrics: their names.
            tell: takes one-line messages for the user.
        """
        header, lines = self._read()
        columns = {self.column, "env_steps", *metrics, *CLOCK_COLUMNS}
        if header and set(header.split(",")) - {"episodes"} != columns:
            aside = self.path.with_name(f"{self.path.stem}-damaged{self.path.suffix}")
            os.replace(self.path, aside)
            notify(f"the first line of {self.path} does not name its columns: moved to {aside}")
            lines = {}
        missing = [x for x in ends if any((agent, x) not in lines for agent in self.agents)]
        if missing:
            notify(
                f"{self.path} lacks {len(missing)} of the {len(ends)} rows until the checkpoint, those of environment "
                f"steps {format_si(missing[0])} to {format_si(missing[-1])}; the run goes on without them"
            )

    def resume(self, env_steps: int) -> None:
        """Drops the rows beyond `env_steps`, and any that is not whole, in one replacement of the file.

        Raises:
            ValueError: its first line does not name its columns.
        """
        if not self.path.exists():
            return
        header, lines = self._read()
        if header and not {self.column, "env_steps"} <= set(header.split(",")):
            raise ValueError(f"the first line of {self.path} does not name its columns; move it away to go on without")
        kept = [line for (_, end), line in lines.items() if end <= env_steps]
        shorter = self.path.with_suffix(".tmp")
        shorter.write_text("".join(f"{line}\n" for line in (header, *kept) if line))
        os.replace(shorter, self.path)

    def _read(self) -> tuple[str, dict[tuple[int, int], str]]:
        """The first line, and all others that are whole, each once, by their agents and environment steps.

        A killed process leaves half a line, and a disk that fails whatever it likes.
        """
        text = self.path.read_text(encoding="utf-8-sig", errors="replace") if self.path.exists() else ""
        header, *lines = text.split("\n")[:-1] or [""]
        columns, found = header.split(","), {}
        for line in lines:
            row = dict(zip(columns, cells := line.split(","), strict=False))
            agent, end = row.get(self.column, ""), row.get("env_steps", "")
            whole = len(cells) == len(columns) and all(map(_is_number, cells)) and cells[-1]
            if whole and agent.isdecimal() and end.isdecimal():
                found[int(agent), int(end)] = line
        return header, found

    def write(self, row: Row) -> None:
        rows = per_agent(row, self.agents, self.column)
        new = not self.path.exists() or self.path.stat().st_size == 0
        try:
            with self.path.open("a", newline="") as file:
                file.write(_lines(list(rows[0]), rows, header=new))
        except OSError as error:  # a failed write does not say which file it was
            raise OSError(error.errno, f"cannot write: {error.strerror}", str(self.path)) from error

    def tick(self, env_steps: int, total_steps: int, rate: float) -> None:
        pass

    def close(self) -> None:
        pass


def _is_number(cell: str) -> bool:
    """Or nothing at all, as where there is no mean."""
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True


def _lines(columns: Sequence[str], rows: Sequence[dict[str, Any]], header: bool) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    if header:
        writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if x != x else f"{x:.9g}" if isinstance(x, float) else x for name, x in row.items()})
    return text.getvalue()


class TensorBoardLogger:
    """Event files for TensorBoard, one scalar for each metric (and seed)."""

    def __init__(self, directory: Path, seeds: Sequence[int]) -> None:
        self.directory, self.seeds = directory, seeds
        self.purge_step: int | None = None

    @cached_property
    def writer(self) -> Any:
        from tensorboardX import SummaryWriter

        return SummaryWriter(str(self.directory), purge_step=self.purge_step)

    def resume(self, env_steps: int) -> None:
        self.purge_step = env_steps + 1

    def write(self, row: Row) -> None:
        for plain in per_agent(row, self.seeds):
            tag = f"seed_{plain.pop('seed')}/" if len(self.seeds) > 1 else ""
            env_steps = plain.pop("env_steps")
            for name, x in plain.items():
                if x == x:
                    self.writer.add_scalar(tag + name, x, env_steps)
        self.writer.flush()

    def tick(self, env_steps: int, total_steps: int, rate: float) -> None:
        pass

    def close(self) -> None:
        if "writer" in vars(self):  # it makes a file as soon as it is there
            self.writer.close()


class ProgressLine:
    """A progress bar with the latest numbers; plain lines, one every few seconds, where there is no terminal."""

    SECONDS_BETWEEN_LINES = 10.0

    def __init__(self, console: Console, total: float, begin: str = "compiling, then the first steps") -> None:
        self.console = console
        self.next_line: float | None = None
        self.progress = Progress(
            TextColumn("{task.percentage:3.0f}%"),
            BarColumn(bar_width=8),
            TextColumn("{task.fields[numbers]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
        )
        self.task = self.progress.add_task("", total=total, numbers=begin)
        if console.is_terminal:
            self.progress.start()
        else:
            console.print(begin)

    def update(self, done: float, total: float, numbers: str) -> None:
        """So much is done of the total; `numbers` is what to say beside it."""
        self.progress.update(self.task, completed=done, total=total, numbers=numbers)
        elapsed = self.progress.tasks[0].elapsed or 0.0
        if self.next_line is None:  # the first call is too short to say how fast it goes
            self.next_line = elapsed + self.SECONDS_BETWEEN_LINES / 5
        if not self.console.is_terminal and (done >= total or elapsed >= self.next_line):
            left = self.progress.tasks[0].time_remaining
            time_left = "" if done >= total or left is None else f"  {left:.0f} s left"
            self.console.print(f"{done / total:4.0%}  {numbers}{time_left}", soft_wrap=True)
            self.next_line = elapsed + self.SECONDS_BETWEEN_LINES

    def close(self) -> None:
        if self.console.is_terminal:
            self.progress.stop()


class ScreenLogger:
    """How far a run is, and its latest numbers, on the screen."""

    def __init__(self, console: Console, total_steps: int) -> None:
        self.line, self.latest = ProgressLine(console, total_steps), ""

    def resume(self, env_steps: int) -> None:
        pass

    def write(self, row: Row) -> None:
        parts = []
        for name, label in (("episode_return", "return"), ("loss", "loss")):
            x = np.asarray(row.get(name, np.nan), float)
            if not np.isnan(x).all():
                parts.append(f"{label} {format_number(np.nanmean(x))}")
        self.latest = "  ".join(parts)

    def tick(self, env_steps: int, total_steps: int, rate: float) -> None:
        numbers = f"{format_si(env_steps)} steps  {format_si(rate)} steps/s  {self.latest}".rstrip()
        self.line.update(env_steps, total_steps, numbers)

    def close(self) -> None:
        self.line.close()


class Profiler:
    """A profile of a few calls of the program, from the second on."""

    CALLS = 3

    def __init__(self, directory: Path) -> None:
        self.directory, self.calls, self.running = directory, 0, False

    def resume(self, env_steps: int) -> None:
        pass

    def write(self, row: Row) -> None:
        pass

    def tick(self, env_steps: int, total_steps: int, rate: float) -> None:
        self.calls += 1
        if self.calls == 1:
            jax.profiler.start_trace(str(self.directory))
            self.running = True
        elif self.calls == 1 + self.CALLS:
            self.close()

    def close(self) -> None:
        if self.running:
            jax.profiler.stop_trace()
            self.running = False
