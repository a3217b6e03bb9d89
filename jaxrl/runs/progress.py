"""The progress of a run on the screen."""

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from jaxrl.formatting import format_number, format_si
from jaxrl.training.loggers import EVAL_RETURN, Logger, Row


class ProgressLine:
    """A progress bar with the latest numbers; without a terminal, one plain line every few seconds."""

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
        """Shows that `done` of `total` is complete, with `numbers` beside it."""
        self.progress.update(self.task, completed=done, total=total, numbers=numbers)
        elapsed = self.progress.tasks[0].elapsed or 0.0
        if self.next_line is None:  # the first call is too short to estimate the remaining time
            self.next_line = elapsed + self.SECONDS_BETWEEN_LINES / 5
        if not self.console.is_terminal and (done >= total or elapsed >= self.next_line):
            left = self.progress.tasks[0].time_remaining
            time_left = "" if done >= total or left is None else f"  {left:.0f} s left"
            self.console.print(f"{min(1, done / total):4.0%}  {numbers}{time_left}", soft_wrap=True)
            self.next_line = elapsed + self.SECONDS_BETWEEN_LINES

    def close(self) -> None:
        if self.console.is_terminal:
            self.progress.stop()


class ScreenLogger(Logger):
    """Shows the progress of a run and its latest numbers."""

    def __init__(self, console: Console, total_steps: int) -> None:
        self.line, self.latest = ProgressLine(console, total_steps), ""

    def write(self, row: Row) -> None:
        parts = []
        for name, label in (("episode_return", "return"), (EVAL_RETURN, "evaluation"), ("loss", "loss")):
            x = np.asarray(row.get(name, np.nan), float)
            if not np.isnan(x).all():
                parts.append(f"{label} {format_number(np.nanmean(x))}")
        if (unused := np.nan_to_num(np.asarray(row.get("unused", 0.0), float)).mean()) > 0.5:
            parts.append(f"{unused:.0%} of what is sampled holds a truncation and is not learned from")
        self.latest = "  ".join(parts)

    def progress(self, steps: int, total_steps: int, steps_per_second: float) -> None:
        numbers = f"{format_si(steps)} steps  {format_si(steps_per_second)} steps/s  {self.latest}".rstrip()
        self.line.update(steps, total_steps, numbers)

    def close(self) -> None:
        self.line.close()
