"""An ensemble of probabilistic networks that predict what follows an action (Chua et al. 2018, section 4).

https://arxiv.org/abs/1805.12114. Each network returns the mean and the variance of a normal distribution over the
change of the observation and the reward: its variance is the noise of the environment. What the networks do not agree
on is what they do not know.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.typing import ArrayLike

from jaxrl.types import Array, PyTree

MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -10.0, 0.5
"""The first bounds of the logarithm of a variance, in units of the targets' own variance; they are learned."""


class ProbabilisticNetwork(nn.Module):
    """Mean and logarithm of the variance of `outputs` numbers, `[N, outputs]` each, from inputs `[N, inputs]`."""

    outputs: int
    hidden_sizes: Sequence[int] = (64, 64)

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        for size in self.hidden_sizes:
            x = nn.silu(nn.Dense(size)(x))
        mean, log_variance = jnp.split(nn.Dense(2 * self.outputs)(x), 2, axis=-1)
        low = self.param("min_log_variance", nn.initializers.constant(MIN_LOG_VARIANCE), (self.outputs,), jnp.float32)
        high = self.param("max_log_variance", nn.initializers.constant(MAX_LOG_VARIANCE), (self.outputs,), jnp.float32)
        # Soft bounds: the gradient never vanishes.
        log_variance = high - nn.softplus(high - log_variance)
        return mean, low + nn.softplus(log_variance - low)


class Ensemble(NamedTuple):
    """`E` networks of one architecture as pure functions.

    Attributes:
        network: a `ProbabilisticNetwork`.
        size: E.
    """

    network: nn.Module
    size: int

    def init(self, key: Array, x: Array) -> PyTree:
        """Parameters `[E, ...]` from inputs `[N, inputs]`. Each network has its own."""
        return jax.vmap(lambda key: self.network.init(key, x))(jax.random.split(key, self.size))

    def apply(self, params: PyTree, x: Array) -> tuple[Array, Array]:
        """Means and logarithms of the variances, `[E, N, outputs]`, of inputs `[E, N, inputs]`, each for its network.

        The networks of inputs `[N, inputs]` all see the same.
        """
        return jax.vmap(self.network.apply, in_axes=(0, 0 if x.ndim == 3 else None))(params, x)  # type: ignore[return-value]


def normal_nll(mean: Array, log_variance: Array, y: Array) -> Array:
    """−log N(y; mean, variance) in nats, summed over the last axis: `[...]`."""
    terms = (y - mean) ** 2 * jnp.exp(-log_variance) + log_variance + jnp.log(2 * jnp.pi)
    return 0.5 * terms.sum(-1)


def bootstrap_weights(key: Array, number: int, size: int) -> Array:
    """How often each of `number` transitions is in the bootstrap sample of each of `size` networks, `[number, size]`.

    In a bootstrap sample of many transitions the number of copies of each is Poisson distributed with mean 1 (Oza &
    Russell 2001, https://proceedings.mlr.press/r3/oza01a.html), so it can be drawn when a transition comes, and then
    belongs to it: each network has a sample of its own. int8.
    """
    # By inversion, from one uniform number each: P(k ≤ 0), P(k ≤ 1), ...
    uniform = jax.random.uniform(key, (number, size), jnp.float32)
    k = jnp.arange(8)
    cumulative = jnp.cumsum(jnp.exp(-1 - jax.lax.lgamma(k + 1.0)))
    return (uniform[..., None] >= cumulative).sum(-1).astype(jnp.int8)


def ensemble_loss(
    ensemble: Ensemble, params: PyTree, x: Array, y: Array, weights: Array, bound_coef: ArrayLike = 0.01
) -> tuple[Array, Array]:
    """The loss of all networks together: the mean of their weighted likelihoods, and of the width of their bounds.

    Args:
        ensemble, params: the networks.
        x: inputs `[N, inputs]`.
        y: targets `[N, outputs]`.
        weights: of each transition in each network's loss, `[N, E]`.
        bound_coef: coefficient of the width of the learned bounds of the variance.

    Returns:
        The loss, and the mean of −log p(y) over transitions and networks without weights, in nats; scalars.
    """
    nll = normal_nll(*ensemble.apply(params, x), y)  # [E, N]
    own = params["params"]
    width = (own["max_log_variance"] - own["min_log_variance"]).sum(-1)  # [E]
    losses = (nll * weights.T).mean(1) + bound_coef * width
    return losses.sum(), nll.mean()
