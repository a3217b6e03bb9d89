"""The command that sweeps: what it leaves, how it goes on, what it does with agents and groups that go wrong."""

import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl
import pytest
import tyro
from PIL import Image
from rich.console import Console

import jaxrl
from jaxrl.cli import Options
from jaxrl.cli.experiment import flatten
from jaxrl.cli.train import key_streams, train
from jaxrl.envs import vectorize
from jaxrl.experiments import dqn_cartpole, evaluate, play, ppo_cartpole, sweep
from jaxrl.sweeps import groups as groups_module
from jaxrl.sweeps import plan as planning
from jaxrl.sweeps import sweep as sweeps
from jaxrl.sweeps.groups import Group, group
from jaxrl.sweeps.plan import GIB, GroupPlan, state_shapes
from jaxrl.sweeps.spec import draw, read_spec
from jaxrl.training import evaluate as evaluate_policy
from jaxrl.training.checkpoint import Checkpoints
from jaxrl.training.devices import bytes_of
from jaxrl.training.program import Program

DQN = """
experiment = "dqn_cartpole"
search = "random"
configurations = 5
seeds = 2
seed = 4
total_steps = 12_000
log_every = 2_000
eval_episodes = 8
[hparams]
learning_rate = { distribution = "log_uniform", low = 1e-4, high = 1e-2 }
discount = { values = [0.9, 0.99] }
epsilon_decay_steps = 5_000.0
[config]
hidden_sizes = [16]
warmup_steps = 500
replay_capacity = 4_000
batch_size = { values = [16, 32] }
"""
"""Eight agents of batches of 16, and two of 32."""
AGENTS, TOTAL = 10, 512 + 718 * 16
PPO = """
experiment = "ppo_cartpole"
search = "sobol"
configurations = 3
total_steps = 4_096
log_every = 1_024
eval_episodes = 8
[hparams]
clip = { distribution = "uniform", low = 0.1, high = 0.3 }
learning_rate = { distribution = "log_uniform", low = 1e-4, high = 1e-2 }
[config]
hidden_sizes = [8]
rollout_length = 32
num_epochs = 2
"""
ONE_DEVICE = ("--num-devices", "1")
events: list[str] = []


def call(main: Callable[[], None], *arguments: Any) -> tuple[int, list[str], list[str]]:
    """A command's exit code, and the lines it printed on stdout and stderr."""
    code, out, err = 0, io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as monkeypatch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "120")
        try:
            main()
        except SystemExit as end:
            code = end.code
    return code, out.getvalue().splitlines(), err.getvalue().splitlines()


class Done(NamedTuple):
    """A sweep that was run."""

    spec: Path
    directory: Path
    code: int
    lines: list[str]
    errors: list[str]


@pytest.fixture(scope="module", autouse=True)
def quick():
    """Programs that compile quickly, and calls of them that are short; how long they take is not tried."""
    jax.devices()  # from here on a command leaves their number alone
    timed = Program._timed

    def quickly(self, lower, options):
        return timed(self, lower, options | {"xla_backend_optimization_level": 0})

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Program, "_timed", quickly)
        monkeypatch.setattr(planning, "seconds_per_iteration", lambda group, size, devices: 0.25)
        monkeypatch.setattr(sys.modules["jaxrl.training.run"], "CALL_SECONDS", 0.05)
        yield


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Runs a sweep in a folder of its own: `swept(text, *arguments)`."""

    def swept(text: str, *arguments: Any) -> Done:
        folder = tmp_path_factory.mktemp("sweep")
        (folder / "sweep.toml").write_text(text)
        given = (folder / "sweep.toml", "--out", folder / "out", *ONE_DEVICE, *arguments)
        return Done(folder / "sweep.toml", folder / "out", *call(sweep.main, *given))

    return swept


@pytest.fixture(scope="module")
def whole(swept, tmp_path_factory) -> Done:
    """A sweep that nothing disturbed. Tests that write into its folder take a copy."""
    return swept(DQN, "--record", tmp_path_factory.mktemp("record") / "kept")


@pytest.fixture(scope="module")
def groups(whole) -> list[Group]:
    return group(read_spec(whole.spec), 2)


def again(done: Done, *arguments: Any, spec: Path | None = None) -> Done:
    """`--resume` of a sweep."""
    given = (spec or done.spec, "--out", done.directory, "--resume", *ONE_DEVICE, *arguments)
    return Done(done.spec, done.directory, *call(sweep.main, *given))


def results(directory: Path) -> pl.DataFrame:
    """Without the column that depends on the machine."""
    return pl.read_parquet(directory / "results.parquet").drop("seconds")


def curves(directory: Path) -> pl.DataFrame:
    return pl.read_parquet(directory / "curves.parquet")


def agents(directory: Path, groups: list[Group]) -> dict[int, Any]:
    """All agents' states, by their numbers."""
    plans = [GroupPlan(*plan) for plan in json.loads((directory / "sweep.json").read_text())["plan"]]
    found = {}
    for each, plan in zip(groups, plans, strict=True):
        for wave in range(plan.waves):
            shapes = state_shapes(each, plan.wave_size).state.agent
            folder = directory / "waves" / f"{each.number}_{wave}" / "agents"
            state, _, _ = Checkpoints(folder, read_only=True).restore(shapes)
            for i, member in enumerate(each.members[wave * plan.wave_size :][: plan.wave_size]):
                found[member.number] = jax.tree.map(lambda x, i=i: np.asarray(x[i]), state)
    return found


def same(a: dict[int, Any], b: dict[int, Any]) -> None:
    assert a.keys() == b.keys()
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_results_have_a_row_an_agent(whole) -> None:
    assert (whole.code, whole.errors) == (0, [])
    spec, found = read_spec(whole.spec), pl.read_parquet(whole.directory / "results.parquet")
    assert found["agent"].to_list() == list(range(AGENTS))
    assert found["configuration"].to_list() == [agent // 2 for agent in range(AGENTS)]
    assert found["seed"].to_list() == [4, 5] * 5
    for configuration, values in enumerate(draw(spec)):
        rows = found.filter(configuration=configuration)
        assert {path: rows[path].unique().to_list() for path in values} == {path: [x] for path, x in values.items()}
    options = {path: x for path, x in flatten(spec.options).items() if path.startswith(("hparams.", "config."))}
    assert options.keys() < set(found.columns)
    assert set(found.columns) - options.keys() == {
        "agent", "configuration", "seed", "group", "wave", "status", "error",
        "eval_return", "train_return", "env_steps", "seconds",
    }  # fmt: skip
    assert found["config.replay_capacity"].unique().to_list() == [4_000]
    assert found["config.hidden_sizes"].unique().to_list() == ["16"]
    assert found.select("group", "config.batch_size").unique().sort("group").rows() == [(0, 16), (1, 32)]
    assert found.select("wave", "status", "error", "env_steps").unique().rows() == [(0, "finished", None, TOTAL)]
    assert found["eval_return"].is_between(1, 500).all()
    assert (found["seconds"] > 0).all()
    assert found["eval_return"].n_unique() > 5


def test_curves_have_all_agents_at_the_same_steps(whole) -> None:
    found = curves(whole.directory)
    steps = [512 + 125 * 16 * row for row in range(1, 6)] + [TOTAL]
    for agent in range(AGENTS):
        assert found.filter(agent=agent)["env_steps"].to_list() == steps
    assert {"episode_return", "episodes", "loss"} < set(found.columns)
    assert not {"wall_seconds", "env_steps_per_second"} & set(found.columns)
    assert found["agent"].is_sorted()
    last = found.group_by("agent", maintain_order=True).last()
    assert last["episode_return"].to_list() == results(whole.directory)["train_return"].to_list()


def test_what_is_left_and_what_is_not(whole) -> None:
    files = {str(path.relative_to(whole.directory)) for path in whole.directory.rglob("*")}
    assert {path for path in files if path.count("/") < 3} - {f"waves/{wave}/agents/718" for wave in ("0_0", "1_0")} == {
        "sweep.json", "sweep.toml", "results.parquet", "curves.parquet", "learning_curves.png", "hyperparameters.png",
        "waves", "waves/0_0", "waves/0_0/results.parquet", "waves/0_0/curves.parquet", "waves/0_0/agents",
        "waves/1_0", "waves/1_0/results.parquet", "waves/1_0/curves.parquet", "waves/1_0/agents",
    }  # fmt: skip
    assert (whole.directory / "sweep.toml").read_text() == DQN
    for name in ("learning_curves.png", "hyperparameters.png"):
        with Image.open(whole.directory / name) as picture:
            assert picture.width >= 900


def test_the_plan_comes_first_and_the_best_last(whole) -> None:
    lines, best = whole.lines, results(whole.directory).group_by("configuration").agg(pl.col("eval_return").mean())
    assert lines[0] == "DQN on CartPole-v1: 10 agents, 12,000 steps each"
    assert lines[1].split()[:3] == ["group", "agents", "waves"]
    first, second = lines[2].split(), lines[3].split()
    assert first[:5] == ["0", "8", "1", "of", "8"]
    assert first[-2:] == ["batch_size", "16"]
    assert second[:5] == ["1", "2", "1", "of", "2"]
    assert second[-2:] == ["batch_size", "32"]
    begins = lines.index(f"writing to {whole.directory}")
    assert 3 < begins < lines.index("compiling") < lines.index("agents: 10 finished")
    assert any(re.search(r"group 2 of 2, wave 1 of 1  2 agents × .* steps/s  best \d+", line) for line in lines)
    row = next(line for line in lines[begins:] if line.startswith(" 1 ") or line.split()[:1] == ["1"]).split()
    assert int(row[1]) == best.sort("eval_return", descending=True)["configuration"][0]
    for name in ("results.parquet", "curves.parquet", "learning_curves.png", "hyperparameters.png"):
        assert any(line.endswith(f": {whole.directory / name}") for line in lines)


def test_the_command_trains_the_best_again(whole) -> None:
    at = whole.lines.index("train the best again with") + 1
    python, dash_m, module, *arguments = shlex.split(whole.lines[at])
    assert (python, dash_m, module) == ("python", "-m", "jaxrl.experiments.dqn_cartpole")
    defaults = dqn_cartpole.experiment.defaults
    options_type: Any = Options[type(defaults.hparams), type(defaults.config)]
    options = tyro.cli(options_type, default=defaults, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    spec, means = read_spec(whole.spec), results(whole.directory).group_by("configuration").agg(pl.mean("eval_return"))
    best = means.sort("eval_return", descending=True)["configuration"][0]
    expected = flatten(spec.options) | draw(spec)[best] | {"num_seeds": 2}
    assert flatten(options) == expected


def test_the_record(whole) -> None:
    kept = Path(next(whole.spec.parent.parent.glob("record*/kept")))
    names = ("sweep.toml", "results.parquet", "curves.parquet", "learning_curves.png", "hyperparameters.png")
    assert {path.name for path in kept.iterdir()} == {*names, "README.md"}
    for name in names:
        assert (kept / name).read_bytes() == (whole.directory / name).read_bytes()
    page = (kept / "README.md").read_text()
    assert f"python -m jaxrl.experiments.sweep {whole.spec} --out {whole.directory}" in page
    assert DQN.strip() in page
    assert "| rank | configuration | learning rate | discount | batch size |" in page
    assert "5 configurations × 2 seeds, 12,000 environment steps each." in page
    assert "Agents: 10 finished." in page
    assert whole.lines[whole.lines.index("train the best again with") + 1].strip() in page
    assert jax.__version__ in page


@pytest.mark.parametrize("agent", [0, 5, 9])
def test_an_agent_is_loaded_and_evaluated_as_in_the_results(whole, agent: int) -> None:
    trained = jaxrl.load(whole.directory, agent=agent)
    row = results(whole.directory).row(agent, named=True)
    assert trained.options.hparams.learning_rate == row["hparams.learning_rate"]
    assert trained.options.config.batch_size == row["config.batch_size"]
    assert trained.options.seed == row["seed"]
    worlds = vectorize(trained.env, trained.env_params, trained.options.eval_episodes)
    _, keys, _ = key_streams([row["seed"]])
    evaluation = jax.jit(
        lambda state, key: evaluate_policy(trained.agent.policy, state, worlds, key, trained.options.eval_max_steps)
    )(trained.agent_state, keys[0])
    assert float(evaluation.episode_return.mean()) == row["eval_return"]


def test_the_best_is_loaded_unless_told(whole) -> None:
    found = results(whole.directory)
    best = found.row(found["eval_return"].arg_max(), named=True)
    options = jaxrl.load(whole.directory).options
    assert (options.seed, options.hparams.learning_rate) == (best["seed"], best["hparams.learning_rate"])


def test_agents_that_cannot_be_loaded(whole, tmp_path) -> None:
    for agent in (-1, AGENTS):
        with pytest.raises(ValueError, match=rf"^agent must be in 0 \.\. 9, and of a wave that is finished, got {agent}$"):
            jaxrl.load(whole.directory, agent=agent)
    with pytest.raises(ValueError, match=r"^seed is for runs; an agent of a sweep has its own, got 4$"):
        jaxrl.load(whole.directory, seed=4)
    with pytest.raises(ValueError, match=rf"^agent is for sweeps, and {tmp_path} is none, got 1$"):
        jaxrl.load(tmp_path, agent=1)
    for name in ("sweep.json", "sweep.toml"):
        shutil.copy(whole.directory / name, tmp_path)
    with pytest.raises(ValueError, match=rf"^no wave of {tmp_path} is finished yet$"):
        jaxrl.load(tmp_path)


def test_evaluate_and_play_an_agent(whole, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    returns = []
    for agent in ((), ("--agent", "1")):
        code, lines, _ = call(evaluate.main, whole.directory, *agent, "--episodes", "4", "--max-steps", "50")
        assert code == 0
        assert re.match(r"return .* over 4 greedy episodes", lines[1])
        returns.append(lines[1])
    code, lines, _ = call(play.main, "--policy", whole.directory, "--agent", "3", "--steps", "5", "--out", "a.gif")
    assert (code, lines[-1]) == (0, "written to a.gif")
    for command, name in ((evaluate, ()), (play, ("--policy",))):
        code, _, errors = call(command.main, *name, whole.directory, "--agent", "10")
        assert code == 2
        assert len(errors) == 1
        assert "agent must be in 0 .. 9" in errors[0]
    assert {path.name for path in tmp_path.iterdir()} == {"a.gif"}


@pytest.fixture(scope="module")
def ppo(swept) -> Done:
    return swept(PPO)


def test_without_replay(ppo) -> None:
    assert (ppo.code, ppo.errors) == (0, [])
    found = results(ppo.directory)
    assert found.select("agent", "configuration", "seed", "status", "env_steps").rows() == [
        (agent, agent, 0, "finished", 4_096) for agent in range(3)
    ]
    assert found["hparams.clip"].n_unique() == 3
    assert curves(ppo.directory)["env_steps"].to_list() == [1_024, 2_048, 3_072, 4_096] * 3


@pytest.mark.parametrize(("name", "agent"), [("dqn", 3), ("ppo", 1)])
def test_a_member_equals_its_solo_run(request, tmp_path, name: str, agent: int) -> None:
    """Up to the last bits of what is added up in another order where agents work side by side."""
    done = request.getfixturevalue("whole" if name == "dqn" else "ppo")
    experiment = (dqn_cartpole if name == "dqn" else ppo_cartpole).experiment
    found = group(read_spec(done.spec), 2)
    member = next(member for each in found for member in each.members if member.number == agent)
    options = dataclasses.replace(member.options, out=tmp_path / "solo")
    _, summary = train(experiment, options, Console(quiet=True))

    worlds = []
    for each in found[:1]:
        keys, hparams = each.inputs([member])
        many = each.program(len(each.members), jax.devices()[:1]).begin(*each.inputs(each.members))
        alone = Program(each.trainer, keys[0], member.options.hparams).begin(keys[0], member.options.hparams)
        i = each.members.index(member)
        worlds.append((jax.tree.map(lambda x, i=i: x[i], many.state.envs), alone.state.envs))
    for ours, its in worlds:
        jax.tree.map(np.testing.assert_array_equal, ours, its)

    ours, its = agents(done.directory, found)[agent], jaxrl.load(tmp_path / "solo").agent_state
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), ours, its)
    curve = curves(done.directory).filter(agent=agent)
    metrics = pl.read_csv(tmp_path / "solo" / "metrics.csv")
    assert curve["env_steps"].to_list() == metrics["env_steps"].to_list()
    for column in ("episode_return", "loss"):
        np.testing.assert_allclose(curve[column].to_numpy(), metrics[column].to_numpy(), rtol=1e-4)
    row = results(done.directory).row(agent, named=True)
    assert {path: x for path, x in row.items() if path.startswith("hparams.")} == {
        path: x for path, x in flatten(options).items() if path.startswith("hparams.")
    }
    assert summary is not None
    assert summary["eval_return_mean"] == pytest.approx(row["eval_return"], rel=1e-4)
