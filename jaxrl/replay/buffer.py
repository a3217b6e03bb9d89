"""The replay buffer: a ring of packed transitions, one row of `N` transitions for each step of the environments.

The ring is one array, and a step writes before it samples, because only then XLA writes in place. With one array per
leaf, or sampling before writing, every step would copy the whole ring. Never apply `where` to it either.
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental.layout import Layout, with_layout_constraint

from jaxrl.replay.sampling import Sampler
from jaxrl.types import Array, Hparams, PyTree, Sample
from jaxrl.xla.sharding import shard_batch

UNSIGNED = {2: jnp.uint2, 4: jnp.uint4, 8: jnp.uint8, 16: jnp.uint16}


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
        example: arrays or `ShapeDtypeStruct`s of one element, without batch axes: numbers of any dtype, booleans and
            random keys. Each leaf starts on a new word. A tree without leaves has no words, and no batch axes.
        decode: applied to what is unpacked, such as `VectorEnv.decode`.
    """
    leaves, treedef = jax.tree.flatten(jax.eval_shape(lambda tree: tree, example))
    ends = list(accumulate(map(_num_words, leaves), initial=0))

    def pack(tree: PyTree) -> Array:
        parts = [_to_words(x, leaf) for x, leaf in zip(jax.tree.leaves(tree), leaves, strict=True)]
        return jnp.concatenate(parts, axis=-1) if parts else jnp.zeros(0, jnp.uint32)

    def unpack(words: Array) -> PyTree:
        parts = [_from_words(words[..., a:b], leaf) for (a, b), leaf in zip(pairwise(ends), leaves, strict=True)]
        return decode(jax.tree.unflatten(treedef, parts))

    return Packing(ends[-1], pack, unpack)


def _as_real(x: Array) -> Array:
    """A random key `[...]` as its words `[..., W]`, and a complex number as two real ones, `[..., 2]`."""
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jax.random.key_data(x)
    return jnp.stack([x.real, x.imag], -1) if jnp.issubdtype(x.dtype, jnp.complexfloating) else x


def _from_real(x: Array, dtype: jnp.dtype) -> Array:
    """The inverse of `_as_real`."""
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(x, impl=jax.random.key_impl(jnp.empty((), dtype)))
    return jax.lax.complex(x[..., 0], x[..., 1]) if jnp.issubdtype(dtype, jnp.complexfloating) else x


def _bits(dtype: jnp.dtype) -> int:
    """Bits of a number. Those of int4 and its like are fewer than it takes in memory."""
    if dtype == jnp.bool_:
        return 1
    return (jnp.iinfo if jnp.issubdtype(dtype, jnp.integer) else jnp.finfo)(dtype).bits


def _num_words(leaf: jax.ShapeDtypeStruct) -> int:
    numbers = jax.eval_shape(_as_real, leaf)
    return -(-numbers.size * _bits(numbers.dtype) // 32)


def _to_words(x: Array, leaf: jax.ShapeDtypeStruct) -> Array:
    """Array `[..., *leaf.shape]` to uint32 `[..., _num_words(leaf)]`."""
    x = jnp.asarray(x, leaf.dtype)
    batch = x.shape[: x.ndim - len(leaf.shape)]
    x = _as_real(x)
    bits, size = _bits(x.dtype), math.prod(x.shape[len(batch) :])
    if bits in UNSIGNED:  # first of all become integers: a copy of a small float may change the bits of a NaN
        x = jax.lax.bitcast_convert_type(x, UNSIGNED[bits])
    x = x.reshape(*batch, size)
    if bits < 32:
        per_word = 32 // bits
        x = jnp.pad(x, [(0, 0)] * len(batch) + [(0, -size % per_word)]).reshape(*batch, -(-size // per_word), per_word)
    if bits < 8:
        return (x.astype(jnp.uint32) << jnp.arange(0, 32, bits, dtype=jnp.uint32)).sum(-1, dtype=jnp.uint32)
    return jax.lax.bitcast_convert_type(x, jnp.uint32).reshape(*batch, _num_words(leaf))


def _from_words(words: Array, leaf: jax.ShapeDtypeStruct) -> Array:
    """The inverse of `_to_words`."""
    numbers = jax.eval_shape(_as_real, leaf)
    *batch, num_words = words.shape
    dtype, bits, size = numbers.dtype, _bits(numbers.dtype), numbers.size
    if bits < 8:
        parts = (words[..., None] >> jnp.arange(0, 32, bits, dtype=jnp.uint32)) & (2**bits - 1)
        words = parts.astype(UNSIGNED.get(bits, bool))
    elif bits < 32:
        words = jax.lax.bitcast_convert_type(words, UNSIGNED[bits])
    if bits < 32:
        words = words.reshape(*batch, num_words * (32 // bits))[..., :size]
    elif bits == 64:
        words = words.reshape(*batch, size, 2)
    x = words if dtype == jnp.bool_ else jax.lax.bitcast_convert_type(words, dtype)
    return _from_real(x.reshape(*batch, *numbers.shape), leaf.dtype)


class BufferState(NamedTuple):
    """The contents of a replay buffer.

    Attributes:
        rings: packed transitions, uint32 `[A, slots, N, words]`; `A` is 1 unless the agents of a population take turns,
            since slicing one agent's ring out and writing it back would copy it twice.
        agent: index of the agent whose turn it is, int32 scalar; None if there is one ring, so that it stays one index
            for all agents that step side by side.
        sampler: the state of this agent's `Sampler`.
    """

    rings: Array
    agent: Array | None
    sampler: PyTree


class Buffer(NamedTuple):
    """A replay buffer as pure functions.

    Attributes:
        init: `(hparams) -> BufferState`, empty.
        add: `(BufferState, transitions[T, N], rows_written) -> BufferState`: replaces the oldest `T` rows.
            `rows_written` is the number of rows ever written before, int32 scalar.
        sample: `(BufferState, key, rows_written, batch_size) -> (index[B], Sample)`: at least `n_step` rows must have
            been written.
        set_priorities: `(BufferState, index[B], errors[B]) -> BufferState`: changes the priority of what was sampled.
        cut: `(BufferState, rows_written) -> BufferState`: says that new episodes follow the newest row, although none
            may have ended there. Changes nothing where transitions need no neighbours.
    """

    init: Callable[[Hparams], BufferState]
    add: Callable[[BufferState, PyTree, Array], BufferState]
    sample: Callable[[BufferState, Array, Array, int], tuple[Array, Sample]]
    set_priorities: Callable[[BufferState, Array, Array], BufferState]
    cut: Callable[[BufferState, Array], BufferState] = lambda state, rows_written: state


def ring_buffer(layout: Packing, sampler: Sampler, slots: int, num_envs: int, n_step: int) -> Buffer:
    """A ring of `slots` rows.

    Args:
        layout: packs and unpacks a transition.
        sampler: made for the same sizes.
        slots, num_envs, n_step: rows, transitions in a row, and length of the sampled sequences.
    """

    def init(hparams: Hparams) -> BufferState:
        rings = jnp.zeros((1, slots, num_envs, layout.num_words), jnp.uint32)
        return BufferState(rings, None, sampler.init(hparams))

    def add(state: BufferState, transitions: PyTree, rows_written: Array) -> BufferState:
        words = layout.pack(transitions)
        return jax.lax.fori_loop(0, len(words), partial(_add_row, sampler, words, rows_written), state)

    def sample(state: BufferState, key: Array, rows_written: Array, batch_size: int) -> tuple[Array, Sample]:
        index, weights = sampler.sample(state.sampler, key, rows_written, batch_size)
        words = shard_batch(read(state.rings, state.agent, index, n_step), axis=1)
        return index, Sample(layout.unpack(words), weights)

    def set_priorities(state: BufferState, index: Array, errors: Array) -> BufferState:
        return state._replace(sampler=sampler.set_priorities(state.sampler, index, errors))

    return Buffer(init, add, sample, set_priorities)


def _add_row(sampler: Sampler, words: Array, rows_written: Array, t: Array, state: BufferState) -> BufferState:
    """Adds row `t` of words `[T, N, words]`."""
    rings = write(state.rings, state.agent, words[t], rows_written + t)
    return state._replace(rings=rings, sampler=sampler.add(state.sampler, rows_written + t + 1))


def num_slots(capacity: int, num_envs: int) -> int:
    """Rows that hold `capacity` transitions, rounded up."""
    return -(-capacity // num_envs)


def write(rings: Array, agent: Array | None, row: Array, rows_written: Array) -> Array:
    """The rings with `row`, uint32 `[N, words]`, in place of the oldest one of an agent."""
    zero = jnp.int32(0)  # with x64, plain zeros are int64
    start = (zero if agent is None else agent, rows_written % rings.shape[1], zero, zero)
    return in_order(jax.lax.dynamic_update_slice(rings, row[None, None], start))


def in_order(rings: Array) -> Array:
    """The same rings, which stay in memory as their shape says.

    A GPU's compiler would otherwise prefer one plane for each word in a population, and transpose all rings before and
    after each call.
    """
    return with_layout_constraint(rings, Layout(tuple(range(rings.ndim))))


def read(rings: Array, agent: Array | None, index: Array, n_step: int) -> Array:
    """The packed transitions at `index = slot * N + environment`, `[B]`, and the next `n_step - 1` of the same
    environment, in an agent's ring, which wraps around: uint32 `[n_step, B, words]`."""
    agents, slots, num_envs, num_words = rings.shape
    steps = jnp.arange(n_step, dtype=jnp.uint32)[:, None] * num_envs
    rows = (index.astype(jnp.uint32) + steps) % (slots * num_envs)
    flat = rings.reshape(agents, slots * num_envs, num_words)
    return flat.at[0 if agent is None else agent, rows].get(mode="promise_in_bounds")
