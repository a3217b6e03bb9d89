"""`benchmark limits`: what it counts in programs whose kernels are known, its floor, and its page."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.benchmarks import measure_limits
from jaxrl.benchmarks.kernel_counts import Kernel, Product, Shape, count_kernels
from jaxrl.experiments import benchmark
from tests.integration.commands import command


def counted(function, *args):
    return count_kernels(jax.jit(function).lower(*args).compile().as_text())


def products(found) -> dict[Product, int]:
    return {product: runs for kernel, runs in found.items() for product in kernel.products}


def test_products_are_counted_once_for_each_run() -> None:
    """7 steps of an inner loop in each pass of an outer one of unknown length, which counts as one."""
    x, w = jnp.ones((32, 8)), jnp.ones((8, 8))

    def inner(x, _):
        return jnp.tanh(x @ w), None

    def outer(x, steps):
        return jax.lax.fori_loop(0, steps, lambda _, x: jax.lax.scan(inner, x, length=7)[0], x)

    ((product, runs),) = products(counted(outer, x, np.int32(3))).items()
    assert runs == 7
    assert product.flops == 2 * 32 * 8 * 8
    assert sorted([product.left.dims, product.right.dims]) == [(8, 8), (32, 8)]


@pytest.mark.parametrize(
    ("equation", "shapes", "flops"),
    [
        ("ij,jk->ik", ((3, 4), (4, 5)), 2 * 3 * 4 * 5),
        ("ji,jk->ik", ((40, 30), (40, 50)), 2 * 30 * 40 * 50),
        ("bij,bjk->bik", ((2, 30, 40), (2, 40, 50)), 2 * 2 * 30 * 40 * 50),
    ],
)
def test_the_operations_of_a_product(equation: str, shapes, flops: int) -> None:
    found = products(counted(lambda a, b: jnp.einsum(equation, a, b), *map(jnp.ones, shapes)))
    assert [product.flops for product in found] == [flops] if found else flops < 1_000  # small ones become loops
    for product in found:
        body, (left, right, result) = measure_limits._alone(product)
        assert result.size * 2 * (flops // (2 * result.size)) == flops
        assert body((left, right, result))[2].shape == result.shape


def test_what_a_kernel_writes() -> None:
    """The bytes of its results; nothing for an update in place."""
    found = counted(lambda x: jnp.sin(x), jnp.ones(1000, jnp.float32))
    assert [kernel.written for kernel in found] == [4000]
    ring = jax.jit(lambda ring, x: jax.lax.dynamic_update_index_in_dim(ring, x, 3, 0), donate_argnums=0)
    found = count_kernels(ring.lower(jnp.ones((1000, 10)), jnp.ones(10)).compile().as_text())
    assert max(kernel.written for kernel in found) == 0
    assert Shape("pred", (3, 5)).bytes == 15
    assert Shape("s64", (3,)).bytes == 24
    assert Shape("f32", ()).bytes == 4


def test_the_floor_is_the_sum_over_all_kernels() -> None:
    product = Product(Shape("f32", (2, 3)), Shape("f32", (3, 4)), ((1,), (0,)), ((), ()))
    assert product.flops == 2 * 2 * 3 * 4
    found = measure_limits.collections.Counter(
        {Kernel((product,), 32): 5, Kernel((), 0): 10, Kernel((), 4_000): 2, Kernel((), 100): 1}
    )
    floor = measure_limits._floor(found, {product: 1e-3}, small=1e-6, byte=1e-9)
    assert floor["products"] == 5
    assert floor["product_flops"] == 5 * 48
    assert floor["product_seconds"] == pytest.approx(5e-3)
    assert floor["other_kernels"] == 13
    assert floor["other_seconds"] == pytest.approx(10 * 1e-6 + 2 * 4e-6 + 1e-6)


def test_the_record(tmp_path) -> None:
    flags = "--experiments a2c_cartpole --seconds 0.01 --repeats 1"
    code, out, err = command("benchmark", "limits", *flags.split(), "--record", str(tmp_path))
    assert code == 0, err
    (row,) = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert row["products"] > 10
    assert row["product_seconds"] + row["other_seconds"] > 0
    page = (tmp_path / "README.md").read_text()
    assert "| a2c_cartpole | 1 |" in page
    assert "- a2c_cartpole, 1: " in page
    assert f"{row['other_kernels']:,}: " in out


def test_bad_input_is_one_line(monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["benchmark", "limits", "--experiments", "ppo_cartpol"])
    monkeypatch.setattr(benchmark.measure_limits, "measure", lambda *_: pytest.fail("it started to compile"))
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    assert end.value.code == 2
    assert "--experiments must be one that trains (the nearest is ppo_cartpole)" in capsys.readouterr().err
