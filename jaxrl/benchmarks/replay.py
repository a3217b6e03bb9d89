"""Time of prioritised sampling: by the sum tree, and by a cumulative sum over all priorities.

One step is what a training step asks for: a row of new priorities is written, a batch drawn in proportion to all of
them (from equal parts of their sum), and its priorities are changed. All is inside of one compiled loop that carries
the priorities.
"""

import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from rich.table import Table

from jaxrl.benchmarks.measure import Program, measure
from jaxrl.replay import sum_tree
from jaxrl.types import Array, PyTree
from jaxrl.xla.threefry import inline

ROW = 128
"""Priorities written a step."""

PAGE = """# Time of prioritised sampling

```
{command}
```

Microseconds of one step of one agent, the median of {repeats} runs of one compiled loop, all programs of a line run in
turns. A step writes a row of {row} new priorities, draws a batch in proportion to all of them, and changes the
priorities of the batch. `A` agents are one program, by `vmap`; compile times are seconds, with nothing cached.

{table}

{machine}, {system}. Run on {date} at commit {commit}, with jax {jax}.
"""


class Priorities(NamedTuple):
    """A structure that holds numbers at least 0.

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


def loop(
    structure: Priorities, capacity: int, agents: int, batch_size: int
) -> tuple[Callable[[Array], PyTree], Callable[[PyTree, Array], PyTree]]:
    """`(init, run)` of many steps: `(key) -> carry` and `(carry, num_steps) -> carry`."""
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


def measure_replay(capacity: int, agents: int, batch_size: int, seconds: float, repeats: int) -> list[dict[str, Any]]:
    """One row, in JSON's types, for each structure, all run in turns."""
    programs = [Program(*loop(structure, capacity, agents, batch_size)) for structure in STRUCTURES.values()]
    timings = measure(programs, seconds, repeats)
    return [
        {
            "structure": name,
            "capacity": capacity,
            "agents": agents,
            "batch_size": batch_size,
            "num_steps": timing.num_steps,
            "microseconds": statistics.median(timing.seconds) / timing.num_steps / agents * 1e6,
            "seconds": timing.seconds,
            "compile_seconds": timing.compile_seconds,
        }
        for name, timing in zip(STRUCTURES, timings, strict=True)
    ]


HEADER = ["capacity", "A", "batch", *(f"{name} µs" for name in STRUCTURES), "compile s"]


def cells(rows: list[dict[str, Any]]) -> list[list[str]]:
    """The lines of a table, one for the rows that were measured together."""
    together: dict[tuple[int, int, int], list[dict[str, Any]]] = {}
    for row in rows:
        together.setdefault((row["capacity"], row["agents"], row["batch_size"]), []).append(row)
    return [
        [
            *(f"{x:,}" for x in sizes),
            *(f"{row['microseconds']:,.1f}" for row in here),
            ", ".join(f"{row['compile_seconds']:.1f}" for row in here),
        ]
        for sizes, here in together.items()
    ]


def screen_table(rows: list[dict[str, Any]]) -> Table:
    """All that was measured."""
    return right_aligned(HEADER, cells(rows))


def right_aligned(header: list[str], lines: list[list[str]]) -> Table:
    """A table of numbers for the screen."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in header:
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*line)
    return table


def page(results: dict[str, Any]) -> str:
    """The page, in Markdown, of what `results.json` holds."""
    lines = [HEADER, ["---:"] * len(HEADER), *cells(results["rows"])]
    return PAGE.format(
        command=results["command"],
        repeats=len(results["rows"][0]["seconds"]),
        row=ROW,
        table="\n".join("| " + " | ".join(line) + " |" for line in lines),
        machine=results["machine"]["device"],
        system=results["machine"]["system"],
        date=results["started"][:10],
        commit=results["commit"] or "none (an installed package)",
        jax=results["versions"]["jax"],
    )
