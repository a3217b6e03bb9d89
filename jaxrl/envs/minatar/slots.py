"""Bit slices: 32 slots at once, each a small record, bit i of every uint32 word belonging to slot i.

A set of slots is one word `[...]`. A number in every slot is a few words, `[bits, ...]`, the lowest bits first; to add
one to all 32 numbers takes two operations a bit. Slot 0 is the newest: `push` moves all slots one on and forgets the
last.
"""

from functools import reduce

import jax
import jax.numpy as jnp

from jaxrl.types import Array


def everywhere(condition: Array) -> Array:
    """All slots where the condition holds, none elsewhere."""
    return jnp.where(condition, jnp.uint32(0xFFFFFFFF), jnp.uint32(0))


def bits_of(value: Array | int, bits: int) -> Array:
    """The bits of a value, int `[...]`, as numbers that are the same in every slot: `[bits, ...]`."""
    value = jnp.asarray(value)
    return everywhere(value >> jnp.arange(bits, dtype=value.dtype).reshape(bits, *[1] * value.ndim) & 1 == 1)


def equal(numbers: Array, value: Array | int) -> Array:
    """The slots whose number is `value`, one for all slots: an int, or ints that broadcast with `[...]`."""
    return reduce(jnp.bitwise_and, map(lambda a, b: ~(a ^ b), numbers, bits_of(value, len(numbers))))


def each(numbers: Array, size: int) -> list[Array]:
    """The slots whose number is 0, those whose number is 1, and so on up to `size - 1`."""
    sets = [jnp.full_like(numbers[0], 0xFFFFFFFF)]
    for word in numbers:
        sets = ([slots & ~word for slots in sets] + [slots & word for slots in sets])[:size]
    return sets


def put(numbers: Array, slots: Array, value: Array | int) -> Array:
    """The numbers with `value`, an int or ints `[...]`, in some slots."""
    return numbers & ~slots | bits_of(jnp.broadcast_to(value, slots.shape), len(numbers)) & slots


def add_one(numbers: Array, slots: Array) -> Array:
    """The numbers, in some slots one more."""
    flipped = [slots]
    for word in numbers[:-1]:
        flipped.append(flipped[-1] & word)  # where there is a carry
    return numbers ^ jnp.stack(flipped)


def subtract_one(numbers: Array, slots: Array) -> Array:
    """The numbers, in some slots one less."""
    return ~add_one(~numbers, slots)


def push(words: Array, now: Array, first: Array) -> Array:
    """Where `now` holds, every slot one on and slot 0 taken from `first`: a set of slots, or numbers `[bits, ...]`."""
    return jnp.where(now, words << 1 | first & 1, words)


def newest(slots: Array) -> Array:
    """The first of some slots, if any."""
    return slots & -slots


def oldest(slots: Array) -> Array:
    """The last of some slots, if any."""
    return jnp.where(slots == 0, 0, jnp.uint32(1 << 31) >> jax.lax.clz(slots))
