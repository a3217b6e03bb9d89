"""Bit slices: 32 slots of small records, where bit i of every uint32 word belongs to slot i.

A set of slots is one word `[...]`. Numbers, one in each slot, are a few words `[bits, ...]`, the lowest bits first.
Incrementing all 32 numbers takes two operations for each bit. Slot 0 is the newest: `push` moves all slots on by one
and drops the last.
"""

from functools import reduce

import jax
import jax.numpy as jnp

from jaxrl.types import Array


def everywhere(condition: Array) -> Array:
    """All slots where the condition holds, no slots elsewhere."""
    return jnp.where(condition, jnp.uint32(0xFFFFFFFF), jnp.uint32(0))


def bits_of(value: Array | int, bits: int) -> Array:
    """Numbers `[bits, ...]` that have the same value, int `[...]`, in every slot."""
    value = jnp.asarray(value)
    return everywhere(value >> jnp.arange(bits, dtype=value.dtype).reshape(bits, *[1] * value.ndim) & 1 == 1)


def equal(numbers: Array, value: Array | int) -> Array:
    """The slots whose number is `value`: an int, or ints that broadcast with `[...]`."""
    return reduce(jnp.bitwise_and, map(lambda a, b: ~(a ^ b), numbers, bits_of(value, len(numbers))))


def each(numbers: Array, size: int) -> list[Array]:
    """The slots whose number is 0, those whose number is 1, …, those whose number is `size - 1`."""
    sets = [jnp.full_like(numbers[0], 0xFFFFFFFF)]
    for word in numbers:
        sets = ([slots & ~word for slots in sets] + [slots & word for slots in sets])[:size]
    return sets


def put(numbers: Array, slots: Array, value: Array | int) -> Array:
    """The numbers with `value`, an int or ints `[...]`, in the given slots."""
    return numbers & ~slots | bits_of(jnp.broadcast_to(value, slots.shape), len(numbers)) & slots


def add_one(numbers: Array, slots: Array) -> Array:
    """The numbers, incremented in the given slots."""
    flipped = [slots]
    for word in numbers[:-1]:
        flipped.append(flipped[-1] & word)  # the carry
    return numbers ^ jnp.stack(flipped)


def subtract_one(numbers: Array, slots: Array) -> Array:
    """The numbers, decremented in the given slots."""
    return ~add_one(~numbers, slots)


def push(words: Array, now: Array, first: Array) -> Array:
    """Where `now` holds, moves all slots on by one and fills slot 0 from `first`; for sets and numbers."""
    return jnp.where(now, words << 1 | first & 1, words)


def newest(slots: Array) -> Array:
    """The newest of the given slots, if any."""
    return slots & -slots


def oldest(slots: Array) -> Array:
    """The oldest of the given slots, if any."""
    return jnp.where(slots == 0, 0, jnp.uint32(1 << 31) >> jax.lax.clz(slots))
