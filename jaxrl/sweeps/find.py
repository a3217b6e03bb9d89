"""Finding a trained agent of a sweep."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from jaxrl.arguments import ArgumentError, errors_in
from jaxrl.runs import run_directory
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options
from jaxrl.sweeps.chunks import AGENTS
from jaxrl.sweeps.report import read_record
from jaxrl.sweeps.results import RESULTS, rank_configurations
from jaxrl.sweeps.spec import SweepSpec
from jaxrl.types import unit_of


class TrialLocation(NamedTuple):
    """Where a trained agent is: at `position` among the `agents` in the folder `checkpoints`, under which `name`."""

    experiment: Experiment
    options: Options
    checkpoints: Path
    agents: int
    position: int
    name: str


def find_agent(directory: Path, agent: int | None, best: bool = False) -> TrialLocation:
    """Finds an agent of a finished chunk, by default the best seed of the best configuration.

    Args:
        directory: of the sweep.
        agent: its number.
        best: as it was at its best evaluation while training.

    Raises:
        ArgumentError: the sweep has no such agent, or it is not trained yet; or no agent finished, or none was kept.
    """
    record = read_record(directory)
    started = f"{directory / run_directory.SWEEP} (started in {record.get('started_in', 'another directory')})"
    with errors_in(started):  # modules of the user's own are found from there
        spec = SweepSpec(**record["spec"])
    chunks = {path.parent: pl.read_parquet(path) for path in sorted((directory / "chunks").glob(f"*/{RESULTS}"))}
    if not chunks:
        raise ArgumentError("directory", "must hold a sweep with a finished chunk", directory)
    if agent is None and not spec.has_one_task:
        raise ArgumentError("agent", "must be given, because the environments of this sweep differ", got="")
    if agent is None:
        trials = pl.concat(chunks.values(), how="diagonal_relaxed")
        if not (trials["status"] == "finished").any():
            raise ArgumentError("directory", "must hold a sweep with an agent that did not diverge", directory)
        seeds = trials.filter(configuration=rank_configurations(trials, [])["configuration"][0])
        agent = seeds.sort("eval_return", "agent", descending=[True, False], nulls_last=True)["agent"][0]
    for folder, trials in chunks.items():
        if (found := trials["agent"].index_of(agent)) is not None:
            row = trials.row(found, named=True)
            name = f"agent {agent} (configuration {row['configuration']}, seed {row['seed']})"
            if row["status"] == "diverged":
                name += f", which diverged after {row[unit_of(row).column]:,} steps"
            options = spec.configuration(row["configuration"], seed=row["seed"])
            size = record["plan"][row["group"]]["chunk_size"]
            if best and not options.execution.keep_best:
                raise ArgumentError("best", "must be of a sweep with keep_best = true", True, got=str(directory))
            checkpoints = folder / (run_directory.BEST if best else AGENTS)
            return TrialLocation(spec.experiment, options, checkpoints, size, found, name)
    last = len(spec.draws) * spec.seeds - 1
    rule = "must be in a chunk that is finished" if 0 <= agent <= last else f"must be in 0 .. {last}"
    raise ArgumentError("agent", rule, agent)
