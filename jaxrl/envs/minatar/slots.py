"""Bit slices: 32 slots at once, each a small record, bit i of every uint32 word belonging to slot i.

A set of slots is one word `[...]`. A number in every slot is a tuple of words, its lowest bits first; to add one to all
32 numbers takes two operations a bit. Slot 0 is the newest: `push` moves all slots one on and forgets the last.
"""

from functools import reduce

import jax
import jax.numpy as jnp

from jaxrl.types import Array

Numbers = tuple[Array, ...]


def everywhere(condition: Array) -> Array:
    """All slots where the condition holds, none elsewhere."""
    return jnp.where(condition, jnp.uint32(0xFFFFFFFF), jnp.uint32(0))


def bit(value: Array, k: int) -> Array:
    """All slots where bit k of a value, int `[...]`, is set."""
    return everywhere(value >> k & 1 == 1)


def equal(numbers: Numbers, value: Array | int) -> Array:
    """The slots whose number is `value`, one int for all slots (or of each world, `[...]`)."""
    return reduce(jnp.bitwise_and, (~(word ^ bit(jnp.asarray(value), k)) for k, word in enumerate(numbers)))


def put(numbers: Numbers, slots: Array, value: Array | int) -> Numbers:
    """The numbers with `value` in some slots."""
    return tuple(word & ~slots | bit(jnp.asarray(value), k) & slots for k, word in enumerate(numbers))


def add_one(numbers: Numbers, slots: Array) -> Numbers:
    """The numbers, in some slots one more."""
    words = []
    for word in numbers:
        words.append(word ^ slots)
        slots = slots & word  # where there is a carry
    return tuple(words)


def subtract_one(numbers: Numbers, slots: Array) -> Numbers:
    """The numbers, in some slots one less."""
    words = []
    for word in numbers:
        words.append(word ^ slots)
        slots = slots & ~word  # where something was borrowed
    return tuple(words)


def push(word: Array, now: Array, first: Array) -> Array:
    """Where `now` holds, every slot one on and slot 0 as `first`, both bool `[...]`."""
    return jnp.where(now, word << 1 | first.astype(jnp.uint32), word)


def push_number(numbers: Numbers, now: Array, first: Array) -> Numbers:
    """`push` of a number, int `[...]`."""
    return tuple(push(word, now, first >> k & 1 == 1) for k, word in enumerate(numbers))


def newest(slots: Array) -> Array:
    """The first of some slots, if any."""
    return slots & -slots


def oldest(slots: Array) -> Array:
    """The last of some slots, if any."""
    return jnp.where(slots == 0, 0, jnp.uint32(1 << 31) >> jax.lax.clz(slots))


def value(numbers: Numbers, slot: int) -> Array:
    """The number in one slot, int32 `[...]`."""
    return reduce(jnp.bitwise_or, ((word >> slot & 1) << k for k, word in enumerate(numbers))).astype(jnp.int32)
