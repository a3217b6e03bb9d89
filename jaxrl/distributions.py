"""Distributions over actions: the output of a policy network for a batch of observations.

Pytrees, so that they pass through `jit`, `vmap` and `scan`. The mathematics is in `jaxrl.ops`.

    policy = Categorical(logits)                  # [N, num_actions]
    actions = policy.sample(key)                  # int32 [N]
    policy.log_prob(actions), policy.entropy()    # [N], [N]
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxrl import ops
from jaxrl.types import Array


class Distribution(Protocol):
    """π(a | s) for `N` observations."""

    def sample(self, key: Array) -> Array:
        """One action for each observation, `[N, ...]`."""

    def mode(self) -> Array:
        """The most probable action for each observation, `[N, ...]`."""

    def log_prob(self, actions: Array) -> Array:
        """log π(a | s), `[N]`."""

    def entropy(self) -> Array:
        """−E[log π(a | s)], `[N]`."""


class Categorical(NamedTuple):
    """Discrete actions, int32 `[N]`, with probabilities softmax(logits).

    Attributes:
        logits: `[N, num_actions]`; −∞ masks an action.
    """

    logits: Array

    def sample(self, key: Array) -> Array:
        """Samples by inversion, with one uniform number for each observation; never draws a masked action."""
        probs = jax.nn.softmax(self.logits)
        cumulative = jnp.cumsum(probs, axis=-1)
        uniform = jax.random.uniform(key, self.logits.shape[:-1], jnp.float32) * cumulative[..., -1]
        # The last action that has a probability, and before which the sum is no larger than the number. To look for the
        # first larger sum is not enough: that of hundreds of numbers may grow by rounding at masked actions too.
        before = jnp.pad(cumulative[..., :-1], [(0, 0)] * (cumulative.ndim - 1) + [(1, 0)])
        starts = (probs > 0) & (before <= uniform[..., None])
        return jnp.where(starts, jnp.arange(probs.shape[-1], dtype=jnp.int32), 0).max(-1)

    def mode(self) -> Array:
        return jnp.argmax(self.logits, axis=-1).astype(jnp.int32)

    def log_prob(self, actions: Array) -> Array:
        return jax.vmap(ops.categorical_log_prob)(self.logits, actions)

    def entropy(self) -> Array:
        return jax.vmap(ops.categorical_entropy)(self.logits)


def masked(values: Array, legal: Array | None) -> Array:
    """Values or logits `[..., num_actions]` with the lowest float32 for illegal actions; `legal` None masks none.

    It is finite, because a final state may have no legal action, and its value is multiplied by 0.
    """
    return values if legal is None else jnp.where(legal, values, jnp.finfo(jnp.float32).min)


def restricted(distribution: Distribution, legal: Array | None) -> Distribution:
    """A distribution over the legal actions alone; `legal` None allows all, and must be None for continuous actions."""
    if legal is None:
        return distribution
    return distribution._replace(logits=masked(distribution.logits, legal))  # type: ignore[attr-defined]


def epsilon_greedy(q_values: Array, epsilon: ArrayLike, legal: Array | None = None) -> Categorical:
    """With probability ε a uniformly random action, otherwise a greedy one; ties share the probability.

    Args:
        q_values: `Q(s, a)`, `[N, num_actions]`.
        epsilon: ε, in [0, 1].
        legal: the actions to choose from, bool `[N, num_actions]`; by default all.
    """
    if legal is None:
        uniform: ArrayLike = 1 / q_values.shape[-1]
    else:
        uniform = legal / legal.sum(-1, keepdims=True)
    probabilities = epsilon * uniform + (1 - epsilon) * ops.greedy_policy(masked(q_values, legal))
    return Categorical(jnp.log(probabilities))


class Normal(NamedTuple):
    """Continuous actions, float32 `[N, D]`, with independent coordinates.

    Attributes:
        mean: `[N, D]`.
        log_std: logarithm of the standard deviation, `[N, D]`.
    """

    mean: Array
    log_std: Array

    def sample(self, key: Array) -> Array:
        return self.mean + jnp.exp(self.log_std) * jax.random.normal(key, self.mean.shape, jnp.float32)

    def mode(self) -> Array:
        return self.mean

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        """Actions `[N, D]` as `sample` draws them, and their log-probabilities `[N]`."""
        actions = self.sample(key)
        return actions, self.log_prob(actions)

    def log_prob(self, actions: Array) -> Array:
        return jax.vmap(ops.normal_log_prob)(self.mean, self.log_std, actions)

    def entropy(self) -> Array:
        return jax.vmap(ops.normal_entropy)(self.log_std)


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(32)
"""Of Gauss-Hermite quadrature: E[f(x)] of a standard normal x is about Σ w f(node) / √(2π)."""


class SquashedNormal(NamedTuple):
    """Continuous actions inside a box, float32 `[N, D]`: middle + half the range · tanh(u) of a normal u.

    Coordinates are independent. Log-probabilities are densities of the actions, in the units of the environment.

    Attributes:
        mean: of u, `[N, D]`.
        log_std: logarithm of the standard deviation of u, `[N, D]`.
        low, high: the bounds of the box, `[D]`.
    """

    mean: Array
    log_std: Array
    low: Array
    high: Array

    def _squash(self, u: Array) -> Array:
        return (self.high + self.low) / 2 + (self.high - self.low) / 2 * jnp.tanh(u)

    def _log_derivative(self, u: Array) -> Array:
        """Logarithm of an action's derivative by u, `[..., D]`."""
        return ops.tanh_log_derivative(u) + jnp.log((self.high - self.low) / 2)

    def sample(self, key: Array) -> Array:
        return self._squash(Normal(self.mean, self.log_std).sample(key))

    def sample_and_log_prob(self, key: Array) -> tuple[Array, Array]:
        """Actions `[N, D]` as `sample` draws them, and their log-probabilities `[N]`.

        These are exact where actions round to the bounds, which `log_prob` cannot invert.
        """
        u, log_prob = Normal(self.mean, self.log_std).sample_and_log_prob(key)
        return self._squash(u), log_prob - self._log_derivative(u).sum(-1)

    def mode(self) -> Array:
        """The median of each coordinate. The density may have its maximum at the bounds instead."""
        return self._squash(self.mean)

    def log_prob(self, actions: Array) -> Array:
        """log π(a | s), `[N]`. At the bounds it is that of a number just inside."""
        share = (actions - (self.high + self.low) / 2) / ((self.high - self.low) / 2)
        u = jnp.arctanh(jnp.clip(share, -1 + 2.0**-23, 1 - 2.0**-23))
        return Normal(self.mean, self.log_std).log_prob(u) - self._log_derivative(u).sum(-1)

    def entropy(self) -> Array:
        """−E[log π(a | s)], `[N]`, by Gauss-Hermite quadrature; within 0.02 nats for standard deviations up to 4."""
        nodes, weights = (jnp.asarray(x, jnp.float32) for x in (NODES, WEIGHTS / WEIGHTS.sum()))
        u = self.mean[..., None, :] + jnp.exp(self.log_std)[..., None, :] * nodes[:, None]
        spread = jnp.einsum("k,...kd->...", weights, self._log_derivative(u))
        return Normal(self.mean, self.log_std).entropy() + spread
