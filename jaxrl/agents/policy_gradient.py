"""What REINFORCE, A2C and PPO share: a policy with a value, its optimizer, and the advantages of a rollout."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Gt, Interval

from jaxrl import ops
from jaxrl.agents.minibatches import ROLLOUT, apply_in_chunks
from jaxrl.agents.optimizers import adam, nan_if_too_large
from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.distributions import Distribution
from jaxrl.networks.network import Network, check_network, initial_params
from jaxrl.types import Agent, Array, Mean, Metrics, PyTree, Transition
from jaxrl.xla.threefry import inline


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PolicyGradientHparams:
    """What may be swept: traced values that live in the state, so that no change of them recompiles."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    """Adam's step size at the beginning, > 0."""
    learning_rate_decay_steps: Annotated[float, Ge(0)] = 0.0
    """Environment steps over which the step size falls linearly to zero, which then stays; 0: it does not fall."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.99
    """γ per step, in [0, 1]."""
    value_coef: Annotated[float, Ge(0)] = 0.5
    """Weight of the value's loss; of no effect in REINFORCE with a weight other than baseline."""
    entropy_coef: Annotated[float, Ge(0)] = 0.01
    """Weight of the policy's entropy, which keeps it exploring."""
    max_grad_norm: Annotated[float, Gt(0)] = 0.5
    """Gradients with a larger global norm are scaled down to it, > 0."""


class PolicyGradientState(NamedTuple):
    params: PyTree
    opt_state: optax.OptState
    hparams: Any
    """A `PolicyGradientHparams`, or the learner's own kind of it."""


Update = Callable[[PolicyGradientState, Transition, Array, Array], tuple[PolicyGradientState, Metrics, PyTree]]


def policy_gradient_agent(network: Network, update: Update, kind: type = PolicyGradientHparams) -> Agent:
    """The agent around an update: it samples from its policy to act, and takes the mode of it to be evaluated.

    Args:
        network: observations `[N, ...]` to a `jaxrl.distributions.Distribution` over actions and values `[N]`.
        update: as `Agent.update`.
        kind: of its hyperparameters.

    Raises:
        ArgumentError: it is no network; from the agent's `init`: it gives something else, or the hyperparameters are of
            another kind; from its `update`: the batch is no rollout.
    """
    check_network(network)

    def init(key: Array, hparams: PolicyGradientHparams, observation: PyTree) -> PolicyGradientState:
        check_kind("hparams", hparams, kind)
        params = initial_params(network, key, observation)
        _check_outputs(jax.eval_shape(network.apply, params, jax.tree.map(lambda x: jnp.stack([x, x]), observation)))
        return PolicyGradientState(params, optimizer(hparams, jnp.float32(0)).init(params), hparams)

    def act(state: PolicyGradientState, observations: PyTree, key: Array, env_steps: Array) -> Array:
        del env_steps
        return outputs(state, observations).sample(inline(key))

    def policy(state: PolicyGradientState, observations: PyTree, key: Array) -> Array:
        del key
        return outputs(state, observations).mode()

    def outputs(state: PolicyGradientState, observations: PyTree) -> Distribution:
        return network.apply(state.params, observations)[0]

    def update_from_rollout(
        state: PolicyGradientState, batch: Transition, key: Array, env_steps: Array
    ) -> tuple[PolicyGradientState, Metrics, PyTree]:
        check_kind("batch", batch, Transition, ROLLOUT)
        return update(state, batch, key, env_steps)

    return Agent(init, act, policy, update_from_rollout, outputs)


def _check_outputs(outputs: Any) -> None:
    """Refuses a network that does not give a distribution and values for each of two observations.

    Raises:
        ArgumentError: it gives something else.
    """
    if not (isinstance(outputs, tuple) and len(outputs) == 2 and hasattr(outputs[0], "log_prob")):
        raise ArgumentError("network", "must give a jaxrl.distributions.Distribution and values", outputs)
    if getattr(outputs[1], "shape", None) != (2,):
        raise ArgumentError("network", "must give values [N], here [2]", outputs[1])


def optimizer(hparams: PolicyGradientHparams, env_steps: Array) -> optax.GradientTransformation:
    """Adam behind a clip of the global gradient norm. Its state's shape does not depend on the values."""
    rate = hparams.learning_rate * ops.linear_decay(env_steps, hparams.learning_rate_decay_steps)
    return adam(rate, hparams.max_grad_norm, eps=1e-5)


def gradient_step(
    state: PolicyGradientState, loss: Callable[[PyTree], tuple[Array, dict[str, Array]]], env_steps: Array
) -> tuple[PolicyGradientState, Metrics]:
    """One step of the optimizer down a loss of the parameters, `(params) -> (loss, what to report)`, all scalars."""
    grads, report = jax.grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimizer(state.hparams, env_steps).update(grads, state.opt_state, state.params)
    state = PolicyGradientState(optax.apply_updates(state.params, updates), opt_state, state.hparams)
    return state, {name: Mean(nan_if_too_large(x, grads), jnp.int32(1)) for name, x in report.items()}


def values_of(network: Network, params: PyTree, observations: PyTree) -> Array:
    """V(s) `[T, N]` of observations `[T, N, ...]`."""
    return apply_in_chunks(lambda x: network.apply(params, x)[1], observations)


def advantages_and_returns(
    network: Network, params: PyTree, batch: Transition, discount: Array, gae_lambda: Array
) -> tuple[Array, Array]:
    """Generalized advantages, and the λ-returns that the values learn, both `[T, N]`, of a rollout `[T, N]`.

    What the true last observation of a truncated episode is worth counts; nothing counts across the end of an episode.
    """
    v_tm1 = values_of(network, params, batch.observation)
    v_t = values_of(network, params, batch.next_observation)
    discount_t = jnp.where(batch.terminated, 0.0, discount)
    lambda_t = jnp.where(batch.terminated | batch.truncated, 0.0, gae_lambda)
    estimate = jax.vmap(ops.generalized_advantage_estimation, in_axes=1, out_axes=1)
    advantages = estimate(batch.reward, discount_t, lambda_t, v_tm1, v_t)
    return advantages, advantages + v_tm1
