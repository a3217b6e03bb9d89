"""Observations as pictures."""

import subprocess
import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.envs import make
from jaxrl.plots.palette import BACKGROUND, DETAILED, INK, PALETTE, cell_size
from jaxrl.plots.render import BOARD, draw_look, draw_rods, render, render_state, shorten


def test_a_board_is_drawn_cell_by_cell() -> None:
    env, _ = make("Breakout-MinAtar")
    observation = np.zeros((10, 10, 4), bool)
    observation[9, 4, 0] = observation[1, 2, 3] = True
    picture = render(env, observation)
    assert picture.getpixel((4 * 40 + 20, 9 * 40 + 20)) == PALETTE[0]
    assert picture.getpixel((2 * 40 + 20, 1 * 40 + 20)) == PALETTE[3]
    assert picture.getpixel((20, 20)) == BACKGROUND


def test_stones_keep_the_colours_of_their_players() -> None:
    env, _ = make("game:connect_four", rows=4, columns=4)
    state, middles = env.game.initial(), [350, 250, 150, 50]
    for move in range(3):  # all into the first column
        state, _ = env.game.step(state, jax.numpy.int32(0))
        pixels = [render_state(env, state).getpixel((50, y)) for y in middles]
        assert pixels == [PALETTE[i % 2] if i <= move else BACKGROUND for i in range(4)]


def test_glimpses_are_where_the_network_looked() -> None:
    """(row, column): the first one below, the newest one to the right, in red."""
    image = np.zeros((28, 28, 1), np.uint8)
    image[0, 14:] = 255
    picture = draw_look(image, np.array([[0.5, 0.0], [0.0, 1.0]]), "says 7")
    assert picture.shape == (400, 400, 3)
    side = 400 - 40 - 1
    for colour, y, x in ((PALETTE[0], 0.75 * side, 0.5 * side), (PALETTE[3], 0.5 * side, side)):
        assert tuple(picture[round(y), 20 + round(x) - 8]) == colour
    assert picture[5, 20 + 200].min() > 200 > picture[5, 20 + 100].max()


def test_of_a_stack_of_frames_the_newest_is_drawn() -> None:
    """That of Pong in colours."""
    env, _ = make("PixelPong")
    state = env.initial(jax.numpy.ones(2, jax.numpy.uint32), env.default_params)
    words = env.encode(state._replace(x=state.x + 20))
    place = lambda column, row: (round((column + 0.5) * 400 / 84), round((row + 0.5) * 400 / 84))  # noqa: E731
    picture = render(env, env.decode(words))
    assert [picture.getpixel(place(x, 41)) for x in (4, 41, 61, 78)] == [PALETTE[3], BACKGROUND, INK, PALETTE[4]]
    grey = render(None, np.asarray(env.decode(words)))
    assert [grey.getpixel(place(x, 41)) for x in (4, 41, 61, 78)] == [(x, x, x) for x in (120, 0, 255, 200)]


def test_of_two_channels_in_a_cell_the_later_one_is_a_dot() -> None:
    observation = np.zeros((10, 10, 4), bool)
    observation[5, 5, [0, 2, 3]] = True
    picture = render(None, observation)
    assert picture.getpixel((5 * 40 + 20, 5 * 40 + 20)) == PALETTE[2]
    assert picture.getpixel((5 * 40 + 4, 5 * 40 + 4)) == PALETTE[0]


def test_a_long_board_has_wide_cells() -> None:
    assert cell_size(1, 399) == (400 / 399, DETAILED)
    assert cell_size(10, 10) == (40, 40)


RAMP = np.tile(np.arange(0, 250, 3, dtype=np.uint8), (84, 1))
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
    """For any environment, because a wrapper may change the observation."""
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


def test_a_long_legend_is_shortened() -> None:
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


def test_importing_jaxrl_imports_no_pillow() -> None:
    code = "import sys, jaxrl; assert 'PIL' not in sys.modules; jaxrl.render_state; assert 'PIL' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_long_line_of_the_caption_is_smaller() -> None:
    """No letter of it is cut off, so what it ends with makes a difference."""
    pictures = [np.asarray(render(None, np.zeros(3), [f"gymnasium:MountainCarContinuous-v{i}"])) for i in (0, 1)]
    assert (pictures[0] != pictures[1]).any()
    short, shorter = (np.asarray(render(None, np.zeros(3), [text])) for text in ("CartPole-v1", "CartPole-v"))
    np.testing.assert_array_equal(short[:, :470], shorter[:, :470])  # both are of the usual size


@pytest.mark.parametrize("risen", [0.0, 1.0, 3.5, 1e5])
def test_a_robot_is_seen_however_far_and_high_it_leaps(risen: float) -> None:
    """As large as on the ground, with all of both rods; how high it is, the marks at the left show."""
    robot = np.array([[[0.0, 0.0], [0.3, 0.6]], [[0.3, 0.6], [0.0, 1.2]]])
    here, there = draw_rods(robot), draw_rods(robot + np.array([7.25, risen]))
    for colour in PALETTE[:2]:
        rows = [np.flatnonzero((picture == colour).all(-1).any(1)) for picture in (here, there)]
        assert [len(row) for row in rows] == pytest.approx([len(rows[0])] * 2, abs=2)
        assert 0 < rows[1].min() < rows[1].max() < BOARD
    ruler = here[:300, :30], there[:300, :30]
    assert (ruler[0] != ruler[1]).any() == (risen > 1.0)
