"""Proximal policy optimization (Schulman et al. 2017, https://arxiv.org/abs/1707.06347).

An actor-critic that learns several times from one rollout. The policy gradient is right only for the policy that made
the rollout; so each action's probability may gain by its advantage only until it has changed by a factor of 1 ± ε.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from annotated_types import Gt, Interval

from jaxrl import ops
from jaxrl.agents.policy_gradient import (
    PolicyGradientHparams,
    PolicyGradientState,
    advantages_and_returns,
    gradient_step,
    merge_time,
    policy_gradient_agent,
)
from jaxrl.arguments import ArgumentError, check
from jaxrl.networks import Network
from jaxrl.types import Agent, Array, Metrics, PyTree, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PPOHparams(PolicyGradientHparams):
    """What may be swept: traced values that live in the state, so that no change of them recompiles."""

    gae_lambda: Annotated[float, Interval(ge=0, le=1)] = 0.95
    """λ of the advantages, in [0, 1]."""
    clip: Annotated[float, Gt(0)] = 0.2
    """ε: how far the probability of an action may move from 1 times what it was before the gain stops, > 0."""


@dataclasses.dataclass(frozen=True)
class PPOConfig:
    """What decides the program: static values."""

    num_epochs: Annotated[int, Interval(gt=0, lt=2**31)] = 4
    """Times that each rollout is learned from."""
    num_minibatches: Annotated[int, Interval(gt=0, lt=2**31)] = 4
    """Gradient steps of an epoch; they share the rollout's num_envs * rollout_length transitions equally."""


def ppo(network: Network, config: PPOConfig | None = None) -> Agent:
    """Proximal policy optimization with any network.

    Args:
        network: observations `[N, ...]` to a `jaxrl.distributions.Distribution` over actions and values `[N]`.
        config: the static switches.

    Returns:
        An agent for rollouts `[T, N]` whose hyperparameters are `PPOHparams` and whose metrics are `policy_loss`,
        `value_loss`, `entropy`, `approx_kl` (of the new policy from the rollout's) and `clip_fraction`. Its `update`
        raises `ArgumentError` if the minibatches do not divide the rollout, or are of one transition each.
    """
    config = config or PPOConfig()
    check(config)

    def minibatch_step(
        state: PolicyGradientState, minibatch: PyTree, env_steps: Array
    ) -> tuple[PolicyGradientState, Metrics]:
        observations, actions, old_log_probs, advantages, returns = minibatch
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        hparams = state.hparams

        def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
            distribution, values = network.apply(params, observations)
            log_ratio = distribution.log_prob(actions) - old_log_probs
            ratio = jnp.exp(log_ratio)
            policy_loss = ops.clipped_surrogate_pg_loss(ratio, advantages, hparams.clip).mean()
            value_loss = ops.squared_loss(returns - values).mean()
            entropy = distribution.entropy().mean()
            total = policy_loss + hparams.value_weight * value_loss - hparams.entropy_weight * entropy
            return total, {
                "policy_loss": policy_loss,
                "value_loss": value_loss,
                "entropy": entropy,
                "approx_kl": (ratio - 1 - log_ratio).mean(),  # http://joschu.net/blog/kl-approx.html
                "clip_fraction": (jnp.abs(ratio - 1) > hparams.clip).mean(),
            }

        return gradient_step(state, loss, env_steps)

    def update(
        state: PolicyGradientState, batch: Transition, key: Array, env_steps: Array
    ) -> tuple[PolicyGradientState, Metrics, PyTree]:
        size = batch.reward.size
        if size % config.num_minibatches:
            raise ArgumentError(
                f"num_minibatches must divide num_envs * rollout_length = {size}, got {config.num_minibatches}"
            )
        if size == config.num_minibatches:  # one advantage is its own mean, and would be zero
            raise ArgumentError(f"num_minibatches must be < num_envs * rollout_length = {size}, got {size}")
        targets = advantages_and_returns(network, state.params, batch, state.hparams.discount, state.hparams.gae_lambda)
        observations, actions, *targets = merge_time((batch.observation, batch.action, *targets))
        log_probs = network.apply(state.params, observations)[0].log_prob(actions)
        data = (observations, actions, log_probs, *targets)

        def epoch(state: PolicyGradientState, key: Array) -> tuple[PolicyGradientState, Metrics]:
            order = shuffle(key, size).reshape(config.num_minibatches, -1)
            return jax.lax.scan(
                lambda state, rows: minibatch_step(state, jax.tree.map(lambda x: x[rows], data), env_steps),
                state,
                order,
            )

        state, metrics = jax.lax.scan(epoch, state, jax.random.split(key, config.num_epochs))
        return state, jax.tree.map(jnp.sum, metrics), ()

    return policy_gradient_agent(network, update)


def shuffle(key: Array, size: int) -> Array:
    """A random order of `size` things, int32 `[size]`.

    Sorts random words whose low bits are the things themselves; `jax.random.permutation` sorts words and things side by
    side, which takes a CPU four times as long. Of two things with the same random bits (for 4096 things there are 20 of
    them) the lower comes first.
    """
    low_bits = (1 << max(size - 1, 1).bit_length()) - 1
    words = jax.random.bits(key, (size,)) & ~jnp.uint32(low_bits) | jnp.arange(size, dtype=jnp.uint32)
    return (jnp.sort(words) & low_bits).astype(jnp.int32)
