"""What REINFORCE, A2C and PPO share: a policy with a value, its optimizer, and the advantages of a rollout.

The state, `gradient_step` and `update_from_samples` also serve agents that learn from other losses.
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from annotated_types import Ge, Gt, Interval
from jax.typing import ArrayLike

from jaxrl import ops
from jaxrl.agents.minibatches import apply_in_chunks, merge_time
from jaxrl.agents.optimizers import Optimizer, adam, check_optimizer, learning_rate_at, nan_if_too_large
from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.distributions import Distribution, restricted
from jaxrl.networks.network import Network, check_network, initial_params, output_shapes
from jaxrl.types import Agent, Array, Decision, Input, Mean, Metrics, PyTree, Sample, Transition
from jaxrl.xla.threefry import inline


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PolicyGradientHparams:
    """Hyperparameters of all policy gradients."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    """Initial learning rate of Adam, > 0."""
    learning_rate_decay_steps: Annotated[float, Ge(0)] = 0.0
    """Environment steps over which the learning rate decays linearly to zero; 0 keeps it constant."""
    discount: Annotated[float, Interval(ge=0, le=1)] = 0.99
    """Discount factor γ per step, in [0, 1]."""
    value_coef: Annotated[float, Ge(0)] = 0.5
    """Coefficient of the value loss."""
    entropy_coef: Annotated[float, Ge(0)] = 0.01
    """Coefficient of the policy's entropy, a bonus that encourages exploration."""
    max_grad_norm: Annotated[float, Gt(0)] = 0.5
    """Maximum global norm of the gradients, > 0; larger gradients are scaled down to it."""


class NetworkState(NamedTuple):
    """The network's parameters, the optimizer's state, and the hyperparameters."""

    params: PyTree
    opt_state: optax.OptState
    hparams: Any


Updated = tuple[NetworkState, Metrics, PyTree]
Update = Callable[..., Updated]
Loss = Callable[[NetworkState, Sample, Array, PyTree], tuple[Array, dict[str, Array]]]


def policy_gradient_agent(
    network: Network,
    update: Update,
    optimizer: Optimizer,
    kind: type = PolicyGradientHparams,
    store_log_probs: bool = False,
) -> Agent[NetworkState]:
    """An agent that samples actions from its policy, and takes the most probable ones during evaluation.

    Args:
        network: maps observations `[N, ...]` to a `jaxrl.distributions.Distribution` over actions and values `[N]`.
        update: as `Agent.update`.
        optimizer: of the parameters.
        kind: the class of its hyperparameters.
        store_log_probs: whether transitions keep log π(a | s), `[N]`, as their extras.

    Raises:
        ArgumentError: not a network; from `init`, other outputs or another class of hyperparameters.
    """
    check_network(network)
    check_optimizer(optimizer)

    def init(key: Array, hparams: PolicyGradientHparams, observation: PyTree) -> NetworkState:
        check_kind("hparams", hparams, kind)
        params = initial_params(network, key, observation)
        _check_outputs(output_shapes(network, params, observation))
        return NetworkState(params, optimizer(hparams, jnp.float32(0)).init(params), hparams)

    def act(state: NetworkState, given: Input, key: Array, env_steps: Array) -> Decision:
        del env_steps
        distribution = restricted(outputs(state, given.observation), given.legal)
        actions = distribution.sample(inline(key))
        return Decision(actions, extras=distribution.log_prob(actions) if store_log_probs else ())

    def policy(state: NetworkState, given: Input, key: Array) -> Decision:
        del key
        return Decision(restricted(outputs(state, given.observation), given.legal).mode())

    def outputs(state: NetworkState, observations: PyTree) -> Distribution:
        return network.apply(state.params, observations)[0]

    return Agent(init, act, policy, update, outputs=outputs)


def _check_outputs(outputs: Any) -> None:
    """Checks the outputs of a network for two observations."""
    if not (isinstance(outputs, tuple) and len(outputs) == 2 and hasattr(outputs[0], "log_prob")):
        raise ArgumentError("network", "must return a jaxrl.distributions.Distribution and values", outputs)
    if getattr(outputs[1], "shape", None) != (2,):
        raise ArgumentError("network", "must return values [N], here [2]", outputs[1])


def default_optimizer(hparams: PolicyGradientHparams, env_steps: Array) -> optax.GradientTransformation:
    """Adam with ε = 1e-5, after a clip of the gradient's norm."""
    return adam(learning_rate_at(hparams, env_steps), hparams.max_grad_norm, eps=1e-5)


def gradient_step(
    state: NetworkState,
    loss: Callable[[PyTree], tuple[Array, dict[str, Array]]],
    optimizer: optax.GradientTransformation,
) -> tuple[NetworkState, Metrics]:
    """One optimizer step on a loss of the parameters, `(params) -> (loss, metrics)`, all scalars."""
    grads, metrics = jax.grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    state = NetworkState(optax.apply_updates(state.params, updates), opt_state, state.hparams)
    return state, {name: Mean.of(nan_if_too_large(x, grads)) for name, x in metrics.items()}


def weights_of(batch: Sample) -> Array:
    """The weight of each transition of a sample in its loss, `[n, B]`."""
    return jnp.broadcast_to(batch.weights, batch.transitions.reward.shape)


def update_from_samples(loss: Loss, optimizer: Optimizer) -> Update:
    """`Agent.update` for a `Sample`, with one optimizer step on a loss.

    Args:
        loss: `(state, batch, key, params) -> (loss, metrics)`, all scalars. Gradients are of the last argument.
        optimizer: of the parameters.
    """

    def update(state: NetworkState, batch: Sample, key: Array, env_steps: Array, constants: PyTree = ()) -> Updated:
        del constants
        check_kind("batch", batch, Sample, ", as in jaxrl.offline and jaxrl.off_policy")
        return *gradient_step(state, partial(loss, state, batch, key), optimizer(state.hparams, env_steps)), ()

    return update


def actor_critic_loss(
    policy_loss: Array, distribution: Distribution, values: Array, returns: Array, hparams: PolicyGradientHparams
) -> tuple[Array, dict[str, Array]]:
    """The loss of the policy plus those of the values V and the entropy H: L + c_V mean ½ (G − V)² − c_H mean H.

    Args:
        policy_loss: L, scalar.
        distribution: the policy's, of the observations `[B]`.
        values: V, `[B]`.
        returns: G, `[B]`.
        hparams: the coefficients.

    Returns:
        The loss and its three parts, scalars.
    """
    value_loss = ops.l2_loss(returns - values).mean()
    entropy = distribution.entropy().mean()
    loss = policy_loss + hparams.value_coef * value_loss - hparams.entropy_coef * entropy
    return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy}


def advantages_and_returns(
    network: Network, params: PyTree, batch: Transition, discount: Array, gae_lambda: Array
) -> tuple[Array, Array]:
    """Generalized advantages of a rollout `[T, N]`, and the λ-returns that the values learn, both `[T, N]`.

    A truncated episode bootstraps from its true last observation. Nothing leaks across the end of an episode.
    """

    def value(params: PyTree, observations: PyTree) -> Array:
        return network.apply(params, observations)[1]

    v_tm1 = apply_in_chunks(partial(value, params), batch.observation)
    v_t = next_values(value, params, batch, v_tm1)
    return generalized_advantages(batch, v_tm1, v_t, discount, gae_lambda)


def generalized_advantages(
    batch: Transition, v_tm1: Array, v_t: Array, discount: ArrayLike, gae_lambda: ArrayLike
) -> tuple[Array, Array]:
    """Generalized advantages and λ-returns `[T, N]`, from V(s) and V(s') `[T, N]`; nothing leaks across episodes."""
    discount_t = jnp.where(batch.terminated, 0.0, discount)
    lambda_t = jnp.where(batch.terminated | batch.truncated, 0.0, gae_lambda)
    estimate = jax.vmap(ops.generalized_advantage_estimation, in_axes=1, out_axes=1)
    advantages = estimate(batch.reward, discount_t, lambda_t, v_tm1, v_t)
    return advantages, advantages + v_tm1


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def next_values(value: Callable[[PyTree, PyTree], Array], params: PyTree, batch: Transition, v_tm1: Array) -> Array:
    """V(s') of a rollout, `[T, N]`: the value of the next row.

    It is computed anew in the last row and where an episode was truncated, `N` observations at a time. Where it
    terminated, nothing follows, and the result is any finite number. Derivatives are those of all values computed anew,
    since a loop of unknown length has none in reverse mode.

    Args:
        value: `(params, observations [M, ...]) -> V [M]`.
        params: its parameters.
        batch: the rollout.
        v_tm1: V(s), `[T, N]`.
    """
    num_steps, num_envs = v_tm1.shape
    last = value(params, jax.tree.map(lambda x: x[-1], batch.next_observation))
    following = merge_time(batch.next_observation)

    def refresh(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        v_t, stale = carry
        (rows,) = jnp.nonzero(stale, size=num_envs, fill_value=0)  # too few: the first one is computed again
        values = value(params, jax.tree.map(lambda x: x[rows], following))
        return v_t.at[rows].set(values), stale.at[rows].set(False)

    v_t = jnp.concatenate([v_tm1[1:], last[None]]).reshape(-1)
    stale = batch.truncated.at[-1].set(False).reshape(-1)
    v_t, _ = jax.lax.while_loop(lambda carry: carry[1].any(), refresh, (v_t, stale))
    return v_t.reshape(num_steps, num_envs)


@next_values.defjvp
def _next_values_jvp(value: Callable, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    def all_anew(params: PyTree, batch: Transition, v_tm1: Array) -> Array:
        del v_tm1
        return apply_in_chunks(partial(value, params), batch.next_observation)

    return jax.jvp(all_anew, primals, tangents)
