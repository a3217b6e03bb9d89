"""`benchmark atari`: what it compares, its record and bad input."""

import json
import sys

import numpy as np
import pytest

import jaxrl
from jaxrl.benchmarks import measure_atari
from jaxrl.benchmarks.measure_atari import SteppedEnvs, SteppedReference, StillEnvs, describe, tabulate
from jaxrl.experiments import benchmark
from tests.integration.commands import command

pytest.importorskip("ale_py", reason="needs pip install 'jaxrl[atari]'")


def test_both_show_the_same_kind_of_steps() -> None:
    """Frames and actions are of the same shapes, and a frame skip of 4 moves both as far."""
    env, _ = jaxrl.make("atari:Pong")
    ours, theirs = SteppedEnvs(env.make_envs(2, False), env, 2), SteppedReference(env, 2)
    observation = theirs.envs.reset(seed=0)[0]
    assert (observation.shape, observation.dtype) == ((2, *env.example.observation.shape), np.uint8)
    assert theirs.envs.single_action_space.n == ours.num_actions == 6
    assert ours.run(8) > 0
    assert theirs.run(8) > 0
    theirs.envs.reset(seed=0)
    frames = [theirs.envs.step(np.zeros(2, np.int32))[4]["episode_frame_number"] for _ in range(2)]
    assert (frames[1] - frames[0]).tolist() == [4, 4]


def test_still_envs_never_end() -> None:
    env, _ = jaxrl.make("atari:Pong")
    envs = StillEnvs(env, 3)
    shown = envs.reset(np.arange(3))
    outcome = envs.step(np.zeros(3, np.int32))
    assert outcome.last is outcome.first is shown
    assert shown.observation.shape == (3, *env.example.observation.shape)
    assert not (outcome.terminated | outcome.truncated).any()


def test_the_table() -> None:
    speeds = {"env_steps_per_second": 3000.0, "slowest": 1500.0, "fastest": 6000.0}
    row = {"measured": "DQN", "env": "atari:Pong", "num_envs": 8, "seconds": [1.0] * 3, **speeds}
    row |= {f"reference_{name}": 2 * speed for name, speed in speeds.items()}
    beside = "emulators that stand still"
    line = ("DQN", "atari:Pong", "8", "3k (1.5k to 6k)", beside, "6k (3k to 12k)", "0.50")
    assert tabulate([row]).row(0) == line
    assert "medians of 3 runs" in describe([row])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--envs Pong", "--envs must be a game of Atari, such as atari:Pong, got 'Pong'"),
        ("--envs atari:Pongg", "--envs must be a game that ale-py has (the nearest is atari:Pong), got 'atari:Pongg'"),
        ("--envs", "--envs must have at least one value, got none"),
    ],
)
def test_bad_input(arguments: str, message: str, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "atari", *arguments.split()])
    monkeypatch.setattr(measure_atari, "measure", lambda *_: pytest.fail("it started to measure"))
    with pytest.raises(SystemExit, match=r"^2$"):
        benchmark.main()
    assert capsys.readouterr().err.strip().endswith(message)


@pytest.mark.slow
def test_the_record(tmp_path) -> None:
    sizes = "--seconds 0.01 --repeats 2 --envs atari:Pong --num-envs 2"
    code, out, err = command("benchmark", "atari", *sizes.split(), "--record", str(tmp_path))
    assert code == 0, err
    assert "ale-py" in out
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [row["measured"] for row in rows] == ["random actions", "DQN"]
    assert all(len(row["seconds"]) == len(row["reference_seconds"]) == 2 for row in rows)
    assert sizes in (tmp_path / "README.md").read_text()
