"""Parallelised Q-network (Gallici et al. 2024, https://arxiv.org/abs/2407.04811).

Q-learning on the latest rollout of many environments, without a replay buffer or a target network: layer norm in the
network keeps the Bellman regression from diverging, and the many environments decorrelate the batch. The targets are
Peng's Q(λ) along each environment's rollout, with V(s) = max_a Q(s, a),

    G_t = r_t + γ ((1 − λ) V(s_{t+1}) + λ G_{t+1}),    G = V at the end of the rollout.

Differences from the authors' code: weights start from LeCun's distribution instead of He's, the last observation of a
truncated episode has a value, and board observations are not divided by 255. ε and the step size change only between
rollouts.
"""

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Interval

from jaxrl import ops
from jaxrl.agents.action_values import value_of
from jaxrl.agents.minibatches import MinibatchConfig, apply_in_chunks, check_rollout, learn_in_minibatches, merge_time
from jaxrl.agents.optimizers import Optimizer, check_optimizer, learning_rate_at, nan_if_too_large, radam
from jaxrl.agents.value_based import ValueBasedHparams, check_outputs, epsilon_at, epsilon_greedy_agent
from jaxrl.arguments import check_config, check_kind
from jaxrl.distributions import masked
from jaxrl.networks.network import Network, check_network, initial_params
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PQNHparams(ValueBasedHparams):
    """Hyperparameters of PQN."""

    q_lambda: Annotated[float, Interval(ge=0, le=1)] = 0.65
    """λ of the Q(λ) targets, in [0, 1]."""


class PQNState(NamedTuple):
    """The network's parameters, the optimizer's state, and the hyperparameters."""

    params: PyTree
    opt_state: optax.OptState
    hparams: PQNHparams


def default_optimizer(hparams: PQNHparams, env_steps: Array) -> optax.GradientTransformation:
    """RAdam after a clip of the gradient's norm."""
    return radam(learning_rate_at(hparams, env_steps), hparams.max_grad_norm)


def pqn(
    network: Network, config: MinibatchConfig | None = None, optimizer: Optimizer = default_optimizer
) -> Agent[PQNState]:
    """Parallelised Q-network with any network, which should normalise its layers. It acts ε-greedily.

    Args:
        network: maps observations `[N, ...]` to action values `[N, num_actions]`, such as `QNetwork(layer_norm=True)`.
        config: epochs and minibatches.
        optimizer: of the parameters; by default, RAdam after a clip of the gradient's norm.

    Returns:
        An agent for rollouts `[T, N]` with hyperparameters `PQNHparams`. Its metrics are `loss`, `q_mean` (the value of
        the actions taken) and `epsilon`.

    Raises:
        ArgumentError: an argument is of the wrong kind; from `init`, the network returns another shape; from `update`,
            the minibatches do not divide the rollout.
    """
    check_network(network)
    check_optimizer(optimizer)
    config = check_config(config or MinibatchConfig(), MinibatchConfig)

    def init(key: Array, hparams: PQNHparams, observation: PyTree) -> PQNState:
        check_kind("hparams", hparams, PQNHparams)
        params = initial_params(network, key, observation)
        check_outputs(network, params, observation, ())
        return PQNState(params, optimizer(hparams, jnp.float32(0)).init(params), hparams)

    def q_values(state: PQNState, observations: PyTree) -> Array:
        return network.apply(state.params, observations)

    def update(
        state: PQNState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[PQNState, Metrics, PyTree]:
        del constants
        check_rollout(batch)
        v_t = apply_in_chunks(
            lambda x: masked(network.apply(state.params, x[0]), x[1]).max(-1),
            (batch.next_observation, batch.next_legal),
        )
        data = merge_time((batch.observation, batch.action, lambda_returns(batch, v_t, state.hparams)))
        epsilon = Mean.of(epsilon_at(state.hparams, env_steps))

        def step(state: PQNState, minibatch: PyTree) -> tuple[PQNState, Metrics]:
            value_and_grad = jax.value_and_grad(regression_loss, has_aux=True)
            (loss, q_mean), grads = value_and_grad(state.params, network, *minibatch)
            updates, opt_state = optimizer(state.hparams, env_steps).update(grads, state.opt_state, state.params)
            params = optax.apply_updates(state.params, updates)
            metrics = {"loss": Mean.of(nan_if_too_large(loss, grads)), "q_mean": Mean.of(q_mean), "epsilon": epsilon}
            return PQNState(params, opt_state, state.hparams), metrics

        state, metrics = learn_in_minibatches(step, state, data, key, config)
        return state, metrics, ()

    return epsilon_greedy_agent(init, update, q_values)


def lambda_returns(batch: Transition, v_t: Array, hparams: PQNHparams) -> Array:
    """G `[T, N]` of a rollout and the values `v_t` `[T, N]` of its next observations; nothing leaks across episodes."""
    discount_t = jnp.where(batch.terminated, 0.0, hparams.discount)
    lambda_t = jnp.where(batch.terminated | batch.truncated, 0.0, hparams.q_lambda)
    return jax.vmap(ops.lambda_returns, in_axes=1, out_axes=1)(batch.reward, discount_t, v_t, lambda_t)


def regression_loss(
    params: PyTree, network: Network, observations: PyTree, actions: Array, returns: Array
) -> tuple[Array, Array]:
    """The mean of ½ (G − Q(s, a))² over a minibatch, and the mean of Q(s, a)."""
    q = value_of(network.apply(params, observations), actions)
    return ops.l2_loss(returns - q).mean(), q.mean()
