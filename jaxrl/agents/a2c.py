"""Advantage actor-critic (Mnih et al. 2016, https://arxiv.org/abs/1602.01783; here all environments move in lockstep).

REINFORCE weights an action by all rewards that follow, which is noisy and has to wait for the end of the episode. An
actor-critic asks a critic how much better than V(s) the action was, given the few rewards up to the end of a short
rollout and the value V of the observation that they lead to.
"""

import dataclasses
from typing import Annotated

import jax
from annotated_types import Interval

from jaxrl import ops
from jaxrl.agents.minibatches import check_rollout, merge_time
from jaxrl.agents.optimizers import Optimizer
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
from jaxrl.distributions import restricted
from jaxrl.networks import Network
from jaxrl.types import Agent, Array, PyTree, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class A2CHparams(PolicyGradientHparams):
    """Hyperparameters of A2C."""

    gae_lambda: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """λ of the advantages, in [0, 1]: 1 uses all rewards up to the end of the rollout (n-step returns), 0 only one."""


def a2c(network: Network, optimizer: Optimizer = default_optimizer) -> Agent[NetworkState]:
    """Advantage actor-critic with any network.

    Args:
        network: maps observations `[N, ...]` to a `jaxrl.distributions.Distribution` over actions and values `[N]`.
        optimizer: of the parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for rollouts `[T, N]` with hyperparameters `A2CHparams`. Its metrics are `policy_loss`, `value_loss`
        and `entropy`.

    Raises:
        ArgumentError: not a network; from `init`, other outputs; from `update`, not a rollout.
    """

    def update(state: NetworkState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()) -> Updated:
        del key, constants
        check_rollout(batch)
        hparams = state.hparams
        targets = advantages_and_returns(network, state.params, batch, hparams.discount, hparams.gae_lambda)
        data = merge_time((batch.observation, batch.legal, batch.action, *targets))
        observations, legal, actions, advantages, returns = data

        def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
            distribution, values = network.apply(params, observations)
            distribution = restricted(distribution, legal)
            policy_loss = ops.score_function_loss(distribution.log_prob(actions), advantages).mean()
            return actor_critic_loss(policy_loss, distribution, values, returns, hparams)

        return *gradient_step(state, loss, optimizer(hparams, env_steps)), ()

    return policy_gradient_agent(network, update, optimizer, A2CHparams)
