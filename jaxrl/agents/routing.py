"""Routing networks: each input goes to one of K expert networks, chosen by sampling (Rosenbaum et al. 2018).

A router gives the probabilities π(k | x) of the experts; one is sampled, and it alone works. The choice cannot be
differentiated, so that the router learns by the score function, with the reward −loss: the gradient of
E_{k~π}[L_k(x)] is that of

    L_k(x) + (L_k(x) − b) log π(k | x),   b the mean loss of the batch's other inputs.

Without more, the router soon sends all inputs to the expert that happens to be the best. So the entropy of the batch's
mean probabilities is maximised too, which lets every expert work, but each input may go to one of them for sure.
https://arxiv.org/abs/1711.01239; the entropy as in Shazeer et al. 2017 (https://arxiv.org/abs/1701.06538, section 4).
"""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
from annotated_types import Ge, Interval
from jax.typing import ArrayLike

from jaxrl import ops
from jaxrl.agents.behaviour_cloning import BehaviourCloningHparams
from jaxrl.agents.minibatches import merge_time
from jaxrl.agents.optimizers import Optimizer, check_optimizer, default_optimizer
from jaxrl.agents.policy_gradient import NetworkState, update_from_samples, weights_of
from jaxrl.arguments import ArgumentError, check_config, check_kind
from jaxrl.distributions import Categorical
from jaxrl.networks.network import Network, check_network, check_output_kind, initial_params
from jaxrl.types import Agent, Array, Decision, Input, PyTree, Sample, Transition
from jaxrl.xla.threefry import inline

BLOCK = 64
"""Inputs that pass through an expert at once."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RoutingHparams(BehaviourCloningHparams):
    """Hyperparameters of routing networks."""

    balance_coef: Annotated[float, Ge(0)] = 1.0
    """Coefficient of the entropy of the mean probabilities of the experts, a bonus that lets all of them work."""


@dataclasses.dataclass(frozen=True)
class RoutingConfig:
    """The experts, static."""

    num_experts: Annotated[int, Interval(ge=2, le=1024)] = 3
    """K ≥ 2, the expert networks."""
    choice: Literal["sampled", "soft"] = "sampled"
    """Whether one expert is sampled and works alone, or all work and their probabilities are mixed."""


def routing(
    router: Network, expert: Network, config: RoutingConfig, optimizer: Optimizer = default_optimizer
) -> Agent[NetworkState]:
    """An agent that learns the right actions for observations, by experts among which it routes.

    Args:
        router: maps observations `[N, ...]` to a `Categorical` over the K experts.
        expert: maps observations `[N, ...]` to a `Categorical` over actions. Each expert has parameters of its own.
        config: the experts.
        optimizer: of all parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for a `Sample` `[n, B]` with the right actions, as from `jaxrl.offline`, with hyperparameters
        `RoutingHparams`. Its `policy` takes the most probable expert and action; `Decision.extras` is the expert, int32
        `[N]`. Metrics: `loss`, the mean of −log p(action); `accuracy`; `entropy` of π, and `balance`, that of its mean.

    Raises:
        ArgumentError: not a network, or fewer than 2 experts; from `init`, other outputs; from `update`, not a sample.
    """
    check_network(router)
    check_network(expert)
    check_config(config, RoutingConfig)
    check_optimizer(optimizer)

    def init(key: Array, hparams: RoutingHparams, observation: PyTree) -> NetworkState:
        check_kind("hparams", hparams, RoutingHparams)
        router_key, *keys = jax.random.split(key, 1 + config.num_experts)
        experts = jax.vmap(partial(initial_params, expert), (0, None))(jnp.stack(keys), observation)
        params = {"router": initial_params(router, router_key, observation), "experts": experts}
        number = check_output_kind("router", router, params["router"], observation, Categorical).logits.shape[-1]
        if number != config.num_experts:
            raise ArgumentError("router", f"must give {config.num_experts} values, one for each expert", str(number))
        first = jax.tree.map(lambda x: x[0], params["experts"])
        check_output_kind("expert", expert, first, observation, Categorical)
        return NetworkState(params, optimizer(hparams, jnp.float32(0)).init(params), hparams)

    def act(state: NetworkState, given: Input, key: Array, env_steps: Array) -> Decision:
        del env_steps
        router_key, key = jax.random.split(inline(key))
        chosen = router.apply(state.params["router"], given.observation).sample(router_key)
        logits = log_probs(router, expert, config, state.params, given.observation, chosen)
        return Decision(Categorical(logits).sample(key), extras=chosen)

    def policy(state: NetworkState, given: Input, key: Array) -> Decision:
        del key
        chosen = router.apply(state.params["router"], given.observation).mode()
        logits = log_probs(router, expert, config, state.params, given.observation, chosen)
        return Decision(Categorical(logits).mode(), extras=chosen)

    def loss(state: NetworkState, batch: Sample, key: Array, params: PyTree) -> tuple[Array, dict[str, Array]]:
        steps, sample = merge_time(batch.transitions), partial(Categorical.sample, key=inline(key))
        weights = weights_of(batch).reshape(-1)
        return expected_loss(router, expert, config, state.hparams, params, steps, sample, weights)

    return Agent(init, act, policy, update_from_samples(loss, optimizer))


def log_probs(
    router: Network, expert: Network, config: RoutingConfig, params: PyTree, observations: PyTree, chosen: Array
) -> Array:
    """log p(action) `[N, num_actions]` by the chosen experts, int `[N]`; of all experts, in a soft mixture."""

    def apply(params: PyTree, observations: PyTree) -> Array:
        return jax.nn.log_softmax(expert.apply(params, observations).logits)

    if config.choice == "sampled":
        return apply_chosen(apply, params["experts"], chosen, observations)
    weights = jax.nn.log_softmax(router.apply(params["router"], observations).logits)
    return jax.nn.logsumexp(jax.vmap(apply, (0, None))(params["experts"], observations) + weights.T[..., None], 0)


def apply_chosen(
    apply: Callable[[PyTree, PyTree], Array], params: PyTree, chosen: Array, inputs: PyTree, block: int = BLOCK
) -> Array:
    """Passes each input through the network that was chosen for it, and through no other.

    The inputs of a network are gathered into blocks of equal size, each with the parameters of one network: at most
    `N / block + K` matrix products, where computing all would take `K N / block`.

    Args:
        apply: `(params, inputs [block, ...]) -> outputs [block, ...]`.
        params: of K networks, leaves `[K, ...]`.
        chosen: the network of each input, int `[N]`.
        inputs: `[N, ...]`.
        block: inputs in a block.

    Returns:
        The outputs `[N, ...]`.
    """
    number, networks = len(chosen), len(jax.tree.leaves(params)[0])
    blocks = number // block + networks
    one_hot = chosen[:, None] == jnp.arange(networks)
    rank = (jnp.cumsum(one_hot, axis=0) * one_hot).sum(1) - 1  # among the inputs of the same network
    ends = jnp.cumsum(-(-one_hot.sum(0) // block))  # of each network's blocks
    starts = jnp.concatenate([jnp.zeros(1, ends.dtype), ends[:-1]])
    slot = starts[chosen] * block + rank
    network = jnp.minimum(jnp.searchsorted(ends, jnp.arange(blocks), side="right"), networks - 1)
    source = jnp.zeros(blocks * block, jnp.int32).at[slot].set(jnp.arange(number, dtype=jnp.int32))
    gathered = jax.tree.map(lambda x: jnp.asarray(x)[source].reshape(blocks, block, *x.shape[1:]), inputs)
    outputs = jax.vmap(apply)(jax.tree.map(lambda x: jnp.asarray(x)[network], params), gathered)
    return outputs.reshape(blocks * block, *outputs.shape[2:])[slot]


def expected_loss(
    router: Network,
    expert: Network,
    config: RoutingConfig,
    hparams: RoutingHparams,
    params: PyTree,
    steps: Transition,
    choose: Callable[[Categorical], Array],
    weights: ArrayLike = 1.0,
) -> tuple[Array, dict[str, Array]]:
    """The surrogate of the expected loss on transitions `[B]` with sampled experts, less the bonus; and metrics.

    `weights` `[B]` are those of the transitions in the loss.
    """
    choice = router.apply(params["router"], steps.observation)
    chosen = choose(choice)
    outputs = log_probs(router, expert, config, params, steps.observation, chosen)
    costs = -jax.vmap(ops.categorical_log_prob)(outputs, steps.action)
    each = costs
    if config.choice == "sampled":
        baselines = ops.leave_one_out_baseline(costs)
        each = ops.surrogate_loss(costs[None], choice.log_prob(chosen)[None], baselines[None])
    mean = jax.nn.softmax(choice.logits).mean(0)
    balance = -jax.scipy.special.xlogy(mean, mean).sum()
    accuracy = (outputs.argmax(-1) == steps.action).mean(dtype=jnp.float32)
    metrics = {"loss": costs.mean(), "accuracy": accuracy, "entropy": choice.entropy().mean(), "balance": balance}
    return (weights * each).mean() - hparams.balance_coef * balance, metrics
