"""Runs: their options, their directory, training, and using what was trained."""

from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Budget, Execution, Options, Task

__all__ = ["Budget", "Execution", "Experiment", "Options", "Task"]
