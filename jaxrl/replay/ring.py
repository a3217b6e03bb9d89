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


def gather(replay: Array, index: Array, n_step: int = 1) -> Array:
    """The packed transitions at each index and the next `n_step - 1` of the same world: uint32 `[n_step, B, words]`.

    `index`: `slot * N + world`, `[B]`. After the last slot comes the first.
    """
    slots, num_envs, num_words = replay.shape
    steps = jnp.arange(n_step, dtype=jnp.uint32)[:, None] * num_envs
    rows = (index.astype(jnp.uint32) + steps) % (slots * num_envs)
    return replay.reshape(slots * num_envs, num_words).at[rows].get(mode="promise_in_bounds")
