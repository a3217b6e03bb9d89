"""The meaning of a network's outputs for an action's return, so that DQN need not know which kind it learns.

The expected return (DQN), probabilities of fixed returns (C51), or quantiles of the return (QR-DQN).
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

MAX_ROUNDING = 1e-3
"""Largest error of an atom in float32, as a share of the distance between two atoms."""


class ActionValues(NamedTuple):
    """How a network's outputs describe each action's return, and how to learn them.

    Attributes:
        shape: of the outputs for one action, `()` or `(K,)`.
        q_values: maps outputs `[..., num_actions, *shape]` to Q(s, ·) `[..., num_actions]`.
        loss: `(outputs_tm1, a_tm1, r_t, discount_t, outputs_t, q_t_selector) -> (loss, error)` of one transition, two
            scalars. `outputs_tm1` are those in s and `outputs_t` the target network's in s', `[num_actions, *shape]`;
            `a_tm1` is the action taken; `r_t` and `discount_t` belong to one step or to n; the action in s' maximises
            `q_t_selector` `[num_actions]`. A prioritised replay ranks by |error|. No gradient flows into the target.
    """

    shape: tuple[int, ...]
    q_values: Callable[[Array], Array]
    loss: Callable[[Array, Array, Array, Array, Array, Array], tuple[Array, Array]]


def expected_value(loss: Literal["huber", "l2"] = "huber") -> ActionValues:
    """The expected return, Q(s, a). The error is the TD error y − Q(s, a).

    Args:
        loss: of the TD error: "huber" (its gradient is the error clipped to [-1, 1], Mnih et al. 2015) or "l2" (½
            error², Mnih et al. 2013).

    Raises:
        ArgumentError: an unknown loss.
    """
    losses = {"huber": ops.huber_loss, "l2": ops.l2_loss}
    if loss not in losses:
        raise ArgumentError("loss", f"must be one of {', '.join(losses)}", loss)

    def td_loss(*transition: Array) -> tuple[Array, Array]:
        error = td_error(*transition)
        return losses[loss](error), error

    return ActionValues((), lambda outputs: outputs, td_loss)


def categorical(v_min: float, v_max: float, num_atoms: int) -> ActionValues:
    """Probabilities of `num_atoms` fixed returns, as logits (C51, Bellemare et al. 2017). The error is the loss.

    Args:
        v_min: the lowest return, in units of reward.
        v_max: the highest return. Returns beyond the bounds count as the bounds.
        num_atoms: K ≥ 2 returns at equal distances from `v_min` to `v_max`.

    Raises:
        ArgumentError: the bounds are not finite or not in order, fewer than two atoms, or atoms too close for float32.
    """
    for name, bound in (("v_min", v_min), ("v_max", v_max)):
        if not math.isfinite(bound):
            raise ArgumentError(name, "must be finite", bound)
    if v_min >= v_max:
        raise ArgumentError("v_min", f"must be less than the highest return, {v_max}", v_min)
    _check_num_atoms(num_atoms)
    with np.errstate(over="ignore", invalid="ignore"):
        exact = np.linspace(v_min, v_max, num_atoms)
        atoms = exact.astype(np.float32)
        rounding, spacing = abs(atoms - exact).max(), np.float32(exact[-1] - exact[0]) / (num_atoms - 1)
    # Targets are rounded as atoms are, which moves the same share of their mass to the wrong atom. XLA flushes numbers
    # below `tiny` to zero.
    if not (rounding <= MAX_ROUNDING * spacing and np.finfo(np.float32).tiny <= spacing < np.inf):
        rule = f"must differ enough from the highest return, {v_max}, for {num_atoms} atoms in float32"
        raise ArgumentError("v_min", rule, v_min)

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
        num_atoms: K ≥ 2 quantiles, at the midpoints of K equal shares of probability.

    Raises:
        ArgumentError: fewer than two quantiles.
    """
    _check_num_atoms(num_atoms)

    def q_values(outputs: Array) -> Array:
        return jnp.mean(outputs, axis=-1)

    def loss(
        outputs_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, outputs_t: Array, q_t_selector: Array
    ) -> tuple[Array, Array]:
        value = ops.quantile_q_learning_loss(outputs_tm1, a_tm1, r_t, discount_t, outputs_t, q_t_selector)
        return value, td_error(q_values(outputs_tm1), a_tm1, r_t, discount_t, q_values(outputs_t), q_t_selector)

    return ActionValues((num_atoms,), q_values, loss)


def _check_num_atoms(num_atoms: int) -> None:
    if num_atoms < 2:
        raise ArgumentError("num_atoms", "must be >= 2", num_atoms)


def value_of(q: Array, actions: Array) -> Array:
    """The values `[...]` of actions `[...]`, of Q `[..., num_actions]`."""
    return jnp.take_along_axis(q, actions[..., None], axis=-1)[..., 0]


def td_error(q_tm1: Array, a_tm1: Array, r_t: Array, discount_t: Array, q_t: Array, q_t_selector: Array) -> Array:
    """The error y − Q(s, a) of one transition; see `jaxrl.ops.double_q_learning_target`."""
    target = ops.double_q_learning_target(r_t, discount_t, q_t, q_t_selector)
    return jax.lax.stop_gradient(target) - q_tm1[a_tm1]
