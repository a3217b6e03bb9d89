"""A robot with one leg that hops in a vertical plane: the dynamics of a chain of rods with motors and a ground.

With the angle θ_i of each rod and the centre of mass c of all as coordinates, the motion of c separates: m c'' is the
sum of all forces. A point fixed to rods is at c + Σ_i b_i e(θ_i), with constant b and e(θ) = (sin θ, −cos θ), so the
kinetic energy of the rest is ½ Σ_ij M_ij cos(θ_i − θ_j) θ_i' θ_j', with a constant matrix M. Lagrange's equations are

    Σ_j M_ij cos(θ_i − θ_j) θ_j'' = −Σ_j M_ij sin(θ_i − θ_j) θ_j'² + Q_i,

where Q_i is the sum of the torques on rod i and of b_i e'(θ_i) · F of each force F. Gravity does not turn it.
"""

import dataclasses
import math
from itertools import pairwise
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.envs.base import Environment, EnvParams, uniform
from jaxrl.types import Array, Box
from jaxrl.xla.fusion import no_fuse

MASSES = np.array([4.0, 1.5, 1.0, 1.0])
"""Of torso, thigh, shin and foot, kg."""
LENGTHS = np.array([0.4, 0.4, 0.4, 0.26])
"""Metres: of the torso from head to hip, of the thigh to the knee, of the shin to the ankle, of the foot."""
HEEL = 0.06
"""How far the heel is behind the ankle, m."""
INERTIAS = MASSES * LENGTHS**2 / 12
JOINTS = np.array(
    [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, (LENGTHS[3] - HEEL) / LENGTHS[3]],
     [1, 1, 1, -HEEL / LENGTHS[3]]]
) * LENGTHS  # fmt: skip
"""Head, hip, knee, ankle, toe and heel from the head, in units of e(θ), `[6, 4]`."""
CENTRES = np.array([[0.5, 0, 0, 0], [1, 0.5, 0, 0], [1, 1, 0.5, 0], [1, 1, 1, 0.5 - HEEL / LENGTHS[3]]]) * LENGTHS
"""The centres of the rods, likewise, `[4, 4]`."""
_FROM_CENTRE = MASSES @ CENTRES / MASSES.sum()
_POINTS, _CENTRES = JOINTS - _FROM_CENTRE, CENTRES - _FROM_CENTRE
_M = np.einsum("k,ki,kj->ij", MASSES, _CENTRES, _CENTRES) + np.diag(INERTIAS)
_CONTACTS = (2, 4, 5)
"""The joints that the ground carries: knee, toe and heel."""

TORQUES = np.array([60.0, 60.0, 40.0])
"""Of the motors at hip, knee and ankle, N m, for an action of 1."""
LIMITS = np.array([[-0.4, 1.2], [-2.0, 0.0], [0.6, 2.4]])
"""Of the angles of hip, knee and ankle, radians: that of the rod below minus that of the rod above."""
POSE = np.array([0.0, 0.5, -0.5, math.pi / 2])
"""The angles of the rods at the start, radians."""
STIFFNESS, DAMPING, FRICTION, SLIP = 6000.0, 80.0, 0.9, 100.0
"""Of the ground: N/m, N s/m, the ratio of friction to pressure, and N s/m below it."""
JOINT_STIFFNESS, JOINT_DAMPING = 200.0, 1.0
"""Of a joint beyond its limits, N m/rad, and of every joint, N m s/rad."""
SUBSTEPS = 10


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PlanarHopperParams(EnvParams):
    """Traced parameters of a planar hopper."""

    gravity: Annotated[float, Interval(ge=0, lt=math.inf)] = 9.81
    """Downward acceleration, m/s²."""
    tau: Annotated[float, Interval(gt=0, le=0.04)] = 0.02
    """Time between two actions, s. Ten steps of the physics divide it."""
    alive_reward: Annotated[float, Interval(ge=0, lt=math.inf)] = 0.5
    """Reward of each step in which it does not fall."""
    action_cost: Annotated[float, Interval(ge=0, lt=math.inf)] = 0.05
    """Cost of each step, times the squares of the actions."""
    max_steps_in_episode: Annotated[int, Interval(ge=1, lt=2**31)] = 500
    """Steps after which an episode is truncated."""


class PlanarHopperState(NamedTuple):
    """The state of a planar hopper.

    Attributes:
        place: x (m forward) and height of the centre of mass, and the angle of torso, thigh, shin and foot (radians
            counterclockwise; 0 hangs down, and is upright for the torso), float32 `[6, ...]`.
        speed: their derivatives by time, `[6, ...]`.
        time: steps since the start of the episode, int32 `[...]`.
    """

    place: Array
    speed: Array
    time: Array


@dataclasses.dataclass(frozen=True)
class PlanarHopper(Environment):
    """A hopper with motors at hip, knee and ankle. The reward is its speed, and a bonus while its torso is upright.

    An episode terminates when the torso leans by more than 0.8 radians or the hip is lower than 0.4 m. Observed are the
    height of the centre of mass, the angle of the torso and of three joints, and their six derivatives, with the
    forward speed first of these.

    Random words: `u = uniform(word i)` moves the i-th coordinate of the start but x and height, and then of its
    speeds, by `0.05 (2 u − 1)`.
    """

    name = "PlanarHopper"
    random_words = 12
    box = Box(-np.ones(3, np.float32), np.ones(3, np.float32))

    @property
    def default_params(self) -> PlanarHopperParams:
        return PlanarHopperParams()

    def initial(self, bits: Array, params: PlanarHopperParams) -> PlanarHopperState:
        del params
        height = 0.02 - (_POINTS[4] * -np.cos(POSE)).sum()  # of the toe, just above the ground
        start = jnp.array([0.0, height, *POSE], jnp.float32).reshape(6, *(1,) * (bits.ndim - 1))
        offsets = 0.05 * (2 * uniform(bits) - 1)
        place = start + offsets[:6].at[:2].set(0.0)
        return PlanarHopperState(place, offsets[6:], jnp.zeros(bits.shape[1:], jnp.int32))

    def transition(
        self, state: PlanarHopperState, action: Array, bits: Array, params: PlanarHopperParams
    ) -> tuple[PlanarHopperState, Array, Array]:
        del bits
        step = params.tau / SUBSTEPS

        def substep(_: Any, motion: tuple[Array, Array]) -> tuple[Array, Array]:
            place, speed = motion
            speed = speed + step * accelerations(place, speed, action, params.gravity)
            return place + step * speed, speed

        place, speed = jax.lax.fori_loop(0, SUBSTEPS, substep, (state.place, state.speed))
        after = PlanarHopperState(place, speed, state.time + 1)
        forward = (place[0] - state.place[0]) / params.tau
        hip = points(place)[1][1]
        fallen = (jnp.abs(place[2]) > 0.8) | (hip < 0.4)
        cost = params.action_cost * jnp.square(action).sum(0)
        return after, forward - cost + jnp.where(fallen, 0.0, params.alive_reward), fallen

    def has_failed(self, state: PlanarHopperState) -> Array:
        """Whether it moves faster than 1,000 m/s or radians/s, or nowhere."""
        return ~((jnp.abs(state.speed) < 1e3).all(0) & jnp.isfinite(state.place).all(0))

    def time_limit(self, params: Any) -> Array:
        return params.max_steps_in_episode

    def encode(self, state: PlanarHopperState) -> Array:
        """The bits of the observation, `[11, ...]`."""
        (_, height, *angles), (forward, up, *turns) = state.place, state.speed
        joints, rates = ([after - before for before, after in pairwise(x)] for x in (angles, turns))
        seen = jnp.stack([height, angles[0], *joints, forward, up, turns[0], *rates])
        return jax.lax.bitcast_convert_type(seen, jnp.uint32)

    def decode(self, words: Array) -> Array:
        """The observation, float32 `[..., 11]`."""
        return jax.lax.bitcast_convert_type(words, jnp.float32)

    def skeleton(self, state: PlanarHopperState) -> Array:
        """Where its rods begin and end, (forward, up) in metres: float32 `[4, 2, 2, ...]`."""
        head, hip, knee, ankle, toe, heel = points(state.place)
        return jnp.stack([jnp.stack(rod) for rod in ((head, hip), (hip, knee), (knee, ankle), (heel, toe))])


def points(place: Array) -> list[Array]:
    """Where head, hip, knee, ankle, toe and heel are, each `[2, ...]`."""
    sin, cos = jnp.sin(place[2:]), jnp.cos(place[2:])
    return [place[:2] + jnp.stack([_weighted(b, sin), -_weighted(b, cos)]) for b in _POINTS]


def accelerations(place: Array, speed: Array, action: Array, gravity: Array | float) -> Array:
    """The second derivatives `[6, ...]` of a place, by the equations above."""
    angles, turns = place[2:], speed[2:]
    sin, cos = no_fuse((jnp.sin(angles), jnp.cos(angles)))  # else computed again wherever they are used
    cos_of = cos[:, None] * cos + sin[:, None] * sin  # of θ_i − θ_j
    sin_of = sin[:, None] * cos - cos[:, None] * sin
    matrix = _M.reshape(4, 4, *(1,) * (place.ndim - 1)).astype(np.float32)
    turning = -(matrix * sin_of * jnp.square(turns)).sum(1) + motor_torques(angles, turns, action)
    force_x, force_y = jnp.zeros_like(place[0]), -gravity * float(MASSES.sum()) + jnp.zeros_like(place[0])
    for b in _POINTS[list(_CONTACTS)]:
        velocity = speed[0] + _weighted(b, cos * turns), speed[1] + _weighted(b, sin * turns)
        push_x, push_y = ground_force(place[1] - _weighted(b, cos), *velocity)
        force_x, force_y = force_x + push_x, force_y + push_y
        arms = b.reshape(4, *(1,) * (place.ndim - 1)).astype(np.float32)
        turning = turning + arms * (cos * push_x + sin * push_y)
    linear = jnp.stack([force_x, force_y]) / np.float32(MASSES.sum())
    return jnp.concatenate([linear, solve(*no_fuse((matrix * cos_of, turning)))])


def motor_torques(angles: Array, turns: Array, action: Array) -> Array:
    """The torques on the four rods, `[4, ...]`: of motors, friction in the joints, and their limits."""
    low, high, most = (x.reshape(3, *(1,) * (angles.ndim - 1)).astype(np.float32) for x in (*LIMITS.T, TORQUES))
    joints, rates = angles[1:] - angles[:-1], turns[1:] - turns[:-1]
    beyond = jnp.minimum(joints - low, 0) + jnp.maximum(joints - high, 0)
    torque = most * action - JOINT_DAMPING * rates - JOINT_STIFFNESS * beyond
    nothing = jnp.zeros_like(torque[:1])
    return jnp.concatenate([nothing, torque]) - jnp.concatenate([torque, nothing])


def ground_force(height: Array, forward: Array, up: Array) -> tuple[Array, Array]:
    """The force (forward, up) on a point at a height with a velocity: a damped spring, and friction up to a limit."""
    pressure = jnp.where(height < 0, jnp.maximum(-STIFFNESS * height - DAMPING * up, 0.0), 0.0)
    return -jnp.clip(SLIP * forward, -FRICTION * pressure, FRICTION * pressure), pressure


def solve(matrix: Array, vector: Array) -> Array:
    """Solves systems of equations `[n, n, ...]`, positive definite, for `[n, ...]`, by elimination without pivots."""
    rows = [[matrix[i, j] for j in range(len(vector))] + [vector[i]] for i in range(len(vector))]
    for i, row in enumerate(rows):
        for other in rows[i + 1 :]:
            factor = other[i] / row[i]
            other[i:] = [x - factor * y for x, y in zip(other[i:], row[i:], strict=True)]
    solution: list[Array] = []
    for i in reversed(range(len(rows))):
        known = sum((a * x for a, x in zip(rows[i][i + 1 : -1], solution, strict=True)), jnp.zeros_like(vector[0]))
        solution.insert(0, (rows[i][-1] - known) / rows[i][i])
    return jnp.stack(solution)


def _weighted(weights: np.ndarray, x: Array) -> Array:
    """Σ_i weights_i x_i of `[4, ...]`."""
    return sum((float(w) * x[i] for i, w in enumerate(weights)), jnp.zeros_like(x[0]))
