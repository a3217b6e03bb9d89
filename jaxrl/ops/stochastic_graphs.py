"""Stochastic computation graphs: networks that sample inside, and costs that depend on what was sampled.

A graph has nodes that are sampled, `x_s ~ p_θ(x_s | ...)`, and costs f_c, which depend on θ and on the samples.
`surrogate_loss` is unbiased. `gumbel_softmax` and `straight_through` differentiate through a sample instead: less
variance, and another expectation than that of the true gradient.
"""

from typing import Annotated

import jax
import jax.numpy as jnp
from annotated_types import Gt
from jax.typing import ArrayLike

from jaxrl.arguments import ArgumentError, check_value
from jaxrl.ops.policy_gradients import score_function_surrogate
from jaxrl.types import Array


def surrogate_loss(
    costs: Array, log_probs: Array, baselines: ArrayLike = 0.0, influences: ArrayLike | None = None
) -> Array:
    """Has the value Σ_c f_c, and the gradient Σ_c ∇f_c + Σ_s (F_s − b_s) ∇ log p_θ(x_s).

    F_s is the sum of the costs that node s influences: those that it cannot change only add variance. The mean over
    samples is an unbiased estimate of E[Σ_c f_c], its gradient one of ∇E, and so are all higher derivatives. Schulman
    et al. 2015 (https://arxiv.org/abs/1506.05254), corollary 2; in the form of DiCE, Foerster et al. 2018
    (https://arxiv.org/abs/1802.05098), with the baselines of their equation 8.

        loss = surrogate_loss(costs, log_probs, influences=jnp.tri(T))  # in turn: node 0, cost 0, node 1, cost 1, ...

    Args:
        costs: f_c, `[C, ...]`.
        log_probs: log p_θ(x_s | what was sampled before) of the samples, `[S, ...]`. No gradient may flow into x_s.
        baselines: b_s, `[S, ...]` or scalar. They lower the variance of the gradient, and leave all expectations
            unchanged if b_s does not depend on x_s nor on what follows. No gradient flows into them.
        influences: whether f_c depends on x_s, also by way of other nodes, `[C, S]`; by default always.

    Returns:
        The surrogate, `[...]`, to be minimised.

    Raises:
        ArgumentError: shapes do not fit each other.
    """
    costs, log_probs, baselines = (jnp.asarray(x) for x in (costs, log_probs, baselines))
    if costs.ndim == 0:
        raise ArgumentError("costs", "must have an axis of costs, [C, ...]", got="a scalar")
    if log_probs.ndim != costs.ndim or log_probs.shape[1:] != costs.shape[1:]:
        rule = f"must be [S, ...] as the costs {list(costs.shape)} are [C, ...]"
        raise ArgumentError("log_probs", rule, got=str(list(log_probs.shape)))
    if baselines.shape not in ((), log_probs.shape):
        rule = f"must be a scalar or {list(log_probs.shape)} as log_probs"
        raise ArgumentError("baselines", rule, got=str(list(baselines.shape)))
    shape = (len(costs), len(log_probs))
    if influences is None:
        upstream = jnp.broadcast_to(log_probs.sum(0), costs.shape)
    elif (mask := jnp.asarray(influences, jnp.float32)).shape != shape:
        raise ArgumentError("influences", f"must be {list(shape)}, costs by nodes", got=str(list(mask.shape)))
    else:
        upstream = jnp.tensordot(mask, log_probs, axes=1, precision=jax.lax.Precision.HIGHEST)
    controls = score_function_surrogate(jnp.zeros_like(log_probs), log_probs, baselines)
    return score_function_surrogate(costs, upstream).sum(0) + controls.sum(0)


def leave_one_out_baseline(costs: Array) -> Array:
    """The mean of the other samples' costs, for each of M independent samples of the same input.

    Kool et al. 2019 (https://openreview.net/forum?id=r1lgTGL5DE). It needs no network and no running mean.

    Args:
        costs: `[M, ...]`, M ≥ 2.

    Returns:
        Baselines `[M, ...]`.

    Raises:
        ArgumentError: there is one sample.
    """
    if (number := len(costs) if jnp.ndim(costs) else 1) < 2:
        raise ArgumentError("costs", "must have at least 2 samples of each input", got=str(number))
    return (costs.sum(0) - costs) / (number - 1)


def straight_through(sample: Array, relaxed: Array) -> Array:
    """The value of a sample with the gradient of something continuous in its place, such as its expectation.

    The gradient is biased, except where what follows is linear in the sample. Bengio et al. 2013
    (https://arxiv.org/abs/1308.3432).

    Args:
        sample: what was sampled, such as one-hot `[..., K]`.
        relaxed: what to differentiate, such as probabilities `[..., K]`.

    Raises:
        ArgumentError: they have different shapes.
    """
    if jnp.shape(sample) != jnp.shape(relaxed):
        raise ArgumentError("sample", f"must be of the shape {jnp.shape(relaxed)} of relaxed", jnp.shape(sample))
    return relaxed + jax.lax.stop_gradient(sample - relaxed)


def gumbel_softmax(key: Array, logits: Array, temperature: ArrayLike) -> Array:
    """A relaxed sample of softmax(logits): softmax((logits + Gumbel noise) / τ), `[..., K]`, to differentiate through.

    Its largest entry is an exact sample. As τ → 0 it becomes one-hot, and the gradient's bias vanishes as its variance
    grows without bound. Jang et al. 2017 (https://arxiv.org/abs/1611.01144); Maddison et al. 2017
    (https://arxiv.org/abs/1611.00712).

    Args:
        key: a random key.
        logits: unnormalised log-probabilities, `[..., K]`.
        temperature: τ > 0.

    Raises:
        ArgumentError: the temperature is 0 or less.
    """
    check_value("temperature", temperature, Annotated[float, Gt(0)])
    return jax.nn.softmax((logits + jax.random.gumbel(key, logits.shape, jnp.float32)) / temperature)
