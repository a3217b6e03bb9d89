"""Exact planning for an expert who prefers better trajectories, but not only the best: softmax in place of max.

Maximum causal entropy (Ziebart 2010, Modeling Purposeful Adaptive Behavior with the Principle of Maximum Causal
Entropy): of all policies with the same return, choose the one with the largest entropy. With a horizon of `T` steps, it
is found backwards from `V_T = 0`,

    Q_t(s, a) = R(s, a) + γ Σ_s' P(s' | s, a) V_{t+1}(s'),    V_t(s) = log Σ_a exp Q_t(s, a),    π_t = exp(Q_t - V_t).

Maximum entropy over trajectories (Ziebart et al. 2008, https://www.aaai.org/Papers/AAAI/2008/AAAI08-227.pdf) weighs
every trajectory by the exponential of its return, as if the expert also chose what the environment decides by chance:

    Q_t(s, a) = R(s, a) + γ log Σ_s' P(s' | s, a) exp V_{t+1}(s').

Where nothing is random both are the same. Elsewhere, by Jensen's inequality, the second overrates risks.

The temperature is 1: an expert with a larger reward is nearer to optimal. The episode is over in terminal states, so
that their value is 0, and no choice there adds entropy.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl import planning
from jaxrl.arguments import ArgumentError, check_count
from jaxrl.types import MDP, Array


class SoftPlan(NamedTuple):
    """What an expert with a finite horizon does.

    Attributes:
        q_values: `Q_t(s, a)`, `[T, S, A]`.
        values: `V_t(s)`, `[T, S]`.
    """

    q_values: Array
    values: Array

    @property
    def policy(self) -> Array:
        """`π_t(a | s)`, `[T, S, A]`. For γ < 1 and a long horizon, `policy[0]` is that of an infinite one."""
        return jax.nn.softmax(self.q_values)


def soft_value_iteration(mdp: MDP, horizon: int, causal: bool = True) -> SoftPlan:
    """The exact soft values of the last `horizon` steps. Differentiable.

    The derivative of the first values with respect to the reward is the expert's `occupancy`.

    Args:
        mdp: the problem.
        horizon: `T`, the number of steps.
        causal: whether the expert maximises the causal entropy (2010), or that of trajectories (2008).

    Raises:
        ArgumentError: the horizon is below 1, or a shape does not fit.
    """
    _check(mdp, horizon)
    return _soft_value_iteration(mdp, int(horizon), causal)


@partial(jax.jit, static_argnums=(1, 2))
def _soft_value_iteration(mdp: MDP, horizon: int, causal: bool) -> SoftPlan:
    def backup(values: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        if causal:
            q = planning.bellman_backup(mdp, values)
        else:
            q = mdp.reward + mdp.discount * jax.nn.logsumexp(values, b=mdp.transition, axis=-1)
        values = jnp.where(mdp.terminal, 0, jax.nn.logsumexp(q, axis=1))
        return values, (q, values)

    last = jnp.zeros(mdp.reward.shape[0], planning.dtype_of(mdp))
    return SoftPlan(*jax.lax.scan(backup, last, length=horizon, reverse=True)[1])


def occupancy(mdp: MDP, policy: Array, horizon: int) -> Array:
    """How often a policy takes each action: `Σ_t γ^t p(s_t = s, a_t = a)` over the first `horizon` steps, `[S, A]`.

    It is zero in terminal states. The sum of its products with a reward `[S, A]` is the policy's expected return, and
    with features `[S, A, F]` it is the policy's expected features.

    Args:
        mdp: the problem. Its reward plays no part.
        policy: `π(a | s)`, `[S, A]`, or `π_t(a | s)`, `[T, S, A]`.
        horizon: `T`, the number of steps.

    Raises:
        ArgumentError: the horizon is below 1, or a shape does not fit.
    """
    _check(mdp, horizon)
    check_policy(mdp, policy, horizon)
    return _occupancy(mdp, jnp.asarray(policy), int(horizon))


@partial(jax.jit, static_argnums=2)
def _occupancy(mdp: MDP, policy: Array, horizon: int) -> Array:
    def forward(visits: Array, policy: Array) -> tuple[Array, Array]:
        taken = jnp.where(mdp.terminal, 0, visits)[:, None] * policy
        follows = jnp.einsum("sa,sat->t", taken, mdp.transition, precision=jax.lax.Precision.HIGHEST)
        return mdp.discount * follows, taken

    policies = jnp.broadcast_to(policy, (horizon, *mdp.reward.shape))
    return jax.lax.scan(forward, mdp.initial.astype(planning.dtype_of(mdp)), policies)[1].sum(0)


def _check(mdp: MDP, horizon: int) -> None:
    planning.check_mdp(mdp)
    check_count("horizon", horizon)


def check_policy(mdp: MDP, policy: Array, horizon: int) -> None:
    """Checks the shape of a policy, `[S, A]` or `[T, S, A]`."""
    states, actions = mdp.reward.shape
    if np.shape(policy) not in ((states, actions), (horizon, states, actions)):
        rule = f"must be of shape [{states}, {actions}] or [{horizon}, {states}, {actions}], [S, A] or [T, S, A]"
        raise ArgumentError("policy", rule, np.shape(policy))
