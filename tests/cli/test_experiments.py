"""Every training experiment can run as it stands: its options are within bounds, and its program can be traced."""

import importlib
from pathlib import Path

import pytest

from jaxrl import experiments
from jaxrl.runs import checks
from jaxrl.runs.options import check_options

NAMES = sorted(
    path.stem for path in Path(experiments.__path__[0]).glob("*.py") if "experiment = Experiment(" in path.read_text()
)


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_can_run(name: str) -> None:
    experiment = importlib.import_module(f"jaxrl.experiments.{name}").experiment
    options = experiment.defaults
    assert experiment.name == name
    check_options(options)
    env, env_params = checks.make_env(options.task.env, options.task.rules, options.task.env_options)
    _, trainer = checks.build(experiment, env, env_params, options)
    assert trainer.steps_per_iteration > 0


def test_there_is_one_for_each_learner() -> None:
    learners = {"q_learning", "dqn", "pqn", "rainbow", "reinforce", "a2c", "ppo"}
    assert learners <= {name.rpartition("_")[0] for name in NAMES}
