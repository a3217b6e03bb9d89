"""Many devices, of one process or of several that `jax.distributed` has joined.

A population is cut along its agents, which never need each other: each device has its own. A single agent is cut along
its environments: each device steps some of them, and XLA adds up what they teach.

All processes run the same program on the same calls. What one of them sees on its own, such as a signal or its clock,
becomes everybody's through `largest`.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxrl.arguments import ArgumentError
from jaxrl.types import PyTree, TrainState
from jaxrl.xla.sharding import ENVS

AGENTS = "agents"
"""The axis of a mesh over which a population is spread; that of one agent is `ENVS`."""


def mesh_of(devices: Sequence[jax.Device] | None, agents: tuple[int, ...]) -> Mesh:
    """The devices in a row, by default the first of all, for one agent `()` or a population `(A,)`.

    Raises:
        ArgumentError: the devices do not divide the population.
    """
    devices = devices or jax.devices()[:1]
    if agents and agents[0] % len(devices):
        raise ArgumentError("agents", f"must be a multiple of the {len(devices)} devices", agents[0])
    return Mesh(np.array(devices), (AGENTS if agents else ENVS,))


def along(mesh: Mesh, axis: int | None) -> NamedSharding:
    """Arrays that are cut along one of their axes, or whole on every device (None)."""
    return NamedSharding(mesh, PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, *mesh.axis_names))


def shard_envs(mesh: Mesh, state: TrainState) -> TrainState:
    """Where one agent's state lies whose environments are spread over a mesh: a sharding for each leaf.

    The environments and what they stored are cut; parameters, their optimizer and the clock are whole everywhere.

    Raises:
        ArgumentError: the devices do not divide the environments.
    """
    num_envs = state.envs.episode_return.shape[0]
    if num_envs % mesh.size:
        raise ArgumentError("num_envs", f"must be a multiple of the {mesh.size} devices", num_envs)

    def cut(x: Any) -> NamedSharding:
        # Our own games have the environments last, gymnax's first. Any choice computes the same.
        axes = [axis for axis in (x.ndim - 1, 0) if x.ndim and x.shape[axis] == num_envs]
        return along(mesh, axes[0] if axes else None)

    everywhere = along(mesh, None)
    shardings = jax.tree.map(lambda _: everywhere, state)._replace(envs=jax.tree.map(cut, state.envs))
    if state.replay:
        _, sampler = shardings.replay
        shardings = shardings._replace(replay=(along(mesh, 1), sampler))  # a ring is [slots, N, words]
    return shardings


def distribute(x: Any, sharding: NamedSharding) -> jax.Array:
    """An array that every process has, as one array of all their devices."""
    host = np.asarray(x)
    return jax.make_array_from_callback(host.shape, sharding, lambda index: host[index], dtype=host.dtype)


def gather(tree: PyTree) -> PyTree:
    """Arrays of any devices as NumPy arrays in every process."""
    return jax.tree.map(
        lambda x: np.asarray(x) if x.is_fully_addressable else multihost_utils.process_allgather(x, tiled=True), tree
    )


def all_reduce_max(x: float) -> float:
    """The largest of the numbers with which all processes call this at the same time."""
    if jax.process_count() == 1:
        return x
    return float(multihost_utils.process_allgather(np.float64(x)).max())


def bytes_of(shapes: PyTree) -> int:
    """Bytes of the arrays described by `jax.ShapeDtypeStruct`s: on each of their devices, if these have shardings."""

    def size(x: Any) -> int:
        shape = x.shape if getattr(x, "sharding", None) is None else x.sharding.shard_shape(x.shape)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            words = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct((), x.dtype))
            return int(np.prod(shape)) * words.size * words.dtype.itemsize
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
