"""Telling XLA what the devices of one agent share."""

import jax

from jaxrl.types import PyTree

ENVS = "environments"
"""The axis of a mesh over which one agent's environments are spread."""


def shard_batch(batch: PyTree, axis: int) -> PyTree:
    """The same batch, each device of one agent with its part along an axis, so that all of them learn from it.

    Without this they would do the same work, since what is drawn from all environments comes to all of them. It does
    nothing where an agent has one device, and where these do not divide the batch.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if ENVS not in mesh.axis_names:
        return batch

    def split(x: jax.Array) -> jax.Array:
        if x.shape[axis] % mesh.shape[ENVS]:
            return x
        return jax.lax.with_sharding_constraint(x, jax.P(*[None] * axis, ENVS))

    return jax.tree.map(split, batch)
