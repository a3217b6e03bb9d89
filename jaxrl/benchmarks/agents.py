"""Environment steps per second of populations that learn, each beside one agent that has the machine to itself."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.table import Table

from jaxrl.benchmarks.measure import measure
from jaxrl.benchmarks.replay import right_aligned
from jaxrl.envs import make
from jaxrl.formatting import format_si
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options
from jaxrl.training.hparams import repeat
from jaxrl.training.program import Program as TrainingProgram

PLOT = "agents.png"
PAGE = """# Speed of populations

```
{command}
```

Environment steps/s of all agents together while they learn: {what}, with the experiment's settings{config}. The median
of {repeats} runs of one compiled program, in turns with one agent that has all of the machine; the ratio is that of the
two medians. Memory is that of the program with its state, in GiB{devices}.

{table}

![steps per second against the number of agents]({plot})

{machine}, {system}. Run on {date} at commit {commit}, with jax {jax}.
"""


class Learning:
    """Agents of an experiment that learn, as `measure` wants it: a step is one iteration of all of them."""

    def __init__(
        self, experiment: Experiment, options: Options, agents: int | None, devices: Sequence[jax.Device]
    ) -> None:
        env, env_params = make(options.task.env, options.task.rules)
        _, trainer = experiment.build(env, env_params, options.config)
        key, hparams = jax.random.key(0), options.hparams
        if agents is not None:
            key, hparams = jax.random.split(key, agents), repeat(hparams, agents)
        self.program = TrainingProgram(trainer, key, hparams, devices=devices, sequential=options.execution.sequential)
        self.advance = self.program.compiled()
        self.compile_seconds = self.program.compile_seconds
        self.steps_per_iteration = trainer.steps_per_iteration * (agents or 1)
        self.run_state = jax.block_until_ready(self.program.init(key, hparams))

    def run(self, num_steps: int) -> float:
        """Goes on for `num_steps` iterations; the seconds this took."""
        start = time.perf_counter()
        self.run_state = jax.block_until_ready(self.advance(self.run_state, num_steps))
        return time.perf_counter() - start


def measure_agents(
    experiment: Experiment, options: Options, agents: int, devices: Sequence[jax.Device], seconds: float, repeats: int
) -> dict[str, Any]:
    """A row, in JSON's types, of a population spread over as many of the devices as divide it, and of one agent."""
    used = devices[: max(n for n in range(1, len(devices) + 1) if agents % n == 0)]
    one, many = Learning(experiment, options, None, devices[:1]), Learning(experiment, options, agents, used)
    timings = measure([one, many], seconds, repeats)
    alone, together = (
        statistics.median(timing.num_steps * learning.steps_per_iteration / x for x in timing.seconds)
        for learning, timing in zip((one, many), timings, strict=True)
    )
    return {
        "experiment": experiment.name,
        "agents": agents,
        "devices": len(used),
        "env_steps_per_second": together,
        "env_steps_per_second_alone": alone,
        "ratio": together / alone,
        "memory_gib": many.program.memory() * (len(used) if used[0].platform == "cpu" else 1) / 2**30,
        "num_steps": timings[1].num_steps,
        "seconds": timings[1].seconds,
        "seconds_alone": timings[0].seconds,
        "compile_seconds": many.compile_seconds,
    }


HEADER = ["A", "devices", "steps/s", "one agent's", "ratio", "memory", "compile s"]


def cells(rows: Sequence[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            f"{row['agents']:,}",
            f"{row['devices']}",
            f"{row['env_steps_per_second']:,.0f}",
            f"{row['env_steps_per_second_alone']:,.0f}",
            f"{row['ratio']:.2f}",
            f"{row['memory_gib']:.2f}",
            f"{row['compile_seconds']:.1f}",
        ]
        for row in rows
    ]


def screen_table(rows: Sequence[dict[str, Any]]) -> Table:
    """All that was measured."""
    return right_aligned(HEADER, cells(rows))


def page(results: dict[str, Any], config: Sequence[str]) -> str:
    """The page, in Markdown, of what `results.json` holds."""
    rows = results["rows"]
    lines = [HEADER, ["---:"] * len(HEADER), *cells(rows)]
    return PAGE.format(
        command=results["command"],
        what=rows[0]["experiment"],
        config=f" but {', '.join(config)}" if config else "",
        repeats=len(rows[0]["seconds"]),
        devices=" of the machine" if results["machine"]["backend"] == "cpu" else " of each device",
        table="\n".join("| " + " | ".join(line) + " |" for line in lines),
        plot=PLOT,
        machine=results["machine"]["device"],
        system=results["machine"]["system"],
        date=results["started"][:10],
        commit=results["commit"] or "none (an installed package)",
        jax=results["versions"]["jax"],
    )


def draw(rows: Sequence[dict[str, Any]], device: str, picture: Path) -> None:
    """Draws steps per second against the number of agents.

    One agent is measured anew beside each number of agents, because a machine is not always as fast: these are dots
    about their median.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained", dpi=120)
    axes = figure.subplots()
    rows = sorted(rows, key=lambda row: row["agents"])
    agents = [row["agents"] for row in rows]
    together = [row["env_steps_per_second"] for row in rows]
    alone = [row["env_steps_per_second_alone"] for row in rows]
    axes.plot(agents, together, "o-", label="all agents of one program")
    axes.axhline(statistics.median(alone), color="gray", linestyle="--", label="one agent alone")
    axes.plot(agents, alone, ".", color="gray", label="the same, as measured beside each")
    axes.set_xscale("log", base=2)
    axes.set_xticks(agents, [f"{n:,}" for n in agents])
    axes.set_xticks([], minor=True)
    axes.set_ylim(0, 1.05 * max(*alone, *together))
    axes.yaxis.set_major_formatter(lambda y, _: format_si(y, 10))
    axes.set_title(f"{rows[0]['experiment']}\n", loc="left", fontweight="bold")
    axes.text(0, 1.02, device, transform=axes.transAxes, color="gray", fontsize=9)
    axes.set_xlabel("agents")
    axes.set_ylabel("environment steps/s, while learning")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    figure.legend(loc="outside lower left", frameon=False, fontsize=9, ncols=3)
    figure.savefig(picture)
