"""A uniform sample of all that was ever offered (Vitter 1985, https://doi.org/10.1145/3147.3165, algorithm R)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.replay.sampling import draw_below
from jaxrl.types import Array, PyTree


class Reservoir(NamedTuple):
    """C places. After n ≥ C offers, each offered item is in one of them with the same probability, C / n.

    Attributes:
        items: leaves `[C, ...]`.
        offered: how many items were, uint32 scalar, < 2^32.
    """

    items: PyTree
    offered: Array

    @property
    def size(self) -> Array:
        """How many places are taken, uint32 scalar."""
        return jnp.minimum(self.offered, len(jax.tree.leaves(self.items)[0]))


def empty_reservoir(capacity: int, example: PyTree) -> Reservoir:
    """A reservoir for so many items like `example`, arrays or `ShapeDtypeStruct`s."""
    items = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), example)
    return Reservoir(items, jnp.uint32(0))


def offer(reservoir: Reservoir, items: PyTree, counts: Array, key: Array) -> Reservoir:
    """Offers items one after another: the n-th one takes a place with probability min(1, C / n), drawn uniformly.

    Args:
        reservoir: where.
        items: leaves `[M, ...]`.
        counts: which of them are offered, bool `[M]`.
        key: of the draws.
    """
    capacity = len(jax.tree.leaves(reservoir.items)[0])
    number = reservoir.offered + jnp.cumsum(counts, dtype=jnp.uint32)  # of each item, from 1
    drawn = draw_below(key, len(counts), jnp.maximum(number, 1), 2**32 - 1)
    place = jnp.where(number <= capacity, number - 1, drawn)
    place = jnp.where(counts & (place < capacity), place, capacity).astype(jnp.int32)
    order = jnp.argsort(place, stable=True)  # of several items in one place, the last one stays
    place = place[order]
    place = jnp.where(jnp.append(place[1:] != place[:-1], True), place, capacity)
    kept = jax.tree.map(lambda x, new: x.at[place].set(new[order], mode="drop"), reservoir.items, items)
    return Reservoir(kept, reservoir.offered + counts.sum(dtype=jnp.uint32))


def draw(reservoir: Reservoir, key: Array, batch_size: int) -> PyTree:
    """Items drawn uniformly with replacement, leaves `[B, ...]`; zeros if there are none."""
    rows = draw_below(key, batch_size, jnp.maximum(reservoir.size, 1), len(jax.tree.leaves(reservoir.items)[0]))
    return jax.tree.map(lambda x: x[rows.astype(jnp.int32)], reservoir.items)
