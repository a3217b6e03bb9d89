"""A ring of packed transitions: one uint32 array `[slots, N, words]`, one row of N transitions written a step.

It is one array, and a step writes before it samples, because then XLA writes in place. As separate leaves, or sampled
before the write, the whole ring would be copied every step. Never use `where` over it either.
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from jaxrl.types import Array

RingT = TypeVar("RingT", "Place", Array)


def num_slots(capacity: int, num_envs: int) -> int:
    """Rows that hold `capacity` transitions, the last one rounded up."""
    return -(-capacity // num_envs)


def allocate(capacity: int, num_envs: int, num_words: int) -> Array:
    """An empty ring: uint32 `[slots, N, words]`."""
    return jnp.zeros((num_slots(capacity, num_envs), num_envs, num_words), jnp.uint32)


class Place(NamedTuple):
    """One agent's ring where it lies among those of a population: to cut it out and put it back would copy it twice.

    Attributes:
        rings: uint32 `[A, slots, N, words]`.
        agent: whose, int32 scalar.
    """

    rings: Array
    agent: Array


def write(replay: RingT, row: Array, rows_written: Array) -> RingT:
    """The ring, an array or a `Place`, with `row`, uint32 `[N, words]`, instead of its oldest one.

    `rows_written`: rows ever written before this one, int32 scalar.
    """
    if isinstance(replay, Place):
        position = rows_written % replay.rings.shape[1]
        start = (replay.agent, position, 0, 0)
        return replay._replace(rings=jax.lax.dynamic_update_slice(replay.rings, row[None, None], start))
    return jax.lax.dynamic_update_index_in_dim(replay, row, rows_written % replay.shape[0], axis=0)


def gather(replay: Array | Place, index: Array, n_step: int = 1) -> Array:
    """The packed transitions at each index and the next `n_step - 1` of the same environment: uint32 `[n_step, B,
    words]`.

    `index`: `slot * N + environment`, `[B]`. After the last slot comes the first.
    """
    rings = replay.rings if isinstance(replay, Place) else replay
    slots, num_envs, num_words = rings.shape[-3:]
    steps = jnp.arange(n_step, dtype=jnp.uint32)[:, None] * num_envs
    rows = (index.astype(jnp.uint32) + steps) % (slots * num_envs)
    flat = rings.reshape(*rings.shape[:-3], slots * num_envs, num_words)
    where = (replay.agent, rows) if isinstance(replay, Place) else rows
    return flat.at[where].get(mode="promise_in_bounds")
