"""Reading the command line, and the help."""

import ast
import dataclasses
import importlib
import inspect
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from jaxrl import experiments
from jaxrl.cli.command import main
from jaxrl.cli.parse import parse
from jaxrl.experiments import (
    benchmark,
    dqn_minatar,
    evaluate,
    irl_mountain_car,
    minatar_suite,
    pendulum_models,
    play,
    ppo_cartpole,
    pqn_minatar,
    q_iteration_gridworld,
    q_learning_gridworld,
    reinforce_cartpole,
    sweep,
)
from jaxrl.runs.options import Options


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--hparams.lr", "--hparams.lr is not known (the nearest is --hparams.learning-rate)"),
        ("--learning_rate=3", "--learning-rate is not known (the nearest is --hparams.learning-rate)"),
        ("--config.batchsize", "--config.batchsize is not known (the nearest is --config.batch-size)"),
        ("--total-step", "--total-step is not known (the nearest is --total-steps)"),
        (
            "--hparams.gamma",
            "--hparams.gamma is not known (one of --hparams.learning-rate, --hparams.learning-rate-decay-steps, ",
        ),
        ("--no-such-flag", "--no-such-flag is not known (--help lists all options)"),
        ("--env-options.slip", "--env-options.slip is not known (the nearest is --env-options)"),
        ("more", "'more' belongs to no option; --help lists them"),
        ("slip=0.1", "'slip=0.1' belongs to no option; those of the environment follow --env-options"),
    ],
)
def test_the_nearest_flag_is_named(refused, flag: str, message: str) -> None:
    code, lines = refused(flag)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith(f"error: {message}")


@pytest.mark.parametrize("flag", ["--config.layer-norm", "--config.no-layer-norm"])
def test_a_switch_has_a_flag_for_on_and_one_for_off(refused, flag: str) -> None:
    _, lines = refused(f"{flag}s", experiment=pqn_minatar.experiment)
    assert lines == [f"error: {flag}s is not known (the nearest is {flag})"]


def test_every_whole_number_on_the_command_line_may_have_an_exponent(monkeypatch) -> None:
    words = "--total-steps 1e6 --log_every=2.5e5 --hparams.target-update-period 1e4 --config.hidden-sizes 1e2 64"
    monkeypatch.setattr(sys, "argv", ["command", *words.split()])
    defaults = dqn_minatar.experiment.defaults
    kind: Any = Options
    options = parse(kind[type(defaults.hparams), type(defaults.config)], None, default=defaults)
    assert (options.budget.total_steps, options.budget.log_every) == (1_000_000, 250_000)
    assert (options.hparams.target_update_period, options.config.hidden_sizes) == (10_000, (100, 64))


@pytest.mark.parametrize("name", [path.stem for path in sorted(Path(experiments.__file__).parent.glob("[!_]*.py"))])
def test_the_help_says_what_the_defaults_are(name: str, monkeypatch, capsys) -> None:
    module = importlib.import_module(f"jaxrl.experiments.{name}")
    monkeypatch.setattr(sys, "argv", ["command", "--help"])
    with pytest.raises(SystemExit):
        main(module.experiment) if hasattr(module, "experiment") else module.main()
    out = capsys.readouterr().out
    assert "None" not in out
    assert "(default: )" not in out


def test_options_are_explained_in_one_line_each() -> None:
    """Of a docstring in several lines, the help would be broken where they end and where the screen does.

    A field without a docstring changes the default of a base's, which has one.
    """
    defaults = [experiment.defaults for experiment in (dqn_minatar.experiment, ppo_cartpole.experiment,
                pqn_minatar.experiment, reinforce_cartpole.experiment, q_learning_gridworld.experiment)]  # fmt: skip
    records = {type(getattr(options, field.name)) for options in defaults for field in dataclasses.fields(options)}
    records |= {
        play.Options,
        evaluate.Options,
        sweep.SweepOptions,
        minatar_suite.SuiteOptions,
        pendulum_models.ModelsOptions,
    }
    records |= {
        q_iteration_gridworld.Options,
        irl_mountain_car.Options,
        benchmark.Envs,
        benchmark.Replay,
        benchmark.Agents,
        benchmark.Train,
        benchmark.Robots,
    }
    explained = 0
    for kind in {base for record in records for base in record.__mro__ if dataclasses.is_dataclass(base)}:
        body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
        inherited = {name for base in kind.__mro__[1:] for name in vars(base).get("__annotations__", {})}
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and not isinstance(text, ast.Expr):
                assert ast.unparse(field.target) in inherited, (kind, ast.unparse(field))
            elif isinstance(field, ast.AnnAssign):
                assert "\n" not in ast.literal_eval(text.value), (kind, ast.unparse(text))
                explained += 1
    assert explained > 100
