"""`q_learning_gridworld`: its files, loading it, and an environment without a table."""

import csv
import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxrl import load, make
from jaxrl.cli.command import main
from jaxrl.experiments.q_learning_gridworld import experiment
from jaxrl.planning import acting_states

SMALL = [
    *("--env-options", "map=maze.txt", "--config.num-envs", "4", "--hparams.learning-rate-exponent", "0"),
    *("--log-every", "200", "--eval-episodes", "4", "--eval-max-steps", "20", "--num-seeds", "2"),
]


UNLIKE = r"""error: --env-options must stay ['map=S.G\nH#.\nH = -5'] to resume run, got ['map=S.G.\n']
"""


@pytest.fixture
def call(run_main, monkeypatch):
    """Calls the command with a short video, and returns its exit code, stdout and stderr."""

    def call(*arguments: str) -> tuple[int, str, str]:
        code, out, err = run_main(partial(main, experiment), *arguments)
        return code, "".join(f"{line}\n" for line in out), "".join(f"{line}\n" for line in err)

    monkeypatch.setattr("jaxrl.runs.train.VIDEO_STEPS", 10)
    return call


def test_it_finds_q_star_and_shows_it(call, tmp_path: Path) -> None:
    run, maze = tmp_path / "run", tmp_path / "maze.txt"
    maze.write_text("S.G\nH#.\nH = -5")
    code, out, err = call(*SMALL, "--total-steps", "1000", "--out", "run", "--record", "kept")
    assert code == 0, err
    assert "max error" in out
    assert "least visits" in out
    summary = json.loads((run / "summary.json").read_text())
    assert len(summary["max_error_per_seed"]) == 2
    assert summary["max_error"] == max(summary["max_error_per_seed"])
    assert summary["max_error"] < 1e-5
    assert summary["least_visits"] > 5
    with (run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10
    errors = [float(row["max_error"]) for row in rows if row["seed"] == "1"]
    assert errors[0] > 0.1 > 1e-5 > errors[-1]
    for name in ("values.png", "error.png"):
        assert f"run/{name}" in out
        assert (tmp_path / "kept" / name).exists()
        with Image.open(run / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    assert "![values](values.png)" in (tmp_path / "kept" / "README.md").read_text()

    maze.write_text("S.G.\n")  # the run keeps what it said
    code, _, err = call(*SMALL, "--total-steps", "2000", "--out", "run", "--resume")
    assert (code, err) == (2, UNLIKE)
    maze.unlink()
    policy = load(run, seed=1)
    learner = policy.agent_state.learner
    best = [-1.9, -1.0, 0, 0, 0, -1]  # V*, by hand; the floor below the goal is not reached, and stays at zero
    np.testing.assert_allclose(learner.q_values.max(1)[:2], best[:2], rtol=1e-5)
    assert learner.visits.sum(1).astype(bool).tolist() == [True, True, False, False, False, False]
    observation, _ = policy.env.reset(jax.random.key(0), policy.env_params)
    assert policy(jnp.stack([observation] * 3), jax.random.key(1)).tolist() == [0, 0, 0]


def test_the_states_where_the_agent_acts() -> None:
    """They exclude walls, terminal cells, cliffs, and floor beyond the hole."""
    env, params = make("GridWorld", map="S.H.\n.C##\n")
    acts = acting_states(env.mdp(params))
    assert acts.tolist() == [True, True, False, False, True, False, False, False]


def test_an_environment_without_a_table(call, tmp_path: Path) -> None:
    code, out, err = call("--env", "CartPole-v1")
    assert (code, out) == (2, "")
    assert err == ("error: --env must be GridWorld, whose states are numbered for a table, got 'CartPole-v1'\n")
    assert not list(tmp_path.iterdir())
