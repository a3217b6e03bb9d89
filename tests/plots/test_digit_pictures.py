"""Pictures of networks that look at digits."""

import numpy as np
import pytest

from jaxrl.envs.digits import STOP, WORDS
from jaxrl.plots.digit_pictures import draw_captions


@pytest.mark.parametrize("num_wrong", [0, 2])
def test_wrong_captions_are_counted_and_one_comes_first(num_wrong: int, tmp_path, monkeypatch) -> None:
    """Of ten images "one two", of which the last ones are read as "one three"."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: drawn.append(figure))
    answers = np.tile([1, 2, STOP, STOP], (10, 1))
    words = answers.copy()
    words[10 - num_wrong :, 1] = 3
    images = np.zeros((10, 48, 48, 1), np.uint8)
    weights = np.random.default_rng(0).dirichlet(np.ones(36), (10, 4))
    draw_captions(images, words, answers, weights, WORDS, tmp_path / "captions.png")
    texts = [text.get_text() for text in drawn[0].texts]
    beginning = (
        "20.00 % of 10 captions are wrong, and the first one" if num_wrong else "0.00 % of 10 captions are wrong;"
    )
    assert texts[1].startswith(beginning)
    titles = [[axes.title.get_text() for axes in drawn[0].axes[5 * row : 5 * row + 5]] for row in range(4)]
    right, wrong = ["", "one", "two", "stop", ""], ["", "one", "three, is two", "stop", ""]
    assert titles == [wrong if num_wrong else right, right, right, right]
    shown = [10 - num_wrong, 0, 1, 2] if num_wrong else [0, 1, 2, 3]
    for row, image in enumerate(shown):
        for word in range(3):
            seen = drawn[0].axes[5 * row + 1 + word].images[1].get_array()
            np.testing.assert_allclose(seen, weights[image, word].reshape(6, 6))
    colours = [axes.title.get_color() for axes in drawn[0].axes]
    assert colours.count("tab:red") == (num_wrong > 0)
