"""Environment steps per second of populations that learn, compared with a single agent."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import polars as pl

from jaxrl.benchmarks.pages import Rows
from jaxrl.benchmarks.timing import TimedLoop, time_loops
from jaxrl.formatting import format_si, markdown_table
from jaxrl.plots.figures import new_figure
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options
from jaxrl.runs.task import make_env
from jaxrl.training.hparams import repeat
from jaxrl.training.program import Program
from jaxrl.types import Trainer

PICTURE = "agents.png"
TEXT = """# Speed of populations

Environment steps/s of all agents together while they learn {experiment}, with {config}.
Each number is the median of {repeats} runs of a compiled program. A single agent, which has the whole machine, takes
turns with each population; the ratio is that of the two medians. Memory is that of the program and its state, in GiB:
of the machine if the devices are cores of a CPU, or else of each device. Compile times are in seconds.

{table}

![steps per second against the number of agents]({picture})"""


def measure(
    experiment: Experiment, options: Options, agents: int, devices: Sequence[jax.Device], seconds: float, repeats: int
) -> dict[str, Any]:
    """Measures a population, on as many of the devices as divide it, and one agent in turns, and returns one row."""
    _, trainer = experiment.build(*make_env(options.task), options.config)
    used = devices_of(agents, devices)
    _, one = compile_program(trainer, options, None, devices[:1])
    program, many = compile_program(trainer, options, agents, used)
    alone, together = time_loops([one, many], seconds, repeats)
    speed = together.steps_per_second * trainer.steps_per_iteration * agents
    speed_alone = alone.steps_per_second * trainer.steps_per_iteration
    return {
        "experiment": experiment.name,
        "agents": agents,
        "devices": len(used),
        "env_steps_per_second": speed,
        "env_steps_per_second_alone": speed_alone,
        "ratio": speed / speed_alone,
        "memory_gib": program.memory() * (len(used) if used[0].platform == "cpu" else 1) / 2**30,
        **together._asdict(),
        "seconds_alone": alone.seconds,
    }


def devices_of(agents: int, devices: Sequence[jax.Device]) -> Sequence[jax.Device]:
    """As many of the devices as divide the agents."""
    return devices[: max(n for n in range(1, len(devices) + 1) if agents % n == 0)]


def compile_program(
    trainer: Trainer, options: Options, agents: int | None, devices: Sequence[jax.Device] | None = None
) -> tuple[Program, TimedLoop]:
    """The compiled program of a population, or of one agent if `agents` is None; by default on the first device."""
    key, hparams = jax.random.key(0), options.hparams
    if agents is not None:
        key, hparams = jax.random.split(key, agents), repeat(hparams, agents)
    program = Program(trainer, key, hparams, devices=devices, sequential=options.execution.sequential)
    advance = program.compiled()
    return program, TimedLoop(advance, program.init(key, hparams), program.compile_seconds)


def tabulate(rows: Rows) -> pl.DataFrame:
    """One line for each number of agents."""
    columns = {
        "agents": "{agents:,}",
        "devices": "{devices}",
        "steps/s": "{env_steps_per_second:,.0f}",
        "one agent's": "{env_steps_per_second_alone:,.0f}",
        "ratio": "{ratio:.2f}",
        "memory": "{memory_gib:.2f}",
        "compile s": "{compile_seconds:.1f}",
    }
    return pl.DataFrame({name: [text.format(**row) for row in rows] for name, text in columns.items()})


def describe(rows: Rows, config: Sequence[str]) -> str:
    """What was measured, and the table, in Markdown. `config`: what differs from the experiment's settings."""
    table = tabulate(rows)
    return TEXT.format(
        experiment=rows[0]["experiment"],
        config="its default settings" + (f" but {', '.join(config)}" if config else ""),
        repeats=len(rows[0]["seconds"]),
        table=markdown_table(table, right=table.columns),
        picture=PICTURE,
    )


def draw(rows: Rows, device: str, picture: Path) -> None:
    """Draws steps per second against the number of agents.

    The speed of one agent is measured anew beside each population: dots show these, and a line their median.
    """
    rows = sorted(rows, key=lambda row: row["agents"])
    agents = [row["agents"] for row in rows]
    together = [row["env_steps_per_second"] for row in rows]
    alone = [row["env_steps_per_second_alone"] for row in rows]
    figure, axes = new_figure(rows[0]["experiment"], device, "agents", "environment steps/s, while learning")
    axes.plot(agents, together, "o-", label="all agents of one program")
    axes.axhline(statistics.median(alone), color="gray", linestyle="--", label="one agent alone, median")
    axes.plot(agents, alone, ".", color="gray", label="one agent alone, beside each population")
    axes.set_xscale("log", base=2)
    axes.set_xticks(agents, [f"{n:,}" for n in agents])
    axes.set_xticks([], minor=True)
    axes.set_ylim(0, 1.05 * max(*alone, *together))
    axes.yaxis.set_major_formatter(lambda y, _: format_si(y, 10))
    figure.legend(loc="outside lower left", frameon=False, fontsize=9, ncols=3)
    figure.savefig(picture)
