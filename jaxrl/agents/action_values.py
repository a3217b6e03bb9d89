"""What a network's outputs say about the return of each action, so that an agent need not know which of them it learns.

The mean return (DQN), the probabilities of fixed returns (C51), or returns of fixed probability (QR-DQN).
"""

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import ops
from jaxrl.arguments import ArgumentError
from jaxrl.types import Array

MOST_ROUNDING = 1e-3
"""How far float32 may put an atom from where it belongs, as a share of the distance between two."""
TINY = np.finfo(np.float32).tiny
"""XLA takes what is less than it for zero."""


class ActionValues(NamedTuple):
    """What a network says about each action's return, and how it learns it.

    Attributes:
        shape: of the numbers for one action, `()` or `(K,)`.
        q_values: outputs `[..., num_actions, *shape]` to Q(s, ·) `[..., num_actions]`.
        loss: `(outputs_tm1, a_tm1, r_t, discount_t, outputs_t, q_t_selector) -> (loss, error)` of one transition; the
            caller vmaps. `outputs_tm1` are what the network says in s, and `outputs_t` what the target network says in
            s', `[num_actions, *shape]`; `a_tm1` is the action taken; `r_t` and `discount_t` are of one step or of n;
            the largest of `q_t_selector` `[num_actions]` chooses the action in s'. `loss` and `error` are scalars, and
            the size of `error` is what a prioritised replay ranks by. No gradient flows into the target.
    """

    shape: tuple[int, ...]
    q_values: Callable[[Array], Array]
    loss: Callable[[Array, Array, Array, Array, Array, Array], tuple[Array, Array]]


def expected_value(loss: Literal["huber", "squared"] = "huber") -> ActionValues:
    """The mean of the return, Q(s, a) itself. The error is the TD error y − Q(s, a).

    Args:
        loss: of the TD error, huber (error clipped to [-1, 1], Mnih et al. 2015) or squared (Mnih et al. 2013).
    """
    losses = {"huber": ops.huber_loss, "squared": ops.l2_loss}
    if loss not in losses:
        raise ArgumentError("loss", f"must be one of {', '.join(losses)}", loss)
    loss_of_error = losses[loss]

    def td_loss(*transition: Array) -> tuple[Array, Array]:
        error = _td_error(*transition)
        return loss_of_error(error), error

    return ActionValues((), lambda outputs: outputs, td_loss)


def categorical(v_min: float, v_max: float, num_atoms: int) -> ActionValues:
    """The probabilities of `num_atoms` returns, as logits (C51, Bellemare et al. 2017). The error is the loss.

    Args:
        v_min: the least return, in units of reward.
        v_max: the largest; returns beyond either are taken for it.
        num_atoms: returns at equal distances from `v_min` to `v_max`, K ≥ 2.

    Raises:
        ArgumentError: the bounds are not finite or not in order, there are fewer than two atoms, or they are so near to
            each other that float32 cannot tell them apart.
    """
    for name, bound in (("v_min", v_min), ("v_max", v_max)):
        if not math.isfinite(bound):
            raise ArgumentError(name, "must be finite", bound)
    if v_min >= v_max:
        raise ArgumentError("v_min", f"must be < v_max = {v_max}", v_min)
    if num_atoms < 2:
        raise ArgumentError("num_atoms", "must be >= 2", num_atoms)
    with np.errstate(over="ignore", invalid="ignore"):
        exact = np.linspace(v_min, v_max, num_atoms)
        atoms = exact.astype(np.float32)
        rounding, spacing = abs(atoms - exact).max(), np.float32(exact[-1] - exact[0]) / (num_atoms - 1)
    # Targets are rounded as atoms are, and a share of their mass as large as that goes to the wrong atom.
    if not (rounding <= MOST_ROUNDING * spacing and TINY <= spacing < np.inf):
        raise ArgumentError(
            "v_min", f"must be so far from v_max = {v_max} that float32 tells {num_atoms} atoms apart", v_min
        )

    def q_values(logits: Array) -> Array:
        # Not a matrix product, which accelerators may compute with few bits.
        return jnp.sum(jax.nn.softmax(logits) * atoms, axis=-1)

    def loss(*transition: Array) -> tuple[Array, Array]:
        value = ops.categorical_q_learning_loss(jnp.asarray(atoms), *transition)
        return value, value

    return ActionValues((num_atoms,), q_values, loss)


def quantiles(num_atoms: int) -> ActionValues:
    """Quantiles of the return (QR-DQN, Dabney et al. 2018). The error is the TD error of their means.

    Args:
        num_atoms: quantiles at the midpoints of as many equal shares of probability, K ≥ 2.

    Raises:
        ArgumentError: there are fewer than two quantiles.
    """
    if num_atoms < 2:
        raise ArgumentError("num_atoms", "must be >= 2", num_atoms)

    def q_values(outputs: Array) -> Array:
        return jnp.mean(outputs, axis=-1)

    def loss(
        outputs_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, outputs_t: Array, q_t_selector: Array
    ) -> tuple[Array, Array]:
        value = ops.quantile_q_learning_loss(outputs_tm1, a_tm1, r_t, discount_t, outputs_t, q_t_selector)
        return value, _td_error(q_values(outputs_tm1), a_tm1, r_t, discount_t, q_values(outputs_t), q_t_selector)

    return ActionValues((num_atoms,), q_values, loss)


def _td_error(q_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, q_t: Array, q_t_selector: Array) -> Array:
    target = ops.double_q_learning_target(r_t, discount_t, q_t, q_t_selector)
    return jax.lax.stop_gradient(target) - q_tm1[a_tm1]
