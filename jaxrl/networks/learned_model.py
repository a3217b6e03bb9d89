"""The three networks of MuZero: from an observation to a state of their own, and on from there without observations."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.distributions import Categorical
from jaxrl.networks.actor_critic import MLP, inputs_of, weights
from jaxrl.networks.layers import check_conv_features
from jaxrl.networks.network import check_hidden_sizes, check_observation, initial_params, num_states_of
from jaxrl.precision import single
from jaxrl.types import Array, PyTree


class LearnedModel(NamedTuple):
    """A model that a search can plan with, as pure functions of shared parameters (Schrittwieser et al. 2020).

    Rewards and values are logits of `num_atoms` categories; what these mean is the agent's affair.

    Attributes:
        init: `(key, observation) -> params`, from one example without a batch axis.
        representation: `(params, observations [N, ...]) -> states [N, ...]`, the paper's h.
        dynamics: `(params, states, actions [N]) -> (states, reward logits [N, num_atoms])`, the paper's g.
        prediction: `(params, states) -> (Categorical over actions, value logits [N, num_atoms])`, the paper's f.
    """

    init: Callable[[Array, PyTree], PyTree]
    representation: Callable[[PyTree, PyTree], PyTree]
    dynamics: Callable[[PyTree, PyTree, Array], tuple[PyTree, Array]]
    prediction: Callable[[PyTree, PyTree], tuple[Categorical, Array]]


class Representation(nn.Module):
    """The state of an observation, in [0, 1]: `[N, ...]` to `[N, state_size]`. Boards pass a convolution first."""

    state_size: int
    hidden_sizes: Sequence[int]
    num_states: int | Sequence[int] = 0
    conv_features: int = 0

    @nn.compact
    def __call__(self, observations: PyTree) -> Array:
        x = inputs_of(observations, self.num_states, self.conv_features)
        return min_max_scaled(MLP(self.hidden_sizes, self.state_size, 1.0, "relu")(x))


class Dynamics(nn.Module):
    """The state that follows an action, and the reward: `[N, state_size]` and `[N, num_atoms]`.

    The network computes the change of the state.
    """

    num_actions: int
    num_atoms: int
    hidden_sizes: Sequence[int]

    @nn.compact
    def __call__(self, states: Array, actions: Array) -> tuple[Array, Array]:
        taken = jax.nn.one_hot(actions, self.num_actions, dtype=jnp.float32)
        x = features(self.hidden_sizes, jnp.concatenate([states, taken], -1))
        change = nn.Dense(states.shape[-1], kernel_init=weights(1.0), name="change")(x)
        return min_max_scaled(states + change), head(self.num_atoms, "reward")(x)


class Prediction(nn.Module):
    """The policy and the value of a state: logits `[N, num_actions]` and `[N, num_atoms]`."""

    num_actions: int
    num_atoms: int
    hidden_sizes: Sequence[int]

    @nn.compact
    def __call__(self, states: Array) -> tuple[Categorical, Array]:
        x = features(self.hidden_sizes, states)
        return Categorical(head(self.num_actions, "policy")(x)), head(self.num_atoms, "value")(x)


def features(hidden_sizes: Sequence[int], x: Array) -> Array:
    """Dense layers, each with ReLU."""
    *first, last = hidden_sizes
    return jax.nn.relu(MLP(first, last, 2**0.5, "relu")(x))


def head(outputs: int, name: str) -> nn.Dense:
    """The last layer of logits that begin near 0."""
    return nn.Dense(outputs, kernel_init=weights(0.01), name=name)


def min_max_scaled(states: Array) -> Array:
    """Each state `[N, state_size]` in the range [0, 1], as actions are (Schrittwieser et al. 2020, appendix G)."""
    low, high = states.min(-1, keepdims=True), states.max(-1, keepdims=True)
    return (states - low) / jnp.maximum(high - low, 1e-5)


def learned_model(
    observation: PyTree,
    num_actions: int,
    num_atoms: int,
    state_size: int = 128,
    hidden_sizes: Sequence[int] = (128,),
    conv_features: int = 0,
) -> LearnedModel:
    """The default networks of MuZero for an observation: dense layers, since a search calls them thousands of times.

    Args:
        observation: as for `jaxrl.actor_critic`.
        num_actions: of the environment.
        num_atoms: categories of rewards and values, as in `jaxrl.MuZeroConfig`.
        state_size: numbers of a state.
        hidden_sizes: units of the dense layers of each of the three networks, at least one layer.
        conv_features: of a convolution before them, for boards; 0 for none.

    Raises:
        ArgumentError: the observation is something else, or it has no board but `conv_features` are given.
    """
    check_observation(observation)
    check_conv_features(conv_features, observation)
    sizes = check_hidden_sizes(hidden_sizes)
    h = Representation(state_size, sizes, num_states_of(observation), conv_features)
    g, f = (network(num_actions, num_atoms, sizes) for network in (Dynamics, Prediction))

    def init(key: Array, observation: PyTree) -> PyTree:
        keys = jax.random.split(key, 3)
        states = jnp.zeros((1, state_size), jnp.float32)
        g_params, f_params = g.init(keys[1], states, jnp.zeros(1, jnp.int32)), f.init(keys[2], states)
        return {"h": initial_params(h, keys[0], observation), "g": single(g_params), "f": single(f_params)}

    def applied(module: Any, name: str) -> Callable:
        return lambda params, *inputs: module.apply(params[name], *inputs)

    return LearnedModel(init, applied(h, "h"), applied(g, "g"), applied(f, "f"))
