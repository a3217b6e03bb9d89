"""Time of prioritised sampling: with the sum tree, and with a cumulative sum over all priorities."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import polars as pl

from jaxrl.benchmarks.pages import Rows
from jaxrl.benchmarks.timing import compile_loop, time_loops
from jaxrl.formatting import markdown_table
from jaxrl.replay import sum_tree
from jaxrl.types import Array, PyTree
from jaxrl.xla.threefry import inline

ROW = 128
"""Priorities written each step."""

TEXT = """# Time of prioritised sampling

Each step writes a row of {row} priorities, samples a batch in proportion to all priorities (one index from each of B
equal parts of their sum), and changes the priorities of the batch. The times are microseconds per step and agent, the
median of {repeats} runs of a compiled loop; the loops of a line take turns. A agents share one program, by `vmap`.
Compile times are in seconds, without any cache.

{table}"""


class Priorities(NamedTuple):
    """A structure that holds non-negative numbers.

    Attributes:
        allocate: `(capacity) -> structure`.
        write_rows: `(structure, row[N], start) -> structure`.
        write: `(structure, index[B], value[B]) -> structure`.
        find: `(structure, part[B]) -> index[B]`, where the running sum exceeds that part, in [0, 1), of the total.
    """

    allocate: Callable[[int], PyTree]
    write_rows: Callable[[PyTree, Array, Array], PyTree]
    write: Callable[[PyTree, Array, Array], PyTree]
    find: Callable[[PyTree, Array], Array]


def _search(priorities: Array, part: Array) -> Array:
    ends = jnp.cumsum(priorities)
    return jnp.minimum(jnp.searchsorted(ends, part * ends[-1], side="right"), len(ends) - 1)


STRUCTURES = {
    "sum tree": Priorities(
        sum_tree.allocate,
        lambda tree, row, start: sum_tree.write_ranges(tree, row[None], start[None]),
        sum_tree.write,
        lambda tree, part: sum_tree.find(tree, part * sum_tree.total(tree))[0],
    ),
    "cumulative sum": Priorities(
        jnp.zeros,
        lambda p, row, start: jax.lax.dynamic_update_slice_in_dim(p, row, start, axis=0),
        lambda p, index, value: p.at[index].set(value, mode="promise_in_bounds"),
        _search,
    ),
}


def sampling_loop(
    structure: Priorities, capacity: int, agents: int, batch_size: int
) -> tuple[Callable[[Array], PyTree], Callable[[PyTree, Array], PyTree]]:
    """The loop as `(init, run)`: `(key) -> carry` and `(carry, num_steps) -> carry`."""
    slots = -(-capacity // ROW)

    def init(key: Array) -> PyTree:
        full = jax.random.uniform(key, (agents, slots * ROW), minval=0.01)
        priorities = jax.vmap(lambda row: structure.write_rows(structure.allocate(row.size), row, jnp.int32(0)))
        return jnp.int32(0), jax.random.split(key, agents), priorities(full), jnp.zeros((agents, batch_size), jnp.int32)

    def step(t: Array, key: Array, priorities: PyTree) -> tuple[PyTree, Array]:
        priorities = structure.write_rows(priorities, jnp.ones(ROW), t % slots * ROW)
        draw = jax.random.uniform(inline(jax.random.fold_in(inline(key), t)), (batch_size,))
        index = structure.find(priorities, (jnp.arange(batch_size) + draw) / batch_size)
        return structure.write(priorities, index, 0.5 + draw), index

    def run(carry: PyTree, num_steps: Array) -> PyTree:
        def body(_: Array, carry: PyTree) -> PyTree:
            t, keys, priorities, found = carry
            priorities, index = jax.vmap(step, in_axes=(None, 0, 0))(t, keys, priorities)
            return t + 1, keys, priorities, found + index

        return jax.lax.fori_loop(0, num_steps, body, carry)

    return init, run


def measure(capacity: int, agents: int, batch_size: int, seconds: float, repeats: int) -> Rows:
    """Measures all structures in turns, and returns one row for each."""
    loops = [compile_loop(*sampling_loop(structure, capacity, agents, batch_size)) for structure in STRUCTURES.values()]
    return [
        {
            "structure": name,
            "capacity": capacity,
            "agents": agents,
            "batch_size": batch_size,
            "microseconds": 1e6 / timing.steps_per_second / agents,
            **timing._asdict(),
        }
        for name, timing in zip(STRUCTURES, time_loops(loops, seconds, repeats), strict=True)
    ]


def tabulate(rows: Rows) -> pl.DataFrame:
    """One line for the rows that were measured together."""
    lines: dict[tuple[int, ...], Rows] = {}
    for row in rows:
        lines.setdefault((row["capacity"], row["agents"], row["batch_size"]), []).append(row)
    cells = [
        [
            *(f"{size:,}" for size in sizes),
            *(f"{row['microseconds']:,.1f}" for row in together),
            ", ".join(f"{row['compile_seconds']:.1f}" for row in together),
        ]
        for sizes, together in lines.items()
    ]
    columns = ["capacity", "A", "B", *(f"{name} µs" for name in STRUCTURES), "compile s"]
    return pl.DataFrame(cells, columns, orient="row")


def describe(rows: Rows) -> str:
    """What was measured, and the table, in Markdown."""
    table = tabulate(rows)
    return TEXT.format(row=ROW, repeats=len(rows[0]["seconds"]), table=markdown_table(table, right=table.columns))
