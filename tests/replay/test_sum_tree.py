"""The sum tree against NumPy."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.replay import sum_tree

CAPACITY = 20_011  # no level is full

write, write_ranges, find = jax.jit(sum_tree.write), jax.jit(sum_tree.write_ranges), jax.jit(sum_tree.find)


def tree_of(values: np.ndarray) -> sum_tree.SumTree:
    return write_ranges(sum_tree.allocate(len(values)), jnp.asarray(values, jnp.float32)[None], jnp.array([0]))


def check(tree: sum_tree.SumTree, values: np.ndarray) -> None:
    """The leaves are `values`, and every other entry is the sum of its children."""
    leaves = np.asarray(tree[0])
    np.testing.assert_array_equal(leaves[: len(values)], values.astype(np.float32))
    assert not leaves[len(values) :].any()
    for below, level in itertools.pairwise(map(np.asarray, tree)):
        sums = below.astype(np.float64).reshape(-1, sum_tree.FAN_OUT).sum(axis=-1)
        np.testing.assert_allclose(level[: len(sums)], sums, rtol=1e-6)
        assert not level[len(sums) :].any()


def test_writes_at_indices_and_of_rows() -> None:
    rng = np.random.default_rng(0)
    values, tree = np.zeros(CAPACITY, np.float32), sum_tree.allocate(CAPACITY)
    for _ in range(20):
        index, new = rng.choice(CAPACITY, 50, replace=False), rng.exponential(size=50).astype(np.float32)
        values[index] = new
        tree = write(tree, jnp.asarray(index), jnp.asarray(new))
        start, row = rng.integers(CAPACITY - 300), rng.exponential(size=300).astype(np.float32)
        values[start : start + 300] = row
        tree = write_ranges(tree, jnp.asarray(row)[None], jnp.array([start]))
    tree = write_ranges(tree, jnp.array([[7.0] * 300, [8.0] * 300]), jnp.array([CAPACITY - 300, 50]))
    values[-300:], values[50:350] = 7, 8
    check(tree, values)
    np.testing.assert_allclose(sum_tree.total(tree), values.sum(dtype=np.float64), rtol=1e-6)


@pytest.mark.parametrize("capacity", [1, 2, 7, 8, 9, 64, 65, 513])
def test_any_capacity(capacity: int) -> None:
    values = np.arange(1, capacity + 1) % 5 + 1
    tree = tree_of(values)
    check(tree, values)
    assert sum_tree.total(tree) == values.sum()
    assert find(tree, jnp.array([0.0, values.sum() - 0.5]))[0].tolist() == [0, capacity - 1]


def test_one_of_repeated_indices_is_kept_in_every_level() -> None:
    index = jnp.array([3, 9000, 3, 3, 9000])
    tree = write(sum_tree.allocate(CAPACITY), index, jnp.array([1.0, 5.0, 2.0, 4.0, 5.0]))
    values = np.zeros(CAPACITY)
    values[3], values[9000] = np.asarray(tree[0])[3], 5
    assert values[3] in (1, 2, 4)
    check(tree, values)


def test_rounding_errors_do_not_stay() -> None:
    """After large numbers are gone, the sums of small ones are exact."""
    rng = np.random.default_rng(0)
    small = rng.uniform(1e-3, 1e-2, CAPACITY)
    tree = tree_of(rng.uniform(1e6, 1e7, CAPACITY))
    for index in np.array_split(rng.permutation(CAPACITY), 11):
        index = np.resize(index, 1820)
        tree = write(tree, jnp.asarray(index), jnp.asarray(small[index], jnp.float32))
    check(tree, small)


def test_finds_what_a_running_sum_finds() -> None:
    """With integers, so that no sum is rounded."""
    rng = np.random.default_rng(0)
    values = rng.integers(0, 4, CAPACITY) * rng.integers(0, 2, CAPACITY)
    values[5000:9000] = 0
    ends = values.cumsum()
    u = np.concatenate([[0], ends[:-1][:500], rng.integers(0, ends[-1] * 4, 2000) / 4, [ends[-1] - 0.25]])
    index, value = find(tree_of(values), jnp.asarray(u, jnp.float32))
    np.testing.assert_array_equal(index, np.searchsorted(ends, u, side="right"))
    np.testing.assert_array_equal(value, values[np.asarray(index)])


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.999])
def test_never_finds_a_zero(zeros: float) -> None:
    """For any rounding between 1e-6 and 1e6, and any `u`."""
    rng = np.random.default_rng(0)
    values = 10 ** rng.uniform(-6, 6, CAPACITY) * (rng.random(CAPACITY) >= zeros)
    values[:200] = values[-200:] = 0
    tree = tree_of(values)
    total = np.float32(sum_tree.total(tree))
    edges = np.asarray(values, np.float32).cumsum()[:: CAPACITY // 1000]
    extremes = [0, np.nextafter(total, np.float32(0)), total, np.nextafter(total, np.float32(np.inf)), 2 * total]
    u = np.concatenate([rng.random(5000).astype(np.float32) * total, edges, extremes])
    index, value = find(tree, jnp.asarray(u, jnp.float32))
    assert (value > 0).all()
    np.testing.assert_array_equal(value, values.astype(np.float32)[np.asarray(index)])
