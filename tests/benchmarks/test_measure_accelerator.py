"""`benchmark accelerator`: its items at small sizes, its record, and what it does with failures and without time."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import pytest

from jaxrl.benchmarks import accelerator_items, measure_accelerator, profiles
from jaxrl.benchmarks.accelerator_items import SMALL, Item
from jaxrl.experiments import benchmark
from tests.integration.commands import command

QUICK = (
    Item("Limits", "all", partial(accelerator_items.limits, SMALL)),
    Item("The same", "Breakout", partial(accelerator_items.same_as_cpu, "Breakout-MinAtar", SMALL)),
    Item("Learning", "ppo_cartpole", partial(accelerator_items.learn, "ppo_cartpole", 0.0, {}, SMALL)),
    Item("Populations", "2", partial(accelerator_items.population, "ppo_cartpole", 2, {"config.num_envs": 2}, SMALL)),
    Item("Steps", "Breakout", partial(accelerator_items.random_steps, "Breakout-MinAtar", 4, SMALL)),
    Item("Kernels", "ppo_cartpole", partial(accelerator_items.kernels_of, "ppo_cartpole", SMALL)),
)


def run(items, minutes: float = 60.0, workers: int = 2, monkeypatch=None) -> list[dict]:
    rows: list[dict] = []
    monkeypatch.setattr(measure_accelerator, "items", lambda _: iter(items))
    measure_accelerator.measure(SMALL, minutes, workers, rows.append)
    return rows


@pytest.mark.slow
def test_the_items_and_their_page(monkeypatch) -> None:
    """A game is the same on the CPU as on the CPU, and every speed is a number."""
    rows = run(QUICK, monkeypatch=monkeypatch)
    assert [row["item"] for row in rows] == [item.name for item in QUICK]
    assert [row for row in rows if "failed" in row or "left out" in row] == []
    limits, same, learning, population, steps, counted = rows
    assert min(value for value in limits.values() if not isinstance(value, str)) > 0
    assert same["numbers"] > 1000 * SMALL.envs_compared
    assert same["different"] == 0
    # A return of 0 is reached at the first of 20 evaluations, after one iteration of 4 x 128 steps.
    assert learning["steps"] == 512
    assert learning["steps/s"] == pytest.approx(512 / learning["seconds"])
    assert population["steps/s"] == pytest.approx(2 * 2 * 128 * 1000 / population["ms/iteration"])
    assert steps["steps/s"] > 0
    assert counted["kernels"] > 100
    page = measure_accelerator.describe(rows, 60.0)
    assert "| item | numbers" not in page  # the columns stand in the order of the figures
    assert f"| Breakout | {same['steps']:,} | {same['numbers']:,} | 0 |" in page
    assert page.count("\n## ") == len(QUICK)


def test_differences_are_counted_in_every_leaf() -> None:
    here = {"a": jnp.arange(6), "b": (jnp.array([True, False]), jnp.float32(1))}
    there = {"a": jnp.arange(6).at[2:4].set(-1), "b": (jnp.array([True, True]), jnp.float32(1 + 2**-23))}
    assert accelerator_items.differences(here, here) == {"numbers": 9, "different": 0}
    assert accelerator_items.differences(here, there) == {"numbers": 9, "different": 4}


def test_failures_do_not_stop_the_others(monkeypatch) -> None:
    def broken():
        raise RuntimeError("no such device")

    items = [Item("A", "breaks when it compiles", broken), Item("A", "breaks", lambda: broken), *QUICK[:1]]
    rows = run(items, monkeypatch=monkeypatch)
    assert [row.get("failed") for row in rows] == ["RuntimeError: no such device"] * 2 + [None]


def test_what_time_does_not_allow_is_left_out(monkeypatch) -> None:
    rows = run(QUICK, minutes=0.0, monkeypatch=monkeypatch)
    assert [row["item"] for row in rows] == [item.name for item in QUICK]
    assert {row["left out"] for row in rows} == {"no time"}


def test_all_items_are_listed_by_their_worth() -> None:
    listed = list(accelerator_items.items(SMALL))
    groups = list(dict.fromkeys(item.group for item in listed))
    assert groups[:3] == ["Limits of the device", "The same as on the CPU", "Learning"]
    assert len({(item.group, item.name) for item in listed}) == len(listed)


def test_the_record_and_the_exit_status(tmp_path, monkeypatch) -> None:
    bad = Item("Games", "none", lambda: accelerator_items.same_as_cpu("Tennis", SMALL))
    monkeypatch.setattr(measure_accelerator, "items", lambda _: iter([*QUICK[4:5], bad]))
    monkeypatch.setattr("sys.argv", ["benchmark", "accelerator", "--small", "--record", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    assert end.value.code == 1
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["item"] for row in rows] == ["Breakout", "none"]
    assert "ArgumentError" in rows[1]["failed"]
    assert "python -m jaxrl.experiments.benchmark accelerator --small" in (tmp_path / "README.md").read_text()


def test_kernels_of_a_call() -> None:
    product = jax.jit(lambda x: jnp.sin(x @ x)).lower(jnp.ones((512, 512))).compile()
    x = jnp.ones((512, 512))
    found = profiles.profile(lambda: [product(x).block_until_ready() for _ in range(5)])
    assert [kernel.runs for kernel in found if "sin" in kernel.name or "dot" in kernel.name] != []
    assert all(kernel.runs % 5 == 0 for kernel in found if "dot" in kernel.name)
    assert found == sorted(found, key=lambda kernel: -kernel.seconds)


@pytest.mark.slow
def test_all_items_at_small_sizes(tmp_path) -> None:
    code, out, err = command("benchmark", "accelerator", "--small", "--workers", "2", "--record", str(tmp_path))
    assert code == 0, err
    assert "failed" not in out
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["item"] for row in rows] == [item.name for item in accelerator_items.items(SMALL)]
    (resumed,) = [row for row in rows if row["group"] == "Resuming"]
    assert resumed["different"] == 0
