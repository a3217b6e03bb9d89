"""What a run leaves to look at."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from PIL import Image

from jaxrl import Transition
from jaxrl.arguments import ArgumentError
from jaxrl.cli.record import record
from jaxrl.envs import make
from jaxrl.envs.render import BACKGROUND, PALETTE, render, render_state
from jaxrl.training.report import film, interval_95, learning_curve
from jaxrl.training.sinks import CSVSink, brief


def test_interval_95() -> None:
    assert interval_95([3.0]) == 0.0
    # Student's t with 2 degrees of freedom is 4.303 at 97.5 %; the standard deviation here is 1.
    assert interval_95([1.0, 2.0, 3.0]) == pytest.approx(4.3027 / np.sqrt(3), rel=1e-4)


def test_a_board_is_drawn_cell_by_cell() -> None:
    env, _ = make("Breakout-MinAtar")
    observation = np.zeros((10, 10, 4), bool)
    observation[9, 4, 0] = observation[1, 2, 3] = True
    picture = render(env, observation)
    assert picture.getpixel((4 * 40 + 20, 9 * 40 + 20)) == PALETTE[0]
    assert picture.getpixel((2 * 40 + 20, 1 * 40 + 20)) == PALETTE[3]
    assert picture.getpixel((20, 20)) == BACKGROUND


@pytest.mark.parametrize("observation", [np.array([0.5, 0, 0.1, 0]), np.arange(7.0), np.zeros((4, 5)), np.float32(3)])
def test_any_observation_can_be_drawn(observation) -> None:
    env, _ = make("CartPole-v1")
    picture = render(env if np.shape(observation) == (4,) else None, observation, ("caption",))
    assert picture.size == (580, 400)


@pytest.mark.parametrize("name", ["Breakout-MinAtar", "CartPole-v1", "Acrobot-v1"])
def test_a_state_is_drawn_as_its_observation(name: str) -> None:
    env, params = make(name)
    observation, state = env.reset(jax.random.key(0), params)
    expected = render(env, observation, ("caption",))
    assert render_state(env, state, params, ("caption",)) == expected
    assert render_state(env, state) == render(env, observation)
    assert render_state(env, state) != expected


def test_ten_channels_can_be_told_apart(tmp_path: Path) -> None:
    """Nine cells of each of ten channels, through a GIF."""
    board = np.repeat(np.eye(10, dtype=bool)[:, None], 10, axis=1)
    env = SimpleNamespace(name="a world of one's own")
    nothing = np.zeros(1, bool)
    film(env, Transition(board[None], nothing, nothing, nothing, nothing, board[None]), tmp_path / "film.gif")
    with Image.open(tmp_path / "film.gif") as picture:
        seen = np.array([picture.convert("RGB").getpixel((20, 40 * c + 20)) for c in range(10)])
    np.testing.assert_allclose(seen, PALETTE, atol=8)
    distances = np.abs(seen[:, None] - seen[None]).sum(axis=-1)
    assert distances[~np.eye(10, dtype=bool)].min() > 100


def a_walk() -> Transition:
    """Breakout's ball goes right along a row, one cell a step; its first episode ends with the third of five steps."""
    ball = np.zeros((6, 10, 10, 4), bool)
    ball[np.arange(6), 3, np.arange(6), 1] = True
    ended = np.array([0, 0, 1, 0, 0], bool)
    return Transition(ball[:5], np.zeros(5, int), np.ones(5), ended, np.zeros(5, bool), ball[1:])


@pytest.mark.parametrize("axis", [False, True], ids=["[T]", "[T, 1]"])
def test_a_film_has_a_frame_a_step_and_one_for_each_end(tmp_path: Path, axis: bool) -> None:
    env, _ = make("Breakout-MinAtar")
    trajectory = jax.tree.map(lambda x: x[:, None], a_walk()) if axis else a_walk()
    film(env, trajectory, tmp_path / "film", "a film")
    with Image.open(tmp_path / "film") as frames:
        assert (frames.format, frames.n_frames) == ("GIF", 6)
        for frame, column in enumerate((0, 1, 2, 3, 3, 4)):  # what the episode ended with, then where the next begins
            frames.seek(frame)
            ball = frames.convert("RGB").getpixel((column * 40 + 20, 3 * 40 + 20))
            assert np.abs(np.subtract(ball, PALETTE[1])).max() < 8


def test_a_film_is_of_one_world(tmp_path: Path) -> None:
    two = jax.tree.map(lambda x: np.stack([x, x], axis=1), a_walk())
    with pytest.raises(ArgumentError, match=r"^trajectory must be of one world .*, got \(2,\)$"):
        film(make("Breakout-MinAtar")[0], two, tmp_path / "film.gif")


def test_importing_jaxrl_imports_no_pillow() -> None:
    code = "import sys, jaxrl; assert 'PIL' not in sys.modules; jaxrl.render_state; assert 'PIL' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_learning_curve_of_rows_without_episodes(tmp_path: Path) -> None:
    """An empty cell where no episode ended, and a curve all the same."""
    sink = CSVSink(tmp_path / "metrics.csv", [0, 1])
    clock = {"env_steps_per_second": 1.0, "wall_seconds": 2.0}
    nothing = np.array([np.nan, np.nan])
    sink.write({"env_steps": 10, "episode_return": nothing, **clock})
    learning_curve(sink.path, tmp_path / "empty.png", "title", "protocol", [])
    sink.write({"env_steps": 20, "episode_return": np.array([1.0, 2.0]), **clock})
    sink.write({"env_steps": 30, "episode_return": np.array([np.nan, 4.0]), **clock})
    learning_curve(sink.path, tmp_path / "curve.png", "title", "protocol", [1.0, 4.0])
    assert sink.path.read_text().splitlines()[1] == "0,10,,1,2"
    for name in ("empty.png", "curve.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.size[0] > 800


def test_numbers_in_a_few_characters() -> None:
    assert [brief(x) for x in (0.4, 950, 31_234, 999_936, 4e6, 2.5e9)] == ["0", "950", "31.2k", "1M", "4M", "2.5G"]


def test_a_record_says_how_it_was_made(tmp_path: Path) -> None:
    run, kept = tmp_path / "run", tmp_path / "kept"
    run.mkdir()
    summary = {
        "algorithm": "DQN", "env": "E", "protocol": "rules", "env_steps": 1000, "eval_episodes": 8, "eval_truncated": 1,
        "eval_return_mean": 2.5, "eval_return_interval_95": 0.5, "seed": 3, "seeds": [3, 4],
        "eval_return_per_seed": [2.0, 3.0], "train_seconds": 9.0, "compile_seconds": 2.0, "device": "a machine",
        "env_steps_per_second": 222.0,
    }  # fmt: skip
    config = {
        "command": "python -m x --seed 3",
        "started": "2026-01-02T03:04",
        "commit": "abc",
        "experiment": "x",
        "options": {},
        "versions": {"jax": "1"},
    }
    for name, contents in (("summary.json", summary), ("config.json", config)):
        (run / name).write_text(json.dumps(contents))
    for name in ("metrics.csv", "learning_curve.png", "policy.gif"):
        (run / name).write_text(name)
    record(run, kept)
    page = (kept / "README.md").read_text()
    for text in ("python -m x --seed 3", "**2.50** ± 0.50", "| 4 | 3.00 |", "a machine", "at commit abc", "jax 1"):
        assert text in page
    assert sorted(path.name for path in kept.iterdir()) == sorted([*(path.name for path in run.iterdir()), "README.md"])
