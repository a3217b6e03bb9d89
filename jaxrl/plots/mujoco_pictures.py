"""Pictures of robots by MuJoCo's own renderer.

It draws in a process of its own: what OpenGL needs is chosen as MuJoCo is imported, and a driver that fails can end the
process. That process runs this file.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.plots.palette import BOARD

MODEL, POSES, PICTURES = "model.mjb", "poses.npz", "pictures.npy"
"""The files between the two processes."""


def draw_robot(model: Any, poses: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Draws a robot, from the side and a little from above, uint8 `[BOARD, BOARD, 3]` each. The eye goes with it.

    Without a display, on Linux, MuJoCo draws with EGL, or as the environment variable `MUJOCO_GL` says.

    Args:
        model: the `mujoco.MjModel`.
        poses: fields of `mujoco.MjData`, `[T, ...]` each: `qpos`, and perhaps `mocap_pos` and `mocap_quat`.

    Raises:
        ArgumentError: MuJoCo cannot draw here.
    """
    import mujoco

    surroundings = dict(os.environ)
    if sys.platform == "linux" and not surroundings.get("DISPLAY"):
        surroundings.setdefault("MUJOCO_GL", "egl")
    with tempfile.TemporaryDirectory() as directory:
        mujoco.mj_saveModel(model, str(Path(directory, MODEL)))
        np.savez(Path(directory, POSES), **poses)  # type: ignore[arg-type, unused-ignore]
        command = [sys.executable, "-m", __spec__.name, directory]
        ended = subprocess.run(command, env=surroundings, capture_output=True, text=True)
        pictures = Path(directory, PICTURES)
        if not pictures.exists():
            words = ended.stderr.strip().splitlines() or [f"it ended with {ended.returncode}"]
            rule = f"can only be mujoco where its renderer works ({words[-1]}); the variable MUJOCO_GL may be egl,"
            raise ArgumentError("renderer", f"{rule} osmesa or glfw", got="")
        return list(np.load(pictures))


def main(directory: Path) -> None:
    """Draws the poses in a directory, and writes the pictures there."""
    import mujoco

    model = mujoco.MjModel.from_binary_path(str(directory / MODEL))
    data, poses = mujoco.MjData(model), np.load(directory / POSES)
    camera = mujoco.MjvCamera()
    camera.type, camera.trackbodyid = mujoco.mjtCamera.mjCAMERA_TRACKING, 1
    camera.azimuth, camera.elevation = 90, -15
    pictures = []
    with mujoco.Renderer(model, BOARD, BOARD) as renderer:
        renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False
        for t in range(len(poses["qpos"])):
            for name in poses.files:
                getattr(data, name)[:] = poses[name][t]
            mujoco.mj_forward(model, data)
            if t == 0:
                camera.distance = 3 * size_of(model, data)
            renderer.update_scene(data, camera)
            pictures.append(renderer.render().copy())
    np.save(directory / PICTURES, np.stack(pictures))


def size_of(model: Any, data: Any) -> float:
    """How far the parts that move lie from their middle at most, in metres."""
    moves = model.geom_bodyid > 0
    places = data.geom_xpos[moves]
    return float((np.linalg.norm(places - places.mean(0), axis=1) + model.geom_rbound[moves]).max())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
