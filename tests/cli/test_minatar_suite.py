"""The suite: runs of other experiments, drawn and recorded side by side."""

import csv

import pytest
from PIL import Image

from jaxrl.experiments import minatar_suite


@pytest.mark.slow
def test_it_trains_draws_and_records(run_main, tmp_path) -> None:
    arguments = ["--games", "Breakout", "--algorithms", "pqn", "--total-steps", "8192", "--num-seeds", "2"]
    arguments += ["--out", "a", "--record", "b"]
    code, lines, errors = run_main(minatar_suite.main, *arguments)
    assert (code, errors) == (0, [])
    assert "picture: a/minatar_suite.png" in lines
    assert (tmp_path / "a" / "pqn_breakout" / "policy.gif").exists()
    with Image.open("b/minatar_suite.png") as picture:
        assert picture.height > 300
    with open("b/results.csv", newline="") as file:
        assert [(row["run"], row["seed"]) for row in csv.DictReader(file)] == [
            ("pqn_breakout", "0"),
            ("pqn_breakout", "1"),
        ]
    assert "| PQN on Breakout |" in (tmp_path / "b" / "README.md").read_text()


def test_its_picture_is_of_what_was_seen(tmp_path, monkeypatch) -> None:
    """A panel a game in rows of three, from no return to the highest; one of a game of which no episode ended."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _: drawn.append(figure))
    found = []
    for i, game in enumerate(minatar_suite.GAMES):
        (tmp_path / game).mkdir()
        rows = [f"0,{x},{x / 100 if i else ''}" for x in (1000, 2000)]
        (tmp_path / game / "metrics.csv").write_text("\n".join(["seed,env_steps,episode_return", *rows]))
        result = {"name": game, "env": f"{game}-MinAtar", "algorithm": "PQN", "eval_return_per_seed": [30.0 * i]}
        found.append(result | {"rules": "original", "num_seeds": 1, "env_steps": 2000})
    minatar_suite.draw(tmp_path, found, tmp_path / "picture.png")
    (figure,) = drawn
    assert figure.get_figwidth() * figure.dpi <= 1100  # a page's
    assert [axes.get_title("left") for axes in figure.axes] == list(minatar_suite.GAMES)
    assert len({round(axes.get_position().y0, 2) for axes in figure.axes}) == 2
    labels = [axes.get_legend().get_texts()[0].get_text() for axes in figure.axes]
    assert labels[:2] == ["PQN (0.00): no episode ended", "PQN (30.0)"]
    for axes in figure.axes[1:]:
        assert axes.get_ylim() == pytest.approx((-0.8, 20.8))
        assert axes.lines[0].get_marker() == "o"
    figure.draw_without_rendering()
    for axes in figure.axes:
        steps = [tick.get_text() for tick in axes.get_xticklabels()]
        assert len(steps) == len(set(steps))
        assert not any("e-" in text for text in steps)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--num-seeds 0", "error: --num-seeds must be > 0, got 0"),
        ("--resume", "error: --resume needs --out DIR, the study to continue"),
    ],
)
def test_bad_input(run_main, tmp_path, arguments: str, message: str) -> None:
    code, _, errors = run_main(minatar_suite.main, *arguments.split())
    assert (code, errors) == (2, [message])
    assert not list(tmp_path.iterdir())
