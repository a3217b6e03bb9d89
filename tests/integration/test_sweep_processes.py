"""Sweeps as processes: killed at any moment, and of several processes."""

import json
import random
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import jax
import numpy as np
import polars as pl
import pytest

from jaxrl.sweeps.plan import GIB, GroupPlan, state_shapes
from jaxrl.sweeps.spec import read_spec
from jaxrl.sweeps.trials import make_groups
from jaxrl.training.checkpoint import Checkpoints
from jaxrl.training.devices import bytes_of
from tests.integration import commands
from tests.integration.commands import ROW, SAVING, Moment

SPEC = """
experiment = "dqn_cartpole"
search = "random"
configurations = 3
total_steps = 8_000
log_every = 1_000
eval_episodes = 8
[hparams]
learning_rate = { distribution = "log_uniform", low = 1e-4, high = 1e-2 }
discount = { values = [0.9, 0.99] }
[config]
hidden_sizes = [8]
num_envs = 4
batch_size = 16
warmup_steps = 500
replay_capacity = 20_000
"""
LARGE = """
experiment = "dqn_minatar"
search = "random"
configurations = 8
total_steps = 500_000
log_every = 10_000
eval_episodes = 8
eval_max_steps = 500
[hparams]
learning_rate = { distribution = "log_uniform", low = 1e-5, high = 1e-3 }
[config]
hidden_sizes = [16]
conv_features = 4
batch_size = 16
warmup_steps = 2_000
replay_capacity = 250_000
"""


class Kind:
    """A spec on disk, and what is needed to read what its sweeps leave."""

    def __init__(self, folder: Path, text: str) -> None:
        self.spec = folder / "sweep.toml"
        self.spec.write_text(text)
        (self.group,) = make_groups(read_spec(self.spec), 1)
        self.bytes_of_one = bytes_of(state_shapes(self.group, 1))

    def start(self, out: Path, *arguments: Any, dies: Moment | None = None) -> subprocess.Popen:
        """The sweep begins or goes on; it may kill itself at a certain moment."""
        given = (self.spec, "--out", out, *arguments, *(["--resume"] if (out / "sweep.json").exists() else []))
        if dies is None:
            return commands.start("sweep", *map(str, given))
        return commands.start_signalled(signal.SIGKILL, dies, "sweep", *map(str, given))

    def agents(self, out: Path) -> list[Any]:
        """The states of all chunks' agents."""
        plan = plan_of(out)
        shapes = state_shapes(self.group, plan.chunk_size).state.agent
        folders = [out / "chunks" / f"0_{chunk}" / "agents" for chunk in range(plan.chunks)]
        return [jax.device_get(Checkpoints(folder, read_only=True).restore(shapes)[0]) for folder in folders]


def plan_of(out: Path) -> GroupPlan:
    (plan,) = json.loads((out / "sweep.json").read_text())["plan"]
    return GroupPlan(**plan)


def tables(out: Path) -> list[pl.DataFrame]:
    """Results without the column that depends on the machine, and curves."""
    return [pl.read_parquet(out / "results.parquet").drop("seconds"), pl.read_parquet(out / "curves.parquet")]


def same(kind: Kind, a: Path, b: Path) -> None:
    for ours, its in zip(tables(a), tables(b), strict=True):
        assert ours.equals(its)
    jax.tree.map(np.testing.assert_array_equal, kind.agents(a), kind.agents(b))


def steps(out: Path) -> list[int]:
    """The complete checkpoints of the first chunk, while it is not finished."""
    return [int(path.name) for path in out.glob("chunks/0_0/checkpoints/*") if path.name.isdigit()]


def unfinished_writes(out: Path) -> list[Path]:
    return [path for path in out.glob("chunks/*/checkpoints/*") if not path.name.isdigit()]


OFTEN = ("--checkpoint-every", "1e-9")
"""After every call."""
SECOND_CHECKPOINT = Moment(5, r"os\.rename .*0_0/checkpoints/")
ITS_SECOND_CHECKPOINT = Moment(2, r"open .*0_0/checkpoints/.*process_1', 'w'")
"""The same for the second of two processes, which gives no names."""
FINISHING = Moment(1, r"os\.rename .*0_1/results\.tmp'")
"""The second chunk's agents are saved, and its results are not there yet."""


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Kind:
    return Kind(tmp_path_factory.mktemp("spec"), SPEC)


@pytest.fixture(scope="module")
def whole(small, tmp_path_factory) -> Path:
    """A sweep of one process on two devices that nothing disturbed: two chunks, of which the last is filled up."""
    out = tmp_path_factory.mktemp("whole") / "out"
    code, _, err = commands.finish(small.start(out, *two_at_once(small)))
    assert code == 0, err
    plan = plan_of(out)
    assert (plan.agents, plan.chunk_size, plan.chunks) == (3, 2, 2)
    return out


def two_at_once(kind: Kind) -> tuple[str, ...]:
    return ("--num-devices", "2", "--memory", str(2.9 * kind.bytes_of_one / GIB))


@pytest.mark.slow  # below, two processes are killed in the same way
def test_sigkill_at_any_moment(small, whole, tmp_path: Path) -> None:
    out = tmp_path / "killed"

    for moment in (SECOND_CHECKPOINT, FINISHING):
        commands.await_death(small.start(out, *two_at_once(small), *OFTEN, dies=moment))
        assert not (out / "results.parquet").exists()
        assert bool(unfinished_writes(out)) == (moment is SECOND_CHECKPOINT)
    assert (out / "chunks" / "0_1" / "agents").exists()
    code, lines, err = commands.finish(small.start(out, *two_at_once(small)))
    assert code == 0, err
    assert "resuming at" in lines
    assert not list(out.glob("chunks/*/checkpoints"))
    same(small, out, whole)


def start_two(kind: Kind, out: Path, *arguments: str, dies: Moment | None = None) -> list[subprocess.Popen]:
    """Two processes, with the memory for one agent each; the second may kill itself at a certain moment."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    memory = 1.45 * kind.bytes_of_one / GIB
    together = ("--coordinator", f"localhost:{port}", "--num-processes", "2", "--num-devices", "1", "--memory", memory)
    return [kind.start(out, *together, "--process-id", i, *arguments, dies=dies if i else None) for i in range(2)]


@pytest.mark.slow
def test_two_processes_killed_and_resumed_find_what_one_finds(small, whole, tmp_path: Path) -> None:
    """Each device has the same work as in one process with two: the same bits."""
    out = tmp_path / "two"
    first, second = start_two(small, out, *OFTEN, dies=ITS_SECOND_CHECKPOINT)
    commands.await_death(second)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert steps(out)
    assert plan_of(out)[:2] == plan_of(whole)[:2]
    assert not (out / "results.parquet").exists()
    (code, lines, err), (other_code, other_lines, other_err) = [commands.finish(x) for x in start_two(small, out)]
    assert (code, other_code) == (0, 0), err + other_err
    assert "resuming at" in lines
    assert "agents: 3 finished" in lines
    assert "agents" not in other_lines  # only the first process speaks
    same(small, out, whole)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_large_checkpoints_killed_twenty_times(tmp_path: Path) -> None:
    large = Kind(tmp_path, LARGE)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    code, _, err = commands.finish(large.start(whole), timeout=1500)
    assert code == 0, err
    assert plan_of(whole).checkpoint >= 100e6

    moments = random.Random(0)
    for attempt in range(20):
        dies = Moment(moments.randint(1, 6), SAVING) if attempt % 2 == 0 else Moment(1, ROW)
        commands.await_death(large.start(killed, *OFTEN, dies=dies))
        assert bool(unfinished_writes(killed)) == (dies.pattern == SAVING)
    code, out, err = commands.finish(large.start(killed), timeout=1500)
    assert code == 0, err
    assert "resuming at" in out
    same(large, killed, whole)
