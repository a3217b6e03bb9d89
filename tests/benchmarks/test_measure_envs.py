"""`benchmark envs`: its loops, its measurements, its record, its picture and bad input."""

import importlib.util
import json
import re
import statistics
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.benchmarks import env_tables
from jaxrl.benchmarks.measure_envs import OBSERVATIONS, implementations, missing_modules, random_rollout
from jaxrl.benchmarks.timing import TimedLoop, compile_loop, time_loops
from jaxrl.envs import GAMES, make
from jaxrl.experiments import benchmark
from jaxrl.formatting import markdown_table
from tests.integration.commands import command

N = 2
ENV = make("Breakout-MinAtar", "gymnax")[0]


@pytest.fixture(scope="module")
def loops() -> dict[str, TimedLoop]:
    """Breakout with each kind of observation, after 300 steps."""
    loops = {
        each.observation: compile_loop(*random_rollout(each)) for each in implementations("Breakout-MinAtar", N, ())
    }
    for loop in loops.values():
        loop.run(100)
        loop.run(200)
    return loops


def test_all_observations_are_of_the_same_games(loops) -> None:
    states = [jax.tree.leaves(loops[kind].carry.envs) for kind in OBSERVATIONS]
    for leaves in zip(*states, strict=True):
        np.testing.assert_array_equal(leaves[0], leaves[1])
        np.testing.assert_array_equal(leaves[0], leaves[2])
    carry = loops["none"].carry
    assert loops["none"].steps == 300
    assert 300 / 20 < carry.episodes.mean() < 300 / 5  # a random policy's episode is about 10 steps
    assert carry.reward.sum() > 0
    assert carry.observation == ()


def test_the_full_observation_is_written_every_step(loops) -> None:
    carry = loops["full"].carry
    assert (carry.observation.shape, carry.observation.dtype) == ((N, 10, 10, 4), jnp.bool_)
    np.testing.assert_array_equal(carry.observation, ENV.observe(carry.envs))
    whiles = [line for line in loops["full"].advance.as_text().splitlines() if " while(" in line]
    assert any(f"pred[{N},10,10,4]" in line for line in whiles)  # the loop carries it, so no step leaves it out
    whiles = [line for line in loops["none"].advance.as_text().splitlines() if " while(" in line]
    assert whiles
    assert not any(f"pred[{N},10,10,4]" in line for line in whiles)


def test_packed_observations_are_stored_every_step(loops) -> None:
    carry = loops["packed"].carry
    newest = (200 - 1) % len(carry.observation)  # the second run began at the first slot again
    np.testing.assert_array_equal(ENV.decode(carry.observation[newest]), ENV.observe(carry.envs))
    balls = np.asarray(ENV.decode(carry.observation))[..., 1].sum(axis=(-1, -2))
    np.testing.assert_array_equal(balls, 1)  # every slot holds a board
    trail = np.asarray(ENV.decode(carry.observation))[:newest, :, :, :, 2]
    follows = (np.asarray(ENV.decode(carry.observation))[1 : newest + 1, :, :, :, 2] != trail).any(axis=(-1, -2))
    assert follows.mean() > 0.9  # and not the same one


def test_steps_per_second_are_steps_over_time() -> None:
    """A loop that counts its steps counts the timed ones and those of the warm-up."""
    loop = compile_loop(lambda key: jnp.int32(0), lambda carry, num_steps: carry + num_steps)
    (timing,) = time_loops([loop], seconds=1e-4, repeats=3)
    assert loop.carry == loop.steps >= 3 * timing.num_steps
    assert timing.steps_per_second == timing.num_steps / sorted(timing.seconds)[1]
    assert len(timing.seconds) == 3
    assert min(timing.seconds) > 0
    assert timing.num_steps >= 8


def test_loops_that_take_turns_keep_their_own_timings() -> None:
    def start(size: int, key: jax.Array) -> jax.Array:
        return jnp.eye(size)

    def multiply(x: jax.Array, num_steps: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, num_steps, lambda _, x: jnp.tanh(x @ x), x)

    fast, slow = (compile_loop(partial(start, size), multiply) for size in (2, 300))
    warm_up = [8 * (4**k - 1) // 3 for k in range(16)]  # 8 steps, then 4 times as many until they take long enough
    for loop, timing in zip((fast, slow), time_loops([fast, slow], seconds=1e-2, repeats=3), strict=True):
        assert loop.steps - 3 * timing.num_steps in warm_up
        assert timing.compile_seconds == loop.compile_seconds


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> dict:
    """The record of a tiny run."""
    directory = tmp_path_factory.mktemp("record") / "envs"
    arguments = ["--envs", "CartPole-v1", "--num-envs", "2", "--seconds", "0.01", "--repeats", "1", "--no-baselines"]
    code, out, err = command("benchmark", "envs", *arguments, "--record", str(directory))
    assert code == 0, err
    assert "full" in out
    page = (directory / "README.md").read_text()
    results = json.loads((directory / "results.json").read_text())
    assert f"python -m jaxrl.experiments.benchmark envs {' '.join(arguments)}" in page
    assert results["command"] in page
    assert results["versions"]["jax"] == jax.__version__
    assert results["machine"]["device"] in page
    assert (directory / "steps_per_second.png").read_bytes().startswith(b"\x89PNG")
    return results


def test_the_record(recorded) -> None:
    assert {"command", "started", "commit", "versions", "machine", "settings", "rows"} == recorded.keys()
    rows = recorded["rows"]
    assert [(row["library"], row["observation"]) for row in rows] == [("jaxrl", x) for x in OBSERVATIONS]
    for row in rows:
        assert (row["env"], row["num_envs"], row["rules"]) == ("CartPole-v1", 2, "gymnax")
        assert row["description"] == "default rules, 500-step cap"
        assert len(row["seconds"]) == 1
        speed = row["num_envs"] * row["num_steps"] / statistics.median(row["seconds"])
        assert row["steps_per_second"] == pytest.approx(speed)
        assert row["compile_seconds"] > 0


def test_every_series_has_a_colour_and_a_name(tmp_path, monkeypatch) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _: drawn.append(figure))
    rows = [
        {"env": env, "library": library, "observation": observation, "rules": "gymnax", "steps_per_second": 10.0 * n,
         "description": "rules", "num_envs": n, "compile_seconds": 1.0}
        for env in ("Breakout-MinAtar", "CartPole-v1")
        for library, observations in (("jaxrl", OBSERVATIONS), ("gymnax", ("full",)))
        for observation in observations
        for n in (1, 1024, 2048, 4096)
    ]  # fmt: skip
    env_tables.draw(rows, "a machine", tmp_path / "picture.png")
    legend = drawn[0].legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == len(set(names)) == 4
    assert len({line.get_color() for line in legend.get_lines()}) == 4
    assert "jaxrl, none: no observation" in names
    assert "dashed: by the rules of pgx" not in names
    ticks = [text.get_text() for text in drawn[0].axes[0].get_xticklabels()]
    assert ticks == ["1", "1,024", "4,096"]  # 2,048 would touch both


def test_ratios_are_taken_under_the_same_rules() -> None:
    def row(library: str, observation: str, rules: str, speed: float) -> dict:
        return {"library": library, "observation": observation, "rules": rules, "steps_per_second": speed,
                "description": f"{rules}'s rules", "num_envs": 64, "compile_seconds": speed / 1000}  # fmt: skip

    rows = [
        row("jaxrl", "full", "gymnax", 8000.0),
        row("jaxrl", "none", "gymnax", 9000.0),
        row("gymnax", "full", "gymnax", 1000.0),
        row("jaxrl", "full", "pgx", 4000.0),
        row("jaxrl", "none", "pgx", 6000.0),
        row("pgx", "full", "pgx", 2000.0),
    ]
    table = env_tables.tabulate(rows)
    assert table.columns == ["N", "full", "none", "baseline", "compile s"]
    assert table.rows() == [
        ("64", "8k (8.0×)", "9k (9.0×)", "gymnax 1k", "9.0, 1.0"),
        ("64", "4k (2.0×)", "6k (3.0×)", "pgx 2k *", "6.0, 2.0"),
    ]
    assert env_tables.rules_of(rows) == "beside gymnax: gymnax's rules; beside pgx: pgx's rules"
    alone = env_tables.tabulate(rows[:2])
    assert alone.rows() == [("64", "8k", "9k", "–", "9.0")]
    assert markdown_table(alone, right=alone.columns).splitlines() == [
        "| N | full | none | baseline | compile s |", "| ---: | ---: | ---: | ---: | ---: |",
        "| 64 | 8k | 9k | – | 9.0 |",
    ]  # fmt: skip


@pytest.mark.parametrize("env_id", GAMES)
@pytest.mark.parametrize("baseline", ["gymnax", "pgx"])
def test_a_baseline_has_the_same_actions_and_board(env_id: str, baseline: str) -> None:
    if missing_modules(baseline):
        pytest.skip(f"{baseline} is not installed")
    ours, _, _, theirs = implementations(env_id, N, [baseline])
    assert theirs.space == ours.space
    board, full = (jax.eval_shape(random_rollout(each)[0], jax.random.key(0)) for each in (ours, theirs))
    observation = full.envs.observation if baseline == "pgx" else full.observation
    assert observation.shape == board.observation.shape


def own_cart_pole() -> tuple:
    return make("CartPole-v1")


def test_a_factory_has_no_baseline() -> None:
    """gymnax knows no such name."""
    together = implementations(f"{__name__}:own_cart_pole", N, ["gymnax"])
    assert [each.library for each in together] == ["jaxrl"] * len(OBSERVATIONS)
    with pytest.raises(ArgumentError, match=r"^env_id must step on the device, .*, got 'gymnasium:CartPole-v1'$"):
        implementations("gymnasium:CartPole-v1", N, ["gymnax"])


def test_a_baseline_that_is_not_installed_is_named(monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pgx_minatar" else real(name))
    assert missing_modules("gymnax") == []
    assert "pgx_minatar" in missing_modules("pgx")


BAD = [
    ("--envs Breakout-MinAtr", "--envs must be a known name .*, got 'Breakout-MinAtr'"),
    (
        "--envs Foo",
        r"--envs must be a known name \(one of Asterix-MinAtar, .*, GridWorld, .*, Pendulum-v1, .*\), got 'Foo'",
    ),
    ("--envs", "--envs must have at least one value, got none"),
    ("--num-envs 0", "--num-envs must be > 0, got 0"),
    ("--seconds nan", "--seconds must be > 0, got nan"),
    ("--repeats 0", "--repeats must be > 0, got 0"),
    ("--record A_FILE/x", "--record must be a directory that can be made \\(Not a directory\\), got A_FILE/x"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_bad_input_is_one_line(arguments: str, message: str, monkeypatch, capsys, tmp_path) -> None:
    (tmp_path / "A_FILE").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmark", "envs", "--no-baselines", *arguments.split()])
    monkeypatch.setattr(benchmark.measure_envs, "measure", lambda *_: pytest.fail("it started to compile"))
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    lines = capsys.readouterr().err.strip().splitlines()
    assert (end.value.code, len(lines)) == (2, 1)
    assert re.search(message, lines[0]), lines[0]
