"""Robots drawn by MuJoCo's own renderer."""

import numpy as np
import pytest

from jaxrl.arguments import ArgumentError
from jaxrl.plots.mujoco_pictures import draw_robot
from jaxrl.plots.palette import BOARD

mujoco = pytest.importorskip("mujoco", reason="mujoco is not installed: pip install 'jaxrl[robots]'")
SLIDER = """
<mujoco>
  <worldbody>
    <body pos="7 0 1"><geom size="0.3" rgba="0 0 1 1"/></body>
    <body pos="7 0 1"><joint type="slide" axis="1 0 0"/><geom size="0.1" rgba="1 0 0 1"/></body>
    <body mocap="true" pos="7 0 1"><geom size="0.1" rgba="0 1 0 1"/></body>
  </worldbody>
</mujoco>
"""


RED, GREEN, BLUE = range(3)


def seen(picture: np.ndarray, colour: int) -> np.ndarray:
    """The (row, column) of each pixel of one colour, from -1 to 1."""
    others = np.delete(picture, colour, -1).max(-1)
    return 2 * np.argwhere(picture[..., colour] > 40 + others.astype(int)) / BOARD - 1


def test_the_first_body_is_in_the_middle_and_the_others_are_where_their_joints_are() -> None:
    poses = {
        "qpos": np.array([[-1.0], [0.0], [1.0]]),
        "mocap_pos": np.array([[[7.0, 0, 1.8]], [[7.0, 0, 0.2]], [[7.0, 0, 1.8]]]),
    }
    try:
        pictures = draw_robot(mujoco.MjModel.from_xml_string(SLIDER), poses)
    except ArgumentError as error:
        pytest.skip(f"MuJoCo cannot draw here: {error}")
    assert [picture.shape for picture in pictures] == [(BOARD, BOARD, 3)] * 3
    np.testing.assert_allclose([seen(picture, BLUE).mean(0) for picture in pictures], 0, atol=0.08)
    columns = [seen(picture, RED).mean(0)[1] for picture in pictures[::2]]
    np.testing.assert_allclose(columns, [-columns[1], columns[1]], atol=0.02)
    assert 0.4 < columns[1] < 1
    assert not len(seen(pictures[1], RED))  # inside the first
    rows = [seen(picture, GREEN).mean(0)[0] for picture in pictures]
    assert -0.9 < rows[0] == rows[2] < -0.5
    assert 0.5 < rows[1] < 0.9


def test_where_it_cannot_draw_it_says_why(monkeypatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "nosuch")
    with pytest.raises(ArgumentError, match=r"variable MUJOCO_GL: nosuch\); the variable MUJOCO_GL may be egl"):
        draw_robot(mujoco.MjModel.from_xml_string(SLIDER), {"qpos": np.zeros((1, 1))})
