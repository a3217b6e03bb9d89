"""Learning curves."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxrl.formatting import interval_95
from jaxrl.plots.figures import new_figure
from jaxrl.plots.learning_curve import draw_learning_curve, spread
from jaxrl.training.loggers import CSVLogger, RunInfo
from jaxrl.training.measure import AGAINST_RANDOM, NO_MISTAKES


def test_a_learning_curve_of_rows_without_episodes(tmp_path: Path) -> None:
    """A cell is empty where no episode ended."""
    logger = CSVLogger()
    logger.open(RunInfo(tmp_path, agents=[0, 1]))
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

    def save(figure, *args, **kwargs):
        drawn.append(figure)
        saved(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", save)

    def axes_of(curves: list[list[float | None]], final: list[float]):
        rows = [f"{seed},{5000 * (row + 1)},{'' if x is None else x}" for seed, curve in enumerate(curves)
                for row, x in enumerate(curve)]  # fmt: skip
        (tmp_path / "metrics.csv").write_text("\n".join(["seed,env_steps,episode_return", *rows]))
        draw_learning_curve(tmp_path / "metrics.csv", tmp_path / "curve.png", "title", "rules", final)
        return drawn[-1].axes[0]

    return axes_of


def test_what_the_end_measures_is_no_point_among_returns(tmp_path: Path, monkeypatch) -> None:
    """Of a game without evaluations while training: the share of moves without a mistake is in the legend alone."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: drawn.append(figure))
    (tmp_path / "metrics.csv").write_text("seed,env_steps,episode_return\n0,10,0.9\n0,20,0.8\n0,30,0.7\n")
    draw_learning_curve(tmp_path / "metrics.csv", tmp_path / "curve.png", "title", "rules", [0.25], NO_MISTAKES)
    (axes,) = drawn[0].axes
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()][-1] == f"{NO_MISTAKES} at the end, 0.25"
    assert not axes.containers  # no point


@pytest.mark.parametrize("evaluated", [NO_MISTAKES, AGAINST_RANDOM])
def test_what_evaluations_of_games_measure_is_the_curve(evaluated: str, tmp_path: Path, monkeypatch) -> None:
    """Of two seeds and their mean; mistakes in percent, on an axis that also has 0. Training returns are left out."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: drawn.append(figure))
    rows = ["seed,env_steps,episode_return,eval_return"]
    for seed, curve in ((0, (0.6, 0.9, 1.0)), (1, (0.8, 0.7, 0.98))):
        rows += [f"{seed},{10 * (i + 1)},{0.1 * i},{x}" for i, x in enumerate(curve)] + [f"{seed},40,0.5,"]
    (tmp_path / "metrics.csv").write_text("\n".join(rows))
    draw_learning_curve(tmp_path / "metrics.csv", tmp_path / "curve.png", "title", "rules", [1.0, 0.98], evaluated)
    axes = drawn[0].axes[0]
    curves = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in axes.lines]
    np.testing.assert_array_equal([steps for steps, _ in curves], [[10, 20, 30]] * 3)
    expected = np.array([[0.6, 0.9, 1.0], [0.8, 0.7, 0.98], [0.7, 0.8, 0.99]])
    mistakes = evaluated == NO_MISTAKES
    np.testing.assert_allclose([values for _, values in curves], 100 * (1 - expected) if mistakes else expected)
    assert axes.get_ylabel() == ("mistakes of the network alone" if mistakes else evaluated)
    assert (axes.get_yscale() == "symlog") == mistakes
    (tmp_path / "metrics.csv").write_text(f"{rows[0]}\n0,10,0.5,\n1,20,0.5,\n")  # no evaluation but those at the end
    draw_learning_curve(tmp_path / "metrics.csv", tmp_path / "curve.png", "title", "rules", [1.0, 0.98], evaluated)
    curves = [(np.asarray(line.get_xdata()), np.asarray(line.get_ydata())) for line in drawn[1].axes[0].lines]
    assert [steps.tolist() for steps, _ in curves] == [[20]] * 3
    ends = np.array([[1.0], [0.98], [0.99]])
    np.testing.assert_allclose([values for _, values in curves], 100 * (1 - ends) if mistakes else ends)
    if mistakes:
        assert axes.get_ylim()[0] == 0


def test_evaluations_while_training_are_a_curve_of_their_own(tmp_path: Path, monkeypatch) -> None:
    """In rows without one, nothing is drawn. Of an offline run, it is the only curve."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _: drawn.append(figure))
    for clock, column in (("env_steps", "episode_return"), ("gradient_steps", "loss")):
        lines = [f"seed,{clock},{column},eval_return", "0,10,1.0,", "0,20,2.0,7.5", "0,30,3.0,", "0,40,4.0,9.5"]
        (tmp_path / "metrics.csv").write_text("\n".join(lines))
        draw_learning_curve(tmp_path / "metrics.csv", tmp_path / "curve.png", "title", "rules", [])
        axes = drawn[-1].axes[0]
        curves = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
        assert curves["evaluation return"] == ([20, 40], [7.5, 9.5])
        assert ("training return" in curves) == (clock == "env_steps")
        assert axes.get_ylim()[1] >= 9.5
        assert axes.get_ylabel() == ("episode return" if clock == "env_steps" else "evaluation return")


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
def test_axes_span_the_data(axes_of, curves, final, low: float, high: float) -> None:
    """They leave no room for a legend, and no interval lies beyond them."""
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


def test_the_final_evaluation_stands_at_the_last_step(axes_of) -> None:
    """Though no episode ended in the last rows."""
    axes = axes_of([[20.0, 300, None, None]], [500.0])
    (bar,) = axes.containers
    assert bar.lines[0].get_xdata().tolist() == [20_000]
    assert axes.get_xlim()[1] == 1.02 * 20_000


def test_few_seeds_are_shown_one_by_one(axes_of) -> None:
    three = axes_of([[1.0, 2], [3, 5], [2, 2]], [1.0, 2.0, 6.0])
    assert labels(three) == [
        "training return, 3 seeds and their mean", "final evaluation, 3.00 (1.00 to 6.00)",
    ]  # fmt: skip
    curves = [line.get_ydata().tolist() for line in three.lines]
    assert [1, 2] in curves
    assert [2, 3] in curves
    five = axes_of([[1.0, 2]] * 5, [1.0, 2.0, 3.0, 4.0, 5.0])
    assert labels(five) == [
        "training return, mean of 5 seeds, 95 % interval", "final evaluation, 3.00 ± 1.96",
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
        assert dots[float(np.mean(curves))] == "o"
        assert all(dots[curve[0]] in ("o", ".") for curve in curves)
    assert axes_of([[float(x) for x in range(30)]], []).lines[0].get_marker() == "None"


def test_a_run_without_an_episode_says_so(axes_of) -> None:
    axes = axes_of([[None, None]], [12.5])
    assert "no episode ended\nfinal evaluation, 12.50" in [text.get_text() for text in axes.texts]
    assert axes_of([[np.inf, np.nan]], [np.inf]).texts[-1].get_text() == "no episode ended\n"


@pytest.mark.parametrize(
    ("columns", "measure"),
    [("accuracy,loss", "loss"), ("accuracy,q_mean", "accuracy"), ("", None)],
)
def test_an_offline_run_shows_its_loss(tmp_path, columns: str, measure: str | None) -> None:
    """Against gradient steps; or else its first metric. Its evaluation is no point of that curve."""
    names = [name for name in columns.split(",") if name]
    header = ",".join(["seed", "gradient_steps", *names, "gradient_steps_per_second", "wall_seconds"])
    lines = [[0, 100 * row, *(10 * row + place for place, _ in enumerate(names)), 1, 1] for row in (1, 2, 3)]
    (tmp_path / "offline.csv").write_text("\n".join([header, *(",".join(map(str, line)) for line in lines)]))
    figures: list[Any] = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, path: figures.append(figure))
        draw_learning_curve(tmp_path / "offline.csv", tmp_path / "curve.png", "title", "rules", [500.0])
    axes = figures[0].axes[0]
    if measure is None:
        assert axes.texts[-1].get_text() == "no metric was logged\nfinal evaluation, 500.0"
        return
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("gradient steps", measure)
    assert labels(axes) == [f"training {measure}", "final evaluation return 500.0"]
    assert axes.lines[0].get_ydata().tolist() == [10 * row + names.index(measure) for row in (1, 2, 3)]
    assert axes.get_ylim()[1] < 40


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e20])
def test_every_tick_shows_its_full_number(axes_of, scale: float) -> None:
    axes = axes_of([[0.0, scale, 3 * scale]], [])
    axes.figure.draw_without_rendering()
    for axis in (axes.xaxis, axes.yaxis):
        assert axis.get_offset_text().get_text() == ""
        texts = [tick.get_text() for tick in axis.get_ticklabels()]
        assert len(texts) == len(set(texts)) > 2
    said = [float(tick.get_text()) for tick in axes.yaxis.get_ticklabels()]
    np.testing.assert_allclose(said, axes.get_yticks(), atol=1e-9 * scale)


def test_a_tick_that_is_nearly_zero_is_zero() -> None:
    _, axes = new_figure("title", "subtitle", "x", "y")
    axes.set_ylim(-0.3, 0.6)
    assert axes.yaxis.get_major_formatter()(3 * 0.1 - 0.3, 0) == "0"


def test_intervals_are_clipped_to_the_data() -> None:
    values = np.array([[0.0, 1], [0, 1], [0, 1], [500, 1], [500, 1]])
    low, high = spread(values, (0, 500))
    assert low.tolist() == [0, 1]
    assert high.tolist() == [500, 1]
    half = interval_95(values[:, 0])
    np.testing.assert_allclose(spread(values, (-1e9, 1e9))[1], [200 + half, 1])
    np.testing.assert_array_equal(spread(values[1:4], (0, 500)), [[0, 1], [500, 1]])


def test_a_long_subtitle_has_several_lines() -> None:
    rules = (
        "tic tac toe, rows 3, columns 3, length 3, beginning with 0 to 8 random moves; one agent moves for both players"
    )
    figure, _ = new_figure("title", f"{rules}; {rules}", "x", "y")
    title, subtitle = figure.texts
    assert subtitle.get_text().count("\n") == 2
    assert subtitle.get_window_extent().x1 < figure.bbox.x1
    assert subtitle.get_window_extent().y1 < title.get_window_extent().y0
    assert figure.get_size_inches()[1] > new_figure("title", rules[:50], "x", "y")[0].get_size_inches()[1]
