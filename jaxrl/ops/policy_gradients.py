"""Functions whose gradients estimate gradients of expectations, ∇ E_{x~p_θ}[f(x)] = E_{x~p_θ}[f(x) ∇ log p_θ(x)].

All are elementwise; the caller takes the mean over samples, or the sum over the steps of a trajectory.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxrl.types import Array


def score_function_surrogate(f_x: Array, log_prob: Array, baseline: ArrayLike = 0.0) -> Array:
    """Has the value f(x) and the gradient (f(x) − b) ∇ log p_θ(x) + ∇ f(x), elementwise.

    The score-function estimator of any sampled computation J(θ) = E_{x~p_θ}[f(x)]. Averaged over samples x ~ p_θ it is
    an unbiased estimate of J, and its gradient one of ∇J, though nothing is differentiated through the sampling (a
    environment's steps, a choice among networks, a place to look at). f may depend on θ itself. Williams 1992; Schulman
    et al. 2015 (https://arxiv.org/abs/1506.05254), theorem 1; in the form of DiCE (Foerster et al. 2018,
    https://arxiv.org/abs/1802.05098), by which higher derivatives are those of J too.

    Args:
        f_x: f(x) of each sample, `[...]`.
        log_prob: log p_θ(x) of each sample, `[...]`. Where x is a sequence of samples, the sum over them; factors that
            do not depend on θ, such as an environment's transition probabilities, may be left out.
        baseline: b, `[...]` or scalar: lowers the variance and leaves the expectation alone as long as it does not
            depend on x. It gets no gradient.

    Returns:
        The surrogate, `[...]`: to be maximised if J is.
    """
    # Zero, with all derivatives of p / p: the first is that of log p.
    score = jnp.expm1(log_prob - jax.lax.stop_gradient(log_prob))
    return f_x + (f_x - jax.lax.stop_gradient(baseline)) * score


def policy_gradient_loss(log_prob_t: Array, adv_t: Array) -> Array:
    """−A log π(a | s), elementwise, for discrete and continuous policies; no gradient flows into A.

    Its gradient is the negative of the policy gradient's (Sutton & Barto 2018, section 13.3; Williams 1992).

    Args:
        log_prob_t: log π(a | s) of the actions taken, `[...]`.
        adv_t: their advantages, or returns (minus a baseline), `[...]`.

    Returns:
        Losses, `[...]`.
    """
    return -jax.lax.stop_gradient(adv_t) * log_prob_t


def clipped_surrogate_pg_loss(prob_ratios_t: Array, adv_t: Array, epsilon: ArrayLike) -> Array:
    """−min(ρ A, clip(ρ, 1 − ε, 1 + ε) A), elementwise; no gradient flows into A.

    Schulman et al. 2017 (https://arxiv.org/abs/1707.06347), equation 7. rlax's function of this name returns the mean.

    Args:
        prob_ratios_t: ρ = π(a | s) / π_old(a | s) of the actions taken, `[...]`.
        adv_t: their advantages, `[...]`.
        epsilon: ε, how far the ratio may go from 1 before the gain stops, > 0.

    Returns:
        Losses, `[...]`.
    """
    adv_t = jax.lax.stop_gradient(adv_t)
    return -jnp.minimum(prob_ratios_t * adv_t, jnp.clip(prob_ratios_t, 1 - epsilon, 1 + epsilon) * adv_t)
