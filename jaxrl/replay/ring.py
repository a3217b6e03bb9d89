"""A ring of packed transitions: one uint32 array `[slots, N, words]`, one slab of N transitions written a step.

It is one array, and a step writes before it samples, because then XLA writes in place. As separate leaves, or sampled
before the write, the whole ring would be copied every step. Never use `where` over it either.
"""

import jax
import jax.numpy as jnp

from jaxrl.types import Array


def num_slots(capacity: int, num_envs: int) -> int:
    """Slabs that hold `capacity` transitions, the last one rounded up."""
    return -(-capacity // num_envs)


def allocate(capacity: int, num_envs: int, num_words: int) -> Array:
    """An empty ring: uint32 `[slots, N, words]`."""
    return jnp.zeros((num_slots(capacity, num_envs), num_envs, num_words), jnp.uint32)


def write(replay: Array, slab: Array, slabs_written: Array) -> Array:
    """The ring with `slab`, uint32 `[N, words]`, in the place of its oldest one.

    `slabs_written`: slabs ever written before this one, int32 scalar.
    """
    position = slabs_written % replay.shape[0]
    return jax.lax.dynamic_update_index_in_dim(replay, slab, position, axis=0)


def sample(replay: Array, key: Array, slabs_written: Array, batch_size: int) -> Array:
    """`batch_size` packed transitions, uint32 `[B, words]`, uniformly and with replacement from all that are stored.

    `slabs_written`: slabs ever written, at least 1, int32 scalar. Costs O(batch_size), whatever the capacity.
    """
    slots, num_envs, num_words = replay.shape
    stored = jnp.minimum(slabs_written, slots) * num_envs
    # One draw, where `randint` makes two. The remainder favours the first indices, by a part in 4,000 at a million.
    index = jax.random.bits(key, (batch_size,)) % stored.astype(jnp.uint32)
    return replay.reshape(slots * num_envs, num_words).at[index].get(mode="promise_in_bounds")
