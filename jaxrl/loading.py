"""Loading what a run or a sweep has trained."""

import dataclasses
from pathlib import Path

from jaxrl.arguments import ArgumentError, check_value
from jaxrl.runs import run_directory
from jaxrl.runs.load import TrainedPolicy, load_run, restore


def load(directory: str | Path, seed: int | None = None, agent: int | None = None, best: bool = False) -> TrainedPolicy:
    """The policy of a run, from its newest intact checkpoint, or of a trained agent of a sweep.

    Args:
        directory: of the run or the sweep.
        seed: which seed of a run (default: the first).
        agent: which agent of a sweep (default: the best seed of the best configuration).
        best: as it was at its best evaluation while training, of a run with `--keep-best` or a sweep with `keep_best`.

    Raises:
        ArgumentError: the directory holds no run and no sweep, or not that seed or agent, or its environment or its
            experiment cannot be imported, or a number is not a whole one.
        CheckpointError: it holds no usable checkpoint.
    """
    for name, number in (("seed", seed), ("agent", agent)):
        check_value(name, number, int | None)
    directory = Path(directory)
    if not (directory / run_directory.SWEEP).exists():
        if agent is not None:
            raise ArgumentError("agent", f"is for sweeps, and {directory} holds none", agent)
        return load_run(directory, seed, best)
    if seed is not None:
        raise ArgumentError("seed", "is for runs; an agent of a sweep has its own", seed)
    from jaxrl.sweeps.find import find_agent  # here, because it imports polars

    found = find_agent(directory, agent, best)
    policy = restore(found.experiment, found.options, found.checkpoints, found.agents, found.position, whole=False)
    return dataclasses.replace(policy, name=found.name)
