"""REINFORCE (Williams 1992, https://doi.org/10.1007/BF00992696): gradient ascent on J(θ) = E[Σ γ^t r_t].

A trajectory x = (s_0, a_0, s_1, a_1, …) is drawn from p_θ(x) = p(s_0) Π π_θ(a_t | s_t) P(s_{t+1} | s_t, a_t) and worth
f(x) = Σ γ^t r_t. Since ∇p = p ∇log p, and since the environment's own terms do not depend on θ,

    ∇J = E[f(x) Σ_t ∇ log π_θ(a_t | s_t)],

an expectation that sampled trajectories estimate. Three weights of ∇ log π(a_t | s_t) have this same expectation, each
with a lower variance than the one before:

    trajectory      f(x): all rewards, also those from before the action
    reward_to_go    Σ_{k≥t} γ^k r_k: what came after it, for no action changes the past
    baseline        γ^t (Σ_{k≥t} γ^{k−t} r_k − V(s_t)): how much better that was than usual

All of these are sums over an episode, and so is the entropy beside them, Σ γ^t H(π(· | s_t)). Against one step's
advantage, `entropy_coef` then weighs one step's entropy, as it does in A2C and PPO, where both are means over steps.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from jaxrl import ops
from jaxrl.agents.minibatches import merge_time
from jaxrl.agents.policy_gradient import (
    PolicyGradientHparams,
    PolicyGradientState,
    gradient_step,
    policy_gradient_agent,
)
from jaxrl.arguments import check, check_kind
from jaxrl.networks import Network
from jaxrl.types import Agent, Array, Metrics, PyTree, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ReinforceHparams(PolicyGradientHparams):
    """What may be swept: those of all policy gradients."""


@dataclasses.dataclass(frozen=True)
class ReinforceConfig:
    """What decides the program: static values."""

    weight: Literal["trajectory", "reward_to_go", "baseline"] = "baseline"
    """What ∇ log π is weighted by: the trajectory's return (Williams), the reward to go, or that less a baseline."""


def reinforce(network: Network, config: ReinforceConfig | None = None) -> Agent:
    """REINFORCE with any network.

    It learns from the first episode in each environment of a rollout, which must begin with it: `on_policy` asks for
    `OnPolicyConfig.reset_each_rollout`. An episode that is longer than the rollout counts as far as it got.

    Args:
        network: observations `[N, ...]` to a `jaxrl.distributions.Distribution` over actions and values `[N]`; only the
            weight "baseline" uses and trains the values.
        config: the static switches.

    Returns:
        An agent for rollouts `[T, N]` whose hyperparameters are `ReinforceHparams` and whose metrics are `policy_loss`,
        and `value_loss` and `entropy` as means over steps. The clip of the gradient's norm (`max_grad_norm`), and Adam,
        bias the step.
    """
    config = config or ReinforceConfig()
    check_kind("config", config, ReinforceConfig)
    check(config)

    def update(
        state: PolicyGradientState, batch: Transition, key: Array, env_steps: Array
    ) -> tuple[PolicyGradientState, Metrics, PyTree]:
        del key

        def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
            return reinforce_loss(network, config.weight, params, batch, state.hparams)

        return *gradient_step(state, loss, env_steps), ()

    return policy_gradient_agent(network, update, ReinforceHparams)._replace(whole_episodes=True)


def reinforce_loss(
    network: Network, weight: str, params: PyTree, batch: Transition, hparams: PolicyGradientHparams
) -> tuple[Array, dict[str, Array]]:
    """The loss of trajectories `[T, N]`, scalar, and its parts. The gradient of `-policy_loss` estimates ∇J."""
    in_episode = first_episode(batch)
    distribution, values = network.apply(params, merge_time(batch.observation))
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
        surrogate = -ops.policy_gradient_loss(log_prob, discounts * advantages).sum(0)
    policy_loss = -surrogate.mean()
    entropy = jnp.where(in_episode, entropy, 0.0)
    value_loss = jnp.where(in_episode, ops.l2_loss(returns - values), 0.0)
    total = policy_loss - hparams.entropy_coef * (discounts * entropy).sum(0).mean()
    if weight == "baseline":
        total += hparams.value_coef * value_loss.sum(0).mean()
    steps = in_episode.sum()
    report = {"policy_loss": policy_loss, "value_loss": value_loss.sum() / steps, "entropy": entropy.sum() / steps}
    return total, report


def first_episode(batch: Transition) -> Array:
    """Which steps of `[T, N]` belong to the first episode of their environment, bool `[T, N]`."""
    done = batch.terminated | batch.truncated
    return jnp.cumsum(done, axis=0) - done == 0
