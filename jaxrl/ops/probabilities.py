"""Policies as arrays: greedy probabilities, and log-probabilities and entropies in nats."""

import math

import jax
import jax.numpy as jnp

from jaxrl.types import Array


def greedy_policy(q_values: Array) -> Array:
    """The greedy policy π(a | s) `[..., num_actions]` of Q(s, a) `[..., num_actions]`; ties share the probability."""
    best = q_values == q_values.max(-1, keepdims=True)
    return best / best.sum(-1, keepdims=True)


def categorical_log_prob(logits: Array, action: Array) -> Array:
    """log π(action), where π = softmax(logits).

    Args:
        logits: unnormalised log-probabilities, `[num_actions]`; −inf masks an action, but not all of them.
        action: integer scalar in [0, num_actions).

    Returns:
        Log-probability, scalar; −inf for a masked action.
    """
    # A sum instead of an index: the gradient of an index is a scatter, which is slow on a CPU.
    return jnp.sum(jnp.where(jnp.arange(logits.size) == action, jax.nn.log_softmax(logits), 0.0))


def categorical_entropy(logits: Array) -> Array:
    """−Σ_a π(a) log π(a), where π = softmax(logits); between 0 and log(num_actions).

    Args:
        logits: unnormalised log-probabilities, `[num_actions]`; −inf masks an action, but not all of them.

    Returns:
        Entropy, scalar. It and its gradient are finite with masked actions too.
    """
    log_probs = jax.nn.log_softmax(logits)
    probs = jnp.exp(log_probs)
    return -jnp.dot(probs, jnp.where(probs > 0, log_probs, 0.0))  # 0 log 0 = 0


def normal_log_prob(mean: Array, log_std: Array, action: Array) -> Array:
    """Log-density of a normal distribution with a diagonal covariance, summed over the dimensions: a scalar.

    Args:
        mean: `[D]`.
        log_std: logarithm of the standard deviations, `[D]`.
        action: `[D]`.
    """
    standardized = (action - mean) * jnp.exp(-log_std)
    return -jnp.sum(0.5 * jnp.square(standardized) + log_std + 0.5 * math.log(2 * math.pi))


def normal_entropy(log_std: Array) -> Array:
    """Differential entropy of a normal distribution with a diagonal covariance, Σ_d (log σ_d + ½ log 2πe), a scalar.

    Args:
        log_std: logarithm of the standard deviations, `[D]`.
    """
    return jnp.sum(log_std + 0.5 * math.log(2 * math.pi * math.e))


def tanh_log_derivative(x: Array) -> Array:
    """log tanh'(x) = log(1 − tanh²(x)) `[...]`, exact where tanh(x) rounds to ±1."""
    return 2 * (math.log(2) - x - jax.nn.softplus(-2 * x))
