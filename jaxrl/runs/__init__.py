"""Runs: their options, their directory, training, and using what was trained."""

from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options

__all__ = ["Experiment", "Options"]
