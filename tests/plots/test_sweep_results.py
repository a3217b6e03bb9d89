"""The pictures of a sweep."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from jaxrl.plots.sweep_results import _log_ticks, draw_curves, draw_hparams, middle, short_labels
from jaxrl.sweeps.results import rank_configurations
from tests.sweeps.frames import RATE, by_configuration, frame


def test_a_label_names_its_record_only_where_it_must() -> None:
    fields = ["hparams.learning_rate", "hparams.discount", "config.discount"]
    assert short_labels(fields) == ["learning rate", "hparams.discount", "config.discount"]


def test_a_curve_counts_from_its_first_step_to_its_last() -> None:
    steps = np.array([10, 20, 30])
    curves = [(steps, steps + place) for place in (0.0, 1.0, 2.0)]
    diverged, late = (steps[:2], np.array([11.0, 1e9])), (steps[1:], np.array([-1e9, 31.0]))
    where, low, high = middle([*curves, diverged, late], 100)
    np.testing.assert_array_equal(where, steps)
    np.testing.assert_array_equal(low, [10, -1e9, 30])
    np.testing.assert_array_equal(high, [12, 1e9, 32])
    np.testing.assert_array_equal(middle([*curves, diverged, late], 0)[1], [11, 21, 31])


FIELDS = {
    "hparams.learning_rate": lambda random: float(10 ** random.uniform(-5, -2)),
    "config.values": lambda random: str(random.choice(["expected", "categorical", "quantiles"])),
    "config.double": lambda random: bool(random.integers(2)),
    "config.batch_size": lambda random: int(random.choice([32, 64, 128])),
    "hparams.discount": lambda random: float(random.uniform(0.9, 1)),
    "config.hidden_sizes": lambda random: str(random.choice(["64", "64 64", "128 128"])),
    "hparams.epsilon_decay_steps": lambda random: float(10 ** random.uniform(5, 5.8)),
    "config.n_step": lambda random: int(random.integers(1, 6)),
}
LOG_SCALED = {"hparams.learning_rate", "hparams.epsilon_decay_steps"}


def a_sweep(configurations: int, seeds: int, swept: list[str], diverged: float) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Results and curves; an agent that diverged has half a curve, and in no agent's first row has an episode ended."""
    random = np.random.default_rng(0)
    agents, rows = [], []
    for c in range(configurations):
        values = {name: FIELDS[name](random) for name in swept}
        for s in range(seeds):
            skill = None if random.uniform() < diverged else 100 * random.uniform()
            agents.append({"configuration": c, "seed": s, **values, "eval_return": skill})
            for row in range(10 if skill is None else 20):
                value = (skill or 50.0) * (1 - 0.8**row) if row else None
                rows.append((c * seeds + s, 5000 * (row + 1), value))
    schema = {"agent": pl.Int64, "env_steps": pl.Int64, "episode_return": pl.Float64}
    return frame(agents), pl.DataFrame(rows, schema, orient="row")


ALL = list(FIELDS)


@pytest.mark.parametrize(
    ("configurations", "seeds", "swept", "diverged", "size"),
    [
        pytest.param(64, 3, ALL, 0.05, (1152, 1032), id="64 x 3, 8 fields"),
        pytest.param(12, 3, ALL[:1], 0.1, (960, 432), id="1 field"),
        pytest.param(12, 1, ALL[:5], 0.1, (1152, 732), id="1 seed"),
        pytest.param(12, 2, ALL[1:3], 0.0, (960, 432), id="choices"),
        pytest.param(1, 3, ALL, 0.0, (1152, 1032), id="1 configuration"),
        pytest.param(1, 1, ALL[:1], 0.0, (960, 432), id="1 agent"),
        pytest.param(6, 3, ALL[:4], 1.0, (960, 732), id="all diverged"),
    ],
)
def test_pictures(tmp_path: Path, configurations: int, seeds: int, swept: list[str], diverged: float, size) -> None:
    results, curves = a_sweep(configurations, seeds, swept, diverged)
    best = rank_configurations(results, swept)
    draw_curves(results, curves, best, "DQN on Breakout", "original rules", tmp_path / "curves.png")
    draw_hparams(results, swept, LOG_SCALED, "DQN on Breakout", "original rules", tmp_path / "hparams.png")
    with Image.open(tmp_path / "curves.png") as picture:
        assert picture.size == (960, 540)
    with Image.open(tmp_path / "hparams.png") as picture:
        assert picture.size == size


def test_a_picture_of_no_episode(tmp_path: Path) -> None:
    results, curves = a_sweep(2, 2, ALL[:1], 0.0)
    curves = curves.with_columns(episode_return=pl.lit(None, pl.Float64))
    for some in (curves, curves.clear()):
        best = rank_configurations(results, ALL[:1])
        draw_curves(results, some, best, "DQN on Breakout", "original rules", tmp_path / "curves.png")


def test_the_best_and_the_median_are_marked(tmp_path: Path, monkeypatch) -> None:
    """Of five, one of which has no evaluation return: the first and the third of four, means over their seeds."""
    results = by_configuration([[1.0, 1.0], [4.0, 4.0], [None, None], [2.0, 2.0], [3.0, None]])
    rows = [
        (agent, steps, 10.0 * agent + steps / 1000) for agent in range(10) for steps in (1000, 2000, 3000, 3100)
    ]  # a last row of 100 steps is too short to be drawn
    curves = pl.DataFrame(rows, ["agent", "env_steps", "episode_return"], orient="row")
    drawn = {}

    def plot(axes, x, y, **options):
        drawn[options.get("label")] = (list(x), list(y))
        return plotted(axes, x, y, **options)

    from matplotlib.axes import Axes

    plotted = Axes.plot
    monkeypatch.setattr(Axes, "plot", plot)
    draw_curves(results, curves, rank_configurations(results, []), "title", "subtitle", tmp_path / "curves.png")
    del drawn["every agent"], drawn[None]
    assert drawn == {
        "median: configuration 0, evaluation return 1.00 (1.00 to 1.00)": ([1000, 2000, 3000], [6.0, 7.0, 8.0]),
        "best: configuration 1, evaluation return 4.00 (4.00 to 4.00)": ([1000, 2000, 3000], [26.0, 27.0, 28.0]),
    }


@pytest.fixture
def figures(monkeypatch) -> list:
    """The figures that are drawn, which need not be written."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _: drawn.append(figure))
    return drawn


def panel_of(figures: list, values: list[Any], returns: list[float], log: bool = False):
    """The axes of a field with these values, one configuration each."""
    agents = [
        {"configuration": c, "seed": 0, RATE: value, "eval_return": x}
        for c, (value, x) in enumerate(zip(values, returns, strict=True))
    ]
    draw_hparams(frame(agents), [RATE], [RATE] if log else [], "title", "subtitle", Path("unused.png"))
    figures[-1].draw_without_rendering()
    return figures[-1].axes[0]


@pytest.mark.parametrize(
    ("values", "scale", "ticks"),
    [
        ([1e-5, 1e-4, 1e-3, 1e-2], "log", ["1e-5", "0.0001", "0.001", "0.01"]),
        ([1e-4, 3e-4, 1e-3, 3e-3], "log", ["0.0001", "0.001", "0.0003", "0.003"]),
        ([0.9, 0.95, 0.99, 1.0], "linear", None),
        ([0.0, 1e-3, 1e-1, 1.0], "linear", None),
        ([1e20, 2e20, 5e20], "linear", None),
        ([1, 2, 4, 7], "linear", None),
    ],
)
def test_the_axis_of_a_field_fits_its_values(figures, values: list[Any], scale: str, ticks: list[str] | None) -> None:
    axes = panel_of(figures, values, [float(x) for x in range(len(values))])
    assert axes.get_xscale() == scale
    shown = [text.get_text() for text in axes.get_xticklabels()]
    if ticks:
        assert shown == ticks
    else:  # every label says what it stands at, and no factor stands elsewhere
        np.testing.assert_allclose([float(text) for text in shown], axes.get_xticks(), atol=1e-9 * max(values))
        assert len(shown) == len(set(shown)) > 2
    assert axes.xaxis.get_offset_text().get_text() == ""
    left, right = axes.get_xlim()
    assert left <= min(values) <= max(values) <= right
    assert axes.get_ylabel() == "evaluation return"


def test_configurations_of_a_choice_stand_in_the_order_of_their_returns(figures) -> None:
    """Each nearer to its own choice than to any other, as far apart as the next."""
    values, returns = [32, 128, 32, 32, 128], [3.0, 5.0, 1.0, 2.0, 4.0]
    axes = panel_of(figures, values, returns)
    places, heights = np.transpose(axes.collections[0].get_offsets())
    assert heights.tolist() == returns
    np.testing.assert_allclose(places, [1 / 6, 1.125, -1 / 6, 0, 0.875], atol=1e-12)
    assert (
        "configurations of one value are spread out, sorted by return" in figures[-1].legends[0].get_title().get_text()
    )
    panel_of(figures, [1, 2, 3], [1.0, 2.0, 3.0])
    assert "sorted by return" not in figures[-1].legends[0].get_title().get_text()


@pytest.mark.parametrize(("seeds", "agents"), [(3, "every agent"), (8, "every agent"), (25, "90 % of the 50 agents")])
def test_curves_keep_to_what_was_seen(figures, seeds: int, agents: str) -> None:
    """Returns of 0 or 500, whose intervals would be beyond both."""
    results = by_configuration([[float(500 * (s % 2)) for s in range(seeds)]] * 2)
    rows = [(agent, x, 500.0 * (agent % 2)) for agent in range(2 * seeds) for x in (1000, 2000, 3000)]
    curves = pl.DataFrame(rows, ["agent", "env_steps", "episode_return"], orient="row")
    draw_curves(results, curves, rank_configurations(results, []), "title", "subtitle", Path("unused.png"))
    axes, (legend,) = figures[-1].axes[0], figures[-1].legends
    assert axes.get_legend() is None  # it stands outside
    figures[-1].draw_without_rendering()
    assert legend.get_window_extent().x1 < figures[-1].bbox.x1
    assert agents in [text.get_text() for text in legend.get_texts()]
    assert axes.get_ylim() == pytest.approx((-20, 520))
    assert axes.get_xlim() == pytest.approx((0, 3060))
    paths = [path.vertices[:, 1] for collection in axes.collections for path in collection.get_paths()]
    assert bool(paths) == (seeds >= 5)
    assert all(0 <= path.min() <= path.max() <= 500 for path in paths)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1e-5, 1e-2, [1e-5, 1e-4, 1e-3, 1e-2]),
        (1.2e5, 5.8e5, [2e5, 3e5, 5e5]),
        (2.1, 2.9, [2.1, 2.9]),
        (0.5, 0.5, [0.5]),
        (1e-12, 1.0, [1e-12, 1e-9, 1e-6, 1e-3, 1.0]),
    ],
)
def test_log_ticks_are_round_and_apart(low: float, high: float, ticks: list[float]) -> None:
    assert sorted(_log_ticks(low, high)) == pytest.approx(ticks)
