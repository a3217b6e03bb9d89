"""`benchmark train`: rejax's settings, its process (here a small program in its place), and the page."""

import json
import sys
from pathlib import Path

import jax
import pytest
from rich.console import Console

from jaxrl.benchmarks import baseline_process, measure_train
from jaxrl.benchmarks.baseline_process import BaselineError, install, run_baseline
from jaxrl.benchmarks.rejax_settings import rejax_settings
from jaxrl.experiments import (
    a2c_cartpole,
    benchmark,
    dqn_minatar,
    iqn_minatar,
    ppo_cartpole,
    ppo_minatar,
    pqn_minatar,
    rainbow_minatar,
)
from jaxrl.runs.options import with_values
from tests.integration.commands import command

PYTHON = Path(sys.executable)
LOOP = """
import json, sys

config = json.loads(sys.stdin.readline())["config"]
print(json.dumps({"compile_seconds": 1.5, "platform": "cpu", "versions": {"rejax": "9.9"}}), flush=True)
iterations = 0
for line in sys.stdin:
    iterations += int(line)
    updates = config["num_epochs"] * config["num_minibatches"]
    steps = {"env_steps": iterations * config["num_envs"] * config["num_steps"], "gradient_steps": iterations * updates}
    print(json.dumps({"seconds": 0.5 * int(line), **steps}), flush=True)
"""
"""An iteration takes half a second."""
SETTINGS = {"config": {"num_envs": 2, "num_steps": 4, "num_epochs": 1, "num_minibatches": 3}}


@pytest.fixture
def written(tmp_path: Path):
    """Writes a program, and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "program.py"
        path.write_text(text)
        return path

    return write


def small_a2c():
    values = {"config.num_envs": 2, "config.rollout_length": 4, "config.hidden_sizes": [8]}
    return a2c_cartpole.experiment._replace(defaults=with_values(a2c_cartpole.experiment.defaults, values))


def measure_a2c(python: Path | BaselineError) -> list[dict]:
    return measure_train.measure(small_a2c(), 1, jax.devices()[:1], python, seconds=0.01, repeats=2)


def test_the_two_libraries_side_by_side_and_why_one_is_absent(written, monkeypatch) -> None:
    compile_program = measure_train.compile_program
    kept: list = []

    def compile_once(*arguments):
        kept[:] = kept or [compile_program(*arguments)]
        return kept[0]

    monkeypatch.setattr(measure_train, "compile_program", compile_once)
    monkeypatch.setattr(measure_train, "WORKER", written(LOOP))
    ours, theirs = measure_a2c(PYTHON)
    assert (ours["library"], theirs["library"], theirs["versions"]) == ("jaxrl", "rejax", {"rejax": "9.9"})
    assert ours["seconds"] != theirs["seconds"] == [0.5 * 8] * 2
    rates = [ours["num_steps"] * 2 * 4 / seconds for seconds in ours["seconds"]]
    assert (ours["slowest"], ours["fastest"]) == (min(rates), max(rates))
    assert ours["env_steps_per_second"] == pytest.approx(sum(rates) / 2)
    assert [theirs[name] for name in ("slowest", "env_steps_per_second", "fastest")] == [2 * 4 / 0.5] * 3

    monkeypatch.setattr(measure_train, "WORKER", written(LOOP.replace('["num_steps"],', '["num_steps"] * 3,')))
    alone, failed = measure_a2c(PYTHON)
    reason = "it makes 24 environment steps and 1 gradient step in an iteration, not 8 environment steps and 1"
    assert failed["failed"].startswith(reason)
    assert alone["fastest"] > 0
    page = measure_train.describe([ours, theirs, alone, failed], 2)
    assert "| 16 (16 to 16) |" in page
    assert f"| {ours['env_steps_per_second'] / 16:.2f} |" in page
    assert "| not measured | – |" in page
    assert f"- rejax is not measured on a2c_cartpole, 1 agent: {reason}" in page
    assert "| a2c_cartpole | CartPole-v1 | 2 | 4 | 1 | 1 | 8 | – | 8, tanh |" in page
    assert "rejax ran with rejax 9.9." in page


def test_settings_are_those_of_the_experiments() -> None:
    options, settings = measure_train.match(dqn_minatar.experiment, 3)
    assert options.task.rules == "gymnax"
    assert settings == {
        "algorithm": "dqn",
        "config": {
            "env": "Breakout-MinAtar",
            "num_envs": 256,
            "learning_rate": 1e-3,
            "gamma": 0.99,
            "max_grad_norm": 10.0,
            "num_epochs": 1,
            "batch_size": 256,
            "buffer_size": 100_000,
            "fill_buffer": 5_000,
            "ddqn": False,
            "polyak": 0.99,
            "agent_kwargs": {"activation": "relu"},
        },
        "q_network": (128,),
        "agents": 3,
    }
    sizes = {"num_envs": 4, "num_steps": 128, "num_epochs": 4, "num_minibatches": 4}
    layers = {"hidden_layer_sizes": (64, 64), "activation": "tanh"}
    for experiment, algorithm, changed in (
        (ppo_cartpole, "ppo", sizes | {"agent_kwargs": layers}),
        (a2c_cartpole, "ppo", {"num_envs": 16, "num_steps": 8, "num_epochs": 1, "num_minibatches": 1}),
        (pqn_minatar, "pqn", {"num_envs": 128, "num_steps": 32, "num_epochs": 2, "num_minibatches": 32}),
    ):
        _, settings = measure_train.match(experiment.experiment, None)
        assert not isinstance(settings, BaselineError)
        assert settings["algorithm"] == algorithm
        assert settings["config"].items() >= changed.items()
        assert settings["agents"] is None
        json.dumps(settings)


def test_what_rejax_cannot_do_is_measured_as_it_is() -> None:
    options, reason = measure_train.match(rainbow_minatar.experiment, None)
    parts = "n_step 3, replay prioritised, dueling True, noisy True, values categorical"
    assert str(reason) == f"rejax cannot have {parts}"
    assert measure_train.layers_of(options) == "16 channels, 128, relu"
    assert str(measure_train.match(iqn_minatar.experiment, None)[1]) == "rejax has no algorithm for IQN"
    options, _ = measure_train.match(pqn_minatar.experiment, None)
    assert measure_train.layers_of(options) == "128, relu, layer norm"
    defaults = ppo_minatar.experiment.defaults
    assert measure_train.layers_of(defaults) == "16 channels, 128, relu, shared"
    with pytest.raises(BaselineError, match=r"^rejax cannot have conv_features 16, shared True$"):
        rejax_settings(defaults, None)
    options, _ = measure_train.match(ppo_minatar.experiment, None)
    assert measure_train.layers_of(options) == "128, relu"


def test_a_process_answers_until_it_is_closed(written) -> None:
    with run_baseline(PYTHON, written(LOOP), SETTINGS) as loop:
        assert (loop.compile_seconds, loop.about["platform"]) == (1.5, "cpu")
        assert [loop.run(3), loop.run(5)] == [1.5, 2.5]
        assert loop.last == {"seconds": 2.5, "env_steps": 64, "gradient_steps": 24}
        process = loop._process
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import rejax_of_nowhere", "it ended with status 1: ModuleNotFoundError: No module named 'rejax_of_nowhere'"),
        ("import sys; sys.exit(3)", "it ended with status 3: no message"),
        (LOOP.replace("0.5 *", "1 / 0 *"), "it ended with status 1: ZeroDivisionError: division by zero"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it ended with status -9: no message"),
        ("import sys; [None for line in sys.stdin]", "it gave no answer within 0.5 s: no message"),
    ],
)
def test_a_process_that_fails_says_why(program: str, reason: str, written) -> None:
    patience = 0.5 if "within" in reason else 60
    with (
        pytest.raises(BaselineError, match=f"^{reason}$"),
        run_baseline(PYTHON, written(program), SETTINGS, patience) as loop,
    ):
        loop.run(1)


def test_an_environment_is_made_once(tmp_path, monkeypatch) -> None:
    called: list[tuple[str, ...]] = []

    def call(*command: str) -> None:
        called.append(command)
        if len(called) == 2:
            raise BaselineError("pip failed")
        (tmp_path / "a-1-b-2.5").mkdir(exist_ok=True)

    monkeypatch.setattr(baseline_process, "_call", call)
    with pytest.raises(BaselineError, match="pip failed"):
        install(tmp_path, ["a==1", "b==2.5"])
    python = tmp_path / "a-1-b-2.5" / "bin" / "python"
    for _ in range(2):  # again, because it is not complete; and no more
        assert install(tmp_path, ["a==1", "b==2.5"]) == python
    assert len(called) == 4
    assert called[2] == (sys.executable, "-m", "venv", str(tmp_path / "a-1-b-2.5"))
    assert called[3][:5] == (str(python), "-I", "-m", "pip", "install")
    assert called[3][-2:] == ("a==1", "b==2.5")


def test_a_command_that_fails_says_why() -> None:
    text = "import sys; print('some', 'lines', sep='\\n', file=sys.stderr); sys.exit(2)"
    with pytest.raises(BaselineError, match="ended with status 2: lines"):
        baseline_process._call(sys.executable, "-c", text)


def test_the_record(tmp_path, monkeypatch, capsys) -> None:
    """All experiments, with one agent and with many; rejax cannot be installed."""
    measured = []
    run = {
        **dict.fromkeys(("num_envs", "rollout_length", "gradient_steps", "epochs", "batch_size"), 1),
        **{"env": "CartPole-v1", "replay_capacity": None, "layers": "64, relu"},
    }
    speeds = {"env_steps_per_second": 2000.0, "slowest": 1000.0, "fastest": 3000.0, "compile_seconds": 1.0}

    def measure(experiment, agents, devices, python, seconds, repeats):
        measured.append((experiment.name, agents))
        named = {"experiment": experiment.name, "agents": agents, **run}
        return [named | speeds | {"library": "jaxrl"}, named | {"library": "rejax", "failed": str(python)}]

    def refuse(cache: Path, requirements: tuple[str, ...]) -> Path:
        raise BaselineError(f"no {requirements[0]} in {cache.name}")

    monkeypatch.setattr(benchmark.measure_train, "measure", measure)
    monkeypatch.setattr(benchmark.baseline_process, "install", refuse)
    options = benchmark.Train(populations=("dqn_cartpole",), record=tmp_path / "record", cache=tmp_path / "here")
    benchmark.benchmark_train(options, Console(width=160))
    assert measured == [*((name, 1) for name in options.experiments), ("dqn_cartpole", 64)]
    assert "note: rejax is not measured on dqn_cartpole, 64 agents: no rejax==0.1.3 in here" in capsys.readouterr().out
    rows = json.loads((tmp_path / "record" / "results.json").read_text())["rows"]
    assert len(rows) == 18
    page = (tmp_path / "record" / "README.md").read_text()
    assert "| dqn_cartpole | 64 | 2k (1k to 3k) | not measured | – | 1.0, – |" in page
    assert str(benchmark.install_rejax(benchmark.Train(baselines=False))) == "--no-baselines"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--experiments ppo_cartpol", "--experiments must be one that trains (the nearest is ppo_cartpole)"),
        ("--populations ppo_cartpol", "--populations must be one that trains (the nearest is ppo_cartpole)"),
        ("--experiments", "--experiments must have at least one value, got none"),
        ("--num-agents 0", "--num-agents must be > 0, got 0"),
        (f"--cache {__file__}", "--cache must be a directory that can be made"),
    ],
)
def test_bad_input_is_one_line(arguments: str, message: str, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark", "train", *arguments.split()])
    monkeypatch.setattr(benchmark.measure_train, "measure", lambda *_: pytest.fail("it started to compile"))
    monkeypatch.setattr(benchmark.baseline_process, "install", lambda *_: pytest.fail("it started to install"))
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    assert end.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_rejax_itself(tmp_path) -> None:
    """With pip, from a package index. Its counters are checked where it is measured."""
    experiments = "--experiments dqn_minatar pqn_cartpole ppo_cartpole a2c_cartpole --populations dqn_cartpole"
    options = [*experiments.split(), *["--num-agents", "3", "--seconds", "0.01", "--repeats", "2"]]
    where = ["--cache", str(tmp_path / "cache"), "--record", str(tmp_path / "record")]
    code, _, err = command("benchmark", "train", *options, *where)
    assert code == 0, err
    rows = json.loads((tmp_path / "record" / "results.json").read_text())["rows"]
    if "pip install" in rows[1].get("failed", ""):
        pytest.skip(rows[1]["failed"])
    assert [row["failed"] for row in rows if "failed" in row] == []
    assert [row["agents"] for row in rows] == [1] * 8 + [3] * 2
