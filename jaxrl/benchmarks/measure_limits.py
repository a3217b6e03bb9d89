"""How near a training program comes to what its machine can do.

One iteration runs a number of kernels, which are in XLA's text of the compiled program. Its floor is the time that
these would take at best, one after another:

    a matrix product   what XLA needs for a product of the same shapes alone, in a loop
    any other kernel   what a small kernel needs in a loop, or the bytes of its results over the rate of a copy,
                       whichever is longer

It is a floor of this program, not of its algorithm: fewer or larger kernels would have a lower one. Of kernels that
update an array in place, and of branches, it counts nothing or the cost of a small kernel. On a CPU it does not hold
for the smallest programs, such as tabular Q-learning: XLA makes one function of a whole loop over small arrays.
"""

import collections
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import polars as pl

from jaxrl.benchmarks import profiles
from jaxrl.benchmarks.kernel_counts import Kernel, Product, Shape, count_kernels
from jaxrl.benchmarks.measure_agents import compile_program
from jaxrl.benchmarks.pages import Rows
from jaxrl.benchmarks.timing import TimedLoop, time_loops
from jaxrl.formatting import markdown_table
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.task import make_env
from jaxrl.training.program import run_options
from jaxrl.types import Array, PyTree
from jaxrl.xla.fusion import no_fuse

COPIED = 2**18
"""Numbers of the array whose copy is timed: 1 MiB, as the larger arrays of these programs, which stay in a cache."""
CHAIN = 64
"""Small kernels in a chain, so that the cost of the loop around them hardly counts."""
DTYPES = {"bf16": jnp.bfloat16, "f16": jnp.float16, "f32": jnp.float32, "f64": jnp.float64}

TEXT = """# How near training comes to the limits of its machine

An iteration of each program, and its floor: the time that its kernels would take at best, one after another. Matrix
products take as long as alone in a loop. Any other kernel takes {small_ns:.0f} ns, as a small one does, or as long as
its results at {copy_gb:.0f} GB/s, as in a copy within the cache. What other kernels compute costs nothing in this
floor. Medians of {repeats} runs, which took turns.

{table}

Where the time goes, by the names of XLA's kernels in a profile, which slows small ones:

{profiles}"""


def measure(experiment: Experiment, agents: int, seconds: float, repeats: int) -> dict[str, Any]:
    """Measures an iteration of an experiment, of one agent or of a population, and returns one row."""
    options = experiment.defaults
    env, env_params = make_env(options.task)
    _, trainer = experiment.build(env, env_params, options.config)
    program, run = compile_program(trainer, options, agents if agents > 1 else None)
    found = count_kernels(program.text() or "")
    products = sorted({product for kernel in found for product in kernel.products}, key=str)
    compiler_options = run_options(options.execution.sequential, jax.local_devices()[0])
    chain = _compile(*_small(), compiler_options)
    loops = [_compile(f, carry, compiler_options) for f, carry in [_copy(), *map(_alone, products)]]
    timings = time_loops([run, *(TimedLoop(*loop, 0.0) for loop in (chain, *loops))], seconds, repeats)
    took, chained, copy, *alone = [1 / timing.steps_per_second for timing in timings]
    small = chained / count_kernels(chain[0].as_text() or "").total()
    floor = _floor(found, dict(zip(products, alone, strict=True)), small, copy / (4 * COPIED))
    return {"experiment": experiment.name, "agents": agents, "seconds": took, **floor, "longest": _longest(run)}


def _longest(run: TimedLoop) -> list[str]:
    """The kernels that take most of a profile, with their share."""
    profiled = profiles.profile(lambda: run.run(3))
    total = sum(kernel.seconds for kernel in profiled)
    return [f"{kernel.name} {100 * kernel.seconds / total:.0f} %" for kernel in profiled[:8]]


def _floor(
    found: collections.Counter[Kernel], alone: dict[Product, float], small: float, byte: float
) -> dict[str, Any]:
    """The parts of the floor, in seconds.

    Args:
        found: the kernels, and how often they run.
        alone: seconds of each product.
        small: seconds of a small kernel.
        byte: seconds of one byte in a copy.
    """
    runs = dict.fromkeys(alone, 0)
    for kernel, times in found.items():
        for product in kernel.products:
            runs[product] += times
    others = {kernel: times for kernel, times in found.items() if not kernel.products}
    return {
        "products": sum(runs.values()),
        "product_flops": sum(times * product.flops for product, times in runs.items()),
        "product_seconds": sum(times * alone[product] for product, times in runs.items()),
        "other_kernels": sum(others.values()),
        "other_seconds": sum(times * max(small, kernel.written * byte) for kernel, times in others.items()),
        "small_kernel_seconds": small,
        "copy_bytes_per_second": 1 / byte,
    }


def _compile(
    body: Callable[[PyTree], PyTree], carry: PyTree, compiler_options: dict[str, Any]
) -> tuple[jax.stages.Compiled, PyTree]:
    """A compiled loop, `(carry, num_steps) -> carry`, and its carry."""
    run = jax.jit(lambda carry, steps: jax.lax.fori_loop(0, steps, lambda _, x: body(x), carry))
    return run.lower(carry, np.int32(0)).compile(compiler_options=compiler_options), carry


def _small() -> tuple[Callable[[PyTree], PyTree], PyTree]:
    """Small kernels, each of which waits for the one before.

    Beside a large array, which the last one changes: XLA makes one function of a whole loop over small arrays.
    """

    def body(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x, large = carry
        for _ in range(CHAIN):
            x = no_fuse(x * 0.5 + x[0])
        return x, large.at[0].set(x[0])

    return body, (jnp.zeros(64), jnp.zeros(COPIED))


def _copy() -> tuple[Callable[[Array], Array], Array]:
    return lambda x: x + 1, jnp.zeros(COPIED)


def _alone(product: Product) -> tuple[Callable[[PyTree], PyTree], PyTree]:
    """A matrix product by itself, which no pass of the loop can leave out."""

    def body(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        left, right, _ = carry
        result = jax.lax.dot_general(left, right, (product.contracting, product.batch))
        left, result = jax.lax.optimization_barrier((left, result))
        return left, right, result

    left, right = _random(product.left), _random(product.right)
    return body, (left, right, jax.lax.dot_general(left, right, (product.contracting, product.batch)))


def _random(shape: Shape) -> Array:
    return jax.random.normal(jax.random.key(0), shape.dims, DTYPES.get(shape.dtype, jnp.float32))


def tabulate(rows: Rows) -> pl.DataFrame:
    """One line for each program."""

    def line(row: dict[str, Any]) -> list[str]:
        floor = row["product_seconds"] + row["other_seconds"]
        return [
            row["experiment"],
            f"{row['agents']:,}",
            f"{1e3 * row['seconds']:.3g}",
            f"{1e3 * floor:.3g}",
            f"{100 * floor / row['seconds']:.0f} %",
            f"{row['products']:,}: {1e3 * row['product_seconds']:.3g} ms",
            f"{row['product_flops'] / row['product_seconds'] / 1e9 if row['products'] else 0:.0f}",
            f"{row['other_kernels']:,}: {1e3 * row['other_seconds']:.3g} ms",
        ]

    columns = ["experiment", "agents", "ms", "floor ms", "floor / time", "products", "GFLOP/s", "other kernels"]
    return pl.DataFrame([line(row) for row in rows], columns, orient="row")


def describe(rows: Rows, repeats: int) -> str:
    """What was measured, and the table, in Markdown."""
    table = tabulate(rows)
    return TEXT.format(
        small_ns=1e9 * float(np.median([row["small_kernel_seconds"] for row in rows])),
        copy_gb=float(np.median([row["copy_bytes_per_second"] for row in rows])) / 1e9,
        repeats=repeats,
        table=markdown_table(table, right=table.columns[1:]),
        profiles="\n".join(f"- {row['experiment']}, {row['agents']:,}: {', '.join(row['longest'])}" for row in rows),
    )
