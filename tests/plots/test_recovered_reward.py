"""The picture of inverse reinforcement learning."""

from pathlib import Path

import numpy as np
from PIL import Image

from jaxrl.envs import make
from jaxrl.plots.recovered_reward import Column, draw_recovered


def test_titles_of_a_small_map_have_room(tmp_path: Path) -> None:
    """They do not run into each other, nor does the heading leave the picture."""
    env, _ = make("GridWorld", map="S.\n.G")
    zeros, uniform = np.zeros(4), np.full((4, 4), 0.25)
    heading = "a map, 2 × 2, slip probability 0.1, γ = 0.9; maximum entropy, 100 demonstrations"
    columns = [Column(title, zeros, uniform, zeros) for title in ("true reward", "recovered")]
    draw_recovered(env, columns, heading, tmp_path / "rewards.png")
    with Image.open(tmp_path / "rewards.png") as picture:
        pixels = np.asarray(picture.convert("L")).astype(int)
    background = pixels[0, 0]
    titles = (pixels[50:75] != background).any(axis=0)  # below the heading, above the maps
    middle = picture.width // 2
    assert not titles[middle - 20 : middle].any()
    assert titles[middle:].any()
    assert not (pixels[:40, -10:] != background).any()
