"""Advantage actor-critic (Mnih et al. 2016, https://arxiv.org/abs/1602.01783; here all environments move in lockstep).

REINFORCE judges an action by everything that followed, which is noisy and has to wait for the end of the episode. An
actor-critic asks a critic instead: how much better than V(s) was the action, going by the few rewards up to the end of
a short rollout and by the value V of where they led?
"""

import dataclasses
from typing import Annotated

import jax
from annotated_types import Interval

from jaxrl import ops
from jaxrl.agents.minibatches import merge_time
from jaxrl.agents.policy_gradient import (
    PolicyGradientHparams,
    PolicyGradientState,
    advantages_and_returns,
    gradient_step,
    policy_gradient_agent,
)
from jaxrl.networks import Network
from jaxrl.types import Agent, Array, Metrics, PyTree, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class A2CHparams(PolicyGradientHparams):
    """What may be swept: traced values that live in the state, so that no change of them recompiles."""

    gae_lambda: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """λ of the advantages, in [0, 1]: 1 counts all rewards up to the end of the rollout (n-step returns), 0 one."""


def a2c(network: Network) -> Agent:
    """Advantage actor-critic with any network.

    Args:
        network: observations `[N, ...]` to a `jaxrl.distributions.Distribution` over actions and values `[N]`.

    Returns:
        An agent for rollouts `[T, N]` whose hyperparameters are `A2CHparams` and whose metrics are `policy_loss`,
        `value_loss` and `entropy`.
    """

    def update(
        state: PolicyGradientState, batch: Transition, key: Array, env_steps: Array
    ) -> tuple[PolicyGradientState, Metrics, PyTree]:
        del key
        hparams = state.hparams
        targets = advantages_and_returns(network, state.params, batch, hparams.discount, hparams.gae_lambda)
        observations, actions, advantages, returns = merge_time((batch.observation, batch.action, *targets))

        def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
            distribution, values = network.apply(params, observations)
            policy_loss = ops.policy_gradient_loss(distribution.log_prob(actions), advantages).mean()
            value_loss = ops.l2_loss(returns - values).mean()
            entropy = distribution.entropy().mean()
            total = policy_loss + hparams.value_coef * value_loss - hparams.entropy_coef * entropy
            return total, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}

        return *gradient_step(state, loss, env_steps), ()

    return policy_gradient_agent(network, update, A2CHparams)
