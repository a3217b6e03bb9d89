"""Deep Q-learning for what one observation does not show: the network remembers the episode so far.

As in R2D2 (Kapturowski et al. 2019, https://openreview.net/forum?id=r1lyTjAqYX), the replay gives sequences of
consecutive steps. The memory at the start of a sequence is not stored: it is zero (Hausknecht & Stone 2015,
https://arxiv.org/abs/1507.06527), and the first steps, the burn-in, only bring it up to date. It starts anew where an
episode does. Targets are those of n-step Double DQN within the sequence.

Differences from R2D2: no stored memory, no rescaled values, and one exploration schedule for all environments.
"""

import dataclasses
from functools import partial
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from annotated_types import Interval
from jax.typing import ArrayLike

from jaxrl import ops
from jaxrl.agents.action_values import value_of
from jaxrl.agents.dqn import DQNState, RainbowHparams, default_optimizer, gradient_step
from jaxrl.agents.minibatches import merge_time
from jaxrl.agents.optimizers import Optimizer, check_optimizer
from jaxrl.agents.value_based import epsilon_at
from jaxrl.arguments import ArgumentError, check_config, check_kind
from jaxrl.distributions import epsilon_greedy, masked
from jaxrl.networks.recurrent import (
    RecurrentNetwork,
    check_recurrent_network,
    first_step,
    initial_recurrent_params,
    one_step,
)
from jaxrl.types import Agent, Array, Decision, Input, Metrics, PyTree, Sample, Transition
from jaxrl.xla.threefry import inline


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RecurrentDQNHparams(RainbowHparams):
    """Hyperparameters of recurrent DQN; a uniform replay ignores those of priorities."""

    priority_eta: Annotated[float, Interval(ge=0, le=1)] = 0.9
    """η of a sequence's priority, η max |δ| + (1 − η) mean |δ| over its TD errors δ, in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class BurnInConfig:
    """The parts of a sequence, its targets and its loss, static."""

    burn_in: Annotated[int, Interval(ge=0, lt=2**31)] = 8
    """Steps at the start of each sequence that only bring the memory up to date."""
    store_memory: bool = False
    """Start sequences with the memory that the agent had, stored with each transition, instead of with none."""
    target_steps: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """n of the n-step targets. Near the end of a sequence they have fewer steps."""
    loss: Literal["huber", "l2"] = "huber"
    """Loss of the TD errors: huber (error clipped to [-1, 1]) or l2."""


def recurrent_dqn(
    network: RecurrentNetwork, config: BurnInConfig | None = None, optimizer: Optimizer = default_optimizer
) -> Agent[DQNState]:
    """Double DQN with any recurrent network. It acts ε-greedily.

    Args:
        network: from a memory and observations `[L, B, ...]` to action values `[L * B, num_actions]`, such as
            `jaxrl.networks.recurrent.RecurrentQNetwork`.
        config: the burn-in, the targets and the loss.
        optimizer: of the parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for a `Sample` of sequences `[L, B]`, of `OffPolicyConfig.n_step = L` steps. Its hyperparameters are
        `RecurrentDQNHparams`, and its metrics those of `jaxrl.dqn`.

    Raises:
        ArgumentError: an argument is of the wrong kind; from `update`, no sample, sequences without a step after the
            burn-in, or without the memory that `store_memory` needs.
    """
    check_recurrent_network(network)
    config = check_config(config or BurnInConfig(), BurnInConfig)
    check_optimizer(optimizer)

    def init(key: Array, hparams: RecurrentDQNHparams, observation: PyTree) -> DQNState:
        check_kind("hparams", hparams, RecurrentDQNHparams)
        params = initial_recurrent_params(network, key, observation)
        return DQNState(params, params, optimizer(hparams, jnp.float32(0)).init(params), jnp.int32(0), hparams)

    def decide(state: DQNState, given: Input, key: Array, epsilon: Array) -> Decision:
        q, memory = one_step(network, state.params, given.memory, given.observation)
        extras = given.memory if config.store_memory else ()
        return Decision(epsilon_greedy(q, epsilon, given.legal).sample(key), memory, extras)

    def update(
        state: DQNState, batch: Sample, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[DQNState, Metrics, Array]:
        del key, constants
        check_kind("batch", batch, Sample, ", from a replay, as in jaxrl.off_policy")
        if (length := len(batch.transitions.reward)) <= config.burn_in:
            raise ArgumentError("burn_in", f"must be less than the {length} steps of a sequence", config.burn_in)
        stored: Any = jax.tree.structure(batch.transitions.extras)
        if config.store_memory and stored != jax.tree.structure(network.memory(1)):
            raise ArgumentError("store_memory", "must be False for transitions that hold no memory", True)
        return gradient_step(state, partial(_loss, network, config, state, batch), optimizer, env_steps)

    return Agent(
        init,
        act=lambda state, given, key, env_steps: decide(
            state, given, inline(key), epsilon_at(state.hparams, env_steps)
        ),
        policy=lambda state, given, key: decide(state, given, key, state.hparams.epsilon_eval),
        update=update,
        memory=lambda state, num_envs: network.memory(num_envs),
        outputs=lambda state, x: first_step(network, state.params, x),
    )


def _loss(
    network: RecurrentNetwork, config: BurnInConfig, state: DQNState, batch: Sample, params: PyTree
) -> tuple[Array, tuple[Array, Array]]:
    """The loss, the sequences' errors `[B]`, and the mean value of the actions taken."""
    memory = network.memory(len(batch.weights))
    if config.store_memory:
        memory = jax.tree.map(lambda x: x[0], batch.transitions.extras)
    q_tm1, q_t_selector = unroll(network, params, memory, batch.transitions, config.burn_in)
    _, q_t = unroll(network, state.target_params, memory, batch.transitions, config.burn_in)
    steps = jax.tree.map(lambda x: x[config.burn_in :], batch.transitions)
    best = masked(q_t_selector, steps.next_legal).argmax(-1)
    targets = n_step_targets(steps, value_of(q_t, best), state.hparams.discount, config.target_steps)
    q_a = value_of(q_tm1, steps.action)
    errors = jax.lax.stop_gradient(targets) - q_a
    losses = ops.huber_loss(errors) if config.loss == "huber" else ops.l2_loss(errors)
    loss = (batch.weights * losses.mean(0)).mean()
    size, eta = jnp.abs(errors), state.hparams.priority_eta
    return loss, (eta * size.max(0) + (1 - eta) * size.mean(0), q_a.mean())


def unroll(
    network: RecurrentNetwork, params: PyTree, memory: PyTree, steps: Transition, burn_in: int
) -> tuple[Array, Array]:
    """Q of the observations and of the next observations after the burn-in, each `[L - burn_in, B, num_actions]`.

    `memory` `[B, ...]` is that before the first step. No gradient flows into the burn-in, and none through the values
    of next observations. The latter belong to the episode of their step, also where it ends: `next_observation`
    continues the memory, and the next step starts anew.
    """
    done = steps.terminated | steps.truncated
    starts = jnp.concatenate([jnp.zeros_like(done[:1]), done[:-1]])
    observations, next_observations = steps.observation, steps.next_observation
    if burn_in:
        early = jax.tree.map(lambda x: x[:burn_in], observations)
        _, memories = network.apply(params, memory, early, starts[:burn_in])
        memory = jax.tree.map(lambda x: jax.lax.stop_gradient(x[-1]), memories)
    late, next_late = jax.tree.map(lambda x: x[burn_in:], (observations, next_observations))
    q_tm1, memories = network.apply(params, memory, late, starts[burn_in:])
    q_t, _ = one_step(network, *jax.lax.stop_gradient((params, *merge_time((memories, next_late)))))
    shape = (len(done) - burn_in, done.shape[1], -1)
    return q_tm1.reshape(shape), q_t.reshape(shape)


def n_step_targets(steps: Transition, v_t: Array, discount: ArrayLike, n: int, value_lambda: ArrayLike = 1.0) -> Array:
    """n-step returns `[L, B]` within sequences, given the values `v_t` `[L, B]` of next observations.

    With `value_lambda` below 1 they are λ-returns over n steps.
    """
    discount_t = jnp.where(steps.terminated, 0.0, discount)
    lambda_t = jnp.where(steps.terminated | steps.truncated, 0.0, value_lambda)
    returns = partial(ops.n_step_bootstrapped_returns, n=n)
    return jax.vmap(lambda r, d, v, continues: returns(r, d, v, lambda_t=continues), 1, 1)(
        steps.reward, discount_t, v_t, lambda_t
    )
