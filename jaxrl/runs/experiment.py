"""Training experiments: what they are, finding them by name, and building their agents."""

import contextlib
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxrl.arguments import ArgumentError, suggest
from jaxrl.envs import observation_of
from jaxrl.memory import check_fits
from jaxrl.runs.options import Options, flatten
from jaxrl.training.checks import check_total_steps
from jaxrl.training.devices import bytes_of
from jaxrl.types import Agent, PyTree, Trainer

EXPERIMENTS = "jaxrl.experiments"
"""The package of the experiments that have short names. They import this module, so it finds them by name."""
CONSTANTS = {"dataset", "expert"}
"""The settings that name a trainer's constants."""


class Experiment(NamedTuple):
    """A training experiment: what `python -m jaxrl.experiments.NAME` runs.

    Attributes:
        name: its module in `jaxrl.experiments`; `module:attribute` for an experiment of your own.
        algorithm: the name of the algorithm in summaries and plots.
        build: `(env, env_params, config) -> (Agent, Trainer)`.
        build_to_load: the same without files that only training reads, such as a dataset, of which the shapes are
            enough; by default, `build`. `jaxrl.load` calls it.
        defaults: the default options.
        report: `(agent, env, env_params, agent_states, directory) -> entries`, or None. It adds entries to
            `summary.json` about the trained agents of all seeds, leaves `[A, ...]`; single numbers and texts are also
            printed. It may read the run's `metrics.csv`, and it draws `pictures`.
        pictures: the names of the files that `report` writes into the directory.
        ignored: `(options, observation) -> {path: reason}`: the settings that a run with these options ignores, and
            why, such as `{"hparams.priority_exponent": "config.replay uniform"}`. `observation` has the shape and
            dtype of the environment's observations. The commands refuse to change an ignored setting.
    """

    name: str
    algorithm: str
    build: Callable[[Any, Any, Any], tuple[Agent, Trainer]]
    defaults: Options
    report: Callable[[Agent, Any, Any, PyTree, Path], dict[str, Any]] | None = None
    pictures: tuple[str, ...] = ()
    ignored: Callable[[Options, Any], dict[str, str]] = lambda options, observation: {}
    build_to_load: Callable[[Any, Any, Any], tuple[Agent, Trainer]] | None = None

    @property
    def module(self) -> str:
        """The module that `python -m` runs."""
        module, colon, _ = self.name.partition(":")
        return module if colon else f"{EXPERIMENTS}.{self.name}"


def find_experiment(name: str) -> Experiment:
    """The experiment of that name, such as `dqn_minatar`, or `module:attribute` for one of your own."""
    is_own = ":" in name
    try:
        found = pkgutil.resolve_name(name if is_own else f"{EXPERIMENTS}.{name}:experiment")
        why = f"it is of the type {type(found).__name__}"
    except (ImportError, AttributeError, ValueError) as error:
        found, why = None, str(error)
    if isinstance(found, Experiment):
        return found
    if is_own:
        raise ArgumentError("experiment", f"must be module:attribute of an Experiment ({why})", name)
    rule = f"must be one that trains ({suggest(name, known_experiments())}), or your own module:attribute"
    raise ArgumentError("experiment", rule, name)


def known_experiments() -> list[str]:
    """The names of jaxrl's own experiments."""
    package = importlib.import_module(EXPERIMENTS)
    modules = [module.name for module in pkgutil.iter_modules(package.__path__) if module.name != "__main__"]
    return [name for name in modules if hasattr(importlib.import_module(f"{EXPERIMENTS}.{name}"), "experiment")]


def ignored_settings(*rules: tuple[bool, str, tuple[str, ...]]) -> dict[str, str]:
    """What `Experiment.ignored` returns, from rules: whether one applies, the reason, and the paths of the settings."""
    return {path: reason for applies, reason, paths in rules if applies for path in paths}


def check_effective(experiment: Experiment, env: Any, env_params: Any, options: Options) -> None:
    """Checks that every setting that differs from the experiment's defaults has an effect."""
    observation = observation_of(env, env_params)
    default, value = flatten(experiment.defaults), flatten(options)
    for path, reason in experiment.ignored(options, observation).items():
        if value[path] != default[path]:
            raise ArgumentError(path, f"has no effect with {reason}", value[path])


@contextlib.contextmanager
def naming_options(experiment: Experiment, options: Options) -> Iterator[None]:
    """Gives an `ArgumentError` of the library the path of the option that was passed on.

    Other errors name the experiment as their source.
    """
    try:
        yield
    except ArgumentError as error:
        if error.name == "agents":
            error.name = "num_seeds"
        elif error.name == "constants" and (given := CONSTANTS & {*vars(options.config)}):
            error.name = f"config.{given.pop()}"
        elif hasattr(options.config, error.name):
            error.name = f"config.{error.name}"
        elif error.name not in ("env", "num_devices"):
            error.source = error.source or f"the experiment {experiment.name}"
        raise


def build(experiment: Experiment, env: Any, env_params: Any, options: Options) -> tuple[Agent, Trainer]:
    """The experiment's agent and trainer. Fast: nothing is traced yet."""
    with naming_options(experiment, options):
        agent, trainer = experiment.build(env, env_params, options.config)
    check_total_steps(trainer, options.budget.total_steps)
    return agent, trainer


def trace(experiment: Experiment, trainer: Trainer, options: Options) -> Trainer:
    """Traces the trainer to find its errors. `run` does not trace the returned one again.

    Raises:
        ArgumentError: sizes that do not fit each other or the environment.
        MemoryError: the states of all seeds do not fit into the memory.
    """
    trainer = trainer._replace(init=jax.jit(trainer.init), step=jax.jit(trainer.step))
    with naming_options(experiment, options):
        state = jax.eval_shape(trainer.init, jax.random.key(0), options.hparams, trainer.constants)
        jax.eval_shape(trainer.step, state, trainer.constants)
    if options.budget.num_seeds > 1:
        check_fits("the run's state takes", bytes_of(state) * options.budget.num_seeds, "fewer seeds would need less")
    return trainer
