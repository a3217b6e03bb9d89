"""Pictures that compare algorithms show what was seen."""

from pathlib import Path

import polars as pl
import pytest

from jaxrl.experiments import minatar_suite
from jaxrl.plots.comparisons import draw_games, draw_variants


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


def test_games(figures) -> None:
    """A panel a game in rows of three, from no return to the highest; one of a game of which no episode ended."""
    games = [f"{game}-MinAtar" for game in minatar_suite.GAMES]
    trials = pl.DataFrame({"env": games, "agent": range(5), "eval_return": [30.0 * i for i in range(5)]})
    trials = trials.with_columns(algorithm=pl.lit("PQN"), env_steps=pl.lit(2000))
    rows = [(agent, x, x / 100 if agent else None) for agent in range(5) for x in (1000, 2000)]
    curves = pl.DataFrame(rows, CURVES, orient="row").with_columns(algorithm=pl.lit("PQN"))
    draw_games(trials, curves, "title", "subtitle", Path("unused.png"))
    (figure,) = figures
    assert figure.get_figwidth() * figure.dpi <= 1100  # a page's
    assert [axes.get_title("left") for axes in figure.axes] == list(minatar_suite.GAMES)
    assert len({round(axes.get_position().y0, 2) for axes in figure.axes}) == 2
    labels = [axes.get_legend().get_texts()[0].get_text() for axes in figure.axes]
    assert labels[:2] == ["PQN (0.00): no episode ended", "PQN (30.00)"]
    for axes in figure.axes[1:]:
        assert axes.get_ylim() == pytest.approx((-0.8, 20.8))
        assert axes.lines[0].get_marker() == "o"
    figure.draw_without_rendering()
    for axes in figure.axes:
        steps = [tick.get_text() for tick in axes.get_xticklabels()]
        assert len(steps) == len(set(steps))
        assert not any("e-" in text for text in steps)
