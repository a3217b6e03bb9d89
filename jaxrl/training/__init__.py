"""Trainers, compiled programs, and the host loop around them: checkpoints, loggers and evaluation."""

from jaxrl.training.best import Best
from jaxrl.training.checkpoint import CheckpointError, Checkpoints
from jaxrl.training.evaluation import Evaluation, evaluate, evaluate_agents, evaluation_while_training
from jaxrl.training.from_rules import from_rules
from jaxrl.training.host_loop import RunResult, run
from jaxrl.training.hparams import as_arrays, repeat
from jaxrl.training.loggers import Logger, RunInfo
from jaxrl.training.off_policy import OffPolicyConfig, off_policy
from jaxrl.training.offline import OfflineConfig, offline
from jaxrl.training.on_policy import OnPolicyConfig, on_policy
from jaxrl.training.population import RunState, population
from jaxrl.training.program import DivergedError, Program
