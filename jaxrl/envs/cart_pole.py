"""Cart-pole: pushing a cart on a track left or right to balance the pole hinged on it.

Barto, Sutton & Anderson, "Neuronlike adaptive elements that can solve difficult learning control problems" (1983),
without friction, and with the constants of gymnasium's CartPole-v1.
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
"""Actions."""

Positive = Annotated[float, Interval(gt=0, lt=math.inf)]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CartPoleParams(EnvParams):
    """Traced parameters of a cart-pole, with gymnasium's names."""

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
    """Largest angle of the pole from upright, radians; beyond it the pole has fallen."""
    x_threshold: Positive = 2.4
    """Largest distance of the cart from the middle, m; beyond it the track has ended."""
    max_steps_in_episode: Annotated[int, Interval(ge=1, lt=2**31)] = 500
    """Steps after which an episode is truncated."""


class CartPoleState(NamedTuple):
    """The state of a cart-pole.

    Attributes:
        motion: position (m right of the middle) and velocity (m/s) of the cart, angle (radians right of upright) and
            angular velocity (radians/s) of the pole, float32 `[4, ...]`. One array, so that a step needs few kernels.
        time: steps since the start of the episode, int32 `[...]`.
    """

    motion: Array
    time: Array


@dataclasses.dataclass(frozen=True)
class CartPole(Environment):
    """A cart pushed left or right (actions 0 and 1) until the pole falls or the track ends. Every step earns 1.

    Other actions do not push. A step is one of the explicit Euler method, as in gymnasium. Without `velocities`, only
    the position and the angle are observed, so that a good policy has to remember.

    Random words: `u = uniform(word i)` sets the i-th of position, velocity, angle and angular velocity to
    `0.1 (u - 0.5)`.
    """

    velocities: bool = True

    name = "CartPole-v1"
    num_actions = 2
    random_words = 4
    action_names = ("left", "right")

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
        # The cart's acceleration if the pole's rotation were steady; then the pole's, and its effect on the cart's.
        steady = (force + polemass_length * theta_dot**2 * sin) / mass
        theta_acc = (params.gravity * sin - cos * steady) / (params.length * (4 / 3 - params.masspole * cos**2 / mass))
        x_acc = steady - polemass_length * theta_acc * cos / mass
        motion = state.motion + params.tau * jnp.stack([x_dot, x_acc, theta_dot, theta_acc])
        terminated = (jnp.abs(motion[0]) > params.x_threshold) | (jnp.abs(motion[2]) > params.theta_threshold_radians)
        return CartPoleState(motion, state.time + 1), jnp.ones_like(x), terminated

    def describe_rules(self, params: Any) -> str:
        hidden = "" if self.velocities else ", velocities hidden"
        return super().describe_rules(params) + hidden

    def time_limit(self, params: Any) -> Array:
        return params.max_steps_in_episode

    def encode(self, state: CartPoleState) -> Array:
        """The bits of `motion`, four words, or two without velocities."""
        seen = state.motion if self.velocities else state.motion[::2]
        return jax.lax.bitcast_convert_type(seen, jnp.uint32)

    def decode(self, words: Array) -> Array:
        """What is seen of `motion`, float32 `[..., 4]` or `[..., 2]`, from as many words, uint32."""
        return jax.lax.bitcast_convert_type(words, jnp.float32)

    def observation_space(self, params: Any = None) -> Any:
        """gymnax's `Box` of twice the thresholds, which final observations may exceed, and of any velocities."""
        from gymnax.environments import spaces

        params = self.default_params if params is None else params
        most = jnp.finfo(jnp.float32).max
        high = jnp.array([2 * params.x_threshold, most, 2 * params.theta_threshold_radians, most], jnp.float32)
        high = high if self.velocities else high[::2]
        return spaces.Box(-high, high, high.shape, jnp.float32)
