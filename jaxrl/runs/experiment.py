"""A training experiment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jaxrl.runs.options import Options
from jaxrl.types import Agent, PyTree, Trainer


def idle_settings(*rules: tuple[bool, str, tuple[str, ...]]) -> dict[str, str]:
    """What `Experiment.idle` gives.

    Args:
        rules: whether each applies, what makes settings idle, and the paths of these.
    """
    return {path: reason for applies, reason, paths in rules if applies for path in paths}


class Experiment(NamedTuple):
    """A training experiment: what `python -m jaxrl.experiments.NAME` runs.

    Attributes:
        name: the module's name.
        algorithm: what to call the learner in summaries and plots.
        build: `(env, env_params, config) -> (Agent, Trainer)`.
        defaults: the options of a plain call.
        report: `(env, env_params, agent_states, directory) -> entries`, or None: what else there is to say about the
            trained agents of all seeds, leaves `[A, ...]`. Its entries go into `summary.json`, and those that are
            single numbers onto the screen. It may read the run's `metrics.csv`, and draws `pictures`.
        pictures: names of the files that `report` writes into the directory.
        idle: `(options, observation) -> {path: reason}`, or None: which settings have no effect on a run with these
            options, and what makes them so, such as `{"hparams.priority_exponent": "config.replay uniform"}`.
            `observation` has the shape of one of the environment's. The commands refuse such a setting where somebody
            changes it.
    """

    name: str
    algorithm: str
    build: Callable[[Any, Any, Any], tuple[Agent, Trainer]]
    defaults: Options
    report: Callable[[Any, Any, PyTree, Path], dict[str, Any]] | None = None
    pictures: tuple[str, ...] = ()
    idle: Callable[[Options, Any], dict[str, str]] | None = None
