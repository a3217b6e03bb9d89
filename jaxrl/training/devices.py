"""Programs on many devices, of one process or of several that `jax.distributed` has joined.

A population is split along its agents, which are independent. A single agent is split along its environments: each
device steps some of them, and XLA adds up their gradients.

All processes make the same calls. What one process observes on its own, such as a signal or its clock, is shared
through `all_reduce_max`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrl.arguments import ArgumentError
from jaxrl.types import PyTree, Trainer, TrainState
from jaxrl.xla.sharding import ENVS

AGENTS = "agents"
"""The mesh axis of a population; that of a single agent is `ENVS`."""


def mesh_of(devices: Sequence[jax.Device] | None, agents: tuple[int, ...]) -> Mesh:
    """A mesh of the devices (default: the first one) for one agent, `()`, or a population, `(A,)`.

    Raises:
        ArgumentError: the number of agents is not a multiple of the number of devices.
    """
    devices = devices or jax.devices()[:1]
    if agents and agents[0] % len(devices):
        raise ArgumentError("agents", f"must be a multiple of the {len(devices)} devices", agents[0])
    return Mesh(np.array(devices), (AGENTS if agents else ENVS,))


def shard_along(mesh: Mesh, axis: int | None) -> NamedSharding:
    """Splits arrays along one axis; None replicates them."""
    return NamedSharding(mesh, PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, *mesh.axis_names))


def shard_envs(mesh: Mesh, state: TrainState, trainer: Trainer) -> TrainState:
    """The shardings of one agent's state: its environments are split, as `Trainer.env_axes` says.

    Args:
        mesh: the devices.
        state: the shapes of the state.
        trainer: its trainer.

    Raises:
        ArgumentError: the number of environments is not a multiple of the number of devices.
    """
    if trainer.num_envs % mesh.size:
        raise ArgumentError("num_envs", f"must be a multiple of the {mesh.size} devices", trainer.num_envs)

    def shard(axis: int | None, part: PyTree) -> PyTree:
        return jax.tree.map(lambda _: shard_along(mesh, axis), part)

    return jax.tree.map(shard, trainer.env_axes, state, is_leaf=lambda x: x is None)


def to_devices(x: Any, sharding: NamedSharding) -> jax.Array:
    """An array that every process holds as one array over all devices."""
    host = np.asarray(x)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index], dtype=host.dtype)


def to_host(tree: PyTree) -> PyTree:
    """Arrays on any devices as NumPy arrays in every process."""
    return jax.tree.map(
        lambda x: np.asarray(x) if x.is_fully_addressable else multihost_utils.process_allgather(x, tiled=True), tree
    )


def all_reduce_max(x: float) -> float:
    """The maximum of `x` over all processes, which must all call this."""
    if jax.process_count() == 1:
        return x
    return float(multihost_utils.process_allgather(np.float64(x)).max())


def bytes_of(shapes: PyTree) -> int:
    """Bytes of arrays described by `jax.ShapeDtypeStruct`s; if these have shardings, bytes on each device."""

    def size(x: Any) -> int:
        shape = x.shape if getattr(x, "sharding", None) is None else x.sharding.shard_shape(x.shape)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct((), x.dtype))
            return int(np.prod(shape)) * x.size * x.dtype.itemsize
        return int(np.prod(shape)) * x.dtype.itemsize

    return sum(size(x) for x in jax.tree.leaves(shapes))


def local_devices(number: int | None) -> list[jax.Device]:
    """The first `number` devices of each process (default: all).

    Raises:
        ArgumentError: a process has fewer.
    """
    available = jax.local_device_count()
    number = available if number is None else number
    if number > available:
        kind = jax.default_backend()
        raise ArgumentError("num_devices", f"must be at most {available}, the number of {kind} devices", number)
    return [device for i in range(jax.process_count()) for device in jax.devices()[i * available :][:number]]


def platform_of(mesh: Mesh) -> str:
    """The platform of its devices: "cpu", "gpu" or "tpu"."""
    return mesh.devices.flat[0].platform


def local_copies(mesh: Mesh) -> int:
    """How many devices of a mesh share this machine's memory: on a CPU all of this process, on an accelerator one."""
    return len(mesh.local_devices) if platform_of(mesh) == "cpu" else 1
