"""Experiments: found by name, able to run as they stand, and strict about settings without effect."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.experiments import (
    a2c_cartpole,
    dqn_cartpole,
    ppo_cartpole,
    pqn_cartpole,
    pqn_minatar,
    rainbow_minatar,
    reinforce_cartpole,
)
from jaxrl.runs.experiment import build, check_effective, find_experiment, known_experiments, trace
from jaxrl.runs.options import check_options, with_values
from jaxrl.runs.task import make_env

SISTERS = (
    *("alphazero_chess", "alphazero_shogi", "muzero_connect_four", "muzero_tictactoe", "alphago_zero_connect_four"),
    *("muzero_minatar", "gail_minatar", "bc_minatar", "ppo_robot", "sac_robot", "td3_robot", "selfplay_leduc"),
    "alphazero_go",
)
"""Other settings of what another experiment runs."""
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SISTERS else []) for name in known_experiments()]


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_can_run(name: str) -> None:
    """Their options are within bounds, and their program can be traced; of one that needs a file, without it."""
    experiment = find_experiment(name)
    if experiment.build_to_load is not None:
        experiment = experiment._replace(build=experiment.build_to_load)
    options = experiment.defaults
    assert experiment.name == name
    assert experiment.module == f"jaxrl.experiments.{name}"
    check_options(options)
    _, trainer = build(experiment, *make_env(options.task), options)
    assert trace(experiment, trainer, options).steps_per_iteration > 0


def test_there_is_one_for_each_learner() -> None:
    learners = {"q_learning", "dqn", "pqn", "rainbow", "reinforce", "a2c", "ppo"}
    assert learners <= {name.rpartition("_")[0] for name in known_experiments()}


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch) -> Iterator[None]:
    """Modules outside of jaxrl, where Python finds them."""
    (tmp_path / "own_module.py").write_text(
        "from jaxrl.experiments.dqn_cartpole import experiment\n"
        "mine = experiment._replace(name='own_module:mine')\n"
        "number = 3\n"
    )
    (tmp_path / "broken_module.py").write_text("import nothing_of_that_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("own_module", "broken_module"):
        sys.modules.pop(name, None)


def test_an_experiment_of_ones_own_is_found(own_modules) -> None:
    experiment = find_experiment("own_module:mine")
    assert (experiment.name, experiment.module) == ("own_module:mine", "own_module")
    assert experiment.build is dqn_cartpole.experiment.build


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dqn_cartpol", r"must be one that trains \(the nearest is dqn_cartpole\), or your own module:attribute"),
        ("play", r"must be one that trains \(.*\), or your own module:attribute"),
        ("", r"must be one that trains \(one of a2c_cartpole, .*\), or your own module:attribute"),
        ("nowhere:mine", r"must be module:attribute of an Experiment \(No module named 'nowhere'\)"),
        ("broken_module:mine", r"must be module:attribute of an Experiment \(No module named 'nothing_of_that_name'\)"),
        ("own_module:nothing", r"must be module:attribute of an Experiment \(.* has no attribute 'nothing'\)"),
        ("own_module:number", r"must be module:attribute of an Experiment \(it is of the type int\)"),
        (".:", r"must be module:attribute of an Experiment \(.*\)"),
        (":", r"must be module:attribute of an Experiment \(.*\)"),
    ],
)  # fmt: skip
def test_what_is_no_experiment(own_modules, name: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^experiment {message}, got '{name}'$"):
        find_experiment(name)


IGNORED = [
    (dqn_cartpole, {"hparams.importance_exponent_start": 0.5}, "config.replay uniform"),
    (dqn_cartpole, {"hparams.importance_exponent_end": 0.5}, "config.replay uniform"),
    (rainbow_minatar, {"hparams.importance_exponent_end": 0.5, "hparams.priority_exponent": 0.0}, "exponent 0"),
    (
        rainbow_minatar,
        {"hparams.importance_exponent_steps": 5.0, "hparams.importance_exponent_start": 1.0},
        "hparams.importance_exponent_start equal to its end",
    ),
    (rainbow_minatar, {"hparams.epsilon_decay_steps": 5.0}, "hparams.epsilon_start equal to its end"),
    (rainbow_minatar, {"config.loss": "l2"}, "config.values categorical"),
    (rainbow_minatar, {"config.v_max": 5.0, "config.values": "quantiles"}, "config.values quantiles"),
    (dqn_cartpole, {"config.v_min": -1.0}, "config.values expected"),
    (dqn_cartpole, {"config.v_max": 20.0}, "config.values expected"),  # DQN's default, but not the experiment's
    (dqn_cartpole, {"config.num_atoms": 7}, "config.values expected"),
    (dqn_cartpole, {"config.conv_features": 8}, "env CartPole-v1, which shows no board"),
    (dqn_cartpole, {"config.layer_norm": True, "config.hidden_sizes": []}, "config.hidden_sizes of no layers"),
    (pqn_minatar, {"config.layer_norm": False, "config.hidden_sizes": [], "config.conv_features": 0}, "no layers"),
    (dqn_cartpole, {"config.double": True, "hparams.tau": 1.0}, "hparams.tau 1"),
    (pqn_cartpole, {"config.conv_features": 8}, "env CartPole-v1, which shows no board"),
    (pqn_cartpole, {"hparams.q_lambda": 0.5, "config.rollout_length": 1}, "config.rollout_length 1"),
    (pqn_cartpole, {"hparams.epsilon_decay_steps": 5.0, "hparams.epsilon_start": 0.2}, "equal to its end"),
    (ppo_cartpole, {"config.conv_features": 8}, "env CartPole-v1, which shows no board"),
    (a2c_cartpole, {"hparams.gae_lambda": 0.5, "config.rollout_length": 1}, "config.rollout_length 1"),
    (ppo_cartpole, {"config.activation": "relu", "config.hidden_sizes": []}, "config.hidden_sizes of no layers"),
    (ppo_cartpole, {"config.shared": True, "config.hidden_sizes": []}, "config.hidden_sizes of no layers"),
    (ppo_cartpole, {"hparams.clip": 0.1, "config.num_epochs": 1, "config.num_minibatches": 1}, "num_minibatches 1"),
    (reinforce_cartpole, {"hparams.value_coef": 1.0, "config.weight": "reward_to_go"}, "weight reward_to_go"),
]  # fmt: skip


def check(module, changed) -> None:
    options = with_values(module.experiment.defaults, changed)
    check_effective(module.experiment, *make_env(options.task), options)


@pytest.mark.parametrize(("module", "changed", "reason"), IGNORED)
def test_what_is_changed_has_an_effect(module, changed, reason: str) -> None:
    (path, value), *others = changed.items()
    message = f"^{path} has no effect with .*{reason}.*, got {value!r}$"
    with pytest.raises(ArgumentError, match=message):
        check(module, changed)
    check(module, dict(others))  # where it is the experiment's own


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        (dqn_cartpole, {"hparams.priority_exponent": 0.9, "config.replay": "prioritised"}),
        (dqn_cartpole, {"config.v_max": 5.0, "config.num_atoms": 7, "config.values": "categorical"}),
        (dqn_cartpole, {"config.num_atoms": 7, "config.values": "quantiles"}),
        (dqn_cartpole, {"config.double": True, "config.loss": "huber", "hparams.epsilon_decay_steps": 5.0}),
        (rainbow_minatar, {"hparams.tau": 1.0, "config.conv_features": 8, "config.v_max": 5.0}),
        (reinforce_cartpole, {"hparams.value_coef": 1.0, "config.rollout_length": 1}),
        (ppo_cartpole, {"hparams.clip": 0.1, "hparams.gae_lambda": 0.5, "config.activation": "relu"}),
        (pqn_minatar, {"config.conv_features": 8, "hparams.q_lambda": 0.5, "config.layer_norm": False}),
    ],
)
def test_what_has_an_effect_can_be_changed(module, changed) -> None:
    check(module, changed)
