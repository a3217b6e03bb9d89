"""Functions whose gradients estimate gradients of expectations, ∇ E_{x~p_θ}[f(x)] = E_{x~p_θ}[f(x) ∇ log p_θ(x)]."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl.types import Array


def score_function_surrogate(f_x: Array, log_prob: Array, baseline: ArrayLike = 0.0) -> Array:
    """Has the value f(x) and the gradient (f(x) − b) ∇ log p_θ(x) + ∇ f(x), elementwise.

    The score-function estimator of any sampled computation J(θ) = E_{x~p_θ}[f(x)]. Its mean over samples x ~ p_θ is an
    unbiased estimate of J, and the gradient of that mean one of ∇J, although nothing is differentiated through the
    sampling, such as the steps of an environment. f may depend on θ. Williams 1992; Schulman et al. 2015
    (https://arxiv.org/abs/1506.05254), theorem 1. It has the form of DiCE (Foerster et al. 2018,
    https://arxiv.org/abs/1802.05098), whose higher derivatives estimate those of J too.

        loss = lambda theta: -score_function_surrogate(episode_return, log_probs(theta).sum(0)).mean()

    Args:
        f_x: f(x) of each sample, `[...]`.
        log_prob: log p_θ(x) of each sample, `[...]`; for a sequence of samples, their sum. Factors that do not depend
            on θ, such as an environment's transition probabilities, may be left out.
        baseline: b, `[...]` or scalar. It lowers the variance, and leaves the expectation unchanged if it does not
            depend on x. No gradient flows into it.

    Returns:
        The surrogate, `[...]`, to be maximised if J is.
    """
    # Zero, with all derivatives of p / p: the first is that of log p.
    score = jnp.expm1(log_prob - jax.lax.stop_gradient(log_prob))
    return f_x + (f_x - jax.lax.stop_gradient(baseline)) * score


def score_function_loss(log_prob_t: Array, adv_t: Array) -> Array:
    """−A log π(a | s), elementwise, for discrete and continuous policies. No gradient flows into A.

    Its negative gradient is the policy gradient (Sutton & Barto 2018, section 13.3; Williams 1992). rlax's
    `policy_gradient_loss` computes the mean of this loss from logits.

    Args:
        log_prob_t: log π(a | s) of the actions taken, `[...]`.
        adv_t: their advantages, or returns (minus a baseline), `[...]`.

    Returns:
        Losses, `[...]`.
    """
    return -jax.lax.stop_gradient(adv_t) * log_prob_t


def clipped_surrogate_pg_loss(prob_ratios_t: Array, adv_t: Array, epsilon: ArrayLike) -> Array:
    """Mean of −min(ρ A, clip(ρ, 1 − ε, 1 + ε) A). No gradient flows into A.

    Schulman et al. 2017 (https://arxiv.org/abs/1707.06347), equation 7.

    Args:
        prob_ratios_t: ρ = π(a | s) / π_old(a | s) of the actions taken, `[...]`.
        adv_t: their advantages, `[...]`.
        epsilon: ε > 0, how far the ratio may move from 1 before the gain stops.

    Returns:
        Loss, scalar.
    """
    adv_t = jax.lax.stop_gradient(adv_t)
    clipped = jnp.clip(prob_ratios_t, 1 - epsilon, 1 + epsilon)
    return jnp.mean(-jnp.minimum(prob_ratios_t * adv_t, clipped * adv_t))
