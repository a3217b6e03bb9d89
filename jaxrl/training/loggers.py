"""Loggers record the metrics of a run: in a CSV file, for TensorBoard, in Weights & Biases, or where you want them."""

import os
import pkgutil
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.formatting import format_si
from jaxrl.types import ENV_STEPS, Unit

METRICS = "metrics.csv"
CLOCK_COLUMNS = ("env_steps_per_second", "gradient_steps_per_second", "wall_seconds")
"""Columns that depend on the machine. All others are the same in every repetition of a run."""
EVAL_RETURN = "eval_return"
"""The column of evaluations while training."""

Row = dict[str, Any]
"""One row of metrics: numbers, or arrays `[A]` for a population."""


class RunInfo(NamedTuple):
    """What a logger knows about its run.

    Attributes:
        directory: where to write. Loggers make it if it does not exist.
        config: the configuration of the run, `{"env": …, "hparams.learning_rate": …}`, in JSON's types. In a chunk of
            a sweep, an option that differs between agents is a list.
        agents: the numbers of the agents, by default 0, 1, …; a padded chunk's rows hold more, which loggers ignore.
        label: what these numbers are: "seed" in a run, "agent" in a sweep.
        metrics: the names of the metrics. `run` fills in this field and the next ones.
        row_ends: steps of one agent at the ends of all rows, except for a shorter last one.
        notify: takes one-line messages for the user.
        unit: what the steps of the run are, and the name of their column.
    """

    directory: Path = Path()
    config: Mapping[str, Any] = {}
    agents: Sequence[int] = ()
    label: str = "seed"
    metrics: Collection[str] = ()
    row_ends: Sequence[int] = ()
    notify: Callable[[str], None] = print
    unit: Unit = ENV_STEPS

    def per_agent(self, row: Row) -> list[Row]:
        """A row of a population as one row for each agent, with its number under `label`."""
        return [
            {self.label: agent} | {name: np.atleast_1d(x)[i if np.ndim(x) else 0].item() for name, x in row.items()}
            for i, agent in enumerate(self.agents)
        ]

    def scalars(self, row: Row) -> dict[str, float]:
        """The numbers of a row as `{"loss": …}`, or `{"seed_3/loss": …}` for several agents, without the NaNs."""
        found: dict[str, float] = {}
        for plain in self.per_agent(row):
            tag = f"{self.label}_{plain[self.label]}/" if len(self.agents) > 1 else ""
            found |= {
                tag + name: x for name, x in plain.items() if name not in (self.label, self.unit.column) and x == x
            }
        return found


class Logger:
    """Records one run. Override what you need; by default, every method does nothing.

    A logger that raises an exception stops the run, which is saved first.
    """

    def open(self, run: RunInfo) -> None:
        """Begins. Nothing has been written for this run before, unless `resume` follows."""

    def resume(self, steps: int) -> None:
        """Continues a run: discard rows after `steps`, which will be written again."""

    def write(self, row: Row) -> None:
        """Records one complete row of metrics."""

    def progress(self, steps: int, total_steps: int, steps_per_second: float) -> None:
        """Shows how far the run is. Called after every call of the compiled program, about once a second."""

    def close(self) -> None:
        """Ends, whether the run succeeded or not. `open` may not have been called."""


class CSVLogger(Logger):
    """Writes `metrics.csv`: one line for each row and agent, on disk as soon as it is written.

    The mean of nothing, such as the return of a row in which no episode ended, is an empty cell.
    """

    def open(self, run: RunInfo) -> None:
        self.run, self.path = run, run.directory / METRICS
        run.directory.mkdir(parents=True, exist_ok=True)

    def resume(self, steps: int) -> None:
        """Drops incomplete lines and rows after `steps`, in one replacement of the file, and reports missing rows.

        A file whose first line does not name the columns is moved aside.
        """
        header, lines = self._read()
        steps_column = self.run.unit.column
        columns = {self.run.label, steps_column, *self.run.metrics, f"{steps_column}_per_second", "wall_seconds"}
        if header and set(header.split(",")) - {"episodes"} != columns:
            aside = self.path.with_name(f"{self.path.stem}-damaged{self.path.suffix}")
            os.replace(self.path, aside)
            self.run.notify(f"the first line of {self.path} does not name its columns: moved to {aside}")
            header, lines = "", {}
        ends = [end for end in self.run.row_ends if end <= steps]
        missing = [end for end in ends if any((agent, end) not in lines for agent in self.run.agents)]
        if missing:
            self.run.notify(
                f"{self.path} lacks {len(missing)} of the {len(ends)} rows until the checkpoint, those of "
                f"{self.run.unit.words} {format_si(missing[0])} to {format_si(missing[-1])}; the run continues without "
                "them"
            )
        if self.path.exists():
            kept = [header, *(line for (_, end), line in lines.items() if end <= steps)] if header else []
            draft = self.path.with_suffix(".tmp")
            draft.write_text("".join(f"{line}\n" for line in kept))
            os.replace(draft, self.path)

    def _read(self) -> tuple[str, dict[tuple[int, int], str]]:
        """The first line, and every complete line by its agent and steps, without duplicates.

        A killed process leaves half a line behind, and a failing disk anything.
        """
        text = self.path.read_text(encoding="utf-8-sig", errors="replace") if self.path.exists() else ""
        header, *lines = text.split("\n")[:-1] or [""]
        columns, found = header.split(","), {}
        for line in lines:
            row = dict(zip(columns, cells := line.split(","), strict=False))
            agent, end = row.get(self.run.label, ""), row.get(self.run.unit.column, "")
            complete = len(cells) == len(columns) and all(map(_is_number, cells)) and cells[-1]
            if complete and agent.isdecimal() and end.isdecimal():
                found[int(agent), int(end)] = line
        return header, found

    def write(self, row: Row) -> None:
        rows = self.run.per_agent(row)
        lines = [",".join(map(_cell, row.values())) for row in rows]
        if not self.path.exists() or self.path.stat().st_size == 0:
            lines.insert(0, ",".join(rows[0]))
        try:
            with self.path.open("a", newline="") as file:
                file.write("".join(f"{line}\n" for line in lines))
        except OSError as error:  # a failed write does not name its file
            raise OSError(error.errno, f"cannot write: {error.strerror}", str(self.path)) from error


def _cell(x: float) -> str:
    return "" if x != x else f"{x:.9g}" if isinstance(x, float) else str(x)


def _is_number(cell: str) -> bool:
    """Whether a cell holds a number, or nothing, as for the mean of nothing."""
    try:
        float(cell or 0)
    except ValueError:
        return False
    return True


class TensorBoardLogger(Logger):
    """Writes event files for TensorBoard into the folder `tensorboard`, one scalar for each metric and agent."""

    purge_step: int | None = None

    def open(self, run: RunInfo) -> None:
        self.run = run
        run.directory.mkdir(parents=True, exist_ok=True)

    def resume(self, steps: int) -> None:
        self.purge_step = steps + 1

    @cached_property
    def writer(self) -> Any:
        """Made for the first row, because a writer creates its file at once."""
        from tensorboardX import SummaryWriter

        return SummaryWriter(str(self.run.directory / "tensorboard"), purge_step=self.purge_step)

    def write(self, row: Row) -> None:
        for tag, x in self.run.scalars(row).items():
            self.writer.add_scalar(tag, x, row[self.run.unit.column])
        self.writer.flush()

    def close(self) -> None:
        if "writer" in vars(self):
            self.writer.close()


class WandbLogger(Logger):
    """Records a run of Weights & Biases, with its files in the folder `wandb`. A resumed run continues the same one.

    Environment variables such as `WANDB_PROJECT` (by default jaxrl) and `WANDB_MODE=offline` configure it.

    Raises:
        ArgumentError: wandb is not installed.
    """

    def __init__(self) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ArgumentError("loggers", "must be installed packages (pip install wandb)", "wandb") from error
        self.wandb = wandb
        self.wandb_run: Any = None

    def open(self, run: RunInfo) -> None:
        self.run = run
        id_file = run.directory / "wandb" / "run-id.txt"
        if not id_file.exists():
            id_file.parent.mkdir(parents=True, exist_ok=True)
            id_file.write_text(secrets.token_hex(4))
        try:
            self.wandb_run = self.wandb.init(
                project=os.environ.get("WANDB_PROJECT", "jaxrl"),
                name=run.directory.name,
                id=id_file.read_text(),
                resume="allow",
                dir=run.directory,
                config=dict(run.config),
                settings=self.wandb.Settings(console="off"),
            )
        except self.wandb.Error as error:  # no account, or no network
            reason = str(error).splitlines()[0].rstrip(".")
            rule = f"must be able to write ({reason}, or set WANDB_MODE=offline)"
            raise ArgumentError("loggers", rule, "wandb") from error

    def write(self, row: Row) -> None:
        self.wandb_run.log(self.run.scalars(row), step=int(row[self.run.unit.column]))

    def close(self) -> None:
        if self.wandb_run is not None:
            self.wandb_run.finish()


class Profiler(Logger):
    """Writes a profile of a few calls of the compiled program, from the second one on."""

    CALLS = 3

    def __init__(self, directory: Path) -> None:
        self.directory, self.calls, self.running = directory, 0, False

    def progress(self, steps: int, total_steps: int, steps_per_second: float) -> None:
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


LOGGERS: dict[str, Callable[[], Logger]] = {
    "csv": CSVLogger,
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
}
"""The loggers that have a name."""


def make_loggers(names: Sequence[str]) -> list[Logger]:
    """New loggers.

    Args:
        names: each a name in `LOGGERS`, or `"module:attribute"` for a class or function that returns a `Logger` when
            called without arguments.

    Raises:
        ArgumentError: a name is unknown, cannot be imported, or gives something else.
    """
    return [_make_logger(name) for name in names]


def _make_logger(name: str) -> Logger:
    factory: Any = LOGGERS.get(name)
    if factory is None:
        if ":" not in name:
            raise ArgumentError("loggers", f"must be {', '.join(LOGGERS)} or module:attribute", name)
        try:
            factory = pkgutil.resolve_name(name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ArgumentError("loggers", f"must name a logger that can be imported ({error})", name) from error
    logger = factory() if callable(factory) else factory
    if not isinstance(logger, Logger):
        kind = type(logger).__name__
        raise ArgumentError(
            "loggers", "must name a subclass of jaxrl.Logger", name, got=f"{name!r}, which gives a {kind}"
        )
    return logger
