"""The replay buffer: a ring of packed transitions, one row of `N` transitions for each step of the environments.

The ring is one array, and a step writes before it samples, because only then XLA writes in place. With one array per
leaf, or sampling before writing, every step would copy the whole ring. Never apply `where` to it either.
"""

import math
from collections.abc import Callable
from itertools import accumulate
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.replay.sampling import Sampler
from jaxrl.types import Array, Hparams, PyTree, Sample
from jaxrl.xla.sharding import shard_batch

UNSIGNED = {8: jnp.uint8, 16: jnp.uint16}


class Packing(NamedTuple):
    """How a pytree is laid out in words.

    Attributes:
        num_words: words of one packed element.
        pack: a pytree of leaves `[..., *shape]` to uint32 `[..., num_words]`.
        unpack: the inverse.
    """

    num_words: int
    pack: Callable[[PyTree], Array]
    unpack: Callable[[Array], PyTree]


def packing(example: PyTree, decode: Callable[[PyTree], PyTree] = lambda tree: tree) -> Packing:
    """The packing of pytrees like `example`.

    Args:
        example: arrays or `ShapeDtypeStruct`s of one element, without batch axes. Each leaf starts on a new word.
        decode: applied to what is unpacked, such as `VectorEnv.decode`.
    """
    leaves, treedef = jax.tree.flatten(example)
    ends = list(accumulate(_num_words(leaf) for leaf in leaves))

    def pack(tree: PyTree) -> Array:
        parts = [_to_words(x, leaf) for x, leaf in zip(jax.tree.leaves(tree), leaves, strict=True)]
        return jnp.concatenate(parts, axis=-1)

    def unpack(words: Array) -> PyTree:
        parts = [
            _from_words(words[..., start:end], leaf) for start, end, leaf in zip([0, *ends], ends, leaves, strict=False)
        ]
        return decode(jax.tree.unflatten(treedef, parts))

    return Packing(ends[-1], pack, unpack)


def _bits(dtype: jnp.dtype) -> int:
    return 1 if dtype == jnp.bool_ else dtype.itemsize * 8


def _num_words(leaf: jax.ShapeDtypeStruct) -> int:
    return -(-math.prod(leaf.shape) * _bits(leaf.dtype) // 32)


def _to_words(x: Array, leaf: jax.ShapeDtypeStruct) -> Array:
    """Array `[..., *leaf.shape]` to uint32 `[..., _num_words(leaf)]`."""
    x = jnp.asarray(x, leaf.dtype)
    batch = x.shape[: x.ndim - len(leaf.shape)]
    bits = _bits(leaf.dtype)
    if bits in (8, 16):  # first of all become integers: a copy of a small float may change the bits of a NaN
        x = jax.lax.bitcast_convert_type(x, UNSIGNED[bits])
    x = x.reshape(*batch, -1)
    if bits < 32:
        per_word = 32 // bits
        x = jnp.pad(x, [(0, 0)] * len(batch) + [(0, -x.shape[-1] % per_word)]).reshape(*batch, -1, per_word)
    if bits == 1:
        return (x.astype(jnp.uint32) << jnp.arange(32, dtype=jnp.uint32)).sum(-1, dtype=jnp.uint32)
    return jax.lax.bitcast_convert_type(x, jnp.uint32).reshape(*batch, -1)


def _from_words(words: Array, leaf: jax.ShapeDtypeStruct) -> Array:
    """The inverse of `_to_words`."""
    batch, size, bits = words.shape[:-1], math.prod(leaf.shape), _bits(leaf.dtype)
    if bits == 1:
        x = ((words[..., None] >> jnp.arange(32, dtype=jnp.uint32)) & 1).astype(bool)
        return x.reshape(*batch, -1)[..., :size].reshape(*batch, *leaf.shape)
    if bits < 32:
        words = jax.lax.bitcast_convert_type(words, UNSIGNED[bits]).reshape(*batch, -1)[..., :size]
    elif bits == 64:
        words = words.reshape(*batch, -1, 2)
    return jax.lax.bitcast_convert_type(words, leaf.dtype).reshape(*batch, *leaf.shape)


class StackedRing(NamedTuple):
    """One agent's ring within those of a population, since slicing it out and writing it back would copy it twice.

    Attributes:
        rings: uint32 `[A, slots, N, words]`.
        agent: index of the agent, int32 scalar.
    """

    rings: Array
    agent: Array


class BufferState(NamedTuple):
    """The contents of a replay buffer.

    Attributes:
        ring: packed transitions, uint32 `[slots, N, words]`, or a `StackedRing`.
        sampler: the state of its `Sampler`.
    """

    ring: Array | StackedRing
    sampler: PyTree


class Buffer(NamedTuple):
    """A replay buffer as pure functions.

    Attributes:
        init: `(hparams) -> BufferState`, empty.
        add: `(BufferState, transitions[N], rows_written) -> BufferState`: replaces the oldest row. `rows_written` is
            the number of rows ever written before, int32 scalar.
        sample: `(BufferState, key, rows_written, batch_size) -> (index[B], Sample)`: at least `n_step` rows must have
            been written.
        set_priorities: `(BufferState, index[B], errors[B]) -> BufferState`: changes the priority of what was sampled.
    """

    init: Callable[[Hparams], BufferState]
    add: Callable[[BufferState, PyTree, Array], BufferState]
    sample: Callable[[BufferState, Array, Array, int], tuple[Array, Sample]]
    set_priorities: Callable[[BufferState, Array, Array], BufferState]


def ring_buffer(layout: Packing, sampler: Sampler, slots: int, num_envs: int, n_step: int) -> Buffer:
    """A ring of `slots` rows.

    Args:
        layout: packs and unpacks a transition.
        sampler: made for the same sizes.
        slots, num_envs, n_step: rows, transitions in a row, and length of the sampled sequences.
    """

    def init(hparams: Hparams) -> BufferState:
        return BufferState(jnp.zeros((slots, num_envs, layout.num_words), jnp.uint32), sampler.init(hparams))

    def add(state: BufferState, transitions: PyTree, rows_written: Array) -> BufferState:
        ring = write(state.ring, layout.pack(transitions), rows_written)
        return BufferState(ring, sampler.add(state.sampler, rows_written + 1))

    def sample(state: BufferState, key: Array, rows_written: Array, batch_size: int) -> tuple[Array, Sample]:
        index, weights = sampler.sample(state.sampler, key, rows_written, batch_size)
        return index, Sample(layout.unpack(shard_batch(read(state.ring, index, n_step), axis=1)), weights)

    def set_priorities(state: BufferState, index: Array, errors: Array) -> BufferState:
        return state._replace(sampler=sampler.set_priorities(state.sampler, index, errors))

    return Buffer(init, add, sample, set_priorities)


def num_slots(capacity: int, num_envs: int) -> int:
    """Rows that hold `capacity` transitions, rounded up."""
    return -(-capacity // num_envs)


def write(ring: Array | StackedRing, row: Array, rows_written: Array) -> Array | StackedRing:
    """The ring with `row`, uint32 `[N, words]`, in place of its oldest one."""
    if isinstance(ring, StackedRing):
        start = (ring.agent, rows_written % ring.rings.shape[1], 0, 0)
        return ring._replace(rings=jax.lax.dynamic_update_slice(ring.rings, row[None, None], start))
    return jax.lax.dynamic_update_index_in_dim(ring, row, rows_written % ring.shape[0], axis=0)


def read(ring: Array | StackedRing, index: Array, n_step: int) -> Array:
    """The packed transitions at `index = slot * N + environment`, `[B]`, and the next `n_step - 1` of the same
    environment, in a ring that wraps around: uint32 `[n_step, B, words]`."""
    rings = ring.rings if isinstance(ring, StackedRing) else ring
    slots, num_envs, num_words = rings.shape[-3:]
    steps = jnp.arange(n_step, dtype=jnp.uint32)[:, None] * num_envs
    rows = (index.astype(jnp.uint32) + steps) % (slots * num_envs)
    flat = rings.reshape(*rings.shape[:-3], slots * num_envs, num_words)
    where = (ring.agent, rows) if isinstance(ring, StackedRing) else rows
    return flat.at[where].get(mode="promise_in_bounds")
