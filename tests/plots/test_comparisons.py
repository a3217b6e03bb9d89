"""Pictures that compare algorithms show what was seen."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from jaxrl.experiments import minatar_suite
from jaxrl.plots.comparisons import draw_games, draw_scores, draw_variants


@pytest.fixture
def figures(monkeypatch) -> list:
    """The figures that are drawn, which need not be written."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _: drawn.append(figure))
    return drawn


CURVES = ["agent", "env_steps", "episode_return"]


@pytest.mark.parametrize("seeds", [1, 3, 6])
def test_variants(figures, seeds: int) -> None:
    """A panel for each variant beside the baseline, with single rows as dots; and all evaluations with their spread."""
    returns = {"DQN": [0.0, 10, 0, 10, 0, 10], "Double DQN": [9.0, 9, 9, 9, 9, 9]}
    rows = [(name, seed, returns[name][seed]) for name in returns for seed in range(seeds)]
    trials = pl.DataFrame(rows, ["variant", "seed", "eval_return"], orient="row")
    trials = trials.with_row_index("agent").with_columns(env_steps=pl.lit(20_000))
    curves = pl.DataFrame([(agent, 20_000, x) for agent, (_, _, x) in enumerate(rows)], CURVES, orient="row")
    draw_variants(trials, curves, "title", "subtitle", Path("unused.png"), baseline="DQN")
    panel, evaluations = figures[0].axes
    assert panel.get_title("left") == "Double DQN"
    assert {"o"} <= {line.get_marker() for line in panel.lines} <= {"o", "."}
    assert panel.get_xlim() == pytest.approx((0, 20400))
    assert [text.get_text() for text in evaluations.get_yticklabels()] == ["Double DQN", "DQN"]
    low, high = evaluations.get_xlim()
    reach = [x for line in evaluations.lines for x in line.get_xdata()]
    assert low <= min(reach) <= max(reach) <= high  # nothing is cut
    assert 0 <= min(reach) <= max(reach) <= 10
    assert ("95 % interval" in evaluations.get_xlabel()) == (seeds > 4)
    assert "black: DQN" in [text.get_text() for text in figures[0].texts][1]


def games_frames(algorithms: tuple[str, ...] = ("PQN",)) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Trials and curves of the five games; of the first, no episode ended."""
    games = [f"{game}-MinAtar" for game in minatar_suite.GAMES]
    trials = pl.DataFrame({"env": games, "agent": range(5), "eval_return": [30.0 * i for i in range(5)]})
    rows = [(agent, x, x / 100 if agent else None) for agent in range(5) for x in (1000, 2000)]
    curves = pl.DataFrame(rows, CURVES, orient="row")
    names = [pl.lit(name).alias("algorithm") for name in algorithms]
    trials = trials.with_columns(env_steps=pl.lit(2000))
    trials, curves = (pl.concat([frame.with_columns(name) for name in names]) for frame in (trials, curves))
    return trials, curves


def test_games(figures) -> None:
    """A panel a game in rows of three, from no return to the highest; one of a game of which no episode ended."""
    trials, curves = games_frames()
    draw_games(trials, curves, "title", "subtitle", Path("unused.png"), {"Seaquest-MinAtar": 50.0}, "a reference")
    (figure,) = figures
    assert figure.get_figwidth() * figure.dpi <= 1100  # a page's
    assert [axes.get_title("left") for axes in figure.axes] == list(minatar_suite.GAMES)
    assert len({round(axes.get_position().y0, 2) for axes in figure.axes}) == 2
    assert [axes.texts[0].get_text() for axes in figure.axes] == ["PQN: no episode ended", *[""] * 4]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["PQN", "a reference"]
    assert {axes.get_ylabel() for axes in figure.axes} == {"training return", ""}
    for axes in figure.axes[1:]:
        seen = 50 if axes.get_title("left") == "Seaquest" else 20
        assert axes.get_ylim() == pytest.approx((-0.04 * seen, 1.04 * seen))
        assert axes.lines[0].get_marker() == "o"
        assert [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"] == [50] * (seen == 50)
    figure.draw_without_rendering()
    for axes in figure.axes:
        steps = [tick.get_text() for tick in axes.get_xticklabels()]
        assert len(steps) == len(set(steps))
        assert not any("e-" in text for text in steps)


def test_games_show_the_evaluations_while_training(figures) -> None:
    """Instead of the training returns, and those at the end. Each algorithm has a colour of its own."""
    trials, curves = games_frames(("DQN", "PQN", "PPO"))
    is_evaluated = (pl.col("env_steps") == 1000) & (pl.col("algorithm") != "PPO")
    curves = curves.with_columns(eval_return=pl.when(is_evaluated).then(7.0 + pl.col("agent")).otherwise(float("nan")))
    trials = trials.with_columns(env_steps=pl.when(pl.col("algorithm") == "PQN").then(1000).otherwise(1200))
    draw_games(trials, curves, "title", "subtitle", Path("unused.png"), {}, "")
    (figure,) = figures
    for agent, axes in enumerate(figure.axes):
        meanwhile, final = [1000, 7 + agent], 30 * agent
        lines = [line.get_xydata().tolist() for line in axes.lines]
        assert lines == [[meanwhile, [1200, final]], [[1000, final]], [[1200, final]]]
        assert len({line.get_color() for line in axes.lines}) == 3
    assert figure.axes[0].get_ylabel() == "evaluation return"
    names = {text.get_text(): line.get_color() for text, line in zip(*_legend(figure), strict=True)}
    assert list(names) == ["DQN", "PQN", "PPO"]
    assert [line.get_color() for line in figure.axes[0].lines] == list(names.values())


def _legend(figure) -> tuple[list, list]:
    return figure.legends[0].get_texts(), figure.legends[0].get_lines()


def test_scores(figures) -> None:
    """A row for each statistic with a dot and an interval for each algorithm; profiles with bands if there are some."""
    with_interval = (np.array(2.0), (np.array(1.5), np.array(2.25)))
    statistics = {name: {"DQN": (np.array(-0.5), None), "PQN": with_interval} for name in ("IQM", "mean")}
    share = np.array([1.0, 0.5, 0.0])
    profiles = {"DQN": (share, None), "PQN": (share, (share - 0.1, share + 0.1))}
    draw_scores(statistics, profiles, np.array([0.0, 1, 2]), "title", "subtitle", Path("unused.png"))
    (figure,) = figures
    aggregates, shares = figure.axes
    assert figure.get_figwidth() * figure.dpi <= 1100
    assert [text.get_text() for text in aggregates.get_yticklabels()] == ["IQM", "mean"]
    drawn = [line.get_xdata().tolist() for line in aggregates.lines if line.get_linestyle() != "--"]
    assert drawn == [[-0.5], [1.5, 2.25], [2]] * 2
    heights = [line.get_ydata()[0] for line in aggregates.lines if line.get_marker() == "o"]
    assert heights == sorted(heights)  # no two in one place
    assert len(set(heights)) == 4
    assert aggregates.get_xlim()[0] < -0.5
    assert [line.get_ydata().tolist() for line in shares.lines if line.get_linestyle() != "--"] == [share.tolist()] * 2
    assert len(shares.collections) == 1
    assert [text.get_text() for text in _legend(figure)[0]] == ["DQN", "PQN"]
