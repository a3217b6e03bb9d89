"""Finding an agent of a sweep."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from jaxrl.arguments import ArgumentError
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options, with_values
from jaxrl.sweeps.chunks import AGENTS, RESULTS
from jaxrl.sweeps.execute import CHUNKS, SPEC, read_record
from jaxrl.sweeps.plan import GroupPlan
from jaxrl.sweeps.results import best_configurations
from jaxrl.sweeps.spec import draw, read_spec


class Found(NamedTuple):
    """Where an agent is.

    Attributes:
        experiment, options: how it was trained.
        checkpoints: the folder with the agents of its chunk.
        agents: how many these are.
        place: which of them it is, from 0.
        name: what to call it.
    """

    experiment: Experiment
    options: Options
    checkpoints: Path
    agents: int
    place: int
    name: str


def find(directory: Path, agent: int | None) -> Found:
    """Finds an agent of a finished chunk, by default the best seed of the best configuration.

    Raises:
        ArgumentError: there is no such agent, or none yet; or none that finished, where none is named.
    """
    record, spec = read_record(directory), read_spec(directory / SPEC)
    chunks = {path.parent: pl.read_parquet(path) for path in sorted((directory / CHUNKS).glob(f"*/{RESULTS}"))}
    if not chunks:
        raise ArgumentError("directory", "must hold a sweep with a finished chunk", directory)
    if agent is None:
        results = pl.concat(chunks.values(), how="diagonal_relaxed")
        if not (results["status"] == "finished").any():
            raise ArgumentError("directory", "must hold a sweep with an agent that did not diverge", directory)
        agent = _best(results)
    for folder, chunk in chunks.items():
        numbers = chunk["agent"].to_list()
        if agent in numbers:
            index = numbers.index(agent)
            row = chunk.row(index, named=True)
            own = {"seed": row["seed"], "env_options": tuple(record["fields"]["env_options"])}
            options = with_values(spec.options, draw(spec)[row["configuration"]] | own)
            size = GroupPlan(*record["plan"][row["group"]]).chunk_size
            name = f"agent {agent} (configuration {row['configuration']}, seed {row['seed']})"
            if row["status"] == "diverged":
                name += f", which diverged after {row['env_steps']:,} steps"
            return Found(spec.experiment, options, folder / AGENTS, size, index, name)
    last = spec.configurations * spec.seeds - 1
    raise ArgumentError("agent", f"must be in 0 .. {last}, and of a finished chunk", agent)


def _best(results: pl.DataFrame) -> int:
    """The number of the agent to take where none is named."""
    configuration = best_configurations(results, [])["configuration"][0]
    seeds = results.filter(pl.col("configuration") == configuration)
    return seeds.sort("eval_return", "agent", descending=[True, False], nulls_last=True)["agent"][0]
