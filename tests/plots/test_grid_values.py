"""Pictures of Grid Worlds."""

import re

import jax
import numpy as np
import pytest

from jaxrl import planning
from jaxrl.arguments import ArgumentError
from jaxrl.envs import make
from jaxrl.envs.grid_world import DOWN, LEFT, RIGHT, UP
from jaxrl.envs.maps import MAPS
from jaxrl.plots.grid_values import render_values
from jaxrl.plots.palette import BACKGROUND, PALETTE
from jaxrl.plots.render import render
from tests.envs.test_grid_world import OWN


@pytest.mark.parametrize("name", [*MAPS, OWN], ids=[*MAPS, "own"])
def test_every_map_has_its_picture(name: str) -> None:
    env, params = make("GridWorld", map=name)
    observation, state = env.reset(jax.random.key(0), params)
    picture = np.asarray(render(env, observation, ("caption",)))
    assert picture.shape == (400, 580, 3)
    height, width = env.grid.wall.shape
    size = 400 // max(height, width)
    y, x = divmod(int(state.cell), width)
    top, left = (400 - height * size) // 2, (400 - width * size) // 2
    assert tuple(picture[top + y * size + size // 2, left + x * size + size // 2]) == PALETTE[0]
    assert (picture == PALETTE[4]).all(axis=2).any()  # a goal


@pytest.mark.parametrize(
    "map",
    [
        "S" + "." * 249 + "G\n" + "#" * 251 + "\n",
        "\n".join(["S", *"." * 500, "G"]),
        "S" + "." * 40 + "G\n",
        "\n".join(["S" + "." * 419] + ["." * 420] * 9 + ["." * 419 + "G"]),
    ],
    ids=["wide", "high", "smaller cells", "more cells than pixels"],
)
def test_a_map_of_any_size_has_its_pictures(map: str) -> None:
    env, _ = make("GridWorld", map=map, max_steps_in_episode=1000)
    height, width = env.grid.wall.shape
    observation = np.zeros((height, width, 3), np.float32)
    observation[height // 2, width // 2, 0] = 1
    picture = np.asarray(render(env, observation))
    assert picture.shape == (400, 580, 3)
    there = np.argwhere((picture[:, :400] == PALETTE[0]).all(2))
    assert np.abs(there.mean(0) - 200).max() < 8  # the agent, in the middle
    values = np.asarray(render_values(env, np.linspace(0, 1, height * width)))
    assert max(values.shape) <= 2048
    assert not np.array_equal(values, np.asarray(render_values(env, np.zeros(height * width))))


def test_pictures_of_values() -> None:
    env, params = make("GridWorld")
    q = np.asarray(planning.q_value_iteration(env.mdp(params.replace(discount=1.0)), 1e-6).q_values)
    plain = np.asarray(render_values(env, q.max(1)))
    greedy = np.asarray(render_values(env, q))
    everywhere = np.asarray(render_values(env, q.max(1), np.full((16, 4), 0.25), title="random"))[34:]
    assert plain.shape == greedy.shape == everywhere.shape == (256, 256, 3)

    def arrows(picture: np.ndarray, cell: int) -> list[int]:
        """Directions in which a picture differs from the one without arrows, 14 pixels from where arrows begin."""
        y, x = cell // 4 * 64 + 41, cell % 4 * 64 + 31
        ahead = {RIGHT: (y, x + 14), LEFT: (y, x - 14), UP: (y - 14, x), DOWN: (y + 14, x)}
        return [a for a, at in ahead.items() if (picture[at] != plain[at]).any()]

    for cell in range(1, 15):
        assert arrows(greedy, cell) == np.flatnonzero(q[cell] == q[cell].max()).tolist()
        assert arrows(everywhere, cell) == [RIGHT, LEFT, UP, DOWN]
    for cell in range(1, 15):  # no arrow touches the rim of its cell
        y, x = cell // 4 * 64, cell % 4 * 64
        inner = np.zeros((64, 64), bool)
        inner[5:58, 5:58] = True
        drawn = (everywhere != plain).any(2)[y : y + 64, x : x + 64]
        assert drawn.any()
        assert not (drawn & ~inner).any()
    assert tuple(plain[20, 40]) == PALETTE[4]  # the goal keeps its colour
    assert tuple(plain[50, 64 + 40]) != BACKGROUND
    assert tuple(plain[50, 64 + 40]) == tuple(plain[4 * 64 - 14, 2 * 64 + 40])  # equal values, equal colours
    render_values(env, np.zeros(16))
    for values, policy, message in (
        (np.zeros(15), None, "values must be of shape [16] or [16, 4], got (15,)"),
        (np.zeros(16), np.zeros(16), "policy must be of shape [16, 4], got (16,)"),
        (np.full(16, np.nan), None, "values must be finite where the agent acts, got nan"),
    ):
        with pytest.raises(ArgumentError, match=re.escape(message)):
            render_values(env, values, policy)


def test_pictures_with_the_same_limits_can_be_compared() -> None:
    env, _ = make("GridWorld")
    one, three = (render_values(env, np.full(16, x), limits=(0.0, 4.0)).getpixel((100, 50)) for x in (1.0, 3.0))
    mixed = render_values(env, np.repeat([1.0, 3.0], 8), limits=(0.0, 4.0))
    assert [mixed.getpixel((100, y)) for y in (50, 178)] == [one, three]
    assert one != three
