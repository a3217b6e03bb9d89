"""Proximal policy optimization (Schulman et al. 2017, https://arxiv.org/abs/1707.06347).

An actor-critic that learns several times from one rollout. The policy gradient holds only for the policy that collected
the rollout, so an action's probability gains from its advantage only while it is within a factor of 1 ± ε of the old
one. Of the usual additions, advantages are normalised in each minibatch and gradients are clipped. By default, values
are not clipped and the step size is constant. Epochs do not stop at a KL divergence.

A normal policy may leave the environment's box. `jaxrl.vectorize` then executes the nearest action inside, and the
stored probability is that of the action outside, as if the clip were a part of the environment.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Interval

from jaxrl import ops
from jaxrl.agents.minibatches import (
    MinibatchConfig,
    check_minibatches,
    check_rollout,
    learn_in_minibatches,
    merge_time,
)
from jaxrl.agents.optimizers import TINY, Optimizer
from jaxrl.agents.policy_gradient import (
    NetworkState,
    PolicyGradientHparams,
    Updated,
    actor_critic_loss,
    advantages_and_returns,
    default_optimizer,
    gradient_step,
    policy_gradient_agent,
)
from jaxrl.arguments import check_config
from jaxrl.distributions import Distribution, restricted
from jaxrl.networks import Network
from jaxrl.types import Agent, Array, Metrics, PyTree, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PPOHparams(PolicyGradientHparams):
    """Hyperparameters of PPO."""

    gae_lambda: Annotated[float, Interval(ge=0, le=1)] = 0.95
    """λ of the advantages, in [0, 1]."""
    clip: Annotated[float, Gt(0)] = 0.2
    """Clipping range ε of the probability ratio, > 0."""
    value_clip: Annotated[float, Ge(0)] = 0.0
    """How far values may move from those of the rollout until their loss is clipped, in units of value; 0: any."""
    reward_scale: Annotated[float, Interval(gt=0, lt=1e30)] = 1.0
    """What rewards are multiplied by before they are learned, > 0."""


def ppo(
    network: Network, config: MinibatchConfig | None = None, optimizer: Optimizer = default_optimizer
) -> Agent[NetworkState]:
    """Proximal policy optimization with any network.

    Args:
        network: maps observations `[N, ...]` to a `jaxrl.distributions.Distribution` over actions and values `[N]`.
        config: epochs and minibatches.
        optimizer: of the parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for rollouts `[T, N]` with hyperparameters `PPOHparams`. Its metrics are `policy_loss`, `value_loss`,
        `entropy`, `approx_kl` (of the new policy from that of the rollout) and `clip_fraction`.

    Raises:
        ArgumentError: an argument is of the wrong kind; from `init`, other outputs; from `update`, not a rollout, or
            minibatches that do not divide it or hold one transition each.
    """
    config = check_config(config or MinibatchConfig(), MinibatchConfig)

    def update(state: NetworkState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()) -> Updated:
        del constants
        check_rollout(batch)
        check_minibatches(batch, config.num_minibatches)
        hparams = state.hparams
        batch = batch._replace(reward=hparams.reward_scale * batch.reward)
        targets = advantages_and_returns(network, state.params, batch, hparams.discount, hparams.gae_lambda)
        data = merge_time((batch.observation, batch.legal, batch.action, batch.extras, *targets))

        def step(state: NetworkState, minibatch: PyTree) -> tuple[NetworkState, Metrics]:
            observations, legal, *targets = minibatch

            def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
                distribution, values = network.apply(params, observations)
                return ppo_loss(hparams, restricted(distribution, legal), values, *targets)

            return gradient_step(state, loss, optimizer(hparams, env_steps))

        state, metrics = learn_in_minibatches(step, state, data, key, config)
        return state, metrics, ()

    return policy_gradient_agent(network, update, optimizer, PPOHparams, store_log_probs=True)


def ppo_loss(
    hparams: PPOHparams,
    distribution: Distribution,
    values: Array,
    actions: Array,
    old_log_probs: Array,
    advantages: Array,
    returns: Array,
) -> tuple[Array, dict[str, Array]]:
    """The loss of a minibatch, scalar, and its metrics.

    Args:
        hparams: the hyperparameters.
        distribution, values: the policy and V of the observations `[B]`.
        actions, old_log_probs: of the rollout, with log π(a | s) of the policy that acted, `[B]`.
        advantages, returns: their advantages, before they are normalised, and what the values learn, `[B]`.
    """
    old_values = returns - advantages
    deviation = jnp.sqrt(jnp.maximum(advantages.var(), TINY))
    advantages = (advantages - advantages.mean()) / (deviation + 1e-8)
    log_ratio = distribution.log_prob(actions) - old_log_probs
    ratio = jnp.exp(log_ratio)
    policy_loss = ops.clipped_surrogate_pg_loss(ratio, advantages, hparams.clip)
    values = clipped_values(values, old_values, returns, hparams.value_clip)
    total, metrics = actor_critic_loss(policy_loss, distribution, values, returns, hparams)
    approx_kl = (ratio - 1 - log_ratio).mean()  # http://joschu.net/blog/kl-approx.html
    clip_fraction = (jnp.abs(ratio - 1) > hparams.clip).mean()
    return total, {**metrics, "approx_kl": approx_kl, "clip_fraction": clip_fraction}


def clipped_values(values: Array, old_values: Array, returns: Array, clip: Array | float) -> Array:
    """The values `[B]`, or, where their loss is larger, those within `clip` of the old ones; a clip of 0 changes none.

    As in the authors' code (https://github.com/openai/baselines). A value that has already moved further towards its
    return has no gradient.
    """
    near = old_values + jnp.clip(values - old_values, -clip, clip)
    is_worse = (clip > 0) & (jnp.abs(near - returns) > jnp.abs(values - returns))
    return jnp.where(is_worse, near, values)
