"""A sum tree with wide nodes: numbers are drawn in proportion to them, and changed, in time O(log n).

Schaul et al. 2016 (https://arxiv.org/abs/1511.05952, appendix B.2.1) keep priorities in a binary tree whose nodes hold
the sums of their children. Here a node has `FAN_OUT` children, which lie side by side: a search reads one row of them a
level, and a million priorities are seven levels deep instead of twenty.

A sum is always added up from the children, never changed by a difference, so that no rounding error outlives the
numbers it came from.
"""

from itertools import accumulate

import jax
import jax.numpy as jnp

from jaxrl.types import Array

FAN_OUT = 8
"""Children of a node. On a CPU 8 was the fastest for 64 agents at a million; 4 and 16 came close, 2 and 32 did not."""

SumTree = tuple[Array, ...]
"""Levels from the leaves to the root, float32 `[rows * FAN_OUT]` each, the last of one row: entry `i` of a level is the
sum of row `i` of the level before it. Entries that stand for nothing are 0. Levels are flat because XLA copies an array
that it updates in one shape and carries through a loop in another; only reads reshape."""


def allocate(capacity: int) -> SumTree:
    """A tree of `capacity` zeros."""
    levels: list[Array] = []
    size = capacity
    while not levels or size > 1:
        size = -(-size // FAN_OUT)
        levels.append(jnp.zeros(size * FAN_OUT, jnp.float32))
    return tuple(levels)


def total(tree: SumTree) -> Array:
    """The sum of all numbers, float32 scalar."""
    return tree[-1].sum()


def write(tree: SumTree, index: Array, value: Array) -> SumTree:
    """The tree with `value`, float32 `[B]`, at `index`, int32 `[B]`, each within the capacity.

    Of different values for one index, one is kept. Values are at least 0.
    """
    levels = [tree[0].at[index].set(value, mode="promise_in_bounds")]
    for level in tree[1:]:
        index = index // FAN_OUT
        sums = _rows(levels[-1]).at[index].get(mode="promise_in_bounds").sum(axis=-1)
        levels.append(level.at[index].set(sums, mode="promise_in_bounds"))
    return tuple(levels)


def write_ranges(tree: SumTree, rows: Array, starts: Array) -> SumTree:
    """The tree with each of `rows`, float32 `[K, N]`, from its start on, int32 `[K]`; all within the capacity.

    Together, because between two calls XLA copies the tree: the sums of one are read before the other writes.
    """
    values, levels = rows, list[Array]()
    for k, level in enumerate(tree):
        if k > 0:
            below = levels[-1]
            num_rows = len(below) // FAN_OUT
            size = min(num_rows, (values.shape[1] - 2) // FAN_OUT + 2)  # rows that so many neighbours may lie in
            starts = jnp.minimum(starts // FAN_OUT, num_rows - size)
            touched = [jax.lax.dynamic_slice_in_dim(below, start * FAN_OUT, size * FAN_OUT) for start in starts]
            values = _rows(jnp.stack(touched)).sum(axis=-1)
        for start, row in zip(starts, values, strict=True):
            level = jax.lax.dynamic_update_slice_in_dim(level, row, start, axis=0)
        levels.append(level)
    return tuple(levels)


def find(tree: SumTree, u: Array) -> tuple[Array, Array]:
    """Where the running sum of all numbers exceeds `u`.

    Args:
        tree: a tree with a number above 0.
        u: float32 `[B]` in [0, total).

    Returns:
        The index, int32 `[B]`, and the number that is there, float32 `[B]`. However the sums were rounded, and for any
        `u`, it is above 0. A float32 tells 2^24 places of the total apart: of a million numbers that are alike, each is
        found with its probability to within 6%.
    """
    column = jnp.arange(FAN_OUT, dtype=jnp.int32)
    index = jnp.zeros(u.shape, jnp.int32)
    for level in reversed(tree):
        # All searches share the root: one row, for as many as they are.
        rows = _rows(level)
        values = rows if len(rows) == 1 else rows.at[index].get(mode="promise_in_bounds")
        # Eight additions fuse with what uses them, where `cumsum` would be kernels of their own.
        ends = jnp.stack(list(accumulate(jnp.unstack(values, axis=-1))), axis=-1)
        exceeds = jnp.where((ends > u[:, None]) & (values > 0), column, FAN_OUT).min(axis=-1)
        last = jnp.where(values > 0, column, 0).max(axis=-1)  # u may be beyond a row's sum by a rounding
        chosen = jnp.minimum(exceeds, last)
        here = column == chosen[:, None]
        u = u - jnp.where(here, ends - values, 0.0).sum(axis=-1)
        index = index * FAN_OUT + chosen
    return index, jnp.where(here, values, 0.0).sum(axis=-1)


def _rows(level: Array) -> Array:
    return level.reshape(*level.shape[:-1], -1, FAN_OUT)
