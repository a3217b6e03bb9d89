"""Maximum entropy inverse reinforcement learning: the reward under which demonstrations are most likely.

Let `R_θ` be a reward, `V` the soft values of a horizon of `T` steps, and `ρ_E` the expert's occupancy. The objective

    L(θ) = Σ_s p(s_0 = s) V_0(s; θ) - Σ_{s,a} ρ_E(s, a) R_θ(s, a)

is convex in the reward. Its gradient is `Σ_{s,a} (ρ_θ - ρ_E) ∂R_θ / ∂θ`: for a linear reward, the expected features of
the soft policy less those of the expert (Ziebart et al. 2008; Ziebart 2010). The derivative through the backward scan
of soft value iteration is the forward scan of visits, so that nothing else has to be written.

If `ρ_E` is the occupancy of a policy in this MDP, then `L` is exactly its negative discounted log-likelihood,
`-E_E Σ_t γ^t log π_t(a_t | s_t)`. So it is for demonstrations in a deterministic MDP that starts where they start.

The reward is any function of parameters: a table, `features @ weights`, or a network of the features of each state
(Wulfmeier et al. 2015, https://arxiv.org/abs/1507.04888).

    plan = inverse.soft_value_iteration(mdp, horizon=30)
    expert = inverse.occupancy(mdp, plan.policy, horizon=30)
    found = inverse.max_entropy(mdp, expert, lambda table: table, jnp.zeros((S, A)), horizon=30)
    planning.value_iteration(mdp._replace(reward=found.reward))
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxrl.arguments import ArgumentError, check_count
from jaxrl.inverse.soft_planning import soft_value_iteration
from jaxrl.types import MDP, Array, PyTree


class MaxEntropy(NamedTuple):
    """The result of `max_entropy`.

    Attributes:
        params: the parameters of the reward after the last step.
        reward: `R(s, a)`, `[S, A]`, zero in terminal states.
        losses: the objective before each step, `[num_steps]`.
        gap: `max |ρ_θ - ρ_E|` of the last step over the states and actions, scalar: zero if the soft policy does what
            the expert does. A reward with fewer parameters than a table may be unable to reach it.
    """

    params: PyTree
    reward: Array
    losses: Array
    gap: Array


def negative_log_likelihood(mdp: MDP, expert: Array, horizon: int, causal: bool = True) -> Array:
    """`L`, a scalar, of the reward in `mdp`. It is convex and differentiable in the reward.

    Args:
        mdp: the problem with the reward to rate.
        expert: the expert's occupancy, `[S, A]`, from `occupancy` or `trajectory_occupancy`.
        horizon: `T`, the number of steps that it covers.
        causal: whether the expert maximises the causal entropy (2010), or that of trajectories (2008). In the second
            case and for γ = 1, the likelihood is that of whole trajectories, up to the factor `Π P(s' | s, a)`.

    Raises:
        ArgumentError: a shape does not fit, or the horizon is below 1.
    """
    if np.shape(expert) != np.shape(mdp.reward):
        raise ArgumentError("expert", f"must be of shape [S, A], here {np.shape(mdp.reward)}", np.shape(expert))
    values = soft_value_iteration(mdp, horizon, causal).values[0]
    return (mdp.initial * values).sum() - (expert * mdp.reward).sum()


def max_entropy(
    mdp: MDP,
    expert: Array,
    reward: Callable[[PyTree], Array],
    params: PyTree,
    *,
    horizon: int,
    optimizer: optax.GradientTransformation | None = None,
    num_steps: int = 200,
    causal: bool = True,
) -> MaxEntropy:
    """Fits a reward to an expert by gradient descent on the negative log-likelihood.

    A pure function of arrays: `jax.vmap` or `jax.lax.map` it over thousands of MDPs.

    Args:
        mdp: the problem. Its reward plays no part.
        expert: the expert's occupancy, `[S, A]`, from `occupancy` or `trajectory_occupancy`.
        reward: `params -> R(s, a)`, `[S, A]` or `[S, 1]`. What it returns for terminal states plays no part.
        params: the parameters to start from.
        horizon: `T`, the number of steps that the occupancy covers.
        optimizer: by default Adam with a learning rate of 0.1.
        num_steps: steps of gradient descent.
        causal: see `negative_log_likelihood`.

    Raises:
        ArgumentError: a shape does not fit, a number is below 1, or the occupancy is not finite or counts nothing.
    """
    check_expert(mdp, expert)
    check_count("num_steps", num_steps)
    optimizer = optax.adam(0.1) if optimizer is None else optimizer

    def table(params: PyTree) -> Array:
        given = reward(params)
        if np.shape(given) not in (np.shape(mdp.reward), (*np.shape(mdp.terminal), 1)):
            raise ArgumentError("reward", "must return [S, A] or [S, 1]", np.shape(given))
        return jnp.where(mdp.terminal[:, None], 0, jnp.broadcast_to(given, mdp.reward.shape))

    def loss(table: Array) -> Array:
        return negative_log_likelihood(mdp._replace(reward=table), expert, horizon, causal)

    def step(carry: tuple, _: None) -> tuple[tuple, tuple[Array, Array]]:
        params, state = carry
        values, pull = jax.vjp(table, params)
        value, excess = jax.value_and_grad(loss)(values)  # how much more often the soft policy does it than the expert
        updates, state = optimizer.update(pull(excess)[0], state, params)
        return (optax.apply_updates(params, updates), state), (value, abs(excess).max())

    (params, _), (losses, gaps) = jax.lax.scan(step, (params, optimizer.init(params)), length=num_steps)
    return MaxEntropy(params, table(params), losses, gaps[-1])


def check_expert(mdp: MDP, expert: Array) -> None:
    """Checks an occupancy `[S, A]`. Traced arrays pass if their shape does."""
    if np.shape(expert) != np.shape(mdp.reward):
        raise ArgumentError("expert", f"must be of shape [S, A], here {np.shape(mdp.reward)}", np.shape(expert))
    if isinstance(expert, jax.core.Tracer):
        return
    if not (np.isfinite(expert).all() and (np.asarray(expert) >= 0).all()):
        raise ArgumentError("expert", "must be finite and >= 0", got="other numbers")
    if not np.asarray(expert).any():
        raise ArgumentError("expert", "must count at least one action", got="none")
