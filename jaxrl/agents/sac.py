"""Soft actor-critic (Haarnoja et al. 2018, https://arxiv.org/abs/1801.01290 and https://arxiv.org/abs/1812.05905).

The objective is the return plus α times the policy's entropy in each step. Two critics learn, from a replay buffer, the
soft value of an action, with y = r + γ (min Q'(s', a') − α log π(a' | s')) for a new action a' of the policy (equations
5 and 6 of the second paper; sequences of n steps leave out the entropy of those between). The policy minimises
α log π(a | s) − min Q(s, a) for its own actions (equation 9), and the temperature α moves so that the entropy meets its
target (equation 18). All gradients of a step belong to the same parameters.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Interval

from jaxrl.agents.optimizers import TINY, Optimizer, check_optimizer, nan_if_too_large
from jaxrl.agents.twin_critics import (
    ContinuousHparams,
    Critics,
    check_box,
    critic_values,
    explore,
    init_critics,
    scaled_n_step,
)
from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.distributions import Distribution
from jaxrl.networks.network import Network, check_network, initial_params, output_shapes
from jaxrl.ops import linear_decay, weighted_mean
from jaxrl.ops.bootstrapping import discounted
from jaxrl.types import Agent, Array, Box, Decision, Input, Mean, Metrics, PyTree, Sample
from jaxrl.xla.threefry import drawn_once


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SACHparams(ContinuousHparams):
    """Hyperparameters of SAC."""

    temperature: Annotated[float, Interval(gt=0, lt=1e30)] = 1.0
    """The temperature α at the start, > 0."""
    temperature_learning_rate: Annotated[float, Interval(ge=0, lt=1e30)] = 3e-4
    """Learning rate of log α, which decays like the other; 0 keeps α fixed."""
    target_entropy: Annotated[float, Interval(gt=-1e30, lt=1e30)] = -1.0
    """The entropy that α aims at, in nats for each coordinate of the action, scaled to [-1, 1]."""


class SACParams(NamedTuple):
    """What SAC learns: parameters of the policy and of two critics, and log α, float32 scalar."""

    actor: PyTree
    critics: Critics
    log_temperature: Array


class SACState(NamedTuple):
    """What SAC learns, the slowly moving critics, the optimizer's state and the hyperparameters."""

    params: SACParams
    target_critics: Critics
    opt_state: optax.OptState
    hparams: Any


def default_optimizer(hparams: SACHparams, env_steps: Array) -> optax.GradientTransformation:
    """Adam, with a learning rate of its own for the temperature. Both decay alike."""
    decay = linear_decay(env_steps, hparams.learning_rate_decay_steps)

    def scale(updates: SACParams, params: PyTree = None) -> SACParams:
        del params
        rates = hparams.learning_rate, hparams.learning_rate, hparams.temperature_learning_rate
        parts = zip(updates, rates, strict=True)
        return SACParams(*(jax.tree.map(lambda x, rate=rate: -decay * rate * x, part) for part, rate in parts))

    return optax.chain(optax.scale_by_adam(eps_root=TINY), optax.stateless(scale))


class _Parts(NamedTuple):
    """The arguments of `sac`."""

    actor: Network
    critic: Network
    action_space: Box
    optimizer: Optimizer


def sac(
    actor: Network, critic: Network, action_space: Box, optimizer: Optimizer = default_optimizer
) -> Agent[SACState]:
    """Soft actor-critic with any networks. All losses are weighted by the sample's weights.

        space = action_space_of(env, env_params)
        agent = sac(SquashedPolicy(space), Critic(space), space)

    It samples actions from its policy, and takes the median of each coordinate during evaluation.

    Args:
        actor: maps observations `[N, ...]` to a distribution with a differentiable `sample_and_log_prob(key)`, such as
            `jaxrl.networks.SquashedPolicy`, which stays inside the box.
        critic: maps a pair of observations `[N, ...]` and actions `[N, D]` to values `[N]`, such as
            `jaxrl.networks.Critic`. It has two sets of parameters.
        action_space: of the environment.
        optimizer: of `SACParams`; by default, Adam.

    Returns:
        An agent for a `Sample` of n-step sequences, with hyperparameters `SACHparams`. Its `update` returns the TD
        errors of the first critic, `[B]`; its metrics are `loss` (of the critics), `q_mean`, `entropy` and
        `temperature`.

    Raises:
        ArgumentError: an argument is of the wrong kind, or the actions are discrete; from `init`, a network returns
            something else.
    """
    for network in (actor, critic):
        check_network(network)
    check_box(action_space)
    check_optimizer(optimizer)
    parts = _Parts(actor, critic, action_space, optimizer)

    def outputs(state: SACState, observations: PyTree) -> Distribution:
        return actor.apply(state.params.actor, observations)

    def act(state: SACState, given: Input, key: Array, env_steps: Array) -> Decision:
        policy_key, random_key = jax.random.split(drawn_once(key))
        actions = outputs(state, given.observation).sample(policy_key)
        return Decision(explore(random_key, actions, action_space, env_steps < state.hparams.random_steps))

    def policy(state: SACState, given: Input, key: Array) -> Decision:
        del key
        return Decision(outputs(state, given.observation).mode())

    return Agent(partial(_init, parts), act, policy, partial(_update, parts), outputs=outputs)


def _init(parts: _Parts, key: Array, hparams: SACHparams, observation: PyTree) -> SACState:
    check_kind("hparams", hparams, SACHparams)
    actor_key, critics_key = jax.random.split(key)
    actor = initial_params(parts.actor, actor_key, observation)
    distribution = output_shapes(parts.actor, actor, observation)
    if not hasattr(distribution, "sample_and_log_prob"):
        raise ArgumentError("actor", "must return a distribution with sample_and_log_prob", distribution)
    critics = init_critics(parts.critic, critics_key, observation, parts.action_space)
    params = SACParams(actor, critics, jnp.log(jnp.float32(hparams.temperature)))
    return SACState(params, critics, parts.optimizer(hparams, jnp.float32(0)).init(params), hparams)


def _update(
    parts: _Parts, state: SACState, batch: Sample, key: Array, env_steps: Array, constants: PyTree = ()
) -> tuple[SACState, Metrics, Array]:
    del constants
    check_kind("batch", batch, Sample, ", from a replay, as in jaxrl.off_policy")
    target_key, actor_key = jax.random.split(drawn_once(key))
    targets, first = soft_targets(parts, state, batch, target_key)

    def loss(params: SACParams) -> tuple[Array, tuple[Array, Metrics]]:
        q = critic_values(parts.critic, params.critics, first.observation, first.action)
        critic_loss = (batch.weights * optax.l2_loss(q - targets).sum(0)).mean()
        actions, log_probs = parts.actor.apply(params.actor, first.observation).sample_and_log_prob(actor_key)
        temperature, fixed = jnp.exp(params.log_temperature), jax.lax.stop_gradient
        q_actor = critic_values(parts.critic, fixed(params.critics), first.observation, actions).min(0)
        actor_loss = (batch.weights * (fixed(temperature) * log_probs - q_actor)).mean()
        excess = (batch.weights * fixed(-log_probs - entropy_target(state.hparams, parts.action_space))).mean()
        metrics = {
            "loss": critic_loss,
            "q_mean": weighted_mean(q, batch.weights),
            "entropy": -weighted_mean(log_probs, batch.weights),
            "temperature": temperature,
        }
        return critic_loss + actor_loss + temperature * excess, (targets - q[0], metrics)

    grads, (errors, metrics) = jax.grad(loss, has_aux=True)(state.params)
    optimizer = parts.optimizer(state.hparams, env_steps)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    target_critics = optax.incremental_update(params.critics, state.target_critics, state.hparams.tau)
    metrics["loss"] = nan_if_too_large(metrics["loss"], grads)
    means = {name: Mean.of(x) for name, x in metrics.items()}
    return SACState(params, target_critics, opt_state, state.hparams), means, errors


def soft_targets(parts: _Parts, state: SACState, batch: Sample, key: Array) -> tuple[Array, Any]:
    """What the critics learn, y `[B]`, and the first transitions `[B, ...]` of the sequences."""
    first, reward, discount_t, last = scaled_n_step(batch, state.hparams)
    following = parts.actor.apply(state.params.actor, last.next_observation)
    actions, log_probs = following.sample_and_log_prob(key)
    q = critic_values(parts.critic, state.target_critics, last.next_observation, actions).min(0)
    return reward + discounted(discount_t, q - jnp.exp(state.params.log_temperature) * log_probs), first


def entropy_target(hparams: SACHparams, action_space: Box) -> Array:
    """The policy's entropy that the temperature aims at, in nats, of actions in the units of the environment."""
    half_range = (jnp.asarray(action_space.high) - jnp.asarray(action_space.low)) / 2
    return (hparams.target_entropy + jnp.log(half_range)).sum()
