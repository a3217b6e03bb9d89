"""Twin delayed deep deterministic policy gradient, TD3 (Fujimoto, van Hoof & Meger 2018,
https://arxiv.org/abs/1802.09477, algorithm 1).

A deterministic policy climbs the value of its own action (Lillicrap et al. 2015, https://arxiv.org/abs/1509.02971).
Three things keep it from climbing the critic's errors: the targets take the smaller one of two critics, they take it at
an action with clipped noise, and the policy and all target networks move only in every second step.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Interval

from jaxrl.agents.optimizers import TINY, Optimizer, check_optimizer, learning_rate_at, nan_if_too_large
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
from jaxrl.networks.network import Network, check_network, initial_params, output_shapes
from jaxrl.ops import weighted_mean
from jaxrl.ops.bootstrapping import discounted
from jaxrl.types import Agent, Array, Box, Decision, Input, Mean, Metrics, PyTree, Sample
from jaxrl.xla.threefry import drawn_once


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TD3Hparams(ContinuousHparams):
    """Hyperparameters of TD3. Noise is in units of half the range of each action."""

    exploration_noise: Annotated[float, Ge(0)] = 0.1
    """Standard deviation of the noise of actions."""
    target_noise: Annotated[float, Ge(0)] = 0.2
    """Standard deviation of the noise of the targets' actions, before it is clipped."""
    target_noise_clip: Annotated[float, Ge(0)] = 0.5
    """Largest noise of the targets' actions."""
    policy_delay: Annotated[int, Interval(gt=0, lt=2**31)] = 2
    """Gradient steps of the critics between two of the policy and of the target networks."""


class TD3Params(NamedTuple):
    """Parameters of the policy and of two critics."""

    actor: PyTree
    critics: Critics


class TD3State(NamedTuple):
    """The parameters, the target networks', the optimizers' states, gradient steps so far, and the hyperparameters."""

    params: TD3Params
    target_params: TD3Params
    opt_state: TD3Params
    num_updates: Array
    hparams: Any


def default_optimizer(hparams: TD3Hparams, env_steps: Array) -> optax.GradientTransformation:
    """Adam."""
    return optax.adam(learning_rate_at(hparams, env_steps), eps_root=TINY)


class _Parts(NamedTuple):
    """The arguments of `td3`."""

    actor: Network
    critic: Network
    action_space: Box
    optimizer: Optimizer


def td3(
    actor: Network, critic: Network, action_space: Box, optimizer: Optimizer = default_optimizer
) -> Agent[TD3State]:
    """TD3 with any networks. Both losses are weighted by the sample's weights.

        space = action_space_of(env, env_params)
        agent = td3(DeterministicPolicy(space), Critic(space), space)

    It acts with normal noise, clipped to the box, and without noise during evaluation.

    Args:
        actor: maps observations `[N, ...]` to actions `[N, D]`, such as `jaxrl.networks.DeterministicPolicy`.
        critic: maps a pair of observations `[N, ...]` and actions `[N, D]` to values `[N]`, such as
            `jaxrl.networks.Critic`. It has two sets of parameters.
        action_space: of the environment.
        optimizer: of the policy and, apart from it, of the critics; by default, Adam.

    Returns:
        An agent for a `Sample` of n-step sequences, with hyperparameters `TD3Hparams`. Its `update` returns the TD
        errors of the first critic, `[B]`; its metrics are `loss` (of the critics) and `q_mean`.

    Raises:
        ArgumentError: an argument is of the wrong kind, or the actions are discrete; from `init`, a network returns
            something else.
    """
    for network in (actor, critic):
        check_network(network)
    check_box(action_space)
    check_optimizer(optimizer)
    parts = _Parts(actor, critic, action_space, optimizer)

    def act(state: TD3State, given: Input, key: Array, env_steps: Array) -> Decision:
        noise_key, random_key = jax.random.split(drawn_once(key))
        actions = actor.apply(state.params.actor, given.observation)
        noise = state.hparams.exploration_noise * jax.random.normal(noise_key, actions.shape, jnp.float32)
        actions = with_noise(actions, noise, action_space)
        return Decision(explore(random_key, actions, action_space, env_steps < state.hparams.random_steps))

    def policy(state: TD3State, given: Input, key: Array) -> Decision:
        del key
        return Decision(actor.apply(state.params.actor, given.observation))

    return Agent(partial(_init, parts), act, policy, partial(_update, parts))


def _init(parts: _Parts, key: Array, hparams: TD3Hparams, observation: PyTree) -> TD3State:
    check_kind("hparams", hparams, TD3Hparams)
    actor_key, critics_key = jax.random.split(key)
    actor = initial_params(parts.actor, actor_key, observation)
    found = output_shapes(parts.actor, actor, observation)
    if getattr(found, "shape", None) != (2, *parts.action_space.low.shape):
        raise ArgumentError("actor", f"must return actions [N, {len(parts.action_space.low)}], here N = 2", found)
    params = TD3Params(actor, init_critics(parts.critic, critics_key, observation, parts.action_space))
    optimizer = parts.optimizer(hparams, jnp.float32(0))
    opt_state = TD3Params(optimizer.init(params.actor), optimizer.init(params.critics))
    return TD3State(params, params, opt_state, jnp.int32(0), hparams)


def _update(
    parts: _Parts, state: TD3State, batch: Sample, key: Array, env_steps: Array, constants: PyTree = ()
) -> tuple[TD3State, Metrics, Array]:
    del constants
    check_kind("batch", batch, Sample, ", from a replay, as in jaxrl.off_policy")
    targets, first = smoothed_targets(parts, state, batch, key)

    def critic_loss(critics: Critics) -> tuple[Array, Array]:
        q = critic_values(parts.critic, critics, first.observation, first.action)
        return (batch.weights * optax.l2_loss(q - targets).sum(0)).mean(), q

    optimizer = parts.optimizer(state.hparams, env_steps)
    (loss, q), grads = jax.value_and_grad(critic_loss, has_aux=True)(state.params.critics)
    updates, critics_opt = optimizer.update(grads, state.opt_state.critics, state.params.critics)
    critics = optax.apply_updates(state.params.critics, updates)

    def actor_loss(actor: PyTree) -> Array:
        actions = parts.actor.apply(actor, first.observation)
        return -(batch.weights * parts.critic.apply(critics[0], (first.observation, actions))).mean()

    actor_grads = jax.grad(actor_loss)(state.params.actor)
    updates, actor_opt = optimizer.update(actor_grads, state.opt_state.actor, state.params.actor)
    actor = optax.apply_updates(state.params.actor, updates)
    num_updates = state.num_updates + 1
    due = num_updates % state.hparams.policy_delay == 0
    # Between two of the policy's steps its gradient is computed in vain, as by both sides of a cond in a population.
    actor, actor_opt = jax.tree.map(
        lambda new, old: jnp.where(due, new, old),
        (actor, actor_opt),
        (state.params.actor, state.opt_state.actor),
    )
    params = TD3Params(actor, critics)
    step_size = jnp.where(due, state.hparams.tau, 0.0)
    target_params = optax.incremental_update(params, state.target_params, step_size)
    q_mean = Mean.of(weighted_mean(q, batch.weights))
    metrics = {"loss": Mean.of(nan_if_too_large(loss, (grads, actor_grads))), "q_mean": q_mean}
    state = TD3State(params, target_params, TD3Params(actor_opt, critics_opt), num_updates, state.hparams)
    return state, metrics, targets - q[0]


def smoothed_targets(parts: _Parts, state: TD3State, batch: Sample, key: Array) -> tuple[Array, Any]:
    """What the critics learn, y `[B]`, and the first transitions `[B, ...]` of the sequences."""
    hparams, target = state.hparams, state.target_params
    first, reward, discount_t, last = scaled_n_step(batch, hparams)
    actions = parts.actor.apply(target.actor, last.next_observation)
    noise = hparams.target_noise * jax.random.normal(drawn_once(key), actions.shape, jnp.float32)
    noise = jnp.clip(noise, -hparams.target_noise_clip, hparams.target_noise_clip)
    actions = with_noise(actions, noise, parts.action_space)
    q = critic_values(parts.critic, target.critics, last.next_observation, actions).min(0)
    return reward + discounted(discount_t, q), first


def with_noise(actions: Array, noise: Array, action_space: Box) -> Array:
    """Actions plus noise in units of half the range of each, clipped to the box, `[N, D]`."""
    low, high = map(jnp.asarray, action_space)
    return jnp.clip(actions + (high - low) / 2 * noise, low, high)
