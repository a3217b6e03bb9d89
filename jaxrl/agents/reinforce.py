"""REINFORCE (Williams 1992, https://doi.org/10.1007/BF00992696): gradient ascent on J(θ) = E[Σ γ^t r_t].

A trajectory x = (s_0, a_0, s_1, a_1, …) has the probability p_θ(x) = p(s_0) Π π_θ(a_t | s_t) P(s_{t+1} | s_t, a_t) and
the return f(x) = Σ γ^t r_t. Since ∇p = p ∇log p, and the environment's own factors do not depend on θ,

    ∇J = E[f(x) Σ_t ∇ log π_θ(a_t | s_t)],

which sampled trajectories estimate. Three weights of ∇ log π(a_t | s_t) have this same expectation, each with a lower
variance than the one before:

    trajectory      f(x): all rewards, also those from before the action
    reward_to_go    Σ_{k≥t} γ^k r_k: the rewards that follow the action
    baseline        γ^t (Σ_{k≥t} γ^{k−t} r_k − V(s_t)): how much better than expected they are

All of them are sums over an episode, and so is the entropy, Σ γ^t H(π(· | s_t)). Relative to one step's advantage,
`entropy_coef` then weights one step's entropy, as in A2C and PPO, where both are means over steps.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from jaxrl import ops
from jaxrl.agents.minibatches import check_rollout, merge_time
from jaxrl.agents.optimizers import Optimizer
from jaxrl.agents.policy_gradient import (
    NetworkState,
    PolicyGradientHparams,
    Updated,
    default_optimizer,
    gradient_step,
    policy_gradient_agent,
)
from jaxrl.arguments import check_config
from jaxrl.distributions import restricted
from jaxrl.networks import Network
from jaxrl.types import Agent, Array, PyTree, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ReinforceHparams(PolicyGradientHparams):
    """Hyperparameters of REINFORCE."""


@dataclasses.dataclass(frozen=True)
class ReinforceConfig:
    """The estimator of the gradient, static."""

    weight: Literal["trajectory", "reward_to_go", "baseline"] = "baseline"
    """Weight of ∇ log π: the whole return (Williams), the reward to go, or reward to go minus a learned baseline."""


def reinforce(
    network: Network, config: ReinforceConfig | None = None, optimizer: Optimizer = default_optimizer
) -> Agent[NetworkState]:
    """REINFORCE with any network.

    It learns from the first episode of each environment in a rollout, which must begin with it (see
    `OnPolicyConfig.reset_each_rollout`). The rollout truncates longer episodes.

    Args:
        network: maps observations `[N, ...]` to a `jaxrl.distributions.Distribution` over actions and values `[N]`,
            which only the weight "baseline" uses and trains.
        config: the estimator of the gradient.
        optimizer: of the parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for rollouts `[T, N]` with hyperparameters `ReinforceHparams`. Its metrics are `policy_loss`, and
        `value_loss` and `entropy` as means over steps. Clipping the gradient (`max_grad_norm`) and Adam bias the step.

    Raises:
        ArgumentError: an argument is of the wrong kind; from `init`, other outputs; from `update`, not a rollout.
    """
    config = check_config(config or ReinforceConfig(), ReinforceConfig)

    def update(state: NetworkState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()) -> Updated:
        del key, constants
        check_rollout(batch)

        def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
            return reinforce_loss(network, config.weight, params, batch, state.hparams)

        return *gradient_step(state, loss, optimizer(state.hparams, env_steps)), ()

    return policy_gradient_agent(network, update, optimizer, ReinforceHparams)._replace(whole_episodes=True)


def reinforce_loss(
    network: Network, weight: str, params: PyTree, batch: Transition, hparams: PolicyGradientHparams
) -> tuple[Array, dict[str, Array]]:
    """The loss of trajectories `[T, N]`, scalar, and its parts. The gradient of `-policy_loss` estimates ∇J."""
    in_episode = first_episode(batch)
    distribution, values = network.apply(params, merge_time(batch.observation))
    distribution = restricted(distribution, merge_time(batch.legal))
    log_prob = distribution.log_prob(merge_time(batch.action)).reshape(in_episode.shape)
    entropy, values = distribution.entropy().reshape(in_episode.shape), values.reshape(in_episode.shape)
    discounts = hparams.discount ** jnp.arange(len(in_episode))[:, None]  # γ^t
    rewards = jnp.where(in_episode, batch.reward, 0.0)
    log_prob = jnp.where(in_episode, log_prob, 0.0)
    returns = jax.vmap(ops.discounted_returns, (1, 1, None), 1)(rewards, jnp.full_like(rewards, hparams.discount), 0.0)
    if weight == "trajectory":
        surrogate = ops.score_function_surrogate(returns[0], log_prob.sum(0))
    else:
        advantages = returns - values if weight == "baseline" else returns
        surrogate = -ops.score_function_loss(log_prob, discounts * advantages).sum(0)
    policy_loss = -surrogate.mean()
    entropy = jnp.where(in_episode, entropy, 0.0)
    value_loss = jnp.where(in_episode, ops.l2_loss(returns - values), 0.0)
    total = policy_loss - hparams.entropy_coef * (discounts * entropy).sum(0).mean()
    if weight == "baseline":
        total += hparams.value_coef * value_loss.sum(0).mean()
    steps = in_episode.sum()
    metrics = {"policy_loss": policy_loss, "value_loss": value_loss.sum() / steps, "entropy": entropy.sum() / steps}
    return total, metrics


def first_episode(batch: Transition) -> Array:
    """Whether each step of a rollout belongs to the first episode of its environment, bool `[T, N]`."""
    done = batch.terminated | batch.truncated
    return jnp.cumsum(done, axis=0) - done == 0
