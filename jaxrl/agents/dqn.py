"""Deep Q-learning (Mnih et al. 2013, https://arxiv.org/abs/1312.5602; 2015, https://doi.org/10.1038/nature14236).

The Bellman equation Q*(s, a) = E[r + γ max_a' Q*(s', a')] as a regression on the target y = r + γ max_a' Q(s', a'; θ⁻),
with transitions sampled from a replay buffer. The replay buffer decorrelates the batches; the slowly moving copy θ⁻ of
the parameters keeps the target from moving with every step of θ.

The extensions are parts of the same agent. Together they are Rainbow (Hessel et al. 2018,
https://arxiv.org/abs/1710.02298): n-step targets and prioritised replay come with the batch, a dueling head and noisy
layers with the network, a distribution of returns with `ActionValues`, Double DQN with `double`.
"""

import dataclasses
from collections.abc import Callable
from functools import reduce
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Interval
from jax.typing import ArrayLike

from jaxrl import ops
from jaxrl.agents.action_values import ActionValues, expected_value, value_of
from jaxrl.agents.optimizers import Optimizer, adam, check_optimizer, learning_rate_at, nan_if_too_large
from jaxrl.agents.value_based import ValueBasedHparams, check_outputs, epsilon_at, epsilon_greedy_agent
from jaxrl.arguments import check_kind
from jaxrl.distributions import masked
from jaxrl.networks.network import Network, check_network, initial_params
from jaxrl.replay import PrioritisedHparams
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree, Sample, Transition
from jaxrl.xla.threefry import inline


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DQNHparams(ValueBasedHparams):
    """Hyperparameters of DQN."""

    tau: Annotated[float, Interval(gt=0, le=1)] = 0.01
    """Polyak coefficient τ of the target network, in (0, 1]; 1 copies the online network."""
    target_update_period: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Gradient steps between two updates of the target network."""
    adam_epsilon: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-8
    """Adam's ε, > 0."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RainbowHparams(PrioritisedHparams, DQNHparams):
    """Hyperparameters of DQN and of its prioritised replay; a uniform replay ignores the latter."""


class DQNState(NamedTuple):
    """Both networks' parameters, the optimizer's state, gradient steps so far (int32) and the hyperparameters."""

    params: PyTree
    target_params: PyTree
    opt_state: optax.OptState
    num_updates: Array
    hparams: Any


def default_optimizer(hparams: DQNHparams, env_steps: Array) -> optax.GradientTransformation:
    """Adam after a clip of the gradient's norm."""
    return adam(learning_rate_at(hparams, env_steps), hparams.max_grad_norm, hparams.adam_epsilon)


def dqn(
    network: Network,
    values: ActionValues | None = None,
    double: bool = False,
    optimizer: Optimizer = default_optimizer,
) -> Agent[DQNState]:
    """Deep Q-learning with any network. It acts ε-greedily.

    Args:
        network: maps observations `[N, ...]` to `[N, num_actions, *values.shape]`, by default action values. Any flax
            linen module will do. While acting and learning it is applied with `rngs={"noise": key}`.
        values: the meaning of the network's outputs, and their loss; by default Q(s, a) and the Huber loss.
        double: Double DQN: the online network selects the action that the target network evaluates (van Hasselt et al.
            2016).
        optimizer: of the parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for a `Sample` of n-step sequences, with hyperparameters `DQNHparams`. Its `update` returns the errors
        `[B]`; its metrics are `loss`, `q_mean` (the value of the actions taken) and `epsilon`.

    Raises:
        ArgumentError: an argument is of the wrong kind, or, from `init`, the network returns another shape.
    """
    check_network(network)
    check_optimizer(optimizer)
    values = values or expected_value()
    check_kind("values", values, ActionValues)

    def init(key: Array, hparams: DQNHparams, observation: PyTree) -> DQNState:
        check_kind("hparams", hparams, DQNHparams)
        params = initial_params(network, key, observation)
        check_outputs(network, params, observation, values.shape)
        opt_state = optimizer(hparams, jnp.float32(0)).init(params)
        return DQNState(params, params, opt_state, jnp.int32(0), hparams)

    def q_values(state: DQNState, observations: PyTree, rngs: dict[str, Array] | None = None) -> Array:
        return values.q_values(network.apply(state.params, observations, rngs=rngs))

    def update(
        state: DQNState, batch: Sample, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[DQNState, Metrics, Array]:
        del constants
        check_kind("batch", batch, Sample, ", from a replay, as in jaxrl.off_policy")
        target_key, selector_key, online_key = jax.random.split(inline(key), 3)
        first, reward, discount_t, last = n_step(batch.transitions, state.hparams.discount)
        outputs_t = network.apply(state.target_params, last.next_observation, rngs={"noise": target_key})
        q_t_selector = values.q_values(outputs_t)
        if double:
            q_t_selector = q_values(state, last.next_observation, {"noise": selector_key})
        q_t_selector = masked(q_t_selector, last.next_legal)

        def bellman_loss(params: PyTree) -> tuple[Array, tuple[Array, Array]]:
            outputs_tm1 = network.apply(params, first.observation, rngs={"noise": online_key})
            losses, errors = jax.vmap(values.loss)(
                outputs_tm1, first.action, reward, discount_t, outputs_t, q_t_selector
            )
            q_a = value_of(values.q_values(outputs_tm1), first.action)
            return (batch.weights * losses).mean(), (errors, ops.weighted_mean(q_a, batch.weights))

        return gradient_step(state, bellman_loss, optimizer, env_steps)

    return epsilon_greedy_agent(init, update, q_values, noisy=True)


def gradient_step(
    state: DQNState, loss: Callable[[PyTree], tuple[Array, tuple[Array, Array]]], optimizer: Optimizer, env_steps: Array
) -> tuple[DQNState, Metrics, Array]:
    """One gradient step of `loss(params) -> (loss, (errors [B], q_mean))`, and one step of the target network."""
    (value, (errors, q_mean)), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimizer(state.hparams, env_steps).update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    num_updates = state.num_updates + 1
    due = num_updates % state.hparams.target_update_period == 0
    target_params = optax.incremental_update(params, state.target_params, jnp.where(due, state.hparams.tau, 0.0))
    metrics = {
        "loss": Mean.of(nan_if_too_large(value, grads)),
        "q_mean": Mean.of(q_mean),
        "epsilon": Mean.of(epsilon_at(state.hparams, env_steps)),
    }
    return DQNState(params, target_params, opt_state, num_updates, state.hparams), metrics, errors


def n_step(transitions: Transition, discount: ArrayLike) -> tuple[Transition, Array, Array, Transition]:
    """Combines sequences of n steps `[n, B]` into one step each, up to the first end of an episode.

    Returns:
        The first transitions, discounted sums of rewards, discounts of the bootstrap (0 after a termination), and the
        last transitions, from whose next observations to bootstrap; all `[B, ...]`.
    """
    ended = transitions.terminated | transitions.truncated
    discount_t = jnp.where(transitions.terminated, 0.0, discount)
    reward, discount_t, last = jax.vmap(ops.n_step_return, in_axes=1)(transitions.reward, discount_t, ended)

    def pick_last(x: Array) -> Array:
        where = last.reshape(-1, *(1,) * (x.ndim - 2))
        return reduce(lambda picked, i: jnp.where(where == i, x[i], picked), range(1, len(x)), x[0])

    return jax.tree.map(lambda x: x[0], transitions), reward, discount_t, jax.tree.map(pick_last, transitions)
