"""The trained policy that an option of a command names."""

from pathlib import Path

from jaxrl.arguments import ArgumentError
from jaxrl.runs.load import TrainedPolicy
from jaxrl.trained import load


def load_policy(option: str, directory: Path, seed: int | None, agent: int | None) -> TrainedPolicy:
    """The policy of a run or of a sweep's agent.

    Raises:
        ArgumentError: it cannot be loaded; `option` is the name of the directory.
        CheckpointError: it has no usable checkpoint.
    """
    try:
        return load(directory, seed, agent)
    except ArgumentError as error:
        if error.name == "directory":
            error.name = option
        raise
