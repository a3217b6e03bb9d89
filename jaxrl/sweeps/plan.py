"""The plan of a sweep: how many agents of each group train at once, and the memory, disk and time that this takes."""

import time
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import polars as pl
from rich.table import Table

from jaxrl.arguments import ArgumentError
from jaxrl.formatting import format_bytes, format_seconds, screen_table
from jaxrl.memory import GIB, available_memory
from jaxrl.runs.options import flatten
from jaxrl.sweeps.trials import Group, pad
from jaxrl.training.checkpoint import fingerprint_of_constants
from jaxrl.training.devices import all_reduce_max, bytes_of, local_copies
from jaxrl.training.population import RunState, block_size
from jaxrl.training.program import batch_shapes, init_run_state, largest_part

SHARE_OF_MEMORY = 0.8
"""The default share of the free memory that a chunk may take; evaluations and checkpoints need some of the rest."""
TRIAL_SECONDS = 1.0


class Limits(NamedTuple):
    """What a sweep may take, in bytes: of each accelerator or of the machine, and of the disk that it writes to."""

    memory: float
    disk: float


class GroupPlan(NamedTuple):
    """How a group is trained.

    Attributes:
        agents: in the group.
        chunk_size: agents that train at once; the last chunk is padded.
        memory: bytes that a chunk needs, of each accelerator or of the machine.
        checkpoint: bytes of a chunk's checkpoint before compression.
        seconds: the expected time of the group.
        constants: the fingerprint of its trainer's constants, such as a dataset.
    """

    agents: int
    chunk_size: int
    memory: int
    checkpoint: int
    seconds: float
    constants: str | None = None

    @property
    def chunks(self) -> int:
        return -(-self.agents // self.chunk_size)


def make_limits(memory_gib: float | None, free_disk: float) -> Limits:
    """The given memory, or by default most of the free memory; the smallest limits of all processes."""
    memory = SHARE_OF_MEMORY * available_memory() if memory_gib is None else memory_gib * GIB
    return Limits(-all_reduce_max(-memory), -all_reduce_max(-free_disk))


def max_chunk_size(group: Group, devices: Sequence[jax.Device], limits: Limits) -> int:
    """How many agents of a group fit into the memory and onto the disk, by the size of their states.

    Raises:
        ArgumentError: one agent a device does not fit.
    """
    one, least = bytes_of(state_shapes(group, 1)), len(devices)
    # The devices of a CPU share the memory of their machine.
    on_cpu = devices[0].platform == "cpu"
    memory = one / (len({device.process_index for device in devices}) if on_cpu else len(devices))
    if memory * least > limits.memory:
        raise _does_not_fit(group, least, memory * least, limits)
    if 2 * one * least > limits.disk:
        raise _does_not_fit(group, least, 2 * one * least, limits, disk=True)
    return int(min(limits.memory / memory, limits.disk / (2 * one)))


def state_shapes(group: Group, agents: int) -> RunState:
    """The shapes of the state of `agents` agents of a group."""
    shapes = jax.eval_shape(
        partial(init_run_state, group.trainer), jax.random.key(0), group.options.hparams, group.trainer.constants
    )
    return batch_shapes(shapes, agents)


def plan_group(group: Group, devices: Sequence[jax.Device], limits: Limits) -> GroupPlan:
    """Compiles a group's program and times it. Makes its chunks smaller if it needs more memory than its state.

    Raises:
        ArgumentError: the smallest chunk does not fit.
    """
    agents, most = len(group.trials), max_chunk_size(group, devices, limits)
    while True:
        at_once = choose_chunk_size(agents, most, len(devices))
        program = group.program(at_once, devices)
        memory = program.memory() * local_copies(program.mesh)
        if memory <= limits.memory:
            break
        if at_once == len(devices):
            raise _does_not_fit(group, at_once, memory, limits)
        most = max(len(devices), min(at_once - len(devices), int(at_once * limits.memory / memory)))
    steps = group.options.budget.total_steps - group.trainer.warmup_steps
    iterations = steps // group.trainer.steps_per_iteration
    seconds = -(-agents // at_once) * iterations * seconds_per_iteration(group, at_once, devices)
    constants = fingerprint_of_constants(group.trainer.constants)
    return GroupPlan(agents, at_once, memory, bytes_of(state_shapes(group, at_once)), seconds, constants)


def choose_chunk_size(agents: int, most: int, devices: int) -> int:
    """How many agents to train at once: the fewest chunks, all of one size, which the devices divide."""
    chunks = -(-agents // (most - most % devices))
    return devices * -(-agents // (chunks * devices))


def seconds_per_iteration(group: Group, size: int, devices: Sequence[jax.Device]) -> float:
    """Times one iteration of a chunk. On a CPU, where blocks of agents take turns, it runs one, or two agents."""
    each = size // len(devices)
    block = block_size(each, bytes_of(state_shapes(group, 1)), devices[0].platform)
    few = len(devices) * min(each, max(2, block))
    program = group.program(few, devices)
    advance, run_state = program.compiled(), program.init(*group.inputs(pad(group.trials, few)))
    iterations, seconds = 1, 0.0
    while seconds < TRIAL_SECONDS / 2:
        iterations, clock = 2 * iterations, time.perf_counter()
        run_state = jax.block_until_ready(advance(run_state, iterations))
        seconds = all_reduce_max(time.perf_counter() - clock)
    return seconds / iterations * size / few


def plan_table(groups: Sequence[Group], plans: Sequence[GroupPlan]) -> Table:
    """The plan, for the screen."""
    static = [
        {path: value for path, value in flatten(group.options).items() if not path.startswith("hparams.")}
        for group in groups
    ]
    differ = [path for path in static[0] if any(other[path] != static[0][path] for other in static)]
    columns = {
        "group": [f"{group.number}" for group in groups],
        "agents": [f"{plan.agents:,}" for plan in plans],
        "chunks × agents": [f"{plan.chunks} × {plan.chunk_size:,}" for plan in plans],
        "memory": [format_bytes(plan.memory) for plan in plans],
        "disk": [format_bytes(2 * plan.checkpoint) for plan in plans],
        "time": [format_seconds(plan.seconds) for plan in plans],
    }
    values = [", ".join(f"{path.removeprefix('config.')} {own[path]}" for path in differ) or "–" for own in static]
    return screen_table(pl.DataFrame({**columns, "static values": values}), right=columns)


def _does_not_fit(group: Group, agents: int, needed: float, limits: Limits, disk: bool = False) -> ArgumentError:
    """The error for `agents` agents, one a device, that need more bytes than the limit. It says what would fit."""
    limit = limits.disk if disk else limits.memory
    capacity, one = getattr(group.options.config, "replay_capacity", None), state_shapes(group, 1)
    if capacity is None:
        network = "a smaller network, " if largest_part(one.state) == "agent" else ""
        hint = f"{network}fewer config.num_envs, or a shorter config.rollout_length need less"
        if not group.trainer.num_envs:
            hint = "a smaller dataset or network needs less"
    else:
        whole, replay = bytes_of(one), bytes_of(one.state.replay)
        fits = int(0.95 * capacity * (limit / needed * whole - (whole - replay)) / replay)  # the rest does not shrink
        fits -= fits % 10 ** max(0, len(str(fits)) - 2)
        enough = fits >= group.options.config.batch_size
        hint = f"config.replay_capacity = {fits} fits" if enough else "a smaller config.replay_capacity is not enough"
    who, least = "one agent" if agents == 1 else f"{agents} agents, one a device,", format_bytes(needed)
    rule = f"be on a disk with {least} for two checkpoints of" if disk else f"be at least {least} for"
    rule = f"must {rule} {who} of group {group.number}; {hint}"
    return ArgumentError("out" if disk else "memory", rule, limit, got=format_bytes(limit))
