"""Certainty equivalence: count transitions, estimate the MDP, and plan in the estimate as if it were the truth.

The simulation lemma (Kearns & Singh 2002, https://doi.org/10.1023/A:1017984413808; in this form Agarwal, Jiang, Kakade
& Sun 2022, lemma 2.2, https://rltheorybook.github.io) bounds what that costs. For a policy π, its values V in the true
MDP and V̂ in the estimated one differ by

    V − V̂ = (I − γ P^π)^-1 (R^π − R̂^π + γ (P^π − P̂^π) V̂),

because V satisfies the true Bellman equation and V̂ the estimated one. The errors of the model are weighted by the
states that the policy visits in truth. So |V − V̂| ≤ (ε_R + γ ε_P span(V̂) / 2) / (1 − γ), where ε_R is the largest
error of a reward and ε_P the largest distance |P − P̂|_1 of two distributions. The best policy π̂ of the estimate loses
V* − V^π̂ = (V^π* − V̂^π*) + (V̂^π* − V̂^π̂) + (V̂^π̂ − V^π̂), of which the second term is at most 0: at most twice the bound.
"""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval
from jax.typing import ArrayLike

from jaxrl.arguments import ArgumentError, check_kind, check_value
from jaxrl.planning.dynamic_programming import check_mdp
from jaxrl.types import MDP, Array


class Counts(NamedTuple):
    """What was seen of an MDP. Counts of independent data add up.

    Attributes:
        transitions: how often action `a` in state `s` led to `s'`, float32 `[S, A, S]`.
        rewards: the sum of the rewards of each action in each state, float32 `[S, A]`.
    """

    transitions: Array
    rewards: Array


def count_transitions(
    num_states: int, num_actions: int, states: Array, actions: Array, rewards: Array, next_states: Array
) -> Counts:
    """Counts transitions `[...]`: the numbers of states and actions, int, and rewards.

    Raises:
        ArgumentError: shapes do not fit each other, a number is not whole or, outside of `jit`, not that of a state or
            an action.
    """
    states, actions, rewards, next_states = (jnp.asarray(x) for x in (states, actions, rewards, next_states))
    _check_indices("states", states, num_states, rewards.shape)
    _check_indices("actions", actions, num_actions, rewards.shape)
    _check_indices("next_states", next_states, num_states, rewards.shape)
    transitions = jnp.zeros((num_states, num_actions, num_states), jnp.result_type(float))
    return Counts(
        transitions.at[states, actions, next_states].add(1.0),
        jnp.zeros((num_states, num_actions), transitions.dtype).at[states, actions].add(rewards),
    )


def _check_indices(name: str, x: Array, number: int, shape: tuple[int, ...]) -> None:
    """Raises `ArgumentError` if an argument is not whole numbers of a shape, from 0 to below `number`."""
    if x.shape != shape:
        raise ArgumentError(name, f"must be of the shape {shape} of rewards", x.shape)
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise ArgumentError(name, "must be whole numbers", got=str(x.dtype))
    if isinstance(x, jax.core.Tracer):
        return
    numbers = np.asarray(x, np.int64)  # in the type of small indices `number` might be another one
    if (wrong := numbers[(numbers < 0) | (numbers >= number)]).size:
        raise ArgumentError(name, f"must be from 0 to {number - 1}", wrong[0])


def estimated_mdp(counts: Counts, discount: ArrayLike, terminal: Array, initial: Array) -> MDP:
    """The MDP in which the frequencies are the probabilities, and the mean rewards the expected ones.

    An action that was never tried leads back to its state with reward 0, and so do all actions in terminal states.

    Args:
        counts: what was seen.
        discount: γ, scalar.
        terminal: which states end an episode, bool `[S]`.
        initial: the distribution of first states, `[S]`.

    Raises:
        ArgumentError: shapes do not fit each other or, outside of `jit`, γ is not in [0, 1], or `initial` no
            distribution.
    """
    check_kind("counts", counts, Counts)
    check_value("discount", discount, Annotated[float, Interval(ge=0, le=1)])
    if not isinstance(initial, jax.core.Tracer) and not _is_distribution(np.asarray(initial, np.float64)):
        raise ArgumentError("initial", "must be a distribution, which adds up to 1", initial)
    tries = counts.transitions.sum(-1)
    for name, x, shape in (("rewards", counts.rewards, tries.shape), ("terminal", terminal, tries.shape[:1])):
        if np.shape(x) != shape:
            raise ArgumentError(name, f"must be of shape {shape}, as the counts are", np.shape(x))
    known = (tries > 0) & ~jnp.asarray(terminal)[:, None]
    itself = jnp.eye(tries.shape[0], dtype=counts.transitions.dtype)[:, None]
    divisor = jnp.maximum(tries, 1)
    transition = jnp.where(known[..., None], counts.transitions / divisor[..., None], itself)
    reward = jnp.where(known, counts.rewards / divisor, 0.0)
    mdp = MDP(transition, reward, jnp.asarray(discount, reward.dtype), jnp.asarray(terminal), jnp.asarray(initial))
    check_mdp(mdp)
    return mdp


def _is_distribution(x: np.ndarray) -> bool:
    return bool((x >= 0).all() and abs(x.sum() - 1) < 1e-3)


def simulation_bound(mdp: MDP, model: MDP) -> Array:
    """The simulation lemma: a bound on |V^π(s) − V̂^π(s)| for every policy π and state s, scalar.

    The span of a policy's values in the model is at most that of its rewards over 1 − γ. Rounding errors are not in it.

    Args:
        mdp: the true MDP.
        model: an estimate of it, with the same discount.

    Returns:
        The bound; infinite for γ = 1. The best policy of the model loses at most twice this, in every state.

    Raises:
        ArgumentError: the MDPs have different sizes or, outside of `jit`, discounts, or NaN among their numbers.
    """
    _check_alike(mdp, model)
    discount = mdp.discount
    concrete = not any(isinstance(x, jax.core.Tracer) for x in (discount, model.discount))
    if concrete and not np.array_equal(discount, model.discount):
        raise ArgumentError("model", f"must have the discount of the MDP, {discount}", model.discount)
    reward_error = abs(mdp.reward - model.reward).max()
    distance = abs(mdp.transition - model.transition).sum(-1).max()
    span = (model.reward.max() - model.reward.min()) / (1 - discount)
    bound = (reward_error + discount * distance * span / 2) / (1 - discount)
    bound = jnp.where(discount < 1, bound, jnp.inf)
    if not isinstance(bound, jax.core.Tracer) and np.isnan(bound):
        raise ArgumentError("model", "must have finite rewards and probabilities, and so must the MDP", got="")
    return bound


def _check_alike(mdp: MDP, model: Any) -> None:
    check_kind("mdp", mdp, MDP)
    check_kind("model", model, MDP)
    check_mdp(mdp)
    check_mdp(model)
    if np.shape(model.reward) != np.shape(mdp.reward):
        rule = f"must have the states and actions of the MDP, {np.shape(mdp.reward)}"
        raise ArgumentError("model", rule, np.shape(model.reward))
