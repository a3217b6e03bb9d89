"""Sharding constraints for training one agent on several devices."""

import jax

from jaxrl.types import PyTree

ENVS = "environments"
"""The mesh axis along which one agent's environments are split."""


def shard_batch(batch: PyTree, axis: int) -> PyTree:
    """Splits a batch along an axis between the devices of one agent, so that each computes a part of the gradient.

    Without this, all devices would compute the same, since a sample from all environments is replicated. It does
    nothing if an agent has one device, or if the number of devices does not divide the batch.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if ENVS not in mesh.axis_names:
        return batch

    def split(x: jax.Array) -> jax.Array:
        if x.shape[axis] % mesh.shape[ENVS]:
            return x
        return jax.lax.with_sharding_constraint(x, jax.P(*[None] * axis, ENVS))

    return jax.tree.map(split, batch)
