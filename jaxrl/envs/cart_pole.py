"""Cart-pole: a cart on a track, pushed left or right to keep the pole hinged on it upright.

Barto, Sutton & Anderson, "Neuronlike adaptive elements that can solve difficult learning control problems" (1983),
without friction and with the numbers of gymnasium's CartPole-v1.
"""

import dataclasses
import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.envs.base import Environment, EnvParams, uniform
from jaxrl.types import Array

LEFT, RIGHT = range(2)
"""The actions."""

Positive = Annotated[float, Interval(gt=0, lt=math.inf)]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CartPoleParams(EnvParams):
    """Traced parameters of a cart-pole, named as gymnasium names them."""

    gravity: Annotated[float, Interval(ge=0, lt=math.inf)] = 9.8
    """Downward acceleration, m/s²."""
    masscart: Positive = 1.0
    """Mass of the cart, kg."""
    masspole: Positive = 0.1
    """Mass of the pole, kg."""
    length: Positive = 0.5
    """Half the length of the pole, m."""
    force_mag: Positive = 10.0
    """Force of a push, N."""
    tau: Positive = 0.02
    """Time between two actions, s."""
    theta_threshold_radians: Positive = 12 * 2 * math.pi / 360
    """Angle from upright beyond which the pole has fallen, radians."""
    x_threshold: Positive = 2.4
    """Distance from the middle beyond which the track has ended, m."""
    max_steps_in_episode: Annotated[int, Interval(ge=1, lt=2**31)] = 500
    """Steps after which an episode is truncated."""


class CartPoleState(NamedTuple):
    """A cart-pole in motion."""

    motion: Array
    """Position of the cart (m right of the middle) and its velocity (m/s), angle of the pole (radians right of upright)
    and its angular velocity (radians/s): float32 `[4, ...]`. One array, so that a step is few kernels."""
    time: Array
    """Steps since the episode began, int32 `[...]`."""


@dataclasses.dataclass(frozen=True)
class CartPole(Environment):
    """A cart pushed left or right (actions 0 and 1) until the pole falls or the track ends; every step earns 1.

    Any other action does not push. A step is one of explicit Euler, as in gymnasium.

    Random words: the upper 24 bits of word i, as a multiple `u` of 2^-24 in [0, 1), start the i-th of position,
    velocity, angle and angular velocity at `0.1 (u - 0.5)`.
    """

    name = "CartPole-v1"
    num_actions = 2
    random_words = 4
    action_names = ("left", "right")

    def describe_rules(self, params: CartPoleParams) -> str:
        values, defaults = dataclasses.asdict(params), dataclasses.asdict(self.default_params)
        cap = values.pop("max_steps_in_episode")
        changed = [f"{name} {value:g}" for name, value in values.items() if value != defaults[name]]
        return f"{', '.join(changed) or 'default rules'}, {cap}-step cap"

    @property
    def default_params(self) -> CartPoleParams:
        return CartPoleParams()

    def initial(self, bits: Array, params: CartPoleParams) -> CartPoleState:
        del params
        return CartPoleState(0.1 * (uniform(bits) - 0.5), time=jnp.zeros(bits.shape[1:], jnp.int32))

    def transition(
        self, state: CartPoleState, action: Array, bits: Array, params: CartPoleParams
    ) -> tuple[CartPoleState, Array, Array]:
        del bits
        x, x_dot, theta, theta_dot = state.motion
        force = jnp.where(action == RIGHT, 1.0, jnp.where(action == LEFT, -1.0, 0.0)) * params.force_mag
        mass, polemass_length = params.masscart + params.masspole, params.masspole * params.length
        sin, cos = jnp.sin(theta), jnp.cos(theta)
        # The cart's acceleration if the pole's rotation were steady; the pole's own, and what it adds to the cart's.
        steady = (force + polemass_length * theta_dot**2 * sin) / mass
        theta_acc = (params.gravity * sin - cos * steady) / (params.length * (4 / 3 - params.masspole * cos**2 / mass))
        x_acc = steady - polemass_length * theta_acc * cos / mass
        motion = state.motion + params.tau * jnp.stack([x_dot, x_acc, theta_dot, theta_acc])
        terminated = (jnp.abs(motion[0]) > params.x_threshold) | (jnp.abs(motion[2]) > params.theta_threshold_radians)
        return CartPoleState(motion, state.time + 1), jnp.ones_like(x), terminated

    def encode(self, state: CartPoleState) -> Array:
        """Four words, the bits of position, velocity, angle and angular velocity."""
        return jax.lax.bitcast_convert_type(state.motion, jnp.uint32)

    def decode(self, words: Array) -> Array:
        """float32 `[..., 4]`: position, velocity, angle and angular velocity, of uint32 `[..., 4]`."""
        return jax.lax.bitcast_convert_type(words, jnp.float32)

    def observation_space(self, params: Any = None) -> Any:
        """gymnax's `Box` of twice the thresholds, which a last observation may be beyond, and any velocities."""
        from gymnax.environments import spaces

        params = self.default_params if params is None else params
        most = jnp.finfo(jnp.float32).max
        high = jnp.array([2 * params.x_threshold, most, 2 * params.theta_threshold_radians, most], jnp.float32)
        return spaces.Box(-high, high, (4,), jnp.float32)
