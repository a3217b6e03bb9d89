"""Behaviour cloning (Pomerleau 1991, https://doi.org/10.1162/neco.1991.3.1.88): imitation as supervised learning.

The policy maximises the likelihood of an expert's actions in the states that the expert visited,

    max_θ E[log π_θ(a | s)]   over recorded (s, a).

It never learns what to do in states where its own mistakes lead. An error rate ε per step can therefore cost O(ε T²) of
the return of T steps (Ross & Bagnell 2010, https://proceedings.mlr.press/v9/ross10a.html).
"""

import dataclasses
from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
from annotated_types import Ge, Gt, Interval

from jaxrl.agents.minibatches import merge_time
from jaxrl.agents.optimizers import Optimizer, check_optimizer, default_optimizer
from jaxrl.agents.policy_gradient import NetworkState, update_from_samples, weights_of
from jaxrl.arguments import ArgumentError, check_kind
from jaxrl.distributions import Distribution, restricted
from jaxrl.networks.network import Network, check_network, initial_params, output_shapes
from jaxrl.types import Agent, Array, Decision, Input, PyTree, Sample
from jaxrl.xla.threefry import inline


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BehaviourCloningHparams:
    """Hyperparameters of behaviour cloning."""

    learning_rate: Annotated[float, Interval(gt=0, lt=1e30)] = 1e-3
    """Initial learning rate of Adam, > 0."""
    learning_rate_decay_steps: Annotated[float, Ge(0)] = 0.0
    """Gradient steps over which the learning rate decays linearly to zero; 0 keeps it constant."""
    max_grad_norm: Annotated[float, Gt(0)] = 1.0
    """Maximum global norm of the gradients, > 0; larger gradients are scaled down to it."""


def behaviour_cloning(network: Network, optimizer: Optimizer = default_optimizer) -> Agent[NetworkState]:
    """Behaviour cloning with any network.

    Args:
        network: maps observations `[N, ...]` to a `jaxrl.distributions.Distribution` over actions. Values beside it, as
            those of `jaxrl.actor_critic`, are neither used nor trained.
        optimizer: of the parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for a `Sample` `[n, B]`, as from `jaxrl.offline`, with hyperparameters `BehaviourCloningHparams`. Only
        legal actions have a probability. Its metrics are `loss`, the mean of −log π(a | s), and for discrete actions
        `accuracy`, the share of recorded actions that are the most probable ones.

    Raises:
        ArgumentError: not a network; from `init`, other outputs or hyperparameters; from `update`, not a sample.
    """
    check_network(network)
    check_optimizer(optimizer)

    def init(key: Array, hparams: BehaviourCloningHparams, observation: PyTree) -> NetworkState:
        check_kind("hparams", hparams, BehaviourCloningHparams)
        params = initial_params(network, key, observation)
        given = output_shapes(network, params, observation)
        if not hasattr(_policy_of(given), "log_prob"):
            rule = "must return a jaxrl.distributions.Distribution, with or without values"
            raise ArgumentError("network", rule, given, got=type(given).__name__)
        return NetworkState(params, optimizer(hparams, jnp.float32(0)).init(params), hparams)

    def act(state: NetworkState, given: Input, key: Array, env_steps: Array) -> Decision:
        del env_steps
        return Decision(restricted(outputs(state, given.observation), given.legal).sample(inline(key)))

    def policy(state: NetworkState, given: Input, key: Array) -> Decision:
        del key
        return Decision(restricted(outputs(state, given.observation), given.legal).mode())

    def outputs(state: NetworkState, observations: PyTree) -> Distribution:
        return _policy_of(network.apply(state.params, observations))

    return Agent(init, act, policy, update_from_samples(partial(_loss, network), optimizer), outputs=outputs)


def _loss(
    network: Network, state: NetworkState, batch: Sample, key: Array, params: PyTree
) -> tuple[Array, dict[str, Array]]:
    del state, key
    steps = merge_time(batch.transitions)
    distribution = restricted(_policy_of(network.apply(params, steps.observation)), steps.legal)
    mean = (-weights_of(batch).reshape(-1) * distribution.log_prob(steps.action)).mean()
    if not jnp.issubdtype(steps.action.dtype, jnp.integer):
        return mean, {"loss": mean}
    return mean, {"loss": mean, "accuracy": (distribution.mode() == steps.action).mean(dtype=jnp.float32)}


def _policy_of(outputs: Any) -> Any:
    """The distribution among a network's outputs, which may be a tuple of it and values."""
    return outputs[0] if isinstance(outputs, tuple) and not hasattr(outputs, "log_prob") else outputs
