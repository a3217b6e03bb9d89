"""The flow of data, from worlds through a replay to an agent, for one agent or many; and what a host does around it."""

from jaxrl.training.checkpoint import CheckpointError, Checkpoints
from jaxrl.training.debug_nans import DivergedError
from jaxrl.training.evaluation import Evaluation, evaluate
from jaxrl.training.host_loop import RunResult, run
from jaxrl.training.hparams import repeat, traced
from jaxrl.training.off_policy import OffPolicyConfig, off_policy
from jaxrl.training.on_policy import OnPolicyConfig, on_policy
from jaxrl.training.population import Progress, population
from jaxrl.training.program import Program

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "DivergedError",
    "Evaluation",
    "OffPolicyConfig",
    "OnPolicyConfig",
    "Program",
    "Progress",
    "RunResult",
    "evaluate",
    "off_policy",
    "on_policy",
    "population",
    "repeat",
    "run",
    "traced",
]
