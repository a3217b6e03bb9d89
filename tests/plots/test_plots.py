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
from jaxrl.envs import make
from jaxrl.formatting import interval_95
from jaxrl.plots.errors import errors_as_notes
from jaxrl.plots.learning_curve import draw_learning_curve, spread
from jaxrl.plots.render import BACKGROUND, PALETTE, render, render_state, shorten
from jaxrl.plots.video import action_text, frame_time, save_video
from jaxrl.runs.page import describe_return, page, record, with_epsilon
from jaxrl.training.loggers import CSVLogger, TensorBoardLogger


def test_a_run_without_rows_leaves_no_tensorboard_file(tmp_path) -> None:
    logger = TensorBoardLogger(tmp_path / "tensorboard", [0])
    logger.resume(100)
    logger.close()
    assert not list(tmp_path.iterdir())
    logger = TensorBoardLogger(tmp_path / "tensorboard", [0])
    logger.write({"env_steps": 100, "loss": 1.0})
    logger.close()
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_what_is_said_of_the_epsilon_that_plays() -> None:
    assert (with_epsilon(None), with_epsilon(0.0, 0.0), with_epsilon(0.001)) == ("", "", " with ε = 0.001")
    assert with_epsilon(0.001, None, 0.01) == " with ε = 0 to 0.01"


def test_a_board_is_drawn_cell_by_cell() -> None:
    env, _ = make("Breakout-MinAtar")
    observation = np.zeros((10, 10, 4), bool)
    observation[9, 4, 0] = observation[1, 2, 3] = True
    picture = render(env, observation)
    assert picture.getpixel((4 * 40 + 20, 9 * 40 + 20)) == PALETTE[0]
    assert picture.getpixel((2 * 40 + 20, 1 * 40 + 20)) == PALETTE[3]
    assert picture.getpixel((20, 20)) == BACKGROUND


RAMP = np.tile(np.arange(0, 250, 3, np.uint8), (84, 1))
"""An image that becomes brighter to the right."""
OBSERVATIONS = {
    "cart-pole": np.array([0.5, 0, 0.1, 0]),
    "[features]": np.arange(7.0),
    "no dimension": np.float32(3),
    "empty": np.zeros(0),
    "empty board": np.zeros((0, 5, 3)),
    "bool": np.ones(9, bool),
    "bytes": np.arange(9, dtype=np.uint8),
    "134 features": np.arange(134.0),
    "5000 features": np.arange(5000),
    "not finite": np.array([np.nan, np.inf, -np.inf, 1e300]),
    "[H, W]": np.zeros((4, 5)),
    "grey image": RAMP,
    "image of anything": np.where(RAMP > 200, np.nan, RAMP * -3.5),
    "[H, W, 3] image": np.stack([RAMP] * 3, -1),
    "four frames": np.stack([RAMP] * 4, -1),
    "large image": np.full((1000, 700, 3), 200, np.uint8),
    "large board": np.ones((500, 410, 5), bool),
    "long board": np.ones((1, 399, 2), bool),
    "83 channels": np.ones((9, 11, 83), bool),
    "[A, B, C, D]": np.ones((2, 3, 4, 5)),
    "dict": {"board": np.ones((9, 9, 4), bool), "image": RAMP, "position": np.zeros(2), "key": jax.random.key(0)},
    "nested tuple": (1.0, (2.0, 3)),
    "no arrays": {},
    "many arrays": {i: np.ones(i) for i in range(40)},
}


@pytest.mark.parametrize("observation", OBSERVATIONS.values(), ids=OBSERVATIONS.keys())
def test_any_observation_can_be_drawn(observation) -> None:
    """Of any environment: a wrapper may show another observation than the environment's own."""
    for name in ("CartPole-v1", "Pendulum-v1", "Breakout-MinAtar", "GridWorld", None):
        picture = render(make(name)[0] if name else None, observation, ("caption", "another line"))
        assert picture.size == (580, 400)
        assert (np.asarray(picture)[:, :400] != BACKGROUND).any()


def test_what_observations_look_like() -> None:
    def seen(observation) -> np.ndarray:
        return np.asarray(render(None, observation))[:, :400].astype(int)

    grey = seen(RAMP)
    assert (np.diff(grey[200, :, 0]) >= 0).all()  # brighter to the right, in grey
    assert grey[200, 395].tolist() == [249, 249, 249]
    np.testing.assert_array_equal(seen(np.stack([RAMP] * 4, -1)), grey)
    red = seen(np.stack([RAMP, 0 * RAMP, 0 * RAMP], -1))
    assert red[200, 395].tolist() == [249, 0, 0]
    one_of_many = np.zeros(1000)
    one_of_many[500] = 1.0
    columns = (seen(one_of_many)[100] == PALETTE[0]).all(-1)
    assert 0 < columns.sum() < 10  # one bar that can be seen, in the middle
    assert abs(np.flatnonzero(columns).mean() - 200) < 10
    lone = np.zeros((150, 150, 2), bool)
    lone[75, 75, 1] = True
    assert (seen(lone) == PALETTE[1]).all(-1).any()


def test_a_long_legend_says_how_much_is_left_out() -> None:
    legend = [(str(i), PALETTE[0]) for i in range(9)]
    assert shorten(legend, 9) == legend
    assert [name for name, _ in shorten(legend, 4)] == ["0", "1", "2", "and 6 more"]
    assert shorten(legend, 0) == []


def test_an_environment_without_observe_is_refused() -> None:
    with pytest.raises(ArgumentError, match=r"^env must have `observe`, .*, got SimpleNamespace$"):
        render_state(SimpleNamespace(), None)


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
    env = SimpleNamespace(name="an environment of one's own")
    nothing = np.zeros(1, bool)
    save_video(env, Transition(board[None], nothing, nothing, nothing, nothing, board[None]), tmp_path / "video.gif")
    with Image.open(tmp_path / "video.gif") as picture:
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
def test_a_video_has_a_frame_a_step_and_one_for_each_end(tmp_path: Path, axis: bool) -> None:
    env, _ = make("Breakout-MinAtar")
    trajectory = jax.tree.map(lambda x: x[:, None], a_walk()) if axis else a_walk()
    save_video(env, trajectory, tmp_path / "video", "a video")
    with Image.open(tmp_path / "video") as frames:
        assert (frames.format, frames.n_frames) == ("GIF", 6)
        for frame, column in enumerate((0, 1, 2, 3, 3, 4)):  # what the episode ended with, then where the next begins
            frames.seek(frame)
            ball = frames.convert("RGB").getpixel((column * 40 + 20, 3 * 40 + 20))
            assert np.abs(np.subtract(ball, PALETTE[1])).max() < 8


def test_a_video_of_a_pytree(tmp_path: Path) -> None:
    observations = {"board": np.zeros((3, 200, 4), bool), "key": jax.random.split(jax.random.key(0), 3)}
    ends, rewards = np.array([False, True, False]), np.array([-0.153554, -0.2, 1.0])
    save_video(
        SimpleNamespace(), Transition(observations, np.ones((3, 2)), rewards, ends, ends, observations), tmp_path / "a"
    )
    with Image.open(tmp_path / "a") as frames:
        assert frames.n_frames == 4


def test_how_long_a_video_shows_a_step(tmp_path: Path) -> None:
    """A grid environment's can be followed, and the last of an episode stays for twice as long."""
    env, _ = make("GridWorld")
    observations = np.zeros((4, 4, 4, 3), np.float32)
    observations[range(4), range(4), 1, 0] = 1
    ends = np.array([False, False, True])
    walk = Transition(observations[:3], np.zeros(3, int), -np.ones(3), ends, 0 * ends, observations[1:])
    save_video(env, walk, tmp_path / "video.gif")
    with Image.open(tmp_path / "video.gif") as frames:
        times = []
        for frame in range(frames.n_frames):
            frames.seek(frame)
            times.append(frames.info["duration"])
    assert times == [400, 400, 400, 800]
    assert frame_time(make("CartPole-v1")[0], np.zeros((3, 4))) == 20
    assert frame_time(make("Breakout-MinAtar")[0], np.zeros((3, 10, 10, 4))) == 70


def test_captions() -> None:
    assert action_text(make("CartPole-v1")[0], np.int32(1)) == "action right"
    assert action_text(None, np.int32(7)) == "action 7"
    assert action_text(None, np.array([0.123, -2.0])) == "action 0.12 -2.00"


def test_a_video_has_a_step_at_least(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match=r"^trajectory must have at least one step, got \(0,\)$"):
        save_video(make("Breakout-MinAtar")[0], jax.tree.map(lambda x: x[:0], a_walk()), tmp_path / "video.gif")


def test_a_video_is_of_one_environment(tmp_path: Path) -> None:
    two = jax.tree.map(lambda x: np.stack([x, x], axis=1), a_walk())
    with pytest.raises(ArgumentError, match=r"^trajectory must be of one environment .*, got \(2,\)$"):
        save_video(make("Breakout-MinAtar")[0], two, tmp_path / "video.gif")


def test_importing_jaxrl_imports_no_pillow() -> None:
    code = "import sys, jaxrl; assert 'PIL' not in sys.modules; jaxrl.render_state; assert 'PIL' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_learning_curve_of_rows_without_episodes(tmp_path: Path) -> None:
    """An empty cell where no episode ended, and a curve all the same."""
    logger = CSVLogger(tmp_path / "metrics.csv", [0, 1])
    clock = {"env_steps_per_second": 1.0, "wall_seconds": 2.0}
    nothing = np.array([np.nan, np.nan])
    logger.write({"env_steps": 10, "episode_return": nothing, **clock})
    draw_learning_curve(logger.path, tmp_path / "empty.png", "title", "rules", [])
    logger.write({"env_steps": 20, "episode_return": np.array([1.0, 2.0]), **clock})
    logger.write({"env_steps": 30, "episode_return": np.array([np.nan, 4.0]), **clock})
    draw_learning_curve(logger.path, tmp_path / "curve.png", "title", "rules", [1.0, 4.0])
    assert logger.path.read_text().splitlines()[1] == "0,10,,1,2"
    for name in ("empty.png", "curve.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.size[0] > 800


@pytest.fixture
def axes_of(tmp_path: Path, monkeypatch):
    """Draws the learning curves of seeds, None where no episode ended, a row every 5000 steps: the figure's axes."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    saved = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (drawn.append(figure), saved(figure, *a, **k)))

    def axes_of(curves: list[list[float | None]], final: list[float]):
        rows = [f"{seed},{5000 * (row + 1)},{'' if x is None else x}" for seed, curve in enumerate(curves)
                for row, x in enumerate(curve)]  # fmt: skip
        (tmp_path / "metrics.csv").write_text("\n".join(["seed,env_steps,episode_return", *rows]))
        draw_learning_curve(tmp_path / "metrics.csv", tmp_path / "curve.png", "title", "rules", final)
        return drawn[-1].axes[0]

    return axes_of


def labels(axes) -> list[str]:
    (legend,) = axes.figure.legends
    return [text.get_text() for text in legend.get_texts()]


@pytest.mark.parametrize(
    ("curves", "final", "low", "high"),
    [
        pytest.param([[20.0, 300, 500]], [500.0], 0, 500, id="as long as a pole stands"),
        pytest.param([[-1500.0, -900, -150]], [-153.5], -1500, -150, id="never above zero"),
        pytest.param([[-20.0, -9, -2]] * 2, [-1.9, -2.1], -20, -1.9, id="negative"),
        pytest.param([[1.0, 0, 500], [1, 499, 0], [1, 3, 500]], [14.4, 29.5, 539.2], 0, 539.2, id="three seeds"),
        pytest.param([[9.0, x, 500] for x in (9, 500, 9, 500, 9)], [9.0, 500, 9, 500, 500], 0, 500, id="five seeds"),
    ],
)
def test_axes_hold_what_was_seen_and_no_more(axes_of, curves, final, low: float, high: float) -> None:
    """No room for a legend, and no interval beyond: on the axes are possible returns, and everything that is drawn."""
    axes = axes_of(curves, final)
    room = 0.041 * (high - low)
    assert low - room <= axes.get_ylim()[0] <= low
    assert high <= axes.get_ylim()[1] <= high + room
    assert axes.get_xlim()[0] == 0
    assert 15_000 < axes.get_xlim()[1] < 15_500
    heights = [line.get_ydata() for line in axes.lines] + [path.vertices[:, 1] for collection in axes.collections
               for path in collection.get_paths()]  # fmt: skip
    assert low <= np.concatenate(heights).min()
    assert np.concatenate(heights).max() <= high


def test_few_seeds_are_shown_one_by_one(axes_of) -> None:
    three = axes_of([[1.0, 2], [3, 5], [2, 2]], [1.0, 2.0, 6.0])
    assert labels(three) == [
        "training return, 3 seeds and their mean", "evaluation at the end, 3.00 (1.00 to 6.00)",
    ]  # fmt: skip
    curves = [line.get_ydata().tolist() for line in three.lines]
    assert [1, 2] in curves
    assert [2, 3] in curves
    five = axes_of([[1.0, 2]] * 5, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert labels(five) == [
        "training return, mean of 5 seeds, 95 % interval", "evaluation at the end, 3.00 ± 1.96",
    ]  # fmt: skip
    assert labels(axes_of([[1.0, 2]], [])) == ["training return"]
    for seeds in (4, 5):  # the longest words that there may be lie within the picture
        figure = axes_of([[-123456.7]] * seeds, [-123456.7 + seed for seed in range(seeds)]).figure
        figure.draw_without_rendering()
        assert figure.legends[0].get_window_extent().x1 < figure.bbox.x1


def test_a_single_row_is_a_dot(axes_of) -> None:
    for curves in ([[7.0]], [[7.0], [8.0]]):
        axes = axes_of(curves, [3.0])
        dots = {float(line.get_ydata()[0]): line.get_marker() for line in axes.lines if len(line.get_xdata()) == 1}
        assert dots[np.mean(curves)] == "o"
        assert all(dots[curve[0]] in ("o", ".") for curve in curves)
    assert axes_of([[float(x) for x in range(30)]], []).lines[0].get_marker() == "None"


def test_a_run_without_an_episode_says_so(axes_of) -> None:
    axes = axes_of([[None, None]], [12.5])
    assert "no episode ended\nevaluation at the end, 12.50" in [text.get_text() for text in axes.texts]
    assert axes_of([[np.inf, np.nan]], [np.inf]).texts[-1].get_text() == "no episode ended\n"


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e20])
def test_every_tick_says_its_whole_number(axes_of, scale: float) -> None:
    axes = axes_of([[0.0, scale, 3 * scale]], [])
    axes.figure.draw_without_rendering()
    for axis in (axes.xaxis, axes.yaxis):
        assert axis.get_offset_text().get_text() == ""
        texts = [tick.get_text() for tick in axis.get_ticklabels()]
        assert len(texts) == len(set(texts)) > 2
    said = [float(tick.get_text()) for tick in axes.yaxis.get_ticklabels()]
    np.testing.assert_allclose(said, axes.get_yticks(), atol=1e-9 * scale)


def test_intervals_stay_within_what_was_seen() -> None:
    values = np.array([[0.0, 1], [0, 1], [0, 1], [500, 1], [500, 1]])
    low, high = spread(values, (0, 500))
    assert low.tolist() == [0, 1]
    assert high.tolist() == [500, 1]
    half = interval_95(values[:, 0])
    np.testing.assert_allclose(spread(values, (-1e9, 1e9))[1], [200 + half, 1])
    np.testing.assert_array_equal(spread(values[1:4], (0, 500)), [[0, 1], [500, 1]])


def test_a_record_says_how_it_was_made(tmp_path: Path) -> None:
    run, kept = tmp_path / "run", tmp_path / "kept"
    run.mkdir()
    summary = {
        "algorithm": "DQN", "env": "E", "rules": "rules", "env_steps": 1000, "eval_episodes": 8, "eval_truncated": 1,
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
    written = (kept / "README.md").read_text()
    for text in (
        "python -m x --seed 3",
        "**2.50 (2.00 to 3.00), range of 2 seeds**.\n",
        "| 4 | 3.00 |",
        "a machine",
        "at commit abc",
        "jax 1",
    ):
        assert text in written
    assert "![the policy of seed 3 playing](policy.gif)" in written
    five = summary | {"seeds": [3, 4, 5, 6, 7], "eval_return_per_seed": [2.0, 3.0, 2.5, 2.0, 3.0]}
    assert "**2.50 ± 0.62, 95 % interval over 5 seeds**." in page(config, five, ())
    assert sorted(path.name for path in kept.iterdir()) == sorted([*(path.name for path in run.iterdir()), "README.md"])
    (run / "policy.gif").unlink()  # it could not be drawn
    record(run, tmp_path / "again", ("error.png",))
    again = (tmp_path / "again" / "README.md").read_text()
    assert "![learning curve](learning_curve.png)" in again
    assert ".gif" not in again
    assert "error.png" not in again


def test_half_a_picture_does_not_stay(tmp_path: Path, capsys) -> None:
    picture = tmp_path / "a.gif"
    with errors_as_notes(picture):
        picture.write_text("half")
        raise OSError("no space left")
    assert not picture.exists()
    assert "OSError: no space left" in (tmp_path / "picture_errors.txt").read_text()
    with errors_as_notes(tmp_path / "missing" / "a.gif"):  # where nothing can be written
        raise ValueError
    out = capsys.readouterr().out.splitlines()
    log = tmp_path / "picture_errors.txt"
    assert out[0] == f"note: a.gif could not be drawn: OSError: no space left (see {log})"
    assert out[1].startswith("note: a.gif could not be drawn: ValueError (its traceback could not be saved: ")
    with pytest.raises(KeyboardInterrupt), errors_as_notes(picture):
        raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("returns", "said"),
    [
        ([2.5], "2.50, standard deviation over episodes 0.75"),
        ([2.0, 3.0], "2.50 (2.00 to 3.00), range of 2 seeds"),
        ([2.0, 3.0, 2.5, 2.0, 3.0], "2.50 ± 0.62, 95 % interval over 5 seeds"),
    ],
)
def test_what_stands_beside_a_return_is_said(returns: list[float], said: str) -> None:
    assert describe_return({"eval_return_std": 0.75, "eval_return_per_seed": returns}) == said
