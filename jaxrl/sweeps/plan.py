"""The plan of a sweep: how many agents of each group train at once, and the memory, the disk and the time it takes."""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import jax
from rich.table import Table

from jaxrl.arguments import ArgumentError
from jaxrl.formatting import format_bytes, format_seconds
from jaxrl.memory import GIB, available_memory
from jaxrl.runs.options import flatten
from jaxrl.sweeps.trials import Group, pad
from jaxrl.training.devices import all_reduce_max, bytes_of, local_copies
from jaxrl.training.population import RunState, block_size
from jaxrl.training.program import batch_shapes, init_run_state, largest_part

SHARE_OF_MEMORY = 0.8
"""How much of the free memory a chunk may take unless told: evaluations want some, and checkpoints on their way."""
TRIAL_SECONDS = 1.0


class Limits(NamedTuple):
    """What there is, in bytes.

    Attributes:
        memory: free on each accelerator, or on the machine; infinite if it does not say.
        disk: free where the sweep writes.
    """

    memory: float
    disk: float


class GroupPlan(NamedTuple):
    """How a group is carried out.

    Attributes:
        agents: of the group.
        chunk_size: how many train at once; what is missing in the last chunk is filled up.
        memory: bytes that a chunk needs of each accelerator, or of the machine.
        checkpoint: bytes of one checkpoint of a chunk before it is compressed.
        seconds: how long the group will take, as a short trial tells.
    """

    agents: int
    chunk_size: int
    memory: int
    checkpoint: int
    seconds: float

    @property
    def chunks(self) -> int:
        return -(-self.agents // self.chunk_size)


def limits(memory_gib: float | None, free_disk: float) -> Limits:
    """What a sweep may take: so much memory if told, or else most of what is free; of all processes the least."""
    there = available_memory()
    memory = memory_gib * GIB if memory_gib is not None else math.inf if there is None else SHARE_OF_MEMORY * there
    return Limits(-all_reduce_max(-memory), -all_reduce_max(-free_disk))


def most_at_once(group: Group, devices: Sequence[jax.Device], limits: Limits) -> int:
    """How many agents of a group the memory and the disk can hold, by the size of their states.

    Raises:
        ArgumentError: not even one on each device.
    """
    one, least = bytes_of(state_shapes(group, 1)), len(devices)
    memory = one / _memories(devices)
    for what, each, there in (("memory", memory, limits.memory), ("disk, for two checkpoints", 2 * one, limits.disk)):
        if each * least > there:
            raise ArgumentError(
                "memory" if what == "memory" else "out",
                f"must have room for group {group.number}: {_agents(least)} need {format_bytes(each * least)} of "
                f"{what}; " + _what_would_fit(group, there / (each * least)),
                there,
                got=format_bytes(there),
            )
    return int(min(limits.memory / memory, limits.disk / (2 * one)))


def state_shapes(group: Group, agents: int) -> RunState:
    """The shapes of all that so many agents of a group are."""
    shapes = jax.eval_shape(lambda key: init_run_state(group.trainer, key, group.options.hparams), jax.random.key(0))
    return batch_shapes(shapes, agents)


def plan_group(group: Group, devices: Sequence[jax.Device], limits: Limits) -> GroupPlan:
    """Compiles a group's program, makes the chunks smaller if it needs more memory than its state, and tries it.

    Raises:
        ArgumentError: even the smallest chunk does not fit.
    """
    agents, most = len(group.trials), most_at_once(group, devices, limits)
    while True:
        at_once = chunk_size(agents, most, len(devices))
        program = group.program(at_once, devices)
        memory = program.memory() * local_copies(program.mesh)
        if memory <= limits.memory:
            break
        if at_once == len(devices):
            raise ArgumentError(
                "memory",
                f"must have room for group {group.number}: {_agents(at_once)} and their program need "
                f"{format_bytes(memory)}; " + _what_would_fit(group, limits.memory / memory),
                limits.memory,
                got=format_bytes(limits.memory),
            )
        most = max(len(devices), min(at_once - len(devices), int(at_once * limits.memory / memory)))
    steps = group.options.budget.total_steps - group.trainer.warmup_steps
    iterations = steps // group.trainer.steps_per_iteration
    seconds = -(-agents // at_once) * iterations * seconds_per_iteration(group, at_once, devices)
    return GroupPlan(agents, at_once, memory, bytes_of(state_shapes(group, at_once)), seconds)


def chunk_size(agents: int, most: int, devices: int) -> int:
    """How many agents to train at once: as few chunks as can be, all of the same size, which the devices divide."""
    chunks = -(-agents // (most - most % devices))
    each = -(-agents // (chunks * devices))
    better = next(size for size in range(each, 2 * each + 2) if size == 1 or block_size(size) > 1)
    return devices * (better if better * devices <= most else each)


def seconds_per_iteration(group: Group, size: int, devices: Sequence[jax.Device]) -> float:
    """Tries how long one iteration of a chunk takes, in two agents a device on a CPU, where agents take turns."""
    few = size if block_size(size) == size else min(size, 2 * len(devices))
    program = group.program(few, devices)
    advance, run_state = program.compiled(), program.init(*group.inputs(pad(group.trials, few)))
    iterations, seconds = 1, 0.0
    while seconds < TRIAL_SECONDS / 2:
        iterations, clock = 2 * iterations, time.perf_counter()
        run_state = jax.block_until_ready(advance(run_state, iterations))
        seconds = all_reduce_max(time.perf_counter() - clock)
    return seconds / iterations * size / few


def show(groups: Sequence[Group], plans: Sequence[GroupPlan], limits: Limits) -> Table:
    """The plan, for the screen."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for header in ("group", "agents", "chunks × agents", "memory", "two checkpoints", "time"):
        table.add_column(header, justify="right", overflow="fold")
    table.add_column("static values", overflow="fold")
    for group, plan in zip(groups, plans, strict=True):
        sizes = [format_bytes(plan.memory), format_bytes(2 * plan.checkpoint)]
        chunks = f"{plan.chunks} × {plan.chunk_size:,}"
        time = format_seconds(plan.seconds)
        table.add_row(f"{group.number}", f"{plan.agents:,}", chunks, *sizes, time, _static_values(groups, group) or "–")
    return table


def _static_values(groups: Sequence[Group], group: Group) -> str:
    """The static values in which groups differ."""
    all_of_them = [flatten(each.options) for each in groups]
    own = flatten(group.options)
    differ = [path for path in own if path.startswith("config.") and any(x[path] != own[path] for x in all_of_them)]
    return ", ".join(f"{path.removeprefix('config.')} {own[path]}" for path in differ)


def _memories(devices: Sequence[jax.Device]) -> int:
    """How many memories these devices have: a CPU's share that of the machine."""
    if devices[0].platform == "cpu":
        return len({device.process_index for device in devices})
    return len(devices)


def _agents(number: int) -> str:
    return "one agent would" if number == 1 else f"{number} agents, one a device, would"


def _what_would_fit(group: Group, share: float) -> str:
    """What to change for a group that may only be so large a share of what it is."""
    capacity = getattr(group.options.config, "replay_capacity", None)
    one = state_shapes(group, 1)
    if capacity is None:
        network = "a smaller network, " if largest_part(one.state) == "agent" else ""
        return f"{network}fewer config.num_envs, or a shorter config.rollout_length, need less"
    whole, replay = bytes_of(one), bytes_of(one.state.replay)
    least = int(0.95 * capacity * (share * whole - (whole - replay)) / replay)  # the rest stays as large as it is
    if least < group.options.config.batch_size:
        return "a smaller config.replay_capacity alone is not enough"
    two_digits = least - least % 10 ** max(0, len(str(least)) - 2)
    return f"config.replay_capacity = {two_digits} would"
