"""What `benchmark envs` measures is what it says, and what it leaves can be read."""

import importlib.util
import json
import re
import statistics
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl.benchmarks import report
from jaxrl.benchmarks.envs import FORMS, lineup, missing_modules, rollout
from jaxrl.benchmarks.measure import Program, measure
from jaxrl.envs import GAMES, make
from jaxrl.experiments import benchmark
from tests.integration.commands import command

N = 2
ENV = make("Breakout-MinAtar", "gymnax")[0]


@pytest.fixture(scope="module")
def programs() -> dict[str, Program]:
    """The three forms of Breakout, 300 steps on."""
    programs = {
        environments.form: Program(*rollout(environments)) for environments in lineup("Breakout-MinAtar", N, ())
    }
    for program in programs.values():
        program.run(100)
        program.run(200)
    return programs


def test_the_forms_play_the_same_games(programs) -> None:
    states = [jax.tree.leaves(programs[form].carry.env_batch) for form in FORMS]
    for leaves in zip(*states, strict=True):
        np.testing.assert_array_equal(leaves[0], leaves[1])
        np.testing.assert_array_equal(leaves[0], leaves[2])
    carry = programs["none"].carry
    assert programs["none"].steps == 300
    assert 300 / 20 < carry.episodes.mean() < 300 / 5  # a random policy's episode is about 10 steps
    assert carry.reward.sum() > 0
    assert carry.observation == ()


def test_the_boolean_form_writes_the_whole_observation_every_step(programs) -> None:
    carry = programs["boolean"].carry
    assert (carry.observation.shape, carry.observation.dtype) == ((N, 10, 10, 4), jnp.bool_)
    np.testing.assert_array_equal(carry.observation, ENV.observe(carry.env_batch))
    loops = [line for line in programs["boolean"].compiled.as_text().splitlines() if " while(" in line]
    assert any(f"pred[{N},10,10,4]" in line for line in loops)  # the loop carries it, so no step leaves it out
    loops = [line for line in programs["none"].compiled.as_text().splitlines() if " while(" in line]
    assert loops
    assert not any(f"pred[{N},10,10,4]" in line for line in loops)


def test_the_packed_form_stores_every_step(programs) -> None:
    carry = programs["packed"].carry
    newest = (200 - 1) % len(carry.observation)  # the second run began at the first slot again
    np.testing.assert_array_equal(ENV.decode(carry.observation[newest]), ENV.observe(carry.env_batch))
    balls = np.asarray(ENV.decode(carry.observation))[..., 1].sum(axis=(-1, -2))
    np.testing.assert_array_equal(balls, 1)  # every slot holds a board
    trail = np.asarray(ENV.decode(carry.observation))[:newest, :, :, :, 2]
    follows = (np.asarray(ENV.decode(carry.observation))[1 : newest + 1, :, :, :, 2] != trail).any(axis=(-1, -2))
    assert follows.mean() > 0.9  # and not the same one


def test_steps_per_second_are_steps_over_time() -> None:
    """A program that counts its steps: it has taken all that were timed, and those of the warm-up."""
    program = Program(lambda key: jnp.int32(0), lambda carry, num_steps: carry + num_steps)
    (timing,) = measure([program], seconds=1e-4, repeats=3)
    assert program.carry == program.steps >= 3 * timing.num_steps
    assert len(timing.seconds) == 3
    assert min(timing.seconds) > 0
    assert timing.num_steps >= 8


@pytest.fixture(scope="module")
def recorded(tmp_path_factory) -> dict:
    """A record of the smallest run."""
    directory = tmp_path_factory.mktemp("record") / "envs"
    arguments = ["--envs", "CartPole-v1", "--num-envs", "2", "--seconds", "0.01", "--repeats", "1", "--no-peers"]
    code, out, err = command("benchmark", "envs", *arguments, "--record", str(directory))
    assert code == 0, err
    assert "whole" in out
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
    assert [(row["implementation"], row["form"]) for row in rows] == [("jaxrl", x) for x in ("whole", "packed", "none")]
    for row in rows:
        assert (row["environment"], row["num_envs"], row["rules"]) == ("CartPole-v1", 2, "gymnax")
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
        {"environment": environment, "implementation": name, "form": form,
         "rules": "pgx" if name == "pgx" else "gymnax", "steps_per_second": 10.0 * n, "description": "rules",
         "num_envs": n, "compile_seconds": 1.0}
        for environment, forms in (("Breakout-MinAtar", ("none", "packed", "boolean")), ("CartPole-v1", ("whole",)))
        for name, forms in (("jaxrl", forms), ("gymnax", ("whole",)))
        for form in forms
        for n in (1, 1024, 2048, 4096)
    ]  # fmt: skip
    report.draw(rows, "a machine", tmp_path / "picture.png")
    legend = drawn[0].legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == len(set(names)) == 5
    assert len({line.get_color() for line in legend.get_lines()}) == 5
    assert "jaxrl, no observation" in names
    assert "dashed: under the rules of pgx" not in names
    ticks = [text.get_text() for text in drawn[0].axes[0].get_xticklabels()]
    assert ticks == ["1", "1,024", "4,096"]  # 2,048 would touch both


def test_ratios_are_taken_under_the_same_rules() -> None:
    def row(implementation: str, form: str, rules: str, speed: float) -> dict:
        return {"implementation": implementation, "form": form, "rules": rules, "steps_per_second": speed,
                "description": f"{rules}'s rules", "num_envs": 64, "compile_seconds": speed / 1000}  # fmt: skip

    slow, fast = report.compare(
        [
            row("jaxrl", "boolean", "gymnax", 8000.0),
            row("jaxrl", "none", "gymnax", 9000.0),
            row("gymnax", "whole", "gymnax", 1000.0),
            row("jaxrl", "boolean", "pgx", 4000.0),
            row("jaxrl", "none", "pgx", 6000.0),
            row("pgx", "whole", "pgx", 2000.0),
        ]
    )
    assert report.cells(slow) == ["64", "8k (8.0×)", "9k (9.0×)", "gymnax 1k", "9.0, 1.0"]
    assert report.cells(fast) == ["64", "4k (2.0×)", "6k (3.0×)", "pgx 2k *", "6.0, 2.0"]


@pytest.mark.parametrize("environment", GAMES)
@pytest.mark.parametrize("peer", ["gymnax", "pgx"])
def test_a_peer_has_the_same_actions_and_board(environment: str, peer: str) -> None:
    if missing_modules(peer):
        pytest.skip(f"{peer} is not installed")
    boolean, _, _, theirs = lineup(environment, N, [peer])
    assert theirs.num_actions == boolean.num_actions
    board, whole = (jax.eval_shape(rollout(environments)[0], jax.random.key(0)) for environments in (boolean, theirs))
    observation = whole.env_batch.observation if peer == "pgx" else whole.observation
    assert observation.shape == board.observation.shape


def test_a_peer_that_is_not_installed_is_named(monkeypatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pgx_minatar" else real(name))
    assert missing_modules("gymnax") == []
    assert "pgx_minatar" in missing_modules("pgx")


BAD = [
    ("--envs Breakout-MinAtr", "--envs must be a known name .*, got 'Breakout-MinAtr'"),
    ("--envs", "--envs must name at least one, got none"),
    ("--num-envs 0", "--num-envs must be > 0, got 0"),
    ("--seconds nan", "--seconds must be > 0, got nan"),
    ("--repeats 0", "--repeats must be > 0, got 0"),
    ("--record A_FILE/x", "--record A_FILE/x cannot be made: Not a directory"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_bad_input_is_one_line(arguments: str, message: str, monkeypatch, capsys, tmp_path) -> None:
    (tmp_path / "A_FILE").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmark", "envs", "--no-peers", *arguments.split()])
    monkeypatch.setattr(benchmark, "measure_env", lambda *_: pytest.fail("it started to compile"))
    with pytest.raises(SystemExit) as end:
        benchmark.main()
    lines = capsys.readouterr().err.strip().splitlines()
    assert (end.value.code, len(lines)) == (2, 1)
    assert re.search(message, lines[0]), lines[0]
