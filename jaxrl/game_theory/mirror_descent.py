"""Magnetic mirror descent (Sokota et al. 2023, https://arxiv.org/abs/2206.05825, eq. 8).

In every information set at once, with the values q of its actions,

    π_{t+1} = argmax_π ⟨π, q⟩ − α KL(π ‖ ρ) − KL(π ‖ π_t) / η,

so `π_{t+1}(a) ∝ (π_t(a) ρ(a)^{αη} exp(η q(a)))^{1 / (1 + αη)}`. The magnet ρ, here the uniform policy, draws the
policy out of the cycle around an equilibrium, so that the policy itself converges and not only its average: to the
equilibrium of the game with α times its entropy as a bonus. With α annealed to 0, to one of the game.
"""

import dataclasses
from functools import cache
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt
from jax.typing import ArrayLike

from jaxrl.game_theory.sequence_form import Game, action_values, behaviour, plan, uniform_policy
from jaxrl.game_theory.solver import Solver
from jaxrl.types import Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MirrorDescentHparams:
    """Hyperparameters of magnetic mirror descent."""

    magnet: Annotated[float, Ge(0)] = 1.0
    """Weight α of the magnet at first, in units of utility; 0 for none, so that the policy circles."""
    magnet_half_life: Annotated[float, Ge(0)] = 100.0
    """Iterations h after which it is half as large, α h / (h + t); 0 keeps it constant."""
    step_size: Annotated[float, Gt(0)] = 0.3
    """Step size η in units of 1 / utility, > 0, which falls as the magnet does."""


class MirrorDescentState(NamedTuple):
    """The logarithm of the policy `[I, A]`, and the weighted sums of both players' plans `[S]`."""

    log_policy: Array
    plans: tuple[Array, Array]


def _init(game: Game) -> MirrorDescentState:
    policy = uniform_policy(game)
    plans = jnp.zeros_like(plan(game, policy, 0)), jnp.zeros_like(plan(game, policy, 1))
    return MirrorDescentState(jnp.log(jnp.where(game.legal, policy, 1)), plans)


def annealed(x: ArrayLike, half_life: Array | float, t: Array) -> Array:
    """`x h / (h + t)`, or `x` if `h` is 0."""
    return jnp.where(half_life > 0, x * half_life / jnp.maximum(half_life + t, 1e-9), x)


def _step(game: Game, state: MirrorDescentState, t: Array, hparams: MirrorDescentHparams) -> MirrorDescentState:
    magnet = annealed(hparams.magnet, hparams.magnet_half_life, t)
    step_size = annealed(hparams.step_size, hparams.magnet_half_life, t)
    policy = _last(game, state)
    logits = (state.log_policy + step_size * action_values(game, policy)) / (1 + magnet * step_size)
    log_policy = jax.nn.log_softmax(jnp.where(game.legal, logits, -jnp.inf))
    first, second = (x + (t + 1) * plan(game, policy, i) for i, x in enumerate(state.plans))
    return MirrorDescentState(jnp.where(game.legal, log_policy, 0), (first, second))


def _average(game: Game, state: MirrorDescentState) -> Array:
    return behaviour(game, state.plans)


def _last(game: Game, state: MirrorDescentState) -> Array:
    return jnp.where(game.legal, jnp.exp(state.log_policy), 0)


@cache
def magnetic_mirror_descent() -> Solver:
    """Magnetic mirror descent with a uniform magnet. Both players learn at once; iteration t has the weight t."""
    return Solver(_init, _step, _average, _last, MirrorDescentHparams())
