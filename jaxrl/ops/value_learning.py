"""Targets of the Bellman equations for action values, such as Q*(s, a) = E[r + γ max_a' Q*(s', a')].

All functions take `r_t`, the reward of the step, and `discount_t`, which is γ, or 0 if the step terminated the episode;
both are scalars. They return the target y, a scalar.
"""

import jax.numpy as jnp

from jaxrl.ops.bootstrapping import discounted
from jaxrl.types import Array


def q_learning_target(r_t: Array, discount_t: Array, q_t: Array) -> Array:
    """Target of Q-learning, y = r + γ max_a' Q(s', a') (Watkins & Dayan 1992).

    Args:
        r_t, discount_t: reward and discount, scalars.
        q_t: Q(s', ·), `[num_actions]`.
    """
    return r_t + discounted(discount_t, jnp.max(q_t))


def double_q_learning_target(r_t: Array, discount_t: Array, q_t_value: Array, q_t_selector: Array) -> Array:
    """Target of Double Q-learning, y = r + γ Q_value(s', argmax_a' Q_selector(s', a')).

    van Hasselt et al. 2016 (https://arxiv.org/abs/1509.06461), equation 4.

    Args:
        r_t, discount_t: reward and discount, scalars.
        q_t_value: Q(s', ·) of the target network, which evaluates the action, `[num_actions]`.
        q_t_selector: Q(s', ·) of the online network, which selects it, `[num_actions]`.
    """
    return r_t + discounted(discount_t, q_t_value[jnp.argmax(q_t_selector)])


def sarsa_target(r_t: Array, discount_t: Array, q_t: Array, a_t: Array) -> Array:
    """Target of Sarsa, y = r + γ Q(s', a').

    Rummery & Niranjan 1994 ("modified connectionist Q-learning"); Sutton & Barto 2018, section 6.4.

    Args:
        r_t, discount_t: reward and discount, scalars.
        q_t: Q(s', ·), `[num_actions]`.
        a_t: a', the action taken in s', integer scalar; any action if the step terminated the episode.
    """
    return r_t + discounted(discount_t, q_t[a_t])


def expected_sarsa_target(r_t: Array, discount_t: Array, q_t: Array, probs_a_t: Array) -> Array:
    """Target of Expected Sarsa, y = r + γ Σ_a' π(a' | s') Q(s', a').

    van Seijen et al. 2009 (A Theoretical and Empirical Analysis of Expected Sarsa); Sutton & Barto 2018, section 6.6.

    Args:
        r_t, discount_t: reward and discount, scalars.
        q_t: Q(s', ·), `[num_actions]`.
        probs_a_t: π(· | s'), `[num_actions]`. With the greedy policy this is `q_learning_target`.
    """
    return r_t + discounted(discount_t, jnp.dot(probs_a_t, q_t))


def weighted_mean(x: Array, weights: Array) -> Array:
    """The mean of numbers `[..., B]` with the weights `[B]` of a batch, Σ w x / Σ w; 0 if all weights are."""
    total = weights.sum() * (x.size // weights.size)
    return (weights * x).sum() / jnp.where(total > 0, total, 1.0)
