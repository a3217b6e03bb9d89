"""PPO for what one observation does not show: the policy remembers the episode so far in a recurrent network.

The loss is PPO's (see `jaxrl.agents.ppo`). A rollout is cut into sequences. Each is unrolled from the memory that the
agent had at its first step, as in R2D2's stored state (Kapturowski et al. 2019,
https://openreview.net/forum?id=r1lyTjAqYX), and starts anew where an episode does. The minibatches hold sequences.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import optax
from annotated_types import Interval

from jaxrl.agents.minibatches import (
    MinibatchConfig,
    check_minibatches,
    check_rollout,
    learn_in_minibatches,
    merge_time,
)
from jaxrl.agents.optimizers import Optimizer, check_optimizer
from jaxrl.agents.policy_gradient import (
    NetworkState,
    Updated,
    default_optimizer,
    generalized_advantages,
    gradient_step,
)
from jaxrl.agents.ppo import PPOHparams, ppo_loss
from jaxrl.arguments import ArgumentError, check_config, check_kind
from jaxrl.distributions import restricted
from jaxrl.networks.recurrent import (
    RecurrentNetwork,
    check_recurrent_network,
    first_step,
    initial_recurrent_params,
    one_step,
)
from jaxrl.types import Agent, Array, Decision, Input, Metrics, PyTree, Transition
from jaxrl.xla.threefry import inline


@dataclasses.dataclass(frozen=True)
class SequenceConfig(MinibatchConfig):
    """Epochs, minibatches and their sequences, static."""

    num_minibatches: Annotated[int, Interval(gt=0, lt=2**31)] = 4
    """Gradient steps in one epoch. They must divide the sequences of a rollout, num-envs × rollout-length ÷
    sequence-length."""
    sequence_length: Annotated[int, Interval(gt=0, lt=2**31)] = 32
    """Steps through which gradients flow. They must divide the rollout-length."""


def recurrent_ppo(
    network: RecurrentNetwork, config: SequenceConfig | None = None, optimizer: Optimizer = default_optimizer
) -> Agent[NetworkState]:
    """Proximal policy optimization with any recurrent network.

    Args:
        network: from a memory and observations `[L, B, ...]` to a `jaxrl.distributions.Distribution` over actions and
            values, of `L * B` rows.
        config: epochs, minibatches and the length of their sequences.
        optimizer: of the parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for rollouts `[T, N]` with hyperparameters `PPOHparams` and the metrics of `jaxrl.ppo`.

    Raises:
        ArgumentError: an argument is of the wrong kind; from `update`, not a rollout, sequences that do not divide it,
            or minibatches that do not divide the sequences or hold one transition each.
    """
    check_recurrent_network(network)
    config = check_config(config or SequenceConfig(), SequenceConfig)
    check_optimizer(optimizer)

    def init(key: Array, hparams: PPOHparams, observation: PyTree) -> NetworkState:
        check_kind("hparams", hparams, PPOHparams)
        params = initial_recurrent_params(network, key, observation)
        return NetworkState(params, optimizer(hparams, jnp.float32(0)).init(params), hparams)

    def act(state: NetworkState, given: Input, key: Array, env_steps: Array) -> Decision:
        del env_steps
        (distribution, _), memory = one_step(network, state.params, given.memory, given.observation)
        distribution = restricted(distribution, given.legal)
        actions = distribution.sample(inline(key))
        return Decision(actions, memory, extras=(distribution.log_prob(actions), given.memory))

    def policy(state: NetworkState, given: Input, key: Array) -> Decision:
        del key
        (distribution, _), memory = one_step(network, state.params, given.memory, given.observation)
        return Decision(restricted(distribution, given.legal).mode(), memory)

    def update(state: NetworkState, batch: Transition, key: Array, env_steps: Array, constants: PyTree = ()) -> Updated:
        del constants
        check_rollout(batch)
        check_minibatches(batch, config.num_minibatches)
        return *_learn(network, config, optimizer(state.hparams, env_steps), state, batch, key), ()

    return Agent(
        init,
        act,
        policy,
        update,
        memory=lambda state, num_envs: network.memory(num_envs),
        outputs=lambda state, x: first_step(network, state.params, x)[0],
    )


def _learn(
    network: RecurrentNetwork,
    config: SequenceConfig,
    optimizer: optax.GradientTransformation,
    state: NetworkState,
    batch: Transition,
    key: Array,
) -> tuple[NetworkState, Metrics]:
    """All gradient steps on one rollout."""
    hparams, length = state.hparams, config.sequence_length
    if len(batch.reward) % length:
        raise ArgumentError("sequence_length", f"must divide the {len(batch.reward)} steps of a rollout", length)
    batch = batch._replace(reward=hparams.reward_scale * batch.reward)
    log_probs, memory = batch.extras
    advantages, returns = _advantages_and_returns(network, state.params, batch, memory, hparams)
    done = batch.terminated | batch.truncated
    starts = jnp.concatenate([jnp.zeros_like(done[:1]), done[:-1]])
    targets = (batch.legal, batch.action, log_probs, advantages, returns)
    data = sequences((memory, batch.observation, starts, *targets), length)

    def step(state: NetworkState, minibatch: PyTree) -> tuple[NetworkState, Metrics]:
        memory, observations, starts, legal, *targets = jax.tree.map(lambda x: x.swapaxes(0, 1), minibatch)
        first = jax.tree.map(lambda x: x[0], memory)
        starts = starts.at[0].set(False)  # the stored memory knows

        def loss(params: PyTree) -> tuple[Array, dict[str, Array]]:
            (distribution, values), _ = network.apply(params, first, observations, starts)
            return ppo_loss(hparams, restricted(distribution, merge_time(legal)), values, *merge_time(targets))

        return gradient_step(state, loss, optimizer)

    return learn_in_minibatches(step, state, data, key, config, "sequences")


def _advantages_and_returns(
    network: RecurrentNetwork, params: PyTree, batch: Transition, memory: PyTree, hparams: PPOHparams
) -> tuple[Array, Array]:
    """As `policy_gradient.advantages_and_returns`. The memory of every step is known, so that no loop is needed."""
    memory, first, last = merge_time((memory, batch.observation, batch.next_observation))
    (_, v_tm1), memory = one_step(network, params, memory, first)
    (_, v_t), _ = one_step(network, params, memory, last)
    v_tm1, v_t = v_tm1.reshape(batch.reward.shape), v_t.reshape(batch.reward.shape)
    return generalized_advantages(batch, v_tm1, v_t, hparams.discount, hparams.gae_lambda)


def sequences(tree: PyTree, length: int) -> PyTree:
    """Cuts leaves `[T, N, ...]` into `[T / length * N, length, ...]`."""

    def cut(x: Array) -> Array:
        return x.reshape(-1, length, *x.shape[1:]).swapaxes(1, 2).reshape(-1, length, *x.shape[2:])

    return jax.tree.map(cut, tree)
