"""The host loop: rows at fixed steps, resume to the same bits, signals, and runs that go wrong."""

import contextlib
import dataclasses
import importlib
import logging
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import OffPolicyConfig, OnPolicyConfig, a2c, actor_critic, dqn, make, memory, off_policy, on_policy
from jaxrl.agents.a2c import A2CHparams
from jaxrl.arguments import ArgumentError
from jaxrl.networks import QNetwork
from jaxrl.training import CheckpointError, Checkpoints, DivergedError, Program, repeat, run
from jaxrl.training.best import Best
from jaxrl.training.checkpoint import fingerprint
from jaxrl.training.checks import check_total_steps
from jaxrl.training.loggers import CLOCK_COLUMNS, CSVLogger, Logger, RunInfo
from jaxrl.training.rows import row_ends, whole_steps
from jaxrl.training.signals import caught_signals
from jaxrl.types import Discrete
from tests.conftest import SMALL

run_module = importlib.import_module("jaxrl.training.host_loop")  # the module, not the function
checkpoint_module = importlib.import_module("jaxrl.training.checkpoint")
ADAPTIVE_PACE = run_module._Loop.pace

TOTAL, LOG_EVERY = 16 + 8 * 50, 8 * 7  # 50 iterations of 8 steps after a warm-up of 16; rows of 7 iterations


class Ticks(Logger):
    """A logger that does something at its n-th report of progress, and remembers the reports."""

    def __init__(self, at: int = 0, action=lambda: None) -> None:
        self.at, self.action = at, action
        self.steps: list[int] = []

    def progress(self, env_steps, total_steps, steps_per_second):
        self.steps.append(env_steps)
        if len(self.steps) == self.at:
            self.action()


def train_into(folder: Path, trainer, hparams, total_steps: int = TOTAL, loggers=(), key=None, **more):
    """`(result, folder)` of a run with rows and checkpoints."""
    folder.mkdir(exist_ok=True)
    key = jax.random.key(0) if key is None else key
    more = {"log_every": LOG_EVERY, "notify": lambda line: None, "info": RunInfo(folder)} | more
    more |= {"loggers": [CSVLogger(), *loggers], "checkpoints": Checkpoints(folder / "checkpoints")}
    return run(trainer, key, hparams, total_steps, **more), folder


@pytest.fixture(scope="module")
def small_trainer():
    """Cart-pole, because it compiles quickly; the host loop is independent of the environment."""
    return off_policy(dqn(QNetwork(num_actions=2, hidden_sizes=(8,))), *make("CartPole-v1"), SMALL)


@pytest.fixture
def train(small_trainer, hparams, tmp_path):
    """Trains into a folder: `train(name, total_steps=…, resume=…, …)`."""

    def train(name: str, total_steps: int = TOTAL, hparams=hparams, trainer=small_trainer, **more):
        return train_into(tmp_path / name, trainer, hparams, total_steps, **more)

    return train


@pytest.fixture(scope="module", autouse=True)
def short_calls():
    """Calls of three iterations, three calls a row, however fast the machine is."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(run_module._Loop, "pace", lambda self: 3)
        yield


@pytest.fixture(scope="module")
def whole(small_trainer, hparams, short_calls, tmp_path_factory):
    """An undisturbed run: `(result, folder)`. Tests that write into its folder copy it."""
    return train_into(tmp_path_factory.mktemp("runs") / "whole", small_trainer, hparams)


@pytest.fixture(scope="module")
def in_two_parts(small_trainer, hparams, short_calls, tmp_path_factory) -> Path:
    """The folder of the same run, stopped half-way and resumed, with two checkpoints."""
    folder = tmp_path_factory.mktemp("runs") / "parts"
    train_into(folder, small_trainer, hparams, TOTAL // 2)
    train_into(folder, small_trainer, hparams, resume=True)
    return folder


def rows(folder: Path, clock: bool = False) -> list[str]:
    """The lines of metrics.csv without the columns that depend on the machine."""
    lines = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    keep = [i for i, name in enumerate(lines[0]) if clock or name not in CLOCK_COLUMNS]
    return [",".join(line[i] for i in keep) for line in lines]


def same(a, b) -> bool:
    return fingerprint(a.state) == fingerprint(b.state)


def test_rows_come_at_fixed_steps_however_long_a_call_is(whole, train, monkeypatch) -> None:
    short, short_folder = whole
    monkeypatch.setattr(run_module._Loop, "pace", ADAPTIVE_PACE)
    monkeypatch.setattr(run_module, "CALL_SECONDS", 100.0)
    ticks = Ticks()
    long, long_folder = train("long", loggers=[ticks])
    assert rows(short_folder) == rows(long_folder)
    assert same(short, long)
    steps = [int(row.split(",")[1]) for row in rows(long_folder)[1:]]
    assert steps == [16 + 56 * i for i in range(1, 8)] + [TOTAL]
    assert ticks.steps == [16 + 8, *steps]  # one iteration to measure its duration, and then whole rows
    assert short.finished
    assert short.steps == TOTAL
    assert short.row["env_steps"] == TOTAL


@pytest.fixture
def default_hangup() -> Iterator[None]:
    """Also where `nohup` runs the tests."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("default_hangup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_the_resumed_run_has_the_same_bits(whole, train, number) -> None:
    """A terminal that closes sends several."""
    before = signal.getsignal(number)

    def send() -> None:
        for _ in range(3 if number == signal.SIGHUP else 1):
            os.kill(os.getpid(), number)

    stopped, folder = train("stopped", loggers=[Ticks(4, send)])
    assert not stopped.finished
    assert stopped.steps == 16 + 8 * (3 + 3 + 1 + 3)
    assert signal.getsignal(number) is before
    said: list[str] = []
    resumed, _ = train("stopped", resume=True, notify=said.append)
    assert said == [f"resuming at {stopped.steps} environment steps"]
    assert resumed.finished
    assert same(whole[0], resumed)
    assert rows(folder) == rows(whole[1])


def test_a_signal_that_is_ignored_or_handled_already_stays_so(monkeypatch) -> None:
    """As `nohup` does."""
    handled = []
    for number, handler in ((signal.SIGHUP, signal.SIG_IGN), (signal.SIGUSR1, lambda *_: handled.append("theirs"))):
        before = signal.signal(number, handler)
        try:
            with caught_signals() as caught:
                os.kill(os.getpid(), number)
                assert not caught()
        finally:
            signal.signal(number, before)
    assert handled == ["theirs"]


@pytest.mark.usefixtures("default_hangup")
def test_a_terminal_that_closes_leaves_other_signals_caught() -> None:
    """SIGTERM may follow when the terminal is closed."""
    with caught_signals() as caught:
        os.kill(os.getpid(), signal.SIGHUP)
        assert caught()
        assert signal.getsignal(signal.SIGTERM) == signal.getsignal(signal.SIGHUP)


class Failing(Ticks):
    """A logger that fails at its n-th row."""

    def write(self, row):
        self.at -= 1
        if not self.at:
            self.action()


def fail(error: BaseException) -> None:
    raise error


def test_a_logger_that_fails_stops_the_run_once_it_is_saved(whole, train) -> None:
    """As when nobody reads the output any more."""
    with pytest.raises(BrokenPipeError):
        train("stopped", loggers=[Failing(2, lambda: fail(BrokenPipeError()))])
    resumed, folder = train("stopped", resume=True)
    assert resumed.finished
    assert same(whole[0], resumed)
    assert rows(folder) == rows(whole[1])


def test_what_was_trained_is_there_if_the_last_checkpoint_cannot_be_written(whole, train, monkeypatch) -> None:
    monkeypatch.setattr(Checkpoints, "save", lambda *_: fail(CheckpointError("the disk is full")))
    with pytest.raises(CheckpointError, match="the disk is full") as error:
        train("full")
    assert error.value.result.finished
    assert same(whole[0], error.value.result)


def test_an_error_names_its_cause_first() -> None:
    said = "RESOURCE_EXHAUSTED: Error writing file x: [tensorstore] [OS error 28: ENOSPC No space left on device] [more"
    assert checkpoint_module._cause(ValueError(said)) == "No space left on device"
    assert checkpoint_module._cause(OSError(28, "No space left on device", "a file")) == "No space left on device"
    assert checkpoint_module._cause(ValueError("wrong\nmore")) == "ValueError: wrong"


@pytest.mark.parametrize(
    ("damage", "missing"),
    [
        (lambda text: text, ""),
        (lambda text: text + "7,312,1.0", ""),
        (lambda text: text + '\0\ud800"garbage,\n', ""),
        (lambda text: text + text.partition("\n")[2], ""),  # every row twice
        (lambda text: "\ufeff" + text.replace("\n", "\r\n"), ""),
        (lambda text: "", "8 of the 8 rows until the checkpoint, those of environment steps 72 to 416"),
        (lambda text: text[:200], r"\d of the 8 rows"),
        (lambda text: text.replace("env_steps", "env_st#ps", 1), "8 of the 8 rows"),
        (lambda text: text.replace("episode_return", "episode", 1), "8 of the 8 rows"),
        (lambda text: "\n".join(line for line in text.split("\n") if ",128," not in line), "1 of the 8 rows"),
        (lambda text: text.replace(",128,", ",128,x"), "1 of the 8 rows"),
        (lambda text: text[:-2], "1 of the 8 rows"),
        (lambda text: text[: text.rindex(",") + 1] + "\n", "1 of the 8 rows"),
    ],
)
def test_rows_that_are_missing_are_missed(whole, tmp_path, damage, missing: str) -> None:
    path, text = tmp_path / "metrics.csv", (whole[1] / "metrics.csv").read_text()
    metrics = set(text.split("\n")[0].split(",")) - {"seed", "env_steps", "episodes", *CLOCK_COLUMNS}
    path.write_bytes(damage(text).encode(errors="surrogatepass"))
    said: list[str] = []
    logger = CSVLogger()
    logger.open(RunInfo(tmp_path, {}, [0], "seed", metrics, [*range(72, TOTAL, 56), TOTAL], said.append))
    logger.resume(TOTAL)
    assert bool(missing) == bool(said)
    assert re.search(f"lacks {missing}", said[-1]) if missing else path.exists()
    if missing:
        assert not path.exists() or set(path.read_text().splitlines()) < set(text.splitlines())
    else:
        assert path.read_text() == text
    assert (tmp_path / "metrics-damaged.csv").exists() == ("does not name its columns" in said[0] if said else False)


def test_rows_end_where_the_loop_says(small_trainer, whole) -> None:
    ends = row_ends(small_trainer, LOG_EVERY, 49)
    assert list(ends) == [int(row.split(",")[1]) for row in rows(whole[1])[1:-1]]
    assert not row_ends(small_trainer, LOG_EVERY, 6)
    assert small_trainer.steps_per_iteration == 8
    assert [whole_steps(small_trainer, 16 + steps) for steps in (8, 15, 16)] == [24, 24, 32]


def test_a_finished_run_can_be_extended(whole, train, tmp_path) -> None:
    shutil.copytree(whole[1], tmp_path / "extended")
    whole, whole_folder = train("whole", TOTAL + 80)
    extended, folder = train("extended", TOTAL + 80, resume=True)
    assert same(whole, extended)
    assert rows(folder) == rows(whole_folder)
    again, _ = train("extended", TOTAL + 80, resume=True)  # nothing is left to do, and nothing is done twice
    assert same(whole, again)
    assert rows(folder) == rows(whole_folder)


def test_rows_beyond_the_checkpoint_are_written_once(whole, train) -> None:
    """As after SIGKILL: the file has rows after the newest checkpoint, and the last one is incomplete."""
    _, whole_folder = whole
    _, folder = train("killed", loggers=[Ticks(8, lambda: os.kill(os.getpid(), signal.SIGINT))])
    lines = (whole_folder / "metrics.csv").read_text().splitlines()
    have = len((folder / "metrics.csv").read_text().splitlines())
    (folder / "metrics.csv").write_text("\n".join(lines[: have + 2]) + "\n" + lines[have + 2][:25])
    train("killed", resume=True)
    assert rows(folder) == rows(whole_folder)


def test_a_population_runs_resumes_and_reports_every_seed(train, small_trainer, hparams, tmp_path) -> None:
    many = {
        "trainer": small_trainer,
        "key": jax.random.split(jax.random.key(0), 2),
        "hparams": repeat(hparams, 2),
    }
    whole = run(many["trainer"], many["key"], many["hparams"], TOTAL, log_every=LOG_EVERY)
    folder = tmp_path / "many"
    folder.mkdir()
    stop = Ticks(5, lambda: os.kill(os.getpid(), signal.SIGTERM))
    for resume, more in ((False, [stop]), (True, [])):
        result = run(
            many["trainer"], many["key"], many["hparams"], TOTAL, log_every=LOG_EVERY, loggers=[CSVLogger(), *more],
            info=RunInfo(folder, agents=[7, 8]), checkpoints=Checkpoints(folder / "checkpoints"), resume=resume,
            notify=lambda line: None,
        )  # fmt: skip
    assert same(whole, result)
    seeds = [row.split(",")[0] for row in rows(folder)[1:]]
    assert seeds == ["7", "8"] * 8


@pytest.mark.parametrize("agents", [0, 2])
def test_evaluations_are_in_every_other_row_and_change_nothing(train, whole, hparams, tmp_path, agents: int) -> None:
    seen = []

    def evaluate(agent_states: Any, iteration: int, mesh: Any) -> np.ndarray:
        steps = np.asarray(agent_states.num_updates)
        assert steps.shape == (agents or 1,)
        seen.append(iteration)
        return 10.0 * steps + np.arange(len(steps))

    of_two = {"key": jax.random.split(jax.random.key(0), 2), "hparams": repeat(hparams, 2)} if agents else {}
    more = {"evaluate": evaluate, "eval_every": 2 * LOG_EVERY - 20, **of_two}
    stopped, folder = train("evaluated", loggers=[Ticks(10, lambda: os.kill(os.getpid(), signal.SIGTERM))], **more)
    assert not stopped.finished
    result, _ = train("evaluated", resume=True, **more)
    assert sorted(set(seen)) == [14, 28, 42]
    header, *lines = [line.split(",") for line in rows(folder)]
    found = [line[header.index("eval_return")] for line in lines]
    updates = SMALL.updates_per_iteration
    assert [float(x) for x in found if x] == [
        10.0 * updates * iteration + agent for iteration in (14, 28, 42) for agent in range(agents or 1)
    ]
    assert [bool(x) for x in found] == [row % 2 == 0 and row < 8 for row in range(1, 9) for _ in range(agents or 1)]
    if not agents:
        assert same(result, whole[0])
        column = header.index("eval_return")
        assert [",".join(line[:column] + line[column + 1 :]) for line in [header, *lines]] == rows(whole[1])


@pytest.mark.parametrize("agents", [0, 2])
def test_the_best_agents_are_kept(train, tmp_path, hparams, agents: int) -> None:
    """Each as it was at its best evaluation, across a stop; a NaN is never the best."""
    returns = {14: [1.0, np.nan], 28: [3.0, 5.0], 42: [2.0, 7.0]}

    def evaluate(agent_states: Any, iteration: int, mesh: Any) -> np.ndarray:
        return np.array(returns[iteration][: agents or 1])

    of_two = {"key": jax.random.split(jax.random.key(0), 2), "hparams": repeat(hparams, 2)} if agents else {}
    more = {"evaluate": evaluate, "eval_every": 2 * LOG_EVERY - 20, **of_two}
    where = tmp_path / "best"
    stop = Ticks(10, lambda: os.kill(os.getpid(), signal.SIGTERM))
    stopped, _ = train(f"kept_{agents}", loggers=[stop], best=Best(Checkpoints(where)), **more)
    assert not stopped.finished
    result, _ = train(f"kept_{agents}", resume=True, best=Best(Checkpoints(where)), **more)
    like = result.state.agent if agents else jax.tree.map(lambda x: x[None], result.state.agent)
    best = Best(Checkpoints(where))
    best.restore(like)
    assert best.returns.tolist() == [3.0, 7.0][: agents or 1]
    iterations = (best.steps - 16) / 8
    assert iterations.tolist() == [28, 42][: agents or 1]
    assert np.asarray(best.agents.num_updates).tolist() == [
        SMALL.updates_per_iteration * iteration for iteration in (28, 42)[: agents or 1]
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"best": Best(Checkpoints("never"))},
            f"eval_every must be given to keep the best agents, and fit into the {TOTAL} steps .*, got 0$",
        ),
        ({"eval_every": 10}, "evaluate must be given with eval_every, got none"),
        (
            {"best": Best(Checkpoints("never")), "evaluate": print, "eval_every": 2 * TOTAL},
            f"eval_every must be given to keep the best agents, and fit into the {TOTAL} steps .*, got {2 * TOTAL}$",
        ),
        ({"eval_every": -1}, "eval_every must be a number ≥ 0, got -1"),
    ],
)
def test_evaluations_that_cannot_be(train, more, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        train("never", **more)


def damage(step_folder: Path, how: str) -> None:
    """Truncates, removes or alters the largest file of a checkpoint, or a value in its checksum."""
    files = [path for path in step_folder.rglob("*") if path.is_file()]
    largest = max((step_folder / "state").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    contents = bytearray(largest.read_bytes())
    if how == "truncated":
        largest.write_bytes(contents[: len(contents) // 2])
    elif how == "missing":
        largest.unlink()
    elif how == "altered":
        middle = len(contents) // 2
        contents[middle : middle + 8] = bytes(255 - byte for byte in contents[middle : middle + 8])
        largest.write_bytes(contents)
    elif how == "emptied":
        for path in files:
            path.unlink()


@pytest.mark.parametrize("how", ["truncated", "missing", "altered", "emptied"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(whole, in_two_parts, train, how: str, tmp_path) -> None:
    folder = shutil.copytree(in_two_parts, tmp_path / "damaged")
    steps = sorted(int(path.name) for path in (folder / "checkpoints").iterdir())
    assert len(steps) == 2
    damage(folder / "checkpoints" / str(steps[-1]), how)
    said: list[str] = []
    resumed, _ = train("damaged", TOTAL, resume=True, notify=said.append)
    assert f"checkpoint {steps[-1]} is damaged" in said[0]
    assert (folder / f"checkpoints-damaged-{steps[-1]}").is_dir()
    assert same(whole[0], resumed)
    assert rows(folder) == rows(whole[1])
    assert sorted(int(path.name) for path in (folder / "checkpoints").iterdir()) == steps


def test_no_usable_checkpoint_is_an_error(whole, train, tmp_path) -> None:
    folder = shutil.copytree(whole[1], tmp_path / "broken")
    for step in (folder / "checkpoints").iterdir():
        damage(step, "truncated")
    with pytest.raises(CheckpointError, match=r"no usable checkpoint in .* is damaged"):
        train("broken", resume=True)


@pytest.fixture
def unchecked(monkeypatch, hparams):
    """Hyperparameters that make the parameters NaN, and a host loop that accepts them."""
    monkeypatch.setattr(sys.modules["jaxrl.training.host_loop"], "check", lambda *_: None)
    return dataclasses.replace(hparams, learning_rate=np.nan)


@pytest.mark.parametrize("debug_nans", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_nan_stops_the_run_and_names_the_step(train, unchecked, debug_nans: bool, tmp_path) -> None:
    """The first update makes the parameters NaN, and the loss of the second one shows it."""
    with pytest.raises(DivergedError, match=rf"at environment step {24 if debug_nans else 32}") as error:
        train("nan", hparams=unchecked, debug_nans=debug_nans)
    if debug_nans:
        assert "encountered in" in str(error.value)  # the operation, and the line of code
        assert "optimizers.py:" in str(error.value)
    else:
        assert len(rows(tmp_path / "nan")) == 2  # its row was written, and nothing was saved after it
    assert not list((tmp_path / "nan").glob("checkpoints/*"))


def test_of_a_population_the_agent_that_diverged_first_is_named(small_trainer) -> None:
    written: list[None] = []
    loop: Any = SimpleNamespace(
        run_state=SimpleNamespace(nan_iteration=jnp.array([-1, 7, 4])),
        program=SimpleNamespace(freeze_diverged=False),
        trainer=small_trainer,
        write_row=lambda: written.append(None),
    )
    with pytest.raises(DivergedError, match=f"^the loss of agent 2 became NaN at environment step {16 + 4 * 8}"):
        run_module._Loop.check_nan(loop)
    assert len(written) == 1
    loop.program.freeze_diverged = True
    run_module._Loop.check_nan(loop)


def test_a_nan_of_the_last_update_is_not_saved(train, unchecked, tmp_path) -> None:
    with pytest.raises(DivergedError, match="the agent's parameters became NaN at environment step 24"):
        train("nan", total_steps=24, hparams=unchecked)
    assert not list((tmp_path / "nan").glob("checkpoints/*"))


def test_a_state_larger_than_the_memory_is_refused_before_it_compiles(small_agent, hparams) -> None:
    huge = off_policy(small_agent, *make("Breakout-MinAtar"), OffPolicyConfig(replay_capacity=2_000_000_000))
    with pytest.raises(MemoryError, match=r"the run's state takes 223\.\d+ GiB, but only .*; a smaller replay_capa"):
        run(huge, jax.random.key(0), hparams, 100_000)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("network", "a smaller network would need less"),
        ("environments", r"fewer num_envs, or fewer agents \(seeds\), would need less"),
    ],
)
def test_what_is_too_large_is_named(hparams, part: str, message: str) -> None:
    units, num_envs = (2**20, 4) if part == "network" else (8, 2**28)
    network = actor_critic(jnp.zeros(4), Discrete(2), (units,) * 2)
    trainer = on_policy(a2c(network), *make("CartPole-v1"), OnPolicyConfig(num_envs, 4))
    keys, agents = jax.random.split(jax.random.key(0), 100), repeat(A2CHparams(), 100)
    one = part == "network"
    with pytest.raises(MemoryError, match=rf"^the run's state takes .* GiB of memory is free; {message}"):
        run(trainer, keys[0] if one else keys, A2CHparams() if one else agents, 2**31)


def test_a_program_larger_than_the_memory_is_refused(small_trainer, hparams, monkeypatch) -> None:
    program = Program(small_trainer, jax.random.key(0), hparams)
    monkeypatch.setattr(memory, "available_memory", lambda: program.memory() - 1)
    with pytest.raises(MemoryError, match=r"^the compiled program takes .*; fewer num_envs, a shorter"):
        run(program, jax.random.key(0), hparams, TOTAL)


def test_counters_that_would_overflow_are_refused(small_trainer, hparams) -> None:
    """Rows of 4 environments are counted, two in each iteration, after a warm-up of 4."""
    most = 16 + (2**31 - 1 - 4) // 2 * 8
    check_total_steps(small_trainer, most + 7)
    with pytest.raises(ValueError, match=rf"^total_steps must be less than {most + 8}, .*, got {most + 8}$"):
        run(small_trainer, jax.random.key(0), hparams, most + 8)
    many = off_policy(
        dqn(QNetwork(2, (8,))), *make("CartPole-v1"), dataclasses.replace(SMALL, updates_per_iteration=100)
    )
    assert many.max_iterations == (2**31 - 1) // 100  # gradient steps are counted
    trainer = on_policy(a2c(QNetwork(2, (8,))), *make("CartPole-v1"), OnPolicyConfig(4, 8))
    check_total_steps(trainer, 2**31 * 32 - 1)
    with pytest.raises(ArgumentError, match=r"^total_steps must be less than 68719476736, "):
        check_total_steps(trainer, 2**31 * 32)


def test_progress_ends_with_the_last_row(small_trainer, hparams) -> None:
    class Calls(Logger):
        def __init__(self) -> None:
            self.rows: list[int] = []
            self.progresses: list[tuple[int, int]] = []

        def write(self, row):
            self.rows.append(row["env_steps"])

        def progress(self, env_steps, total_steps, steps_per_second):
            self.progresses.append((env_steps, len(self.rows)))

    calls = Calls()
    result = run(small_trainer, jax.random.key(0), hparams, LOG_EVERY + LOG_EVERY // 2, log_every=LOG_EVERY,
                 loggers=[calls])  # fmt: skip
    assert len(calls.rows) == 2  # the second is short
    assert calls.progresses[-1] == (result.steps, 2)
    assert [steps for steps, _ in calls.progresses].count(result.steps) == 1


@pytest.mark.parametrize("agents", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_only_training_takes_time(train, small_trainer, monkeypatch, hparams, agents: int) -> None:
    """By a clock on which an iteration takes 10 s, an evaluation 1,000 s, and the opening of a logger 500 s."""
    now, speeds, compiled = [0.0], [], Program.compiled

    def slowly(self):
        advance = compiled(self)

        def call(run_state, iterations):
            now[0] += 10 * iterations
            return advance(run_state, iterations)

        return call

    def evaluate(agent_states: Any, iteration: int, mesh: Any) -> np.ndarray:
        now[0] += 1000
        return np.zeros(agents)

    class Slow(Logger):
        def open(self, info):
            now[0] += 500

        def progress(self, env_steps, total_steps, steps_per_second):
            speeds.append((env_steps, steps_per_second))

    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Program, "compiled", slowly)
    of_two = {"key": jax.random.split(jax.random.key(0), 2), "hparams": repeat(hparams, 2)}
    more: dict[str, Any] = of_two if agents == 2 else {"key": jax.random.key(0), "hparams": hparams}
    more["trainer"] = Program(small_trainer, *more.values())
    more |= {"loggers": [Slow()], "evaluate": evaluate, "eval_every": LOG_EVERY, "checkpoint_every": 1e9}
    part, _ = train("timed", 16 + 8 * 10, **more)
    whole, folder = train("timed", 16 + 8 * 21, resume=True, **more)
    assert (part.train_seconds, whole.train_seconds) == (100, 210)
    header, *lines = [line.split(",") for line in rows(folder, clock=True)]
    found = [
        [float(line[header.index(name)]) for line in lines[::agents]] for name in (CLOCK_COLUMNS[0], "wall_seconds")
    ]
    assert found == [[agents * 8 / 10] * 3, [70, 140, 210]]
    for steps, speed in speeds:
        assert speed == pytest.approx(agents * steps / (10 * (steps - 16) / 8))


def test_a_new_run_does_not_mix_with_an_old_one(whole, train, tmp_path) -> None:
    shutil.copytree(whole[1], tmp_path / "used")
    with pytest.raises(ValueError, match="already holds checkpoints; pass resume=True"):
        train("used")


def test_a_checkpoint_of_something_else_is_not_called_damaged(whole, train, small_trainer, hparams, tmp_path) -> None:
    folder = shutil.copytree(whole[1], tmp_path / "one")
    before = sorted(folder.rglob("*"))
    with pytest.raises(CheckpointError, match="leaves of other names, shapes or kinds"):
        train("one", resume=True, key=jax.random.split(jax.random.key(0), 2),
              hparams=repeat(hparams, 2))  # fmt: skip
    assert sorted(folder.rglob("*")) == before


def test_numbers_of_another_width_are_read_but_not_resumed(tmp_path) -> None:
    """As `jax_enable_x64` makes them."""
    with jax.enable_x64(True):
        wide = {"a": jnp.arange(3.0) / 3, "n": jnp.arange(3), "key": jax.random.key(5)}
        Checkpoints(tmp_path / "wide").save(1, wide, {})
    narrow = {"a": jnp.float32(wide["a"]), "n": jnp.int32(wide["n"]), "key": wide["key"]}
    Checkpoints(tmp_path / "narrow").save(1, narrow, {})
    for x64, state, other in ((False, narrow, "wide"), (True, wide, "narrow")):
        with jax.enable_x64(x64):
            like = jax.eval_shape(lambda x: x, state)
            read, _, _ = Checkpoints(tmp_path / other, read_only=True).restore(like)
            for x, y in zip(jax.tree.leaves(read), jax.tree.leaves(state), strict=True):
                assert x.dtype == y.dtype
                x, y = (jax.random.key_data(z) if z.ndim == 0 else z for z in (x, y))
                np.testing.assert_allclose(x, y, rtol=1e-6)
            setting = f"'a'.* is float{'32' if x64 else '64'}.3. there and .* here; jax_enable_x64 was {not x64}"
            with pytest.raises(CheckpointError, match=setting):
                Checkpoints(tmp_path / other).restore(like)
    rbg = jax.eval_shape(lambda: jax.random.key(0, impl="rbg"))
    for change, message in (
        ({"key": rbg}, r"'key'. is key<fry>\[\] there and key<rbg>\[\] here; jax_default_prng_impl was another when"),
        ({"b": rbg}, r"'b'. is absent there and key<rbg>\[\] here"),
    ):
        with pytest.raises(CheckpointError, match=message):
            Checkpoints(tmp_path / "wide", read_only=True).restore(like | change)


def test_leaves_in_another_order_are_of_something_else(tmp_path) -> None:
    class State(NamedTuple):
        a: Any = jnp.zeros(3)
        b: Any = jnp.ones(3)

    class Reordered(NamedTuple):
        b: Any = jnp.ones(3)
        a: Any = jnp.zeros(3)

    first, other = State(), Reordered()
    Checkpoints(tmp_path / "saved").save(1, first, {})
    for like, error in ((first, None), (other, "has its leaves in another order: .a, .b")):
        shapes = jax.eval_shape(lambda x: x, like)
        context = contextlib.nullcontext() if error is None else pytest.raises(CheckpointError, match=error)
        with context:
            state, _, damaged = Checkpoints(tmp_path / "saved").restore(shapes)
            assert (state.b.tolist(), damaged) == ([1, 1, 1], {})


def test_an_emptied_metrics_file_is_begun_again(whole, train, tmp_path) -> None:
    folder = shutil.copytree(whole[1], tmp_path / "emptied")
    (folder / "metrics.csv").write_text("")
    train("emptied", TOTAL + LOG_EVERY, resume=True)
    assert rows(folder)[0].startswith("seed,env_steps")


def test_hyperparameters_out_of_bounds_are_refused(train, hparams) -> None:
    with pytest.raises(ValueError, match=r"hparams\.discount must be <= 1, got 1\.1"):
        train("bad", hparams=dataclasses.replace(hparams, discount=1.1))


def test_too_few_steps_are_refused(train) -> None:
    with pytest.raises(ValueError, match=r"total_steps must be at least 24 \(warm-up and one iteration\), got 23"):
        train("short", 23)


def test_resume_needs_checkpoints(small_trainer, hparams) -> None:
    with pytest.raises(ValueError, match="got checkpoints=None"):
        run(small_trainer, jax.random.key(0), hparams, TOTAL, resume=True)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("total_steps", float("nan"), "a whole number"),
        ("total_steps", 1000.5, "a whole number"),
        ("total_steps", "100", "a whole number"),
        ("log_every", 0, "a number > 0"),
        ("checkpoint_every", float("nan"), "a number > 0"),
    ],
)
def test_numbers_that_are_none_are_refused(small_trainer, hparams, name, value, rule) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be {rule}, got {value!r}$"):
        run(small_trainer, jax.random.key(0), hparams, **{"total_steps": TOTAL, name: value})


def test_writes_that_fail_together_are_reported_once(tmp_path: Path, caplog) -> None:
    """Orbax writes in several tasks of asyncio, which would log all errors but the one that is raised."""
    logger = logging.getLogger("asyncio")
    with pytest.raises(CheckpointError):
        Checkpoints(tmp_path / "checkpoints").restore({})
    logger.error("Task exception was never retrieved: write() defined at site-packages/orbax/x.py:1")
    logger.error("an error of the user's own")
    assert caplog.messages == ["an error of the user's own"]
