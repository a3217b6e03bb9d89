"""Deep Q-learning (Mnih et al. 2013, https://arxiv.org/abs/1312.5602; 2015, https://doi.org/10.1038/nature14236).

The Bellman equation Q*(s, a) = E[r + γ max_a' Q*(s', a')] turned into a regression: towards the target
y = r + γ max_a' Q(s', a'; θ⁻), on transitions drawn from a replay. The replay answers how to sample batches; the slowly
moving copy θ⁻ answers the target that would otherwise move with every step of θ.
"""

import dataclasses
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Gt, Interval

from jaxrl import ops
from jaxrl.arguments import check
from jaxrl.distributions import epsilon_greedy
from jaxrl.networks import Network
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree, Transition


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DQNHparams:
    """What may be swept: traced values that live in the state, so that no change of them recompiles."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 5e-4
    """Adam's step size, > 0."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.99
    """γ per step, in [0, 1]."""
    epsilon_start: Annotated[float, Interval(ge=0, le=1)] = 1.0
    """Probability of a random action at the first step, in [0, 1]."""
    epsilon_end: Annotated[float, Interval(ge=0, le=1)] = 0.02
    """Probability of a random action once the decay is over, in [0, 1]."""
    epsilon_decay_steps: Annotated[float, Ge(0)] = 750_000
    """Length of the linear decay from start to end, in environment steps."""
    epsilon_eval: Annotated[float, Interval(ge=0, le=1)] = 0.001
    """Probability of a random action when evaluating, in [0, 1]."""
    target_update_rate: Annotated[float, Interval(gt=0, le=1)] = 0.01
    """How far the target network moves towards the online one at each of its updates, in (0, 1]; 1 copies it."""
    target_update_period: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Gradient steps between two updates of the target network. Mnih et al. 2015: rate 1, period 10000."""
    max_grad_norm: Annotated[float, Gt(0)] = 10.0
    """Gradients with a larger global norm are scaled down to it, > 0."""


@dataclasses.dataclass(frozen=True)
class DQNConfig:
    """What decides the program: static values."""

    double: bool = False
    """Double DQN: the online network chooses the action whose target value is used (van Hasselt et al. 2016)."""
    loss: Literal["huber", "squared"] = "huber"
    """Loss of the TD error: huber (error clipped to [-1, 1], Mnih et al. 2015) or squared (Mnih et al. 2013)."""
    hidden_sizes: tuple[Annotated[int, Gt(0)], ...] = (128,)
    """Units of each dense layer of the default network."""


class DQNState(NamedTuple):
    params: PyTree
    target_params: PyTree
    opt_state: optax.OptState
    hparams: DQNHparams


def dqn(network: Network, config: DQNConfig | None = None) -> Agent:
    """Deep Q-learning with any network.

    Args:
        network: observations `[N, ...]` to action values `[N, num_actions]`; any flax linen module that does so.
        config: the static switches.

    Returns:
        An agent whose hyperparameters are `DQNHparams`, whose `update` returns the TD errors `[B]` as extras, and whose
        metrics are `loss`, `q_mean` (the value of the actions taken) and `epsilon`.
    """
    config = config or DQNConfig()
    check(config)
    loss = {"huber": ops.huber_loss, "squared": ops.squared_loss}[config.loss]

    def init(key: Array, hparams: DQNHparams, observation: PyTree) -> DQNState:
        params = network.init(key, jax.tree.map(lambda x: x[None], observation))
        return DQNState(params, params, optimizer(hparams).init(params), hparams)

    def act(state: DQNState, observations: PyTree, key: Array, env_steps: Array) -> Array:
        epsilon = epsilon_at(state.hparams, env_steps)
        return epsilon_greedy(network.apply(state.params, observations), epsilon).sample(key)

    def policy(state: DQNState, observations: PyTree, key: Array) -> Array:
        return epsilon_greedy(network.apply(state.params, observations), state.hparams.epsilon_eval).sample(key)

    def targets(state: DQNState, batch: Transition) -> Array:
        discount_t = jnp.where(batch.terminated, 0.0, state.hparams.discount)
        q_t = network.apply(state.target_params, batch.next_observation)
        if config.double:
            q_t_selector = network.apply(state.params, batch.next_observation)
            return jax.vmap(ops.double_q_learning_target)(batch.reward, discount_t, q_t, q_t_selector)
        return jax.vmap(ops.q_learning_target)(batch.reward, discount_t, q_t)

    def update(state: DQNState, batch: Transition, key: Array, env_steps: Array) -> tuple[DQNState, Metrics, PyTree]:
        del key
        target = targets(state, batch)

        def bellman_loss(params: PyTree) -> tuple[Array, tuple[Array, Array]]:
            q_tm1 = network.apply(params, batch.observation)
            q_a = jnp.take_along_axis(q_tm1, batch.action[:, None], axis=1)[:, 0]
            td_error = target - q_a
            return loss(td_error).mean(), (td_error, q_a.mean())

        (value, (td_error, q_mean)), grads = jax.value_and_grad(bellman_loss, has_aux=True)(state.params)
        updates, opt_state = optimizer(state.hparams).update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        due = optax.tree_utils.tree_get(opt_state, "count") % state.hparams.target_update_period == 0
        rate = jnp.where(due, state.hparams.target_update_rate, 0.0)
        target_params = optax.incremental_update(params, state.target_params, rate)
        one = jnp.int32(1)
        metrics = {
            "loss": Mean(value, one),
            "q_mean": Mean(q_mean, one),
            "epsilon": Mean(epsilon_at(state.hparams, env_steps), one),
        }
        return DQNState(params, target_params, opt_state, state.hparams), metrics, td_error

    return Agent(init, act, policy, update)


def optimizer(hparams: DQNHparams) -> optax.GradientTransformation:
    """Adam behind a clip of the global gradient norm. Its state's shape does not depend on the values."""
    return optax.chain(optax.clip_by_global_norm(hparams.max_grad_norm), optax.adam(hparams.learning_rate))


def epsilon_at(hparams: DQNHparams, env_steps: Array) -> Array:
    """Exploration after `env_steps` environment steps."""
    return ops.linear_schedule(env_steps, hparams.epsilon_start, hparams.epsilon_end, hparams.epsilon_decay_steps)
