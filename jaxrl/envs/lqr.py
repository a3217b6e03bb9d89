"""The linear-quadratic regulator, the control problem with continuous actions whose optimum is known exactly.

The state x moves as x' = A x + B u + w, where u is the action and w is noise of covariance σ² I. Each step costs
x' Q x + u' R u. The optimal policy is linear, u = −K x. If each step also earns α times the policy's entropy, the
optimal policy is normal, with the same mean and a covariance proportional to α.
"""

import dataclasses
import math
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check_value
from jaxrl.envs.base import Environment, EnvParams, uniform
from jaxrl.types import Array, Box

Matrix = tuple[tuple[float, ...], ...]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LQRParams(EnvParams):
    """Traced parameters of a linear-quadratic regulator."""

    noise: Annotated[float, Interval(ge=0, lt=math.inf)] = 0.0
    """Standard deviation σ of the noise of each coordinate, which is uniform."""
    max_steps_in_episode: Annotated[int, Interval(ge=1, lt=2**31)] = 100
    """Steps after which an episode is truncated."""


class LQRState(NamedTuple):
    """x, float32 `[S, ...]`, and the steps since the start of the episode, int32 `[...]`."""

    x: Array
    time: Array


class LQROptimum(NamedTuple):
    """The optimum of a linear-quadratic regulator. V(x) = −x' P x + `constant`.

    Attributes:
        gain: K, of the best action −K x, `[D, S]`.
        cost: P, `[S, S]`.
        covariance: of the best action, `[D, D]`; 0 at temperature 0.
        constant: the value at x = 0.
    """

    gain: np.ndarray
    cost: np.ndarray
    covariance: np.ndarray
    constant: float


@dataclasses.dataclass(frozen=True)
class LQR(Environment):
    """A linear-quadratic regulator, by default of a mass on a line (position, velocity) that a force pushes.

    Episodes begin at uniformly random places in [-1, 1]^S and do not terminate. Actions are bounded, and the optimum
    holds for states whose best action is inside the bounds.

    Random words: `u = uniform(word i)` sets the i-th coordinate of the first state to `2 u − 1`, and that of the noise
    to `σ √3 (2 u − 1)`.

    Attributes:
        dynamics: A, `[S, S]`.
        control: B, `[S, D]`.
        state_cost: Q, `[S, S]`, positive semidefinite.
        action_cost: R, `[D, D]`, positive definite.
        max_action: the largest size of each coordinate of an action, > 0.

    Raises:
        ArgumentError: shapes that do not fit each other, or costs of another kind.
    """

    dynamics: Matrix = ((1.0, 0.2), (0.0, 1.0))
    control: Matrix = ((0.02,), (0.2,))
    state_cost: Matrix = ((1.0, 0.0), (0.0, 0.1))
    action_cost: Matrix = ((0.1,),)
    max_action: float = 10.0

    name = "LQR"

    def __post_init__(self) -> None:
        size, actions = np.shape(self.control)[:1] * 2, np.shape(self.control)[1:] * 2
        for field, shape in (("dynamics", size), ("state_cost", size), ("action_cost", actions)):
            if np.shape(value := getattr(self, field)) != shape or len(shape) != 2:
                raise ArgumentError(field, f"must be a matrix that fits control {np.shape(self.control)}", value)
        for field in ("dynamics", "control", "state_cost", "action_cost"):
            if not np.isfinite(value := getattr(self, field)).all():
                raise ArgumentError(field, "must be finite", value)
        for field, lowest in (("state_cost", -1e-12), ("action_cost", 1e-12)):
            matrix = np.asarray(value := getattr(self, field))
            if not (np.allclose(matrix, matrix.T) and np.linalg.eigvalsh(matrix).min() >= lowest):
                kind = "semidefinite" if lowest < 0 else "definite"
                raise ArgumentError(field, f"must be symmetric and positive {kind}", value)
        if not 0 < self.max_action < math.inf:
            raise ArgumentError("max_action", "must be > 0 and finite", self.max_action)

    @property
    def random_words(self) -> int:  # type: ignore[override]
        return len(self.dynamics)

    @property
    def box(self) -> Box:  # type: ignore[override]
        high = np.full(len(self.action_cost), self.max_action, np.float32)
        return Box(-high, high)

    @property
    def default_params(self) -> LQRParams:
        return LQRParams()

    def initial(self, bits: Array, params: LQRParams) -> LQRState:
        del params
        return LQRState(2 * uniform(bits) - 1, jnp.zeros(bits.shape[1:], jnp.int32))

    def transition(
        self, state: LQRState, action: Array, bits: Array, params: LQRParams
    ) -> tuple[LQRState, Array, Array]:
        cost = _quadratic(self.state_cost, state.x) + _quadratic(self.action_cost, action)
        noise = params.noise * 3**0.5 * (2 * uniform(bits) - 1)
        x = _times(self.dynamics, state.x) + _times(self.control, action) + noise
        return LQRState(x, state.time + 1), -cost, jnp.zeros(cost.shape, bool)

    def time_limit(self, params: Any) -> Array:
        return params.max_steps_in_episode

    def encode(self, state: LQRState) -> Array:
        """The bits of x, `[S, ...]`."""
        return jax.lax.bitcast_convert_type(state.x, jnp.uint32)

    def decode(self, words: Array) -> Array:
        """x, float32 `[..., S]`."""
        return jax.lax.bitcast_convert_type(words, jnp.float32)

    def optimum(self, discount: float, temperature: float = 0.0, noise: float = 0.0) -> LQROptimum:
        """The optimal policy and its value, of episodes without end, in float64.

        With H = R + γ B' P B, the discounted Riccati equation P = Q + γ A' P A − γ² A' P B H⁻¹ B' P A gives the gain
        K = γ H⁻¹ B' P A. The soft value of the temperature α is α log ∫ exp(Q(x, u) / α) du: its maximum has the
        covariance α H⁻¹ / 2.

        Args:
            discount: γ in [0, 1).
            temperature: α ≥ 0, the reward of one nat of the policy's entropy.
            noise: σ, `LQRParams.noise`.

        Raises:
            ArgumentError: an argument is out of its bounds, or no policy keeps the cost finite.
        """
        check_value("discount", discount, Annotated[float, Interval(ge=0, lt=1)])
        for name, value in (("temperature", temperature), ("noise", noise)):
            check_value(name, value, Annotated[float, Interval(ge=0, lt=math.inf)])
        a, b, q, r = (np.array(x, float) for x in (self.dynamics, self.control, self.state_cost, self.action_cost))
        cost, before = q, np.full_like(q, np.inf)
        for _ in range(100_000):
            if not (finite := bool(np.isfinite(cost).all())) or np.abs(cost - before).max() <= 1e-14 * cost.max():
                break
            h = r + discount * b.T @ cost @ b
            gain, before = discount * np.linalg.solve(h, b.T @ cost @ a), cost
            cost = q + discount * a.T @ cost @ (a - b @ gain)
        if not finite:
            raise ArgumentError("discount", "must be small enough that some policy keeps the cost finite", discount)
        soft = 0.0
        if temperature:
            soft = temperature / 2 * (len(r) * math.log(math.pi * temperature) - np.linalg.slogdet(h)[1])
        constant = (soft - discount * noise**2 * np.trace(cost)) / (1 - discount)
        return LQROptimum(gain, cost, temperature / 2 * np.linalg.inv(h), float(constant))


def _times(matrix: Matrix, x: Array) -> Array:
    """The product of a matrix and vectors `[columns, ...]`."""
    return jnp.stack([sum((m * x[j] for j, m in enumerate(row)), jnp.zeros_like(x[0])) for row in matrix])


def _quadratic(matrix: Matrix, x: Array) -> Array:
    return (x * _times(matrix, x)).sum(0)
