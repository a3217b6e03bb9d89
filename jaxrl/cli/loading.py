"""A trained policy for a command: what cannot be loaded is said with the command's flags."""

from pathlib import Path

from jaxrl.arguments import UsageError
from jaxrl.runs import run_directory
from jaxrl.runs.checks import as_flag
from jaxrl.runs.load import TrainedPolicy, load


def load_policy(directory: Path, seed: int | None, agent: int | None) -> TrainedPolicy:
    """The policy of a run or of a sweep's agent.

    Raises:
        UsageError: there is none, or its environment cannot be made here.
        CheckpointError: it has no usable checkpoint.
    """
    try:
        return load(directory, seed, agent)
    except ValueError as error:
        name = str(error).partition(" ")[0]
        if name in ("seed", "agent"):
            raise UsageError(as_flag(error)) from error
        if name == "env_id":
            raise UsageError(f"the environment of {directory} cannot be made{_where(directory)}: {error}") from error
        raise UsageError(str(error)) from error


def _where(directory: Path) -> str:
    """Where a module of the user's own can be imported: where the run began."""
    if not (directory / run_directory.CONFIG).exists():
        return " here"
    return f" here, as it was in {run_directory.read_config(directory).get('started_in', 'another directory')}"
