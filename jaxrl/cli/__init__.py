"""What the experiments' commands share: their options, their run directory, and the command itself."""

from jaxrl.cli.experiment import Experiment, Options
from jaxrl.cli.train import main

__all__ = ["Experiment", "Options", "main"]
