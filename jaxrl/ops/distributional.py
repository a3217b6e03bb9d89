"""Q-learning with a distribution of returns: the random variable Z(s, a), whose mean is Q(s, a).

Z satisfies a Bellman equation too: Z(s, a) is distributed as r + γ Z(s', a'), where a' has the largest mean. A network
describes Z(s, a) by K numbers: logits of fixed returns (categorical, C51) or quantiles (QR-DQN).
"""

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from optax import huber_loss

from jaxrl.ops.bootstrapping import discounted, ignore_after_end
from jaxrl.types import Array


def categorical_l2_project(z_p: Array, probs: Array, z_q: Array) -> Array:
    """Projects a categorical distribution onto another support: each atom's mass moves to the nearest two atoms.

    (Φ p)_i = Σ_j [1 − |clip(z_p_j) − z_q_i| / Δz]_0^1 p_j (Bellemare et al. 2017, https://arxiv.org/abs/1707.06887,
    equation 7). This preserves the mass, and the mean too if no atom lies beyond the ends of `z_q`.

    Args:
        z_p: atoms that carry the mass, in any order and at any distance, `[K']`.
        probs: their probabilities p, `[K']`.
        z_q: the new support, at least two ascending atoms at equal distances Δz, `[K]`.

    Returns:
        Probabilities of `z_q`, `[K]`.
    """
    last = len(z_q) - 1
    # Unlike distances between rounded atoms, distances between indices are exact, so that the shares add up to one.
    place = jnp.clip((z_p - z_q[0]) / ((z_q[-1] - z_q[0]) / last), 0, last)
    share = jnp.maximum(1 - jnp.abs(place - jnp.arange(last + 1)[:, None]), 0)
    # Not a matrix product: accelerators may round its factors to a few bits and lose mass.
    return jnp.sum(share * probs, axis=1)


def categorical_q_learning_loss(
    q_atoms: Array,
    q_logits_tm1: Array,
    a_tm1: Array,
    r_t: Array,
    discount_t: Array,
    q_logits_t: Array,
    q_t_selector: Array,
) -> Array:
    """Loss of categorical Q-learning (C51), KL(Φ(r + γ Z(s', a')) ‖ Z(s, a)) with a' = argmax Q_selector(s', ·).

    Bellemare et al. 2017 (https://arxiv.org/abs/1707.06887), algorithm 1. It is the paper's cross-entropy minus the
    entropy of the target: the gradients are the same, and a perfect prediction has the loss 0.

    Args:
        q_atoms: the returns that have a probability, ascending, at equal distances, `[K]`.
        q_logits_tm1: logits of Z(s, ·), `[num_actions, K]`.
        a_tm1: a, the action taken in s, integer scalar.
        r_t: reward of one step or of n steps, scalar.
        discount_t: γ or γ^n, or 0 if the last step terminated the episode, scalar.
        q_logits_t: logits of Z(s', ·) from the target network, `[num_actions, K]`.
        q_t_selector: Q(s', ·) that selects the action, from the target network, or from the online network for Double
            Q-learning, `[num_actions]`.

    Returns:
        Loss, scalar, ≥ 0 up to rounding. No gradient flows into the target.
    """
    probs_t = jax.nn.softmax(ignore_after_end(q_logits_t[jnp.argmax(q_t_selector)], discount_t))
    target = categorical_l2_project(r_t + discount_t * q_atoms, probs_t, q_atoms)
    target = jax.lax.stop_gradient(target)
    return jnp.sum(xlogy(target, target) - target * jax.nn.log_softmax(q_logits_tm1[a_tm1]))


def quantile_huber_loss(quantiles: Array, targets: Array, huber_delta: float = 1.0, tau: Array | None = None) -> Array:
    """Σ_i mean_j |τ_i − 1{u_ij < 0}| L_δ(u_ij) / δ of the errors u_ij = target_j − quantile_i, with the Huber loss L_δ.

    At its minimum a share τ_i of the targets lies below quantile i. Dabney et al. 2018a
    (https://arxiv.org/abs/1710.10044), lemma 2 and equations 9 and 10. The division by δ is that of Dabney et al. 2018b
    (https://arxiv.org/abs/1806.06923), equation 3; with it L_δ(u) / δ → |u| as δ → 0.

    Args:
        quantiles: `[K]`.
        targets: equally probable samples of the distribution, `[K']`.
        huber_delta: δ ≥ 0, static, in units of return. Larger errors count linearly; 0 is plain quantile regression.
        tau: τ in [0, 1], `[K]`; by default (2i + 1) / 2K (i from 0), the midpoints of K equal shares.

    Returns:
        Loss, scalar.
    """
    if tau is None:
        tau = (jnp.arange(len(quantiles), dtype=quantiles.dtype) + 0.5) / len(quantiles)
    error = targets - quantiles[:, None]
    size = huber_loss(error, delta=huber_delta) / huber_delta if huber_delta else jnp.abs(error)
    return jnp.sum(jnp.mean(jnp.abs(tau[:, None] - (error < 0)) * size, axis=1))


def quantile_q_learning_loss(
    q_quantiles_tm1: Array,
    a_tm1: Array,
    r_t: Array,
    discount_t: Array,
    q_quantiles_t: Array,
    q_t_selector: Array,
    huber_delta: float = 1.0,
    tau: Array | None = None,
) -> Array:
    """Loss of quantile Q-learning (QR-DQN): regression of the quantiles of Z(s, a) on r + γ Z(s', a').

    Dabney et al. 2018a (https://arxiv.org/abs/1710.10044), algorithm 1; a' = argmax Q_selector(s', ·).

    Args:
        q_quantiles_tm1: quantiles of Z(s, ·), `[num_actions, K]`.
        a_tm1, r_t, discount_t, q_t_selector: as in `categorical_q_learning_loss`.
        q_quantiles_t: quantiles of Z(s', ·) from the target network, `[num_actions, K']`.
        huber_delta: δ of `quantile_huber_loss`.
        tau: τ of `q_quantiles_tm1`, as in `quantile_huber_loss`.

    Returns:
        Loss, scalar. No gradient flows into the targets.
    """
    targets = r_t + discounted(discount_t, q_quantiles_t[jnp.argmax(q_t_selector)])
    return quantile_huber_loss(q_quantiles_tm1[a_tm1], jax.lax.stop_gradient(targets), huber_delta, tau)
