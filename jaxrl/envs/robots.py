"""Robots of brax and of MuJoCo Playground, with gymnax 1.0's interface.

Both libraries leave episodes to wrappers, which start each lane in the same cached state again and drop the last
observation. Here an episode ends as the environment says (terminated), or at a limit of steps (truncated), begins
anywhere the environment's `reset` draws it, and shows its true last observation.
"""

import contextlib
import dataclasses
import io
import re
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, first_line, suggest
from jaxrl.envs.base import EnvParams
from jaxrl.types import Array, PyTree

PREFIXES = ("brax", "playground")
INSTALL = {"brax": "pip install 'jaxrl[robots]'", "playground": "pip install 'jaxrl[robots]' playground"}
CAPSULE, CYLINDER, BOX_GEOM = 3, 5, 6
"""MuJoCo's numbers of shapes."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RobotParams(EnvParams):
    """Traced parameters of a robot."""

    max_steps_in_episode: Annotated[int, Interval(ge=1, lt=2**31)] = 1000
    """Steps after which an episode is truncated."""


class RobotState(NamedTuple):
    """The state of brax or Playground, and the steps since the start of the episode, int32 scalar."""

    physics: Any
    time: Array


@dataclasses.dataclass(frozen=True)
class Robot:
    """An environment of brax or Playground, which has `reset(key)` and `step(state, action)`, and `action_size`.

    Actions are in [-1, 1], as in both libraries. If a step leads to NaN or infinity, the lane begins a new episode: the
    old one counts as truncated where it was before, the reward is 0, and `info["failed"]` is True.

    Attributes:
        name: such as "brax:hopper".
        physics: the environment.
    """

    name: str
    physics: Any

    @property
    def default_params(self) -> RobotParams:
        return RobotParams()

    @property
    def num_actions(self) -> int:
        return int(self.physics.action_size)

    def reset(self, key: Array, params: RobotParams | None = None) -> tuple[PyTree, RobotState]:
        del params
        physics = jax.tree.map(_strong, self.physics.reset(key))
        return physics.obs, RobotState(physics, jnp.int32(0))

    def step(self, key: Array, state: RobotState, action: Array, params: RobotParams | None = None) -> tuple:
        params = self.default_params if params is None else params
        copied = jax.tree.map(lambda x: x, state.physics)  # brax changes the metrics of the state that it is given
        after = jax.tree.map(_like, self.physics.step(copied, action), state.physics)
        failed = ~_all_finite(after)
        after = jax.tree.map(partial(jnp.where, failed), state.physics, after)
        reward = jnp.where(failed, 0.0, after.reward)
        terminated = (after.done != 0) & ~failed
        truncated = (failed | (state.time + 1 >= params.max_steps_in_episode)) & ~terminated

        # A loop, since in a batch it runs only where some lane is done; a cond would reset all lanes in every step.
        def restart(at: tuple[Array, RobotState]) -> tuple[Array, RobotState]:
            del at
            return jnp.bool_(False), self.reset(key)[1]

        done, begun = terminated | truncated, RobotState(after, state.time + 1)
        _, begun = jax.lax.while_loop(lambda at: at[0], restart, (done, begun))
        info = {"final_observation": after.obs, "failed": failed}
        return begun.physics.obs, begun, reward, terminated, truncated, info

    def action_space(self, params: RobotParams | None = None) -> Any:
        from gymnax.environments import spaces  # here, because importing gymnax takes seconds

        del params
        return spaces.Box(-1.0, 1.0, (self.num_actions,), jnp.float32)

    @property
    def model(self) -> Any:
        """The `mujoco.MjModel`."""
        return self.physics.sys.mj_model if hasattr(self.physics, "sys") else self.physics.mj_model

    def pose(self, state: RobotState) -> dict[str, Array]:
        """Where its joints are, and what moves without joints, as fields of `mujoco.MjData`."""
        if hasattr(state.physics, "pipeline_state"):
            return {"qpos": state.physics.pipeline_state.q}
        return {name: getattr(state.physics.data, name) for name in ("qpos", "mocap_pos", "mocap_quat")}

    def skeleton(self, state: RobotState) -> Array:
        """Where its rods begin and end, (right, up) in metres, from the side and a little from above: `[M, 2, 2]`.

        How far it went sideways does not show: the eye goes with it.
        """
        ends = _rods(self.model, state.physics)
        behind = ends[..., 1] - ends[..., 1].mean()
        return jnp.stack([ends[..., 0] + 0.4 * behind, ends[..., 2] + 0.3 * behind], -1)


def find_robot(env_id: str) -> Callable[..., tuple[Robot, RobotParams]]:
    """A function of options that makes the robot of that id, such as "brax:hopper" or "playground:CheetahRun".

    Besides `max_steps_in_episode`, options of brax's robots are those of their classes, such as `backend` (by default
    "spring", the fastest), and options of Playground's are entries of their configuration.

    Raises:
        ArgumentError: the library is not installed, or knows no such robot.
    """
    prefix, _, name = env_id.partition(":")
    try:
        with _quiet():
            known, make = (_brax if prefix == "brax" else _playground)()
    except ImportError as error:
        raise ArgumentError("env_id", f"needs the robots of {prefix} ({INSTALL[prefix]})", env_id) from error
    if name not in known:
        nearest = suggest(env_id, [f"{prefix}:{each}" for each in known])
        raise ArgumentError("env_id", f"must be a robot that {prefix} knows ({nearest})", env_id)

    def robot(max_steps_in_episode: int = 1000, **options: Any) -> tuple[Robot, RobotParams]:
        params = RobotParams().replace(max_steps_in_episode=max_steps_in_episode)
        try:
            with _quiet():
                return Robot(env_id, make(name, **options)), params
        except Exception as error:  # whatever it does with options
            if not options:
                raise ArgumentError(
                    "env_id", f"must be a robot that works here ({first_line(error)})", env_id
                ) from error
            if unknown := re.search(r"unexpected keyword argument '(\w+)'", str(error)):
                raise ArgumentError(unknown[1], f"is not an option of {env_id}", options.get(unknown[1])) from error
            rule, got = f"must be what {env_id} can use ({first_line(error)})", ", ".join(map(repr, options.values()))
            raise ArgumentError(", ".join(options), rule, options, got=got) from error

    return robot


def _brax() -> tuple[list[str], Callable[..., Any]]:
    from brax import envs

    return sorted(envs._envs), lambda name, **options: envs.get_environment(name, **{"backend": "spring"} | options)


def _playground() -> tuple[list[str], Callable[..., Any]]:
    from mujoco_playground import registry  # type: ignore[import-not-found, unused-ignore]

    def make(name: str, **options: Any) -> Any:
        own = {"impl": "jax"} if "impl" in registry.get_default_config(name) else {}  # else NVIDIA's Warp
        return registry.load(name, config_overrides=own | options)

    return sorted(registry.dm_control_suite.ALL_ENVS), make


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes of brax and mjx about what they recommend, or did not find."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _strong(x: Any) -> Array:
    x = jnp.asarray(x)
    return jax.lax.convert_element_type(x, x.dtype)


def _like(x: Any, other: Array) -> Array:
    return jnp.asarray(x, other.dtype)


def _all_finite(tree: PyTree) -> Array:
    floats = [x for x in map(jnp.asarray, jax.tree.leaves(tree)) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(x).all() for x in floats]).all()


def _rods(model: Any, physics: Any) -> Array:
    """Both ends of each capsule, cylinder and longest axis of a box that moves, `[M, 2, 3]`."""
    place, turn = _bodies(physics)
    moves = [i for i in range(model.ngeom) if model.geom_bodyid[i] > 0]
    rods = []
    for i in moves:
        size, body = model.geom_size[i], model.geom_bodyid[i] - 1
        axis = np.zeros(3)
        if model.geom_type[i] in (CAPSULE, CYLINDER):
            axis[2] = size[1]
        elif model.geom_type[i] == BOX_GEOM:
            axis[np.argmax(size)] = size.max()
        else:
            axis[2] = size[0] / 2
        half = _rotate(jnp.asarray(model.geom_quat[i], jnp.float32), jnp.asarray(axis, jnp.float32))
        ends = jnp.asarray(model.geom_pos[i], jnp.float32) + jnp.stack([-half, half])
        rods.append(place[body] + jax.vmap(partial(_rotate, turn[body]))(ends))
    return jnp.stack(rods)


def _bodies(physics: Any) -> tuple[Array, Array]:
    """Where the bodies are, `[bodies, 3]`, and their rotations as quaternions, `[bodies, 4]`."""
    if hasattr(physics, "pipeline_state"):
        return physics.pipeline_state.x.pos, physics.pipeline_state.x.rot
    return physics.data.xpos[1:], physics.data.xquat[1:]


def _rotate(turn: Array, vector: Array) -> Array:
    """A vector `[3]` rotated by a quaternion `[4]`, its real part first."""
    real, imaginary = turn[0], turn[1:]
    return vector + 2 * jnp.cross(imaginary, jnp.cross(imaginary, vector) + real * vector)
