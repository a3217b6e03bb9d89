"""Actor-critic networks: from a batch of observations to a policy and values."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Categorical, Distribution, Normal
from jaxrl.networks.frame_convolutions import LECTURE, FrameConvolution, has_stacks, stack_features
from jaxrl.networks.layers import BoardConv, check_conv_features, is_board, is_stack
from jaxrl.networks.network import check_hidden_sizes, check_observation, features_of, num_states_of
from jaxrl.types import Array, Box, Discrete, PyTree

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}


class MLP(nn.Module):
    """Dense layers on flattened observations: `[N, ...]` to `[N, outputs]`.

    Initial weights are truncated normal with standard deviation √(2 / inputs), and `output_scale / √inputs` in the last
    layer: a small scale matters for a policy (Andrychowicz et al. 2021, https://arxiv.org/abs/2006.05990). They are not
    orthogonal, because jaxlib's QR factorization of many matrices, as in a population, can deadlock on two CPU cores.
    """

    hidden_sizes: Sequence[int]
    outputs: int
    output_scale: float
    activation: Literal["tanh", "relu"] = "tanh"

    @nn.compact
    def __call__(self, observations: Array) -> Array:
        if self.activation not in ACTIVATIONS:
            raise ArgumentError("activation", f"must be one of {', '.join(ACTIVATIONS)}", self.activation)
        x = observations.reshape(observations.shape[0], -1).astype(jnp.float32)
        for size in check_hidden_sizes(self.hidden_sizes):
            x = ACTIVATIONS[self.activation](nn.Dense(size, kernel_init=weights(2**0.5))(x))
        return nn.Dense(self.outputs, kernel_init=weights(self.output_scale))(x)


def weights(scale: float) -> Callable[..., Array]:
    """Initial weights of standard deviation `scale / √inputs`."""
    return nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")


class ActorCritic(nn.Module):
    """π(· | s) and V(s): observations `[N, ...]` to a `Distribution` and values `[N]`.

    By default from two separate networks. If `shared`, both are linear in the outputs of the same hidden layers, which
    costs half as much.

    A discrete policy is categorical. A continuous one is normal: the actor's output is its mean, in units of half the
    range of each action around the middle; its standard deviation is a parameter that does not depend on the state.
    uint8 images are divided by 255. With `num_states`, observations `[N]` are indices of states, and become one-hot.
    If observations are a tree, its leaves are joined, and `num_states` has one number for each.

    With `conv_features`, boards `[N, H, W, C]` of at least 3 × 3 cells first pass through a convolution with so many
    features and ReLU, which both networks share, and stacks of frames `[N, k, H, W]` through the `convolutions`.
    """

    action_space: Discrete | Box
    hidden_sizes: Sequence[int] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    num_states: int | Sequence[int] = 0
    conv_features: int = 0
    convolutions: Sequence[FrameConvolution] = ()
    shared: bool = False

    @nn.compact
    def __call__(self, observations: PyTree) -> tuple[Distribution, Array]:
        x = inputs_of(observations, self.num_states, self.conv_features, self.convolutions)
        sizes = check_hidden_sizes(self.hidden_sizes)
        if self.shared and sizes:
            features = MLP(sizes[:-1], sizes[-1], 2**0.5, self.activation, name="shared")(x)
            x, sizes = ACTIVATIONS[self.activation](features), ()
        actor = MLP(sizes, num_outputs(self.action_space), 0.01, self.activation, name="actor")
        critic = MLP(sizes, 1, 1.0, self.activation, name="critic")
        return policy_of(self, self.action_space, actor(x)), critic(x)[:, 0]


class PolicyNetwork(nn.Module):
    """π(· | s) alone, as of `ActorCritic`: observations `[N, ...]` to a `Distribution`."""

    action_space: Discrete | Box
    hidden_sizes: Sequence[int] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"
    num_states: int | Sequence[int] = 0
    conv_features: int = 0
    convolutions: Sequence[FrameConvolution] = ()

    @nn.compact
    def __call__(self, observations: PyTree) -> Distribution:
        x = inputs_of(observations, self.num_states, self.conv_features, self.convolutions)
        actor = MLP(self.hidden_sizes, num_outputs(self.action_space), 0.01, self.activation, name="actor")
        return policy_of(self, self.action_space, actor(x))


class Discriminator(nn.Module):
    """Whose a pair of state and action is: features `[N, F]` to the logit of a probability, `[N]`, as in `gail`."""

    hidden_sizes: Sequence[int] = (64, 64)
    activation: Literal["tanh", "relu"] = "tanh"

    @nn.compact
    def __call__(self, features: Array) -> Array:
        return MLP(self.hidden_sizes, 1, 1.0, self.activation)(features)[:, 0]


def inputs_of(
    observations: PyTree,
    num_states: int | Sequence[int],
    conv_features: int,
    convolutions: Sequence[FrameConvolution] = (),
) -> Array:
    """What the dense layers take: `[N, inputs]`. The module that calls it has the weights of the convolutions."""

    def flat(x: Array) -> Array:
        if conv_features and is_board(x.shape[1:]):
            x = jax.nn.relu(BoardConv(conv_features)(jnp.moveaxis(x, 0, -1)))
            return x.reshape(-1, x.shape[-1]).T  # in this order the product after it needs no copy
        if convolutions and is_stack(x.shape[1:]):
            x = stack_features(x, convolutions)
        return x.reshape(x.shape[0], -1).astype(jnp.float32)

    return jnp.concatenate([flat(x) for x in features_of(observations, num_states)], axis=-1)


def num_outputs(space: Discrete | Box) -> int:
    """How many numbers an actor has for each observation."""
    return space.num_actions if isinstance(space, Discrete) else len(space.low)


def policy_of(module: nn.Module, space: Discrete | Box, actor: Array) -> Distribution:
    """The policy from an actor's outputs `[N, num_outputs]`; a normal one adds a parameter to the module."""
    if isinstance(space, Discrete):
        return Categorical(actor)
    low, high = np.asarray(space.low), np.asarray(space.high)
    log_std = module.param("log_std", nn.initializers.zeros, low.shape, jnp.float32) + np.log((high - low) / 2)
    mean = (high + low) / 2 + (high - low) / 2 * actor
    return Normal(mean, jnp.broadcast_to(log_std, mean.shape))


def actor_critic(
    observation: PyTree,
    action_space: Discrete | Box,
    hidden_sizes: Sequence[int] | None = None,
    activation: Literal["tanh", "relu"] = "tanh",
    conv_features: int = 0,
    convolutions: Sequence[FrameConvolution] = LECTURE.convolutions,
    shared: bool = False,
) -> ActorCritic:
    """The default policy and value networks for an observation.

        env, params = make("Pendulum-v1")
        network = actor_critic(example_of(env, params), action_space_of(env, params))

    Args:
        observation: an array or a `jax.ShapeDtypeStruct` without a batch axis, or a tree of them, with a space
            `Discrete(n)` in place of each number of a state, as from `jaxrl.networks.example_of(env, params)`.
        action_space: of the environment.
        hidden_sizes: units of each dense layer; by default 64 and 64; 256 after the convolutions of stacks of frames
            (Mnih et al. 2016, https://arxiv.org/abs/1602.01783).
        activation: after each hidden layer.
        conv_features: of a convolution before them, for boards; 0 for none.
        convolutions: before them, for stacks of frames.
        shared: the policy and the values share the dense layers, instead of having some each.

    Raises:
        ArgumentError: the observation is something else, or it has no board but `conv_features` are given.
    """
    given = observation, hidden_sizes, conv_features, convolutions
    return ActorCritic(action_space, activation=activation, shared=shared, **_layers(*given))


def policy_network(
    observation: PyTree,
    action_space: Discrete | Box,
    hidden_sizes: Sequence[int] | None = None,
    activation: Literal["tanh", "relu"] = "tanh",
    conv_features: int = 0,
    convolutions: Sequence[FrameConvolution] = LECTURE.convolutions,
) -> PolicyNetwork:
    """The default policy network for an observation, without values. Arguments and errors are as of `actor_critic`."""
    given = observation, hidden_sizes, conv_features, convolutions
    return PolicyNetwork(action_space, activation=activation, **_layers(*given))


def _layers(
    observation: PyTree,
    hidden_sizes: Sequence[int] | None,
    conv_features: int,
    convolutions: Sequence[FrameConvolution],
) -> dict[str, Any]:
    """The attributes of a network that an observation decides."""
    check_observation(observation)
    check_conv_features(conv_features, observation)
    stacks = has_stacks(observation)
    default = (LECTURE.hidden_size,) if stacks else (64, 64)
    return {
        "hidden_sizes": default if hidden_sizes is None else check_hidden_sizes(hidden_sizes),
        "num_states": num_states_of(observation),
        "conv_features": conv_features,
        "convolutions": tuple(convolutions) if stacks else (),
    }
