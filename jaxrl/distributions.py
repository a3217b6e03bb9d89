"""Distributions over actions: the output of a policy network for a batch of observations.

Pytrees, so that they pass through `jit`, `vmap` and `scan`. The mathematics is in `jaxrl.ops`.

    policy = Categorical(logits)                  # [N, num_actions]
    actions = policy.sample(key)                  # int32 [N]
    policy.log_prob(actions), policy.entropy()    # [N], [N]
"""

from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
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
        cumulative = jnp.cumsum(jax.nn.softmax(self.logits), axis=-1)
        uniform = jax.random.uniform(key, self.logits.shape[:-1], jnp.float32) * cumulative[..., -1]
        return (cumulative <= uniform[..., None]).sum(-1, dtype=jnp.int32)

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

    def log_prob(self, actions: Array) -> Array:
        return jax.vmap(ops.normal_log_prob)(self.mean, self.log_std, actions)

    def entropy(self) -> Array:
        return jax.vmap(ops.normal_entropy)(self.log_std)
