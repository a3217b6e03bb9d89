"""Parallelised Q-network (Gallici et al. 2024, https://arxiv.org/abs/2407.04811).

Q-learning on what many environments have just done, with neither a replay nor a target network: a layer norm in the
network keeps the Bellman regression from diverging, and many environments side by side decorrelate the batch. The
targets are Peng's Q(λ) along each environment's rollout, with V(s) = max_a Q(s, a),

    G_t = r_t + γ ((1 − λ) V(s_{t+1}) + λ G_{t+1}),    G = V at the rollout's end.

Unlike in the authors' code, weights begin as LeCun's normal numbers and not as He's, a truncated episode's last
observation counts, and what a board shows is not divided by 255. ε and the step size change between rollouts alone.
"""

import dataclasses
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Interval

from jaxrl import ops
from jaxrl.agents.minibatches import ROLLOUT, MinibatchConfig, apply_in_chunks, learn_in_minibatches, merge_time
from jaxrl.agents.optimizers import nan_if_too_large, radam
from jaxrl.agents.value_based import ValueBasedHparams, check_outputs, epsilon_at
from jaxrl.arguments import check, check_kind
from jaxrl.distributions import epsilon_greedy
from jaxrl.networks.network import Network, check_network, initial_params
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree, Transition
from jaxrl.xla.threefry import inline


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PQNHparams(ValueBasedHparams):
    """What may be swept: traced values that live in the state, so that no change of them recompiles."""

    learning_rate_decay_steps: Annotated[float, Ge(0)] = 0.0
    """Environment steps over which the step size falls linearly to zero, which then stays; 0: it does not fall."""
    q_lambda: Annotated[float, Interval(ge=0, le=1)] = 0.65
    """λ of the targets, in [0, 1]."""


class PQNState(NamedTuple):
    params: PyTree
    opt_state: optax.OptState
    hparams: PQNHparams


def pqn(network: Network, config: MinibatchConfig | None = None) -> Agent:
    """Parallelised Q-network with any network, which should normalise its layers.

    Args:
        network: observations `[N, ...]` to action values `[N, num_actions]`, such as `QNetwork(layer_norm=True)`.
        config: the epochs and minibatches.

    Returns:
        An agent for rollouts `[T, N]` whose hyperparameters are `PQNHparams` and whose metrics are `loss`, `q_mean`
        (the value of the actions taken) and `epsilon`. Its `update` raises `ArgumentError` if the minibatches do not
        divide the rollout.
    """
    check_network(network)
    config = config or MinibatchConfig()
    check_kind("config", config, MinibatchConfig)
    check(config)

    def init(key: Array, hparams: PQNHparams, observation: PyTree) -> PQNState:
        check_kind("hparams", hparams, PQNHparams)
        params = initial_params(network, key, observation)
        check_outputs(network, params, observation, ())
        return PQNState(params, optimizer(hparams, jnp.float32(0)).init(params), hparams)

    def act(state: PQNState, observations: PyTree, key: Array, env_steps: Array) -> Array:
        epsilon = epsilon_at(state.hparams, env_steps)
        return epsilon_greedy(outputs(state, observations), epsilon).sample(inline(key))

    def policy(state: PQNState, observations: PyTree, key: Array) -> Array:
        return epsilon_greedy(outputs(state, observations), state.hparams.epsilon_eval).sample(key)

    def outputs(state: PQNState, observations: PyTree) -> Array:
        return network.apply(state.params, observations)

    def targets(state: PQNState, batch: Transition) -> Array:
        """G `[T, N]`; nothing counts across the end of an episode, and a truncated one's last observation does."""
        v_t = apply_in_chunks(lambda x: network.apply(state.params, x).max(-1), batch.next_observation)
        discount_t = jnp.where(batch.terminated, 0.0, state.hparams.discount)
        lambda_t = jnp.where(batch.terminated | batch.truncated, 0.0, state.hparams.q_lambda)
        return jax.vmap(ops.lambda_returns, in_axes=1, out_axes=1)(batch.reward, discount_t, v_t, lambda_t)

    def update(state: PQNState, batch: Transition, key: Array, env_steps: Array) -> tuple[PQNState, Metrics, PyTree]:
        check_kind("batch", batch, Transition, ROLLOUT)
        data = merge_time((batch.observation, batch.action, targets(state, batch)))
        one, epsilon = jnp.int32(1), epsilon_at(state.hparams, env_steps)

        def step(state: PQNState, minibatch: PyTree) -> tuple[PQNState, Metrics]:
            observations, actions, returns = minibatch

            def loss(params: PyTree) -> tuple[Array, Array]:
                q = jnp.take_along_axis(network.apply(params, observations), actions[:, None], axis=1)[:, 0]
                return ops.l2_loss(returns - q).mean(), q.mean()

            (value, q_mean), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
            updates, opt_state = optimizer(state.hparams, env_steps).update(grads, state.opt_state, state.params)
            value = nan_if_too_large(value, grads)
            metrics = {"loss": Mean(value, one), "q_mean": Mean(q_mean, one), "epsilon": Mean(epsilon, one)}
            return PQNState(optax.apply_updates(state.params, updates), opt_state, state.hparams), metrics

        state, metrics = learn_in_minibatches(step, state, data, key, config)
        return state, metrics, ()

    return Agent(init, act, policy, update, outputs)


def optimizer(hparams: PQNHparams, env_steps: Array) -> optax.GradientTransformation:
    """RAdam behind a clip of the global gradient norm. Its state's shape does not depend on the values."""
    rate = hparams.learning_rate * ops.linear_decay(env_steps, hparams.learning_rate_decay_steps)
    return radam(rate, hparams.max_grad_norm)
