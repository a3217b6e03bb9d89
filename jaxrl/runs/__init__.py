"""Runs: their options, their directory, training, and loading what was trained.

Functions of this package raise an `ArgumentError` for options that cannot be used. It names an option by its path, such
as `hparams.learning_rate`.
"""

from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Budget, Execution, Options, Task
