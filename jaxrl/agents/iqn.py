"""Implicit quantile networks (Dabney et al. 2018, https://arxiv.org/abs/1806.06923).

The network describes the whole distribution of returns: for a fraction τ in [0, 1] it gives the quantile Z_τ(s, a).

    Z_τ(s, a) = f(ψ(s) ⊙ φ(τ))_a,    φ_j(τ) = ReLU(Σ_i cos(π i τ) w_ij + b_j),    i = 0 … 63

The features ψ are any network, followed by a ReLU; φ embeds τ, and f is one dense layer. For random fractions τ and τ',
the loss is quantile regression of Z_τ(s, a) on r + γ Z_τ'(s', a'), where a' has the largest mean, or the largest one of
its worst returns (`IQNHparams.cvar`).

Differences from the paper: f has no hidden layer, which would be computed for every fraction; and the K fractions whose
mean chooses actions are the midpoints of K equal shares instead of random, so that the choice has no noise.
"""

import dataclasses
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl import ops
from jaxrl.agents.action_values import td_error, value_of
from jaxrl.agents.dqn import DQNState, RainbowHparams, default_optimizer, gradient_step, n_step
from jaxrl.agents.optimizers import Optimizer, check_optimizer
from jaxrl.agents.value_based import check_outputs, epsilon_greedy_agent
from jaxrl.arguments import check_config, check_kind
from jaxrl.distributions import masked
from jaxrl.networks import Dense
from jaxrl.networks.network import Network, check_network, initial_params, output_shapes
from jaxrl.precision import single
from jaxrl.types import Agent, Array, Metrics, PyTree, Sample
from jaxrl.xla.threefry import inline

NUM_COSINES = 64
"""n of the paper's equation 4."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class IQNHparams(RainbowHparams):
    """Hyperparameters of implicit quantile networks; a uniform replay ignores those of priorities."""

    cvar: Annotated[float, Interval(gt=0, le=1)] = 1.0
    """Share of returns, the worst, whose mean is maximised: conditional value at risk, in (0, 1]; 1 is the mean."""


@dataclasses.dataclass(frozen=True)
class IQNConfig:
    """Numbers of quantiles and their loss, static."""

    num_quantiles: Annotated[int, Interval(gt=0, lt=2**16)] = 8
    """N, random quantiles of Z(s, a) in each loss."""
    num_target_quantiles: Annotated[int, Interval(gt=0, lt=2**16)] = 8
    """N', random quantiles of Z(s', a') in each loss."""
    num_policy_quantiles: Annotated[int, Interval(gt=0, lt=2**16)] = 32
    """K, quantiles whose mean is Q(s, a)."""
    huber_delta: Annotated[float, Interval(ge=0, lt=1e30)] = 1.0
    """κ, errors that count linearly in the quantile Huber loss; 0 is plain quantile regression."""
    double: bool = False
    """Double Q-learning: the target network evaluates the action that the online network prefers."""


def iqn(
    network: Network, num_actions: int, config: IQNConfig | None = None, optimizer: Optimizer = default_optimizer
) -> Agent[DQNState]:
    """Q-learning with implicit quantile networks. It acts ε-greedily.

    Args:
        network: maps observations `[N, ...]` to features `[N, D]`, such as `q_network(observation, D)`.
        num_actions: of the environment.
        config: numbers of quantiles and their loss.
        optimizer: of the parameters; by default, Adam after a clip of the gradient's norm.

    Returns:
        An agent for a `Sample` of n-step sequences, with hyperparameters `IQNHparams` and the metrics of `jaxrl.dqn`.
        The errors `[B]` of its `update` are TD errors of the means.

    Raises:
        ArgumentError: an argument is of the wrong kind, or, from `init`, the network returns another shape.
    """
    check_network(network)
    check_optimizer(optimizer)
    config = check_config(config or IQNConfig(), IQNConfig)

    def init(key: Array, hparams: IQNHparams, observation: PyTree) -> DQNState:
        check_kind("hparams", hparams, IQNHparams)
        params = init_quantiles(network, num_actions, key, observation)
        return DQNState(params, params, optimizer(hparams, jnp.float32(0)).init(params), jnp.int32(0), hparams)

    def q_values(state: DQNState, observations: PyTree) -> Array:
        return mean_of_worst(network, state.params, observations, config.num_policy_quantiles, state.hparams.cvar)

    def update(
        state: DQNState, batch: Sample, key: Array, env_steps: Array, constants: PyTree = ()
    ) -> tuple[DQNState, Metrics, Array]:
        del constants
        check_kind("batch", batch, Sample, ", from a replay, as in jaxrl.off_policy")
        first, reward, discount_t, last = n_step(batch.transitions, state.hparams.discount)
        tau_key, target_key = jax.random.split(inline(key))
        tau = jax.random.uniform(tau_key, (len(reward), config.num_quantiles), jnp.float32)
        tau_t = jax.random.uniform(target_key, (len(reward), config.num_target_quantiles), jnp.float32)
        quantiles_t = quantiles(network, state.target_params, last.next_observation, tau_t)
        selects = state if config.double else state._replace(params=state.target_params)
        q_t_selector = masked(q_values(selects, last.next_observation), last.next_legal)

        def loss(params: PyTree) -> tuple[Array, tuple[Array, Array]]:
            quantiles_tm1 = quantiles(network, params, first.observation, tau)
            step = first.action, reward, discount_t
            losses = jax.vmap(ops.quantile_q_learning_loss, (0, 0, 0, 0, 0, 0, None, 0))(
                quantiles_tm1, *step, quantiles_t, q_t_selector, config.huber_delta, tau
            )
            q_tm1 = quantiles_tm1.mean(-1)
            errors = jax.vmap(td_error)(q_tm1, *step, quantiles_t.mean(-1), q_t_selector)
            q_a = value_of(q_tm1, first.action)
            return (batch.weights * losses).mean(), (errors, ops.weighted_mean(q_a, batch.weights))

        return gradient_step(state, loss, optimizer, env_steps)

    return epsilon_greedy_agent(init, update, q_values)


def init_quantiles(network: Network, num_actions: int, key: Array, observation: PyTree) -> PyTree:
    """Parameters of the features, of the embedding of fractions, and of the layer that joins them."""
    features_key, embedding_key, joint_key = jax.random.split(key, 3)
    features = initial_params(network, features_key, observation)
    check_outputs(network, features, observation, (), "features")
    size = output_shapes(network, features, observation).shape[1]
    embedding = Dense(size).init(embedding_key, jnp.zeros((NUM_COSINES, 1)))
    joint = Dense(num_actions).init(joint_key, jnp.zeros((size, 1)))
    return single({"features": features, "embedding": embedding, "joint": joint})


def quantiles(network: Network, params: PyTree, observations: PyTree, tau: Array) -> Array:
    """Z_τ(s, ·) `[N, num_actions, K]` of fractions τ `[N, K]`, or `[1, K]` for all observations."""
    features = jax.nn.relu(network.apply(params["features"], observations)).T
    cosines = jnp.cos(np.pi * np.arange(NUM_COSINES, dtype=np.float32)[:, None] * tau.reshape(-1))
    embedding = jax.nn.relu(_dense(params["embedding"], cosines)).reshape(-1, *tau.shape)
    joint = (features[:, :, None] * embedding).reshape(len(features), -1)
    outputs = _dense(params["joint"], joint)
    return jnp.moveaxis(outputs.reshape(len(outputs), -1, tau.shape[1]), 0, 1)


def _dense(params: PyTree, x: Array) -> Array:
    outputs: Any = Dense(len(params["params"]["bias"])).apply(params, x)
    return outputs


def mean_of_worst(network: Network, params: PyTree, observations: PyTree, number: int, share: Array) -> Array:
    """The mean of the worst `share` of returns, `[N, num_actions]`, from `number` quantiles."""
    tau = share * (jnp.arange(number, dtype=jnp.float32)[None] + 0.5) / number
    return quantiles(network, params, observations, tau).mean(-1)
