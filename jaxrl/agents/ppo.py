"""Proximal policy optimization (Schulman et al. 2017, https://arxiv.org/abs/1707.06347).

An actor-critic that learns several times from one rollout. The policy gradient is right only for the policy that made
the rollout; so each action's probability may gain by its advantage only until it has changed by a factor of 1 ± ε.
Of what implementations add, advantages are normalised in each minibatch and gradients clipped; the value's loss is not
clipped, epochs do not stop at a KL divergence, and by default the step size does not fall.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from annotated_types import Gt, Interval

from jaxrl import ops
from jaxrl.agents.minibatches import MinibatchConfig, apply_in_chunks, learn_in_minibatches, merge_time
from jaxrl.agents.optimizers import TINY
from jaxrl.agents.policy_gradient import (
    PolicyGradientHparams,
    PolicyGradientState,
    advantages_and_returns,
    gradient_step,
    policy_gradient_agent,
)
from jaxrl.arguments import ArgumentError, check, check_kind
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


def ppo(network: Network, config: MinibatchConfig | None = None) -> Agent:
    """Proximal policy optimization with any network.

    Args:
        network: observations `[N, ...]` to a `jaxrl.distributions.Distribution` over actions and values `[N]`.
        config: the epochs and minibatches.

    Returns:
        An agent for rollouts `[T, N]` whose hyperparameters are `PPOHparams` and whose metrics are `policy_loss`,
        `value_loss`, `entropy`, `approx_kl` (of the new policy from the rollout's) and `clip_fraction`. Its `update`
        raises `ArgumentError` if the minibatches do not divide the rollout, or are of one transition each.
    """
    config = config or MinibatchConfig()
    check_kind("config", config, MinibatchConfig)
    check(config)

    def minibatch_step(
        state: PolicyGradientState, minibatch: PyTree, env_steps: Array
    ) -> tuple[PolicyGradientState, Metrics]:
        observations, actions, old_log_probs, advantages, returns = minibatch
        deviation = jnp.sqrt(jnp.maximum(advantages.var(), TINY))
        advantages = (advantages - advantages.mean()) / (deviation + 1e-8)
        hparams = state.hparams

        def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
            distribution, values = network.apply(params, observations)
            log_ratio = distribution.log_prob(actions) - old_log_probs
            ratio = jnp.exp(log_ratio)
            policy_loss = ops.clipped_surrogate_pg_loss(ratio, advantages, hparams.clip).mean()
            value_loss = ops.l2_loss(returns - values).mean()
            entropy = distribution.entropy().mean()
            total = policy_loss + hparams.value_coef * value_loss - hparams.entropy_coef * entropy
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
        if batch.reward.size == config.num_minibatches:  # one advantage is its own mean, and would be zero
            size = batch.reward.size
            raise ArgumentError("num_minibatches", f"must be < num_envs * rollout_length = {size}", size)
        targets = advantages_and_returns(network, state.params, batch, state.hparams.discount, state.hparams.gae_lambda)
        log_probs = apply_in_chunks(
            lambda x: network.apply(state.params, x[0])[0].log_prob(x[1]), (batch.observation, batch.action)
        )
        data = merge_time((batch.observation, batch.action, log_probs, *targets))

        def step(state: PolicyGradientState, minibatch: PyTree) -> tuple[PolicyGradientState, Metrics]:
            return minibatch_step(state, minibatch, env_steps)

        state, metrics = learn_in_minibatches(step, state, data, key, config)
        return state, metrics, ()

    return policy_gradient_agent(network, update, PPOHparams)
