"""An experiment of one's own, in a module outside of jaxrl: `module:attribute` names it everywhere."""

import importlib
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from jaxrl import ArgumentError, load
from jaxrl.cli.command import main
from jaxrl.experiments import evaluate, play, sweep
from jaxrl.runs.run_directory import make_out, resume_command
from tests.calling import call_main
from tests.integration.commands import TINY

MODULE = """
\"\"\"An experiment of my own.\"\"\"

from jaxrl.cli import main
from jaxrl.experiments import dqn_cartpole

experiment = dqn_cartpole.experiment._replace(name="my_module:experiment", algorithm="My DQN")

if __name__ == "__main__":
    main(experiment)
"""
SWEEP = """
experiment = "my_module:experiment"
search = "grid"
total_steps = 1_000
eval_episodes = 2
eval_max_steps = 10
[hparams]
discount.values = [0.9, 0.99]
[config]
num_envs = 4
batch_size = 8
hidden_sizes = [8]
replay_capacity = 1_000
warmup_steps = 100
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with the module, and a run of it."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_module.py").write_text(MODULE)
    words = [sys.executable, "-m", "my_module", *TINY, "--total-steps", "2000", "--out", "run"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("My DQN on CartPole-v1")
    return folder


@pytest.fixture
def call(folder, monkeypatch, capsys):
    """Calls a command in the folder, where Python finds the module: exit code, stdout and stderr."""

    def call(main: Callable[[], None], *arguments: str) -> tuple[int, str, str]:
        return call_main(monkeypatch, capsys, main, *arguments)

    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    yield call
    sys.modules.pop("my_module", None)


def test_its_record_names_the_module(folder: Path) -> None:
    config = json.loads((folder / "run" / "config.json").read_text())
    assert (config["experiment"], config["algorithm"]) == ("my_module:experiment", "My DQN")
    assert config["command"].startswith("python -m my_module --config.num-envs 16 ")


def test_its_runs_are_used_and_resumed_as_any(folder: Path, call, monkeypatch) -> None:
    assert load("run").experiment.algorithm == "My DQN"
    code, out, err = call(evaluate.main, "run")
    assert (code, out.splitlines()[0]) == (0, "CartPole-v1 (default rules, 500-step cap)"), err
    assert "over 8 episodes" in out  # as many as of the run
    code, out, err = call(play.main, "run", "--steps", "3")
    assert (code, out.splitlines()[-1]) == (0, "written to play.gif"), err
    experiment = importlib.import_module("my_module").experiment
    monkeypatch.setattr("jaxrl.runs.train.VIDEO_STEPS", 5)
    resume = ["--total-steps", "3000", "--out", "run", "--resume"]
    code, out, err = call(partial(main, experiment), *TINY, *resume)
    assert code == 0, err
    assert "resuming at" in out
    resumed = json.loads(Path("run/config.json").read_text())["resumed"][0]["command"]
    assert resumed == shlex.join(["python", "-m", "my_module", *TINY, *resume])
    assert resume_command(experiment.module, Path("run")) == resumed
    assert make_out(None, experiment.name).parent == Path("runs/my_module.experiment")


def test_where_its_module_is_not_found(folder: Path) -> None:
    run = folder / "run"
    with pytest.raises(ArgumentError) as error:
        load(run)
    assert str(error.value) == (
        f"in {run / 'config.json'} (started in {folder}), experiment must be module:attribute of an Experiment "
        "(No module named 'my_module'), got 'my_module:experiment'"
    )


def test_it_is_swept(folder: Path, call) -> None:
    (folder / "sweep.toml").write_text(SWEEP)
    code, out, err = call(sweep.main, "sweep.toml", "--out", "swept")
    assert code == 0, err
    assert "python -m my_module --" in out
    assert load("swept", agent=1).options.hparams.discount == 0.99


def test_a_name_that_does_not_lead_to_it(call) -> None:
    experiment = importlib.import_module("my_module").experiment._replace(name="mine")
    code, _, err = call(partial(main, experiment), "--total-steps", "2000")
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith("error: in the experiment mine, name must be one that trains (")
