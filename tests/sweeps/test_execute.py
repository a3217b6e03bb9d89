"""Running sweeps: what they leave, how they go on, and what becomes of agents and groups that go wrong."""

import contextlib
import doctest
import io
import json
import math
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np
import polars as pl
import pytest
import tyro
from PIL import Image
from rich.console import Console

import jaxrl
from jaxrl.arguments import ArgumentError
from jaxrl.envs import vectorize
from jaxrl.experiments import dqn_cartpole, evaluate, play, sweep
from jaxrl.random import key_streams
from jaxrl.runs.options import Options, flatten, with_values
from jaxrl.runs.train import train
from jaxrl.sweeps import SweepSpec, read_spec
from jaxrl.sweeps import execute as sweeps
from jaxrl.sweeps import plan as planning
from jaxrl.sweeps import trials as groups_module
from jaxrl.sweeps.chunks import shared_config
from jaxrl.sweeps.plan import GIB, GroupPlan, state_shapes
from jaxrl.sweeps.report import record_sweep
from jaxrl.sweeps.results import SweepResult
from jaxrl.sweeps.trials import Group, make_groups
from jaxrl.training import evaluate as evaluate_policy
from jaxrl.training.checkpoint import Checkpoints
from jaxrl.training.program import Program
from tests.events import read_events

DQN = """
experiment = "dqn_cartpole"
search = "random"
configurations = 5
seeds = 2
seed = 4
total_steps = 12_000
log_every = 2_000
eval_every = 4_500
keep_best = true
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
total_steps = 2_048
log_every = 512
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


def call(main: Callable[[], None], *arguments: Any) -> tuple[int, list[str], list[str]]:
    """A command's exit code, and the lines it printed on stdout and stderr."""
    code: Any = 0
    out, err = io.StringIO(), io.StringIO()
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
    """Programs that compile quickly, once for all sweeps with the same static values; calls of so many iterations, and
    no trials."""
    jax.devices()  # from here on a command leaves their number alone
    timed = Program._compile
    compiled: dict[Any, Any] = {}

    def quickly(self, lower, options):
        return timed(self, lower, options | {"xla_backend_optimization_level": 0})

    def sharing(spec, max_groups):
        found = make_groups(spec, max_groups)
        for each in found:
            own = {"_programs": each._programs, "_evaluate": each._evaluate}
            static = repr((spec.experiment.name, each.options.task.env, each.options.config))
            vars(each).update(compiled.setdefault(static, own))
        return found

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Program, "_compile", quickly)
        monkeypatch.setattr(sweeps, "make_groups", sharing)
        monkeypatch.setattr(planning, "seconds_per_iteration", lambda group, size, devices: 0.25)
        monkeypatch.setattr(sys.modules["jaxrl.training.host_loop"]._Loop, "pace", lambda self: 40)
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


def again(done: Done, *arguments: Any, spec: Path | None = None) -> Done:
    """`--resume` of a sweep."""
    given = (spec or done.spec, "--out", done.directory, "--resume", *ONE_DEVICE, *arguments)
    return Done(done.spec, done.directory, *call(sweep.main, *given))


def results(directory: Path) -> pl.DataFrame:
    """Without the column that depends on the machine."""
    return pl.read_parquet(directory / "results.parquet").drop("seconds")


def curves(directory: Path) -> pl.DataFrame:
    return pl.read_parquet(directory / "curves.parquet")


def groups(done: Done) -> list[Group]:
    """The groups of a sweep, with the programs they have."""
    return sweeps.make_groups(read_spec(done.spec), 16)


def agents(done: Done) -> dict[int, Any]:
    """All agents' states, by their numbers."""
    directory, found = done.directory, {}
    plans = [GroupPlan(**plan) for plan in json.loads((directory / "sweep.json").read_text())["plan"]]
    for each, plan in zip(groups(done), plans, strict=True):
        for chunk in range(plan.chunks):
            shapes = state_shapes(each, plan.chunk_size).state.agent
            folder = directory / "chunks" / f"{each.number}_{chunk}" / "agents"
            state, _, _ = Checkpoints(folder, read_only=True).restore(shapes)
            for i, agent in enumerate(each.trials["agent"][chunk * plan.chunk_size :][: plan.chunk_size]):
                found[agent] = jax.tree.map(lambda x, i=i: np.asarray(x[i]), state)
    return found


def same(a: dict[int, Any], b: dict[int, Any]) -> None:
    assert a.keys() == b.keys()
    jax.tree.map(np.testing.assert_array_equal, a, b)


def alike(a: Any, b: Any, rtol: float) -> None:
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 100), a, b)


def test_the_example_in_python(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {"jaxrl": SimpleNamespace(SweepSpec=SweepSpec, sweep=sweeps.sweep, load=jaxrl.load)}
    for example in doctest.DocTestParser().get_examples(sweeps.sweep.__doc__ or ""):
        exec(example.source, scope)
    result, policy = scope["result"], scope["policy"]
    assert result.directory == Path("runs/sweep/cartpole")
    assert result.trials.drop("seconds").equals(results(result.directory))
    assert result.curves.equals(curves(result.directory))
    assert result.problems == []
    best = result.configurations.row(0, named=True)
    assert policy.options.hparams.learning_rate == best["hparams.learning_rate"]
    assert best["eval_return"] == result.configurations["eval_return"].max()
    assert read_spec(result.directory / "sweep.toml") == scope["spec"]
    with pytest.raises(ArgumentError, match=r"^best must be of a sweep with keep_best = true, got runs/sweep/"):
        jaxrl.load(result.directory, best=True)


def test_errors_in_python_name_the_arguments(tmp_path) -> None:
    with pytest.raises(ArgumentError, match=r"^hparams\.discount\.values must be <= 1, got 1\.5$"):
        SweepSpec("dqn_cartpole", "grid", fields={"hparams.discount": {"values": [0.9, 1.5]}})
    spec = SweepSpec("dqn_cartpole", "grid", fields={"config.batch_size": {"values": [2, 4]}})
    with pytest.raises(ArgumentError, match=r"^max_groups must be at least 2: .*, got 1$"):
        sweeps.sweep(spec, tmp_path / "out", max_groups=1)
    with pytest.raises(ArgumentError, match=r"^eval_every must be given to keep the best agents, .*, got 0$"):
        sweeps.sweep(SweepSpec("dqn_cartpole", "grid", fields={"keep_best": True}), tmp_path / "out")
    with pytest.raises(ArgumentError, match=r"^out must name the directory of the sweep to resume$"):
        sweeps.sweep(spec, resume=True)
    assert not list(tmp_path.iterdir())


def test_results_have_a_row_an_agent(whole) -> None:
    assert (whole.code, whole.errors) == (0, [])
    spec, found = read_spec(whole.spec), pl.read_parquet(whole.directory / "results.parquet")
    assert found["agent"].to_list() == list(range(AGENTS))
    assert found["configuration"].to_list() == [agent // 2 for agent in range(AGENTS)]
    assert found["seed"].to_list() == [4, 5] * 5
    for configuration, values in enumerate(spec.draws):
        rows = found.filter(configuration=configuration)
        assert {path: rows[path].unique().to_list() for path in values} == {path: [x] for path, x in values.items()}
    options = {path: x for path, x in flatten(spec.options).items() if path.startswith(("hparams.", "config."))}
    assert options.keys() < set(found.columns)
    assert set(found.columns) - options.keys() == {
        "agent", "configuration", "seed", "group", "chunk", "status", "error",
        "eval_return", "train_return", "env_steps", "seconds", "best_return", "best_env_steps",
    }  # fmt: skip
    assert found["config.replay_capacity"].unique().to_list() == [4_000]
    assert found["config.hidden_sizes"].unique().to_list() == ["16"]
    assert found.select("group", "config.batch_size").unique().sort("group").rows() == [(0, 16), (1, 32)]
    assert found.select("chunk", "status", "error", "env_steps").unique().rows() == [(0, "finished", None, TOTAL)]
    assert found["eval_return"].is_between(1, 500).all()
    assert (found["seconds"] > 0).all()
    assert found["eval_return"].n_unique() > 5


def test_curves_have_all_agents_at_the_same_steps(whole) -> None:
    found = curves(whole.directory)
    steps = [512 + 125 * 16 * row for row in range(1, 6)] + [TOTAL]
    for agent in range(AGENTS):
        its = found.filter(agent=agent)
        assert its["env_steps"].to_list() == steps
        assert its["eval_return"].is_not_null().to_list() == [False, True, False, True, False, False]
    assert {"episode_return", "episodes", "loss"} < set(found.columns)
    assert not {"wall_seconds", "env_steps_per_second"} & set(found.columns)
    assert found["agent"].is_sorted()
    last = found.group_by("agent", maintain_order=True).last()
    assert last["episode_return"].to_list() == results(whole.directory)["train_return"].to_list()


def test_what_is_left_and_what_is_not(whole) -> None:
    files = {str(path.relative_to(whole.directory)) for path in whole.directory.rglob("*")}
    assert {path for path in files if path.count("/") < 3} == {
        "sweep.json", "sweep.toml", "results.parquet", "curves.parquet", "learning_curves.png", "hyperparameters.png",
        "chunks", "chunks/0_0", "chunks/0_0/results.parquet", "chunks/0_0/curves.parquet", "chunks/0_0/agents",
        "chunks/1_0", "chunks/1_0/results.parquet", "chunks/1_0/curves.parquet", "chunks/1_0/agents",
        "chunks/0_0/best", "chunks/1_0/best",
    }  # fmt: skip
    assert (whole.directory / "sweep.toml").read_text() == DQN
    for name in ("learning_curves.png", "hyperparameters.png"):
        with Image.open(whole.directory / name) as picture:
            assert picture.width >= 900


def plan_shown(lines: list[str]) -> list[str]:
    """The rows of the plan, with single spaces."""
    begin = next(i for i, line in enumerate(lines) if line.split()[:3] == ["group", "agents", "chunks"]) + 1
    end = next(i for i, line in enumerate(lines) if line.startswith("about "))
    return [" ".join(line.split()) for line in lines[begin:end]]


def best_configuration(done: Done) -> int:
    means = results(done.directory).group_by("configuration").agg(pl.mean("eval_return"))
    return means.sort("eval_return", descending=True)["configuration"][0]


def test_the_plan_comes_first_and_the_best_last(whole) -> None:
    lines = whole.lines
    first, second = plan_shown(lines)
    assert re.fullmatch(r"0 8 1 × 8 [\d.]+ .iB [\d.]+ .iB 3 min batch_size 16", first)
    assert re.fullmatch(r"1 2 1 × 2 [\d.]+ .iB [\d.]+ .iB 3 min batch_size 32", second)
    summary, about = (
        next(i for i, line in enumerate(lines) if line.startswith(text))
        for text in ("DQN on CartPole-v1: 10 agents, 12,000 steps each", "about 6 min ")
    )
    begins, ends = lines.index(f"writing to {whole.directory}"), lines.index("agents: 10 finished")
    assert summary < about < begins < lines.index("compiling, then the first steps") < ends
    assert any(
        re.search(r"group 1, chunk 1 of 1  2 agents × .* steps/s  best training return \d+", line) for line in lines
    )
    row = next(line.split() for line in lines[begins:ends] if line.split()[:1] == ["1"])
    assert int(row[1]) == best_configuration(whole)
    for name in ("results.parquet", "curves.parquet", "learning_curves.png", "hyperparameters.png"):
        assert any(line.endswith(f": {whole.directory / name}") for line in lines[ends:])


def test_the_command_trains_the_best_again(whole) -> None:
    at = whole.lines.index("train the best configuration again with") + 1
    python, dash_m, module, *arguments = shlex.split(whole.lines[at])
    assert (python, dash_m, module) == ("python", "-m", "jaxrl.experiments.dqn_cartpole")
    defaults = dqn_cartpole.experiment.defaults
    generic: Any = Options
    options_type = generic[type(defaults.hparams), type(defaults.config)]
    options = tyro.cli(options_type, default=defaults, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
    spec = read_spec(whole.spec)
    expected = flatten(spec.options) | spec.draws[best_configuration(whole)] | {"num_seeds": 2}
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
    assert whole.lines[whole.lines.index("train the best configuration again with") + 1].strip() in page
    assert jax.__version__ in page


@pytest.mark.parametrize(("agent", "best"), [(0, False), (5, True)])
def test_an_agent_is_loaded_and_evaluated_as_in_the_results(whole, agent: int, best: bool) -> None:
    trained = jaxrl.load(whole.directory, agent=agent, best=best)
    row = results(whole.directory).row(agent, named=True)
    assert trained.options.hparams.learning_rate == row["hparams.learning_rate"]
    assert trained.options.config.batch_size == row["config.batch_size"]
    assert trained.options.budget.seed == row["seed"]
    environments = vectorize(trained.env, trained.env_params, trained.options.budget.eval_episodes)
    _, keys, _ = key_streams([row["seed"]])
    evaluation = jax.jit(
        lambda state, key: evaluate_policy(
            partial(trained.agent.policy, state), environments, key, trained.options.budget.eval_max_steps
        )
    )(trained.agent_state, keys[0])
    assert float(evaluation.episode_return.mean()) == row["best_return" if best else "eval_return"]


def test_agents_are_kept_at_their_best_evaluation(whole) -> None:
    rows = curves(whole.directory).drop_nulls("eval_return").drop_nans("eval_return")
    best = rows.sort("eval_return", "env_steps", descending=[True, False]).group_by("agent").first().sort("agent")
    assert results(whole.directory)["best_env_steps"].to_list() == best["env_steps"].to_list()
    assert best["env_steps"].n_unique() > 1


def test_the_best_seed_of_the_best_configuration_is_loaded_by_default(whole) -> None:
    seeds = results(whole.directory).filter(configuration=best_configuration(whole))
    best = seeds.row(seeds["eval_return"].arg_max(), named=True)
    options = jaxrl.load(whole.directory).options
    assert (options.budget.seed, options.hparams.learning_rate) == (best["seed"], best["hparams.learning_rate"])


def test_agents_that_cannot_be_loaded(whole, tmp_path) -> None:
    for agent in (-1, AGENTS):
        with pytest.raises(ArgumentError, match=rf"^agent must be in 0 \.\. 9, got {agent}$"):
            jaxrl.load(whole.directory, agent=agent)
    with pytest.raises(ArgumentError, match=r"^seed is for runs; an agent of a sweep has its own, got 4$"):
        jaxrl.load(whole.directory, seed=4)
    with pytest.raises(ArgumentError, match=rf"^agent is for sweeps, and {tmp_path} holds none, got 1$"):
        jaxrl.load(tmp_path, agent=1)
    for name in ("sweep.json", "sweep.toml"):
        shutil.copy(whole.directory / name, tmp_path)
    with pytest.raises(ArgumentError, match=rf"^directory must hold a sweep with a finished chunk, got {tmp_path}$"):
        jaxrl.load(tmp_path)


@pytest.mark.slow
def test_agents_of_different_environments_are_not_ranked(tmp_path, capsys) -> None:
    fields = {
        "env": {"values": ["CartPole-v1", "Acrobot-v1"]},
        "total_steps": 64,
        "eval_episodes": 2,
        "eval_max_steps": 5,
    }
    sizes = {"config.num_envs": 2, "config.rollout_length": 16, "config.num_minibatches": 2, "config.num_epochs": 1}
    spec = SweepSpec("ppo_cartpole", "grid", fields=fields | sizes | {"config.hidden_sizes": [4]})
    result = sweeps.sweep(spec, tmp_path / "games", num_devices=1)
    assert isinstance(result, SweepResult)
    trained = [jaxrl.load(result.directory, agent=agent) for agent in (0, 1)]
    assert [policy.options.task.env for policy in trained] == ["CartPole-v1", "Acrobot-v1"]
    assert [policy.observation.shape for policy in trained] == [(4,), (6,)]
    with pytest.raises(ArgumentError, match=r"^agent must be given, because the environments of this sweep differ$"):
        jaxrl.load(result.directory)
    assert not (result.directory / "hyperparameters.png").exists()
    printed = capsys.readouterr().out
    assert "train the best" not in printed
    assert "rank" not in printed
    (tmp_path / "record").mkdir()
    record_sweep(result, tmp_path / "record")
    assert "The best configuration again" not in (tmp_path / "record" / "README.md").read_text()


def test_evaluate_and_play_an_agent(whole, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, lines, _ = call(evaluate.main, whole.directory, "--agent", "1", "--episodes", "4", "--max-steps", "50")
    assert code == 0
    assert any(re.match(r"mean return .* over 4 episodes with ε = 0.001, ", line) for line in lines)
    code, lines, _ = call(play.main, whole.directory, "--steps", "5", "--out", "a.gif")
    assert (code, lines[-1]) == (0, "written to a.gif")
    for command in (evaluate, play):
        code, _, errors = call(command.main, whole.directory, "--agent", "10")
        assert code == 2
        assert len(errors) == 1
        assert "agent must be in 0 .. 9" in errors[0]
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]


def test_a_trial_equals_its_solo_run(whole, tmp_path, monkeypatch) -> None:
    """Up to the last bits of what is added up in another order."""
    monkeypatch.setattr("jaxrl.runs.train.record_video", lambda *_: None)
    own, agent = groups(whole)[0], 3
    i = own.trials["agent"].to_list().index(agent)
    row = own.trials.row(i, named=True)
    solo = {"seed": row["seed"], "out": tmp_path / "solo"}
    options = with_values(read_spec(whole.spec).configuration(row["configuration"]), solo)
    _, summary = train(dqn_cartpole.experiment, options, Console(quiet=True))

    row = results(whole.directory).row(agent, named=True)
    hparams = {path: x for path, x in row.items() if path.startswith("hparams.")}
    assert hparams == {path: x for path, x in flatten(options).items() if path.startswith("hparams.")}
    alike(agents(whole)[agent], jaxrl.load(tmp_path / "solo").agent_state, 1e-4)
    curve, metrics = curves(whole.directory).filter(agent=agent), pl.read_csv(tmp_path / "solo" / "metrics.csv")
    assert curve["env_steps"].to_list() == metrics["env_steps"].to_list()
    for column in ("episode_return", "loss", "eval_return"):
        np.testing.assert_allclose(curve[column].to_numpy(), metrics[column].to_numpy(), rtol=1e-4)
    assert summary is not None
    assert summary["eval_return_mean"] == pytest.approx(row["eval_return"], rel=1e-4)

    # Its environments are the same from the beginning, to the bit.
    many = own.program(len(own.trials), jax.devices()[:1]).init(*own.inputs(own.trials))
    keys, _ = own.inputs(own.trials[[i]])
    alone = Program(own.trainer, keys[0], options.hparams).init(keys[0], options.hparams)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[i], b), many.state.source.envs, alone.state.source.envs)


@pytest.fixture(scope="module")
def ppo(swept) -> Done:
    """Agents without a replay, all three at once."""
    return swept(PPO)


class Chunks(NamedTuple):
    """A sweep in chunks, and how many programs each of them compiled."""

    done: Done
    compiled: list[int]


@pytest.fixture(scope="module")
def chunks(swept, ppo) -> Chunks:
    """The same where there is memory for two."""
    events, compiled, train_chunk = [], [], sweeps.train_chunk

    def listen(event: str, duration: float, **_) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    def counted(*arguments) -> bool:
        before = len(events)
        finished = train_chunk(*arguments)
        compiled.append(len(events) - before)
        return finished

    (own,) = groups(ppo)
    memory = own.program(2, jax.devices()[:1]).memory() / GIB
    jax.monitoring.register_event_duration_secs_listener(listen)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sweeps, "train_chunk", counted)
        done = swept(PPO, "--memory", memory, "--loggers", "tensorboard")
    jax.monitoring.unregister_event_duration_listener(listen)
    return Chunks(done, compiled)


def test_without_replay(ppo) -> None:
    assert (ppo.code, ppo.errors) == (0, [])
    assert ppo.lines[0] == "planning: compiling the program of 1 group, and timing each for a second"
    found = results(ppo.directory)
    assert found.select("agent", "configuration", "seed", "chunk", "status", "env_steps").rows() == [
        (agent, agent, 0, 0, "finished", 2_048) for agent in range(3)
    ]
    assert found["hparams.clip"].n_unique() == 3
    assert curves(ppo.directory)["env_steps"].to_list() == [512, 1_024, 1_536, 2_048] * 3


def test_chunks_find_the_same(ppo, chunks) -> None:
    """Up to the last bits of what is added up in another order."""
    done, _ = chunks
    assert (done.code, done.errors) == (0, [])
    assert plan_shown(done.lines)[0].startswith("0 3 2 × 2 ")
    ours, its = results(done.directory), results(ppo.directory)
    assert ours["chunk"].to_list() == [0, 0, 1]
    trained = ("chunk", "eval_return", "train_return")
    assert ours.drop(trained).equals(its.drop(trained))
    np.testing.assert_allclose(ours["train_return"].to_numpy(), its["train_return"].to_numpy(), rtol=1e-3)
    assert curves(done.directory).columns == curves(ppo.directory).columns
    for column in ("agent", "env_steps", "episode_return", "episodes", "value_loss"):
        a, b = (curves(directory)[column].to_numpy() for directory in (done.directory, ppo.directory))
        np.testing.assert_allclose(a, b, rtol=1e-3)
    alike(agents(done), agents(ppo), 1e-3)


def test_chunks_have_loggers_of_their_own(chunks) -> None:
    directories = [chunks[0].directory / "chunks" / f"0_{chunk}" for chunk in range(2)]
    found = [{tag for tag, *_ in read_events(directory / "tensorboard")} for directory in directories]
    assert {"agent_0/episode_return", "agent_1/value_loss"} <= found[0]
    assert "value_loss" in found[1]  # of one agent


def test_a_chunks_configuration_lists_what_differs(ppo) -> None:
    (own,) = groups(ppo)
    config = shared_config(own, own.trials)
    assert config["env"] == "CartPole-v1"
    assert config["hparams.clip"] == own.trials["hparams.clip"].to_list()
    two = own.trials.head(2)
    assert shared_config(own, two)["hparams.clip"] == two["hparams.clip"].to_list()


def test_a_groups_chunks_share_what_compiles(chunks) -> None:
    """The second has other hyperparameters, and is filled up."""
    _, (first, second) = chunks
    assert first > 0
    assert second == 0


def test_a_finished_sweep_is_left_alone(whole, tmp_path) -> None:
    copy = whole._replace(directory=shutil.copytree(whole.directory, tmp_path / "copy"))
    before = {path: path.read_bytes() for path in copy.directory.rglob("*") if path.is_file()}
    done = again(copy)
    assert (done.code, done.errors) == (0, [])
    assert not any("steps/s" in line for line in done.lines)
    assert {path: path.read_bytes() for path in copy.directory.rglob("*") if path.is_file()} == before


def test_a_resumed_sweep_takes_the_devices_that_divide_its_chunks() -> None:
    there = jax.local_device_count()
    for sizes, divide in (((6, 4), 2), ((8, 16), 8), ((3,), 3), ((5, 3), 1)):
        plans = [GroupPlan(10, size, 0, 0, 0.0) for size in sizes]
        assert len(sweeps.choose_devices(plans, None)) == math.gcd(there, divide)
    assert len(sweeps.choose_devices([], None)) == there


HOST = """
experiment = "a2c_cartpole"
env = "tests.envs.counters:host_corridor"
search = "grid"
total_steps = 128
log_every = 64
eval_episodes = 2
[hparams]
learning_rate = { values = [1e-3, 1e-2] }
[config]
hidden_sizes = [4]
num_envs = 4
rollout_length = 8
"""


@pytest.mark.slow
def test_agents_whose_environments_step_on_the_host_learn_one_after_another(tmp_path: Path) -> None:
    """On one device, which nobody has to ask for."""
    (tmp_path / "sweep.toml").write_text(HOST)
    code, lines, errors = call(sweep.main, tmp_path / "sweep.toml", "--out", tmp_path / "out")
    assert (code, errors) == (0, [])
    assert "agents: 2 finished" in lines
    returns = curves(tmp_path / "out")["episode_return"].to_numpy()
    assert len(returns) == 4
    assert (returns > -3).all()
    assert (returns < 10).all()
    code, _, errors = call(sweep.main, tmp_path / "sweep.toml", "--out", tmp_path / "two", "--num-devices", 2)
    assert code == 2
    assert errors == ["error: --num-devices must be 1, since Corridor steps on the host, got 2"]


def signalling(at: Callable[[int, bool], bool]) -> type:
    """A report of progress that sends a signal when `at(calls, finished)` is true."""
    calls = 0

    class Signalling(sweeps.SweepProgress):
        def progress(self, env_steps: int, total_steps: int, steps_per_second: float) -> None:
            nonlocal calls
            calls += 1
            if at(calls, env_steps == total_steps):
                os.kill(os.getpid(), signal.SIGINT)

    return Signalling


@pytest.mark.parametrize("at", [lambda calls, _: calls == 3, lambda _, finished: finished], ids=["amid", "at the end"])
def test_a_signal_stops_a_sweep_that_goes_on_to_the_same_bits(whole, swept, at) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sweeps, "SweepProgress", signalling(at))
        stopped = swept(DQN)
    assert (stopped.code, stopped.errors) == (0, [])
    assert stopped.lines[-3:-1] == ["stopped; the sweep is saved", "continue with"]
    command = f"python -m jaxrl.experiments.sweep {stopped.spec} --out {stopped.directory} --num-devices 1 --resume"
    assert stopped.lines[-1].strip() == command
    assert not (stopped.directory / "results.parquet").exists()
    assert not (stopped.directory / "chunks" / "1_0").exists()
    done = again(stopped)
    assert (done.code, done.errors) == (0, [])
    assert results(done.directory).equals(results(whole.directory))
    assert curves(done.directory).equals(curves(whole.directory))
    same(agents(done), agents(whole))


def test_an_agent_that_diverges_is_alone_in_it(swept) -> None:
    """Its neighbours are the same to the bit as beside one that does not."""
    text = DQN.replace("configurations = 5\n", "").replace('"random"', '"grid"')
    text = text.replace("values = [16, 32]", "values = [16]").replace("values = [0.9, 0.99]", "values = [0.99]")
    rates = '{ distribution = "log_uniform", low = 1e-4, high = 1e-2 }'
    bad = swept(text.replace(rates, "{ values = [1e-3, 1e29, 3e-4, 5e-3] }"))
    good = swept(text.replace(rates, "{ values = [1e-3, 1e-4, 3e-4, 5e-3] }"))
    assert (bad.code, bad.errors) == (0, [])
    assert "agents: 2 diverged, 6 finished" in bad.lines
    lost, found = [2, 3], results(bad.directory)
    assert found["status"].to_list() == ["diverged" if agent in lost else "finished" for agent in range(8)]
    assert found["eval_return"].is_null().to_list() == [agent in lost for agent in range(8)]
    assert found["error"].is_null().all()
    assert found.filter(status="diverged")["env_steps"].is_between(512, TOTAL - 1).all()
    neighbours = ~pl.col("agent").is_in(lost)
    assert found.filter(neighbours).equals(results(good.directory).filter(neighbours))
    assert curves(bad.directory).filter(neighbours).equals(curves(good.directory).filter(neighbours))
    ours, its = agents(bad), agents(good)
    for agent in lost:
        assert all(np.isfinite(x).all() for x in jax.tree.leaves(ours.pop(agent)))
        del its[agent]
    same(ours, its)
    assert jaxrl.load(bad.directory).options.hparams.learning_rate < 1

    # Had they all diverged, there were none to recommend.
    table = bad.directory / "chunks" / "0_0" / "results.parquet"
    diverged = pl.read_parquet(table).with_columns(status=pl.lit("diverged"), eval_return=pl.lit(None, pl.Float64))
    diverged.write_parquet(table)
    none = again(bad)
    assert (none.code, none.errors) == (1, ["error: no agent finished"])
    assert not any("again with" in line for line in none.lines)
    code, _, errors = call(evaluate.main, bad.directory)
    assert code == 2
    assert errors == [f"error: RUN must hold a sweep with an agent that did not diverge, got {bad.directory}"]


def test_a_group_that_fails_leaves_the_others_alone(swept, whole) -> None:
    train_chunk = sweeps.train_chunk

    def broken(group, *arguments) -> bool:
        if group.number == 0:
            raise RuntimeError("something is wrong\nwith this group")
        return train_chunk(group, *arguments)

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(sweeps, "train_chunk", broken)
        failed = swept(DQN)
    assert failed.code == 1
    traceback = failed.directory / "group_0_error.txt"
    assert failed.errors == [f"error: groups failed: 0: RuntimeError: something is wrong; see {traceback}"]
    assert f"group 0 failed: RuntimeError: something is wrong; see {traceback}" in failed.lines
    assert 'raise RuntimeError("something is wrong\\nwith this group")' in traceback.read_text()
    assert "agents: 8 failed, 2 finished" in failed.lines
    found, expected = results(failed.directory), results(whole.directory)
    lost = pl.col("group") == 0
    assert set(found.columns) == set(expected.columns)
    assert found.filter(lost).select("status", "error", "env_steps").unique().rows() == [
        ("failed", "RuntimeError: something is wrong", 0)
    ]
    assert found.filter(lost)["eval_return"].is_null().all()
    assert found.filter(lost)["hparams.learning_rate"].equals(expected.filter(lost)["hparams.learning_rate"])
    assert found.filter(~lost).select(expected.columns).equals(expected.filter(~lost))
    assert curves(failed.directory)["agent"].unique().to_list() == [4, 5]

    kept = failed.directory / "chunks" / "1_0" / "results.parquet"
    before = kept.stat().st_mtime_ns
    done = again(failed)
    assert (done.code, done.errors) == (0, [])
    assert not traceback.exists()
    assert kept.stat().st_mtime_ns == before
    assert results(done.directory).equals(expected)
    assert curves(done.directory).equals(curves(whole.directory))


def test_a_dry_run_writes_nothing(whole, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, lines, errors = call(sweep.main, whole.spec, *ONE_DEVICE, "--dry-run", "--record", "kept")
    assert (code, errors) == (0, [])
    assert lines[:-1] == whole.lines[: len(lines) - 1]
    assert re.fullmatch(r"limits: .* of memory, .* of disk", lines[-1])  # the disk is not as free as it was
    assert whole.lines[len(lines)] == f"writing to {whole.directory}"
    assert len(plan_shown(lines)) == 2
    assert not list(tmp_path.iterdir())


RATES, DISCOUNTS, SIZES = "low = 1e-4", "values = [0.9, 0.99]", "values = [16, 32]"
BAD = [
    (
        "learning_rate =",
        "learning_rte =",
        "",
        r"in sweep\.toml, hparams\.learning_rte is not known \(.* hparams\.learning_rate\)",
    ),
    (RATES, "low = 0.1", "", r"hparams\.learning_rate\.low must be < high = 0\.01, got 0\.1$"),
    (RATES, "low = 0", "", r"hparams\.learning_rate\.low must be > 0, got 0"),
    (
        DISCOUNTS,
        'distribution = "log_uniform", low = 0, high = 1',
        "",
        r"hparams\.discount\.low must be > 0 for log_uniform, got 0",
    ),
    (DISCOUNTS, "values = []", "", r"hparams\.discount\.values must be an array of one value or more, got \[\]"),
    (
        SIZES,
        "values = [16, 5_000]",
        "",
        r"in sweep\.toml, config\.batch_size must be at most 4000, the capacity of the replay buffer, got 5000",
    ),
    ("12_000", "500", "", r"in sweep\.toml, total_steps must be at least 528 .*, got 500"),
    ("seeds = 2", "seeds =", "", r"SPEC must be a TOML file .*, got sweep\.toml"),
    ("", "", "--max-groups 1", r"--max-groups must be at least 2: every combination of config\.batch_size .*, got 1"),
    ("", "", "--max-groups 0", "--max-groups must be > 0, got 0"),
    ("", "", "--checkpoint-every 0", "--checkpoint-every must be > 0, got 0"),
    (
        "",
        "",
        "--memory 0.0001",
        r"--memory must be at least .* for .* of group 0; config\.replay_capacity = \d+ fits, got 0\.10 MiB",
    ),
    ("", "", "--num-devices 99", r"--num-devices must be at most \d+, .*, got 99"),
    ("", "", "--out SWEEP", "--out must be a directory without a sweep or a run, except to resume it, got SWEEP"),
    ("", "", "--out RUN", "--out must be a directory without a sweep or a run, .*, got RUN"),
    ("", "", "--out A_FILE", "--out must be a directory, got A_FILE"),
    ("", "", "--out EMPTY --record ./EMPTY", "--record must be another directory than that of the run, got EMPTY"),
    ("", "", "--loggers cvs", "--loggers must be csv, .*, got 'cvs'"),
    ("", "", "--out A_FILE/x", r"--out must be a directory that can be made \(Not a directory\), got A_FILE/x"),
    ("", "", "--record A_FILE/x", r"--record must be a directory that can be made \(Not a directory\), got A_FILE/x"),
    ("", "", "--resume", "--out must name the directory of the sweep to resume$"),
    ("", "", "--resume --out RUN", "--out must be the directory of a sweep, and not of a run, got RUN"),
    ("", "", "--resume --out BROKEN", r"--out must hold a sweep: BROKEN/sweep\.json cannot be read"),
    ("", "", "--resume --out OTHER", r"--out must hold a sweep: OTHER/sweep\.json is not the record of one"),
    ("", "", "--resume --out TWO", "--num-processes must stay 2 to resume TWO, got 1"),
    ("", "", "--resume --out SWEEP --num-devices 3", "--num-devices .* got 3"),
    (
        DISCOUNTS,
        "values = [0.9, 0.95]",
        "--resume --out SWEEP",
        r"hparams\.discount\.values must stay \[0\.9, 0\.99\] to resume SWEEP, got \[0\.9, 0\.95\]",
    ),
    (
        "12_000",
        "13_000",
        "--resume --out SWEEP",
        "in sweep.toml, total_steps must stay 12000 to resume SWEEP, got 13000",
    ),
    ("warmup_steps = 500", "", "--resume --out SWEEP", r"config\.warmup_steps must stay 500 to resume SWEEP, got 1000"),
    ("", "", "--process-id 0", "--coordinator needs --num-processes and --process-id"),
    (
        "",
        "",
        "--coordinator localhost:1 --num-processes 2",
        "--coordinator needs --num-processes and --process-id",
    ),
    ("", "", "--coordinator localhost:1 --num-processes 2 --process-id 2", "--process-id must be < 2, got 2"),
    ("", "", "--coordinator localhost:1 --num-processes 2 --process-id 0", "--out is needed by several processes"),
    (
        "",
        "",
        "--coordinator 127.0.0.1 --num-processes 2 --process-id 0",
        r"--coordinator must be ADDRESS:PORT, as in host:1234, got '127\.0\.0\.1'$",
    ),
]


@pytest.mark.parametrize(("before", "now", "arguments", "message"), BAD, ids=[f"{x[1]} {x[2]}".strip() for x in BAD])
def test_bad_input_is_found_before_anything_compiles(
    whole, tmp_path, monkeypatch, before: str, now: str, arguments: str, message: str
) -> None:
    assert before in DQN
    (tmp_path / "sweep.toml").write_text(DQN.replace(before, now) if before else DQN)
    record = json.loads((whole.directory / "sweep.json").read_text())
    folders = {"SWEEP": json.dumps(record), "TWO": json.dumps(record | {"processes": 2}), "BROKEN": "{", "OTHER": "{}"}
    for name in (*folders, "EMPTY", "RUN"):
        (tmp_path / name).mkdir()
    for name, contents in folders.items():
        (tmp_path / name / "sweep.json").write_text(contents)
    for path in ("A_FILE", "RUN/config.json"):
        (tmp_path / path).touch()
    there = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeps, "make_groups", make_groups)  # without programs
    monkeypatch.setattr(groups_module, "Program", lambda *_, **__: pytest.fail("it made a program"))
    code, _, errors = call(sweep.main, "sweep.toml", *ONE_DEVICE, *arguments.split())
    assert code == 2
    assert len(errors) == 1
    assert re.search(message, errors[0]), errors[0]
    assert sorted(tmp_path.rglob("*")) == there


@pytest.mark.parametrize("name", ["variants", "swept fields"])
def test_what_numbers_the_agents_stays_in_its_order(tmp_path, name: str) -> None:
    parts = {"config.double": {"values": [True, False]}, "config.batch_size": {"values": [16, 32]}}
    if name == "variants":
        parts = {"a": {"config.double": True}, "b": {"config.batch_size": 16}}

    def spec(paths: Any) -> SweepSpec:
        given: dict[str, Any] = {path: parts[path] for path in paths}
        of_a_list = {"search": "list", "variants": given}
        return SweepSpec("dqn_cartpole", **(of_a_list if name == "variants" else {"search": "grid", "fields": given}))

    record = {"spec": spec(parts).record(), "plan": [], "processes": 1}
    (tmp_path / "sweep.json").write_text(json.dumps(record))
    assert sweeps.check_directory(tmp_path, True, spec(parts)) == []
    with pytest.raises(ArgumentError, match=f"^{name} must stay in their order to resume {tmp_path}$"):
        sweeps.check_directory(tmp_path, True, spec(reversed(parts)))


def test_sweeps_that_begin_at_once_have_directories_of_their_own(tmp_path, monkeypatch) -> None:
    """The name was free when the sweep was checked, and another process was faster."""
    monkeypatch.chdir(tmp_path)
    taken, used = [], []

    def be_faster(*_: object) -> None:
        taken.append(sweeps.run_directory.make_out(None, "sweep"))

    monkeypatch.setattr(sweeps.SweepRun, "run", lambda _, directory: used.append(directory))
    spec = SweepSpec("ppo_cartpole", "grid", fields={"config.hidden_sizes": [8]})
    monkeypatch.setattr(sweeps.run_directory, "datetime", SimpleNamespace(now=lambda: datetime(2030, 1, 1)))
    with monkeypatch.context() as patch:
        patch.setattr(sweeps, "check_effective", be_faster)
        sweeps.sweep(spec)
    assert (taken, used) == ([Path("runs/sweep/20300101-000000")], [Path("runs/sweep/20300101-000000-2")])
    assert used[0].is_dir()


def test_a_command_locks_the_directories_of_its_sweeps_and_says_what_is_saved(tmp_path) -> None:
    def stop(error: KeyboardInterrupt) -> None:
        with sweeps.lock_directories(tmp_path, "x", None, ["a", "b"]):
            with (
                pytest.raises(ArgumentError, match="no other process"),
                sweeps.run_directory.lock(tmp_path / "b", "out"),
            ):
                pytest.fail("the directory is free")
            raise error

    for saved in ("nothing was saved yet", "--resume goes on with what is saved"):
        stopped = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            stop(stopped)
        assert stopped.__notes__ == [saved]
        (tmp_path / "b" / "sweep.json").touch()


def test_a_file_that_is_not_there(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, lines, errors = call(sweep.main, "nowhere.toml")
    assert (code, lines, errors) == (
        2,
        [],
        ["error: SPEC must be a file that can be read (No such file or directory), got nowhere.toml"],
    )
