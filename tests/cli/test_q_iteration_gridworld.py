"""`q_iteration_gridworld`: its files and bad input."""

import json
import re
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from jaxrl.experiments import q_iteration_gridworld as command
from jaxrl.plots import q_iteration as pictures


@pytest.fixture
def call(run_main):
    return partial(run_main, command.main)


def highest(picture: Image.Image) -> int:
    """Pixels of nearly the colour of the highest value."""
    return int((abs(np.asarray(picture).astype(int) - (196, 226, 130)) <= 4).all(-1).sum())


def test_a_map_of_ones_own(call, tmp_path: Path) -> None:
    (tmp_path / "map.txt").write_text("S.G")
    code, out, err = call("--map", "map.txt", "--discount", "0.5", "--out", "run")
    assert (code, err) == (0, [])
    run = tmp_path / "run"
    assert sorted(path.name for path in run.iterdir()) == [
        "convergence.png", "iterates.gif", "iterates.png", "policies.png", "summary.json"
    ]  # fmt: skip
    assert all(any(str(Path("run") / path.name) in line for line in out) for path in run.iterdir())
    summary = json.loads((run / "summary.json").read_text())
    # V_1 is (-1, -1), V_2 is (-1.5, -1), which is V*; so Q_3 is Q*, and Q_4 = Q_3 shows that it is.
    assert summary["iterations"] == 4
    assert summary["error_bound"] < 1e-5
    assert summary["optimal_return"] == -1.5
    # V(S) = -1 + (3 V(S) + V(b)) / 8 and V(b) = -1 + (2 V(b) + V(S)) / 8: 29 V(S) = -56.
    np.testing.assert_allclose(summary["random_return"], -56 / 29)
    with GifImageFile(run / "iterates.gif") as video:
        assert video.n_frames == 5
        first = video.convert("RGB")
    with Image.open(run / "iterates.png") as page:
        drawn = page.convert("RGB")
    assert highest(drawn) > 2000  # the cells of Q_0, which are the largest values
    assert highest(drawn.crop((0, 0, first.width, first.height))) == pytest.approx(highest(first), rel=0.02)
    for name in ("iterates.png", "policies.png", "convergence.png"):
        with Image.open(run / name) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    assert not jax.config.read("jax_enable_x64")  # which it turns on for itself

    code, _, err = call("--map", "map.txt", "--out", "run")
    assert (code, err) == (2, ["error: --out must be a directory without a run, got run"])


def test_from_a_random_q_and_without_discount(call, monkeypatch, tmp_path: Path) -> None:
    def no_video(*_) -> None:
        raise OSError("no video")

    monkeypatch.setattr(pictures, "write_gif", no_video)
    (tmp_path / "map.txt").write_text("S.G\n")
    code, out, _ = call("--map", "map.txt", "--discount", "1", "--seed", "3")
    assert code == 0
    assert any("no known bound" in line for line in out)
    (directory,) = (tmp_path / "runs" / "q_iteration_gridworld").iterdir()
    assert any(line.startswith("note: iterates.gif could not be drawn") for line in out)
    assert (directory / "iterates.png").exists()  # a video that fails costs nothing else
    summary = json.loads((directory / "summary.json").read_text())
    assert (summary["error_bound"], summary["optimal_return"], summary["seed"]) == (None, -2.0, 3)


BAD = [
    (
        "--map lectur",
        "--map must be an existing file, a text of .* or a known map .the nearest is lecture.*got 'lectur'",
    ),
    ("--map A_FILE", r"--map may contain only #.FSGHC .* got at row 0, column 0 '\?'"),
    ("--map .", "--map must be an existing file, a text of .* or a known map .one of lecture, .*, got '.'"),
    (f"--map {'S' * 300}", "--map must be an existing file, a text of .* or a known map .one of lecture, .*, got 'S"),
    ("--discount 1.5", "--discount must be <= 1, got 1.5"),
    ("--discount nan", "--discount must be >= 0, got nan"),
    ("--slip-probability -0.1", "--slip-probability must be >= 0, got -0.1"),
    ("--tolerance 0", "--tolerance must be > 0, got 0"),
    ("--seed -1", "--seed must be >= 0, got -1"),
    ("--out A_FILE", r"--out must be a directory that can be made \(.*\), got A_FILE"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_bad_input_is_one_line(call, monkeypatch, tmp_path: Path, arguments: str, message: str) -> None:
    monkeypatch.setattr(command, "solve", lambda *_: pytest.fail("it started to compile"))
    (tmp_path / "A_FILE").write_text("??\n")
    code, out, err = call(*arguments.split())
    assert (code, out, len(err)) == (2, [], 1)
    assert re.match(f"error: {message}", err[0]), err[0]
    assert [path.name for path in tmp_path.iterdir()] == ["A_FILE"]


def test_floor_without_a_way_out_needs_a_discount(call, tmp_path: Path) -> None:
    (tmp_path / "map.txt").write_text("SG#.\n")
    code, _, err = call("--map", "map.txt", "--discount", "1", "--out", "run")
    assert (code, err) == (2, ["error: --discount must be < 1 if some floor leads to no terminal cell, got 1"])
    assert [path.name for path in tmp_path.iterdir()] == ["map.txt"]
