"""The plan of a sweep: chunks that fit the memory and the disk, as few as can be."""

import itertools
import math
import re
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import jax
import pytest
from rich.console import Console

from jaxrl.arguments import ArgumentError
from jaxrl.sweeps import plan, trials
from jaxrl.sweeps.plan import (
    GIB,
    GroupPlan,
    Limits,
    choose_chunk_size,
    max_chunk_size,
    plan_group,
    plan_table,
    state_shapes,
)
from jaxrl.sweeps.spec import read_spec
from jaxrl.sweeps.trials import Group, make_groups
from jaxrl.training.devices import bytes_of
from jaxrl.training.program import Program

DQN = """
experiment = "dqn_cartpole"
search = "random"
configurations = 2
seeds = 2
total_steps = 12_000
hparams.learning_rate = { distribution = "log_uniform", low = 1e-4, high = 1e-2 }
[config]
hidden_sizes = [8]
num_envs = 4
batch_size = 16
warmup_steps = 500
replay_capacity = 40_000
"""
PPO = """
experiment = "ppo_cartpole"
search = "grid"
hparams.clip = { values = [0.1, 0.2] }
config.hidden_sizes = [8]
"""
EVERYTHING = Limits(math.inf, 1e15)


@pytest.fixture(scope="module")
def groups_of(tmp_path_factory):
    def groups_of(text: str) -> list[Group]:
        path: Path = tmp_path_factory.mktemp("spec") / "sweep.toml"
        path.write_text(text)
        return make_groups(read_spec(path), 16)

    return groups_of


@pytest.fixture(scope="module")
def dqn(groups_of) -> Group:
    return groups_of(DQN)[0]


@pytest.fixture
def nothing_compiles(monkeypatch) -> None:
    monkeypatch.setattr(trials, "Program", lambda *_, **__: pytest.fail("it made a program"))


def test_chunks_are_few_and_equal_and_fit() -> None:
    for devices in (1, 2, 3, 8):
        for most in range(devices, 41):
            for agents in range(1, 100):
                size = choose_chunk_size(agents, most, devices)
                chunks = -(-agents // size)
                assert size % devices == 0
                assert size <= most
                assert chunks == -(-agents // (most - most % devices))  # as if all were as large as can be
                assert size * chunks - agents < chunks * devices


@pytest.mark.parametrize("devices", [1, 2])
def test_memory_and_disk_limit_how_many_learn_at_once(dqn, nothing_compiles, devices: int) -> None:
    """Each has its state in memory, where the devices of a CPU share one, and twice on disk."""
    one = bytes_of(state_shapes(dqn, 1))
    least = 4 * 40_000 * 6  # a slot holds two observations' worth of floats at least, an action and a reward
    assert least < one < 4 * least
    some = jax.devices()[:devices]
    assert max_chunk_size(dqn, some, Limits(7.5 * one, math.inf)) == 7
    assert max_chunk_size(dqn, some, Limits(math.inf, 7.5 * one)) == 3
    assert max_chunk_size(dqn, some, Limits(5.5 * one, 6.5 * one)) == 3
    assert max_chunk_size(dqn, some, Limits(devices * one, 2 * devices * one)) == devices


@pytest.mark.parametrize("share", [0.9, 0.5, 0.1])
@pytest.mark.parametrize(("what", "devices"), [("memory", 1), ("memory", 2), ("disk", 1)])
def test_what_cannot_fit_is_refused_with_a_capacity_that_does(
    groups_of, dqn, nothing_compiles, what: str, devices: int, share: float
) -> None:
    there = share * devices * bytes_of(state_shapes(dqn, 1))
    limits = Limits(there, math.inf) if what == "memory" else Limits(math.inf, 2 * there)
    some = jax.devices()[:devices]
    name = "memory" if what == "memory" else "out"
    with pytest.raises(ArgumentError, match=rf"^{name} must be .* MiB for .* group 0.*; .*, got [\d.]+ MiB$") as error:
        max_chunk_size(dqn, some, limits)
    found = re.search(r"; config\.replay_capacity = (\d+) fits, got ", str(error.value))
    assert found
    capacity = int(found[1])
    assert capacity > 0.8 * share * 40_000  # little is given away
    smaller = groups_of(DQN.replace("40_000", str(capacity)))[0]
    assert max_chunk_size(smaller, some, limits) >= devices


def test_the_rest_of_the_state_does_not_shrink_with_the_replay(groups_of, nothing_compiles) -> None:
    text = DQN.replace("hidden_sizes = [8]", "hidden_sizes = [128]").replace("40_000", "4_000")
    limits = Limits(0.4 * bytes_of(state_shapes(groups_of(text)[0], 1)), math.inf)
    with pytest.raises(ArgumentError, match=r"config\.replay_capacity = \d+ fits,") as error:
        max_chunk_size(groups_of(text)[0], jax.devices()[:1], limits)
    capacity = str(error.value).split(" fits")[0].split()[-1]
    assert max_chunk_size(groups_of(text.replace("4_000", capacity))[0], jax.devices()[:1], limits) == 1


def test_what_no_capacity_helps(groups_of, dqn, nothing_compiles) -> None:
    with pytest.raises(ArgumentError, match=r"a smaller config\.replay_capacity is not enough,"):
        max_chunk_size(dqn, jax.devices()[:1], Limits(1_000, math.inf))
    with pytest.raises(
        ArgumentError,
        match=r"; a smaller network, fewer config\.num_envs, or a shorter config\.rollout_length need less, got",
    ):
        max_chunk_size(groups_of(PPO)[0], jax.devices()[:1], Limits(1_000, math.inf))


@pytest.fixture(scope="module")
def planned(dqn):
    """The plan of four agents where there is room for all, and what a chunk of two needs; by a clock of our own.

    A first trial, of two iterations, takes 1 second, which is too short; and a second one, of four iterations, 2.
    """
    clock = SimpleNamespace(perf_counter=partial(next, itertools.cycle([0.0, 1.0, 10.0, 12.0])))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(plan, "TRIAL_SECONDS", 4.0)
        monkeypatch.setattr(plan, "time", clock)
        devices = jax.devices()[:1]
        yield plan_group(dqn, devices, EVERYTHING), dqn.program(2, devices).memory()


def test_all_at_once_if_there_is_room(planned, dqn) -> None:
    whole, _ = planned
    assert (whole.agents, whole.chunk_size, whole.chunks) == (4, 4, 1)
    assert whole.memory == dqn.program(4, jax.devices()[:1]).memory()
    state = bytes_of(state_shapes(dqn, 4))
    assert state <= whole.memory < 2 * state  # a replay is not copied
    assert whole.checkpoint == state
    iterations = (12_000 - dqn.trainer.warmup_steps) // 4
    assert whole.seconds == iterations * 0.5 * 4 / 2  # two agents were tried


def test_less_memory_makes_chunks(planned, dqn) -> None:
    whole, memory_of_two = planned
    less = plan_group(dqn, jax.devices()[:1], Limits(whole.memory - 1, math.inf))
    assert (less.agents, less.chunk_size, less.chunks) == (4, 2, 2)
    assert less.memory == memory_of_two < whole.memory
    assert less.checkpoint == bytes_of(state_shapes(dqn, 2))


def test_a_program_that_needs_more_than_its_state(dqn, groups_of, monkeypatch) -> None:
    """Known only once it is compiled; then too it makes chunks, or it is said what would fit."""
    monkeypatch.setattr(Program, "memory", lambda self: 3 * bytes_of(self.shapes))
    monkeypatch.setattr(plan, "seconds_per_iteration", lambda *_: 1.0)
    devices, one = jax.devices()[:1], bytes_of(state_shapes(dqn, 1))
    assert plan_group(dqn, devices, Limits(7 * one, 1e15)).chunk_size == 2  # by their states, all would fit
    limits = Limits(2 * one, 1e15)
    with pytest.raises(ArgumentError, match=r"^memory must be at least .* for one agent of group 0; ") as error:
        plan_group(dqn, devices, limits)
    found = re.search(r"; config\.replay_capacity = (\d+) fits, got ", str(error.value))
    assert found
    smaller = groups_of(DQN.replace("40_000", found[1]))[0]
    assert plan_group(smaller, devices, limits).memory <= limits.memory


def test_it_is_shown_in_a_table(groups_of, capsys) -> None:
    text = DQN.replace("[config]", "[config]\nhidden_sizes = { values = [[8], [8, 8]] }")
    found = groups_of(text.replace("hidden_sizes = [8]\n", "", 1).replace("configurations = 2", "configurations = 8"))
    plans = [GroupPlan(1_000, 300, 2 * GIB, GIB, 90.0), GroupPlan(7, 8, 10 * GIB, GIB // 4, 1234.0)]
    Console(width=120).print(plan_table(found, plans))
    header, first, second = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert header == "group agents chunks × agents memory disk time static values"
    sizes = [each.options.config.hidden_sizes for each in found]
    assert first == f"0 1,000 4 × 300 2.00 GiB 2.00 GiB 90 s hidden_sizes {list(sizes[0])}"
    assert second == f"1 7 1 × 8 10.00 GiB 0.50 GiB 21 min hidden_sizes {list(sizes[1])}"


def test_limits_are_what_is_asked_for_or_most_of_what_there_is(monkeypatch) -> None:
    assert plan.make_limits(1.5, 7.0) == Limits(1.5 * GIB, 7.0)
    monkeypatch.setattr(plan, "available_memory", lambda: 1000)
    memory, disk = plan.make_limits(None, 7.0)
    assert (memory, disk) == (pytest.approx(800), 7.0)
