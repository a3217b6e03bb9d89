"""Sweeps: many agents at once, with other hyperparameters, static values, environments and seeds."""

from jaxrl.sweeps.execute import sweep
from jaxrl.sweeps.results import SweepResult
from jaxrl.sweeps.spec import SweepSpec, read_spec
