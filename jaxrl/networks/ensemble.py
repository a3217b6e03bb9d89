"""An ensemble of probabilistic networks that predict what follows an action (Chua et al. 2018, section 4).

https://arxiv.org/abs/1805.12114. Each network returns the mean and the variance of a normal distribution over the
change of the observation and the reward: its variance is the noise of the environment. What the networks do not agree
on is what they do not know. One more output is the log-odds that the episode terminates.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from jaxrl.types import Array, PyTree

MIN_LOG_VARIANCE, MAX_LOG_VARIANCE = -10.0, 0.5
"""The first bounds of the logarithm of a variance, in units of the targets' own variance; they are learned."""


class Prediction(NamedTuple):
    """What networks predict of a step.

    Attributes:
        mean: of each target, `[..., outputs]`.
        log_variance: likewise, the logarithm of its variance.
        termination: the log-odds that the step terminates the episode, `[...]`.
    """

    mean: Array
    log_variance: Array
    termination: Array


class ProbabilisticNetwork(nn.Module):
    """Predicts a normal distribution of `outputs` independent numbers, and terminations, from inputs `[N, inputs]`."""

    outputs: int
    hidden_sizes: Sequence[int] = (64, 64)

    @nn.compact
    def __call__(self, x: Array) -> Prediction:
        # Layers of its own: in shared ones the likelihood's gradients, of which small variances make large ones, leave
        # nothing to learn of terminations, which are few.
        mean, where = jnp.split(self.layers(x, 2 * self.outputs), 2, axis=-1)
        termination = self.layers(x, 1)
        low = self.param("min_log_variance", nn.initializers.constant(MIN_LOG_VARIANCE), (self.outputs,), jnp.float32)
        high = self.param("max_log_variance", nn.initializers.constant(MAX_LOG_VARIANCE), (self.outputs,), jnp.float32)
        return Prediction(mean, low + (high - low) * nn.sigmoid(where), termination[..., 0])

    def layers(self, x: Array, outputs: int) -> Array:
        for size in self.hidden_sizes:
            x = nn.silu(nn.Dense(size)(x))
        return nn.Dense(outputs)(x)


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

    def apply(self, params: PyTree, x: Array) -> Prediction:
        """Predictions `[E, N, ...]` from inputs `[E, N, inputs]` of each network, or `[N, inputs]` of all of them."""
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
    ensemble: Ensemble, params: PyTree, x: Array, y: Array, terminated: Array, weights: Array, bound_coef: float = 0.01
) -> tuple[Array, Array]:
    """The sum over the networks of −log p of what followed, weighted, and of the width of their bounds.

    Args:
        ensemble, params: the networks.
        x: inputs `[N, inputs]`.
        y: targets `[N, outputs]`.
        terminated: whether the environment's rules ended the episode, not a time limit; bool `[N]`.
        weights: of each transition in each network's loss, `[N, E]`.
        bound_coef: coefficient of the width of the learned bounds of the variance.

    Returns:
        The loss, and the mean of −log p(y) over transitions and networks without weights, in nats; scalars.
    """
    prediction = ensemble.apply(params, x)  # [E, N]
    nll = normal_nll(prediction.mean, prediction.log_variance, y)
    ends = optax.sigmoid_binary_cross_entropy(prediction.termination, terminated.astype(jnp.float32))
    own = params["params"]
    width = jnp.abs(own["max_log_variance"] - own["min_log_variance"]).sum(-1)  # [E]; bounds that cross would diverge
    losses = ((nll + ends) * weights.T).mean(1) + bound_coef * width
    return losses.sum(), nll.mean()
