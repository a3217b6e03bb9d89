"""Action-value networks: from a batch of observations to Q(s, ·)."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from jaxrl.networks.frame_convolutions import LECTURE, FrameConvolution, StackConv, has_stacks
from jaxrl.networks.layers import BoardConv, Dense, LayerNorm, NoisyDense, check_conv_features, is_board, is_stack
from jaxrl.networks.network import check_hidden_sizes, check_observation, features_of, num_states_of
from jaxrl.types import Array, PyTree


class QNetwork(nn.Module):
    """Q(s, ·): observations `[N, ...]` to `[N, num_actions]`, or to `[N, num_actions, *outputs]`.

    Boards `[N, H, W, C]` of at least 3 × 3 cells pass through a convolution and then dense layers, as in the MinAtar
    paper (Young & Tian 2019). Other observations are flattened into the dense layers. All hidden layers use ReLU.
    uint8 images are divided by 255. Stacks of frames `[N, k, H, W]` pass through convolutions of their own. If
    observations are a tree, its boards pass through a convolution each, and the dense layers take what comes out, and
    all other leaves, side by side.

    Attributes:
        num_actions: of the environment.
        hidden_sizes: units of each dense layer.
        conv_features: features of the convolution; without any, 0, boards are flattened too.
        outputs: shape of the outputs for one action: `()` for Q(s, a), `(K,)` for a distribution of returns.
        layer_norm: whether to normalise before each ReLU, as PQN needs.
        dueling: whether the last hidden layer splits into two streams, Q = V + A − mean_a A (Wang et al. 2016,
            https://arxiv.org/abs/1511.06581, equation 9). Unlike in the paper, their gradients are not scaled by 1/√2.
        dense: the class of dense layers, `Dense` or `NoisyDense`.
        num_states: if not 0, observations `[N]` are indices of that many states, and become one-hot. For a tree of
            observations, one number for each leaf.
        convolutions: of stacks of frames; without any, they are flattened.
    """

    num_actions: int
    hidden_sizes: Sequence[int]
    conv_features: int = 16
    outputs: tuple[int, ...] = ()
    layer_norm: bool = False
    dueling: bool = False
    dense: type[Dense] | type[NoisyDense] = Dense
    num_states: int | Sequence[int] = 0
    convolutions: Sequence[FrameConvolution] = ()

    @nn.compact
    def __call__(self, observations: PyTree) -> Array:
        first, *others = [self.inputs(x) for x in features_of(observations, self.num_states)]
        x = jnp.concatenate([x.astype(jnp.float32) for x in (first, *others)]) if others else first
        if not self.dueling:
            return jnp.moveaxis(self.stream(x, self.hidden_sizes, self.num_actions), -1, 0)
        for size in self.hidden_sizes[:-1]:
            x = self.activate(self.dense(size)(x))
        value, advantage = (self.stream(x, self.hidden_sizes[-1:], rows) for rows in (1, self.num_actions))
        return jnp.moveaxis(value + advantage - advantage.mean(0), -1, 0)

    def inputs(self, x: Array) -> Array:
        """What the dense layers take of one leaf: `[N, ...]` to `[inputs, N]`."""
        stack = is_stack(x.shape[1:])
        convolve, x = self.conv_features > 0 and is_board(x.shape[1:]), jnp.moveaxis(x, 0, -1)
        if convolve:
            x = self.activate(BoardConv(self.conv_features)(x))
        for convolution in self.convolutions if stack else ():
            x = self.activate(StackConv(*convolution)(x))
        return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])

    def activate(self, x: Array) -> Array:
        return nn.relu(LayerNorm()(x) if self.layer_norm else x)

    def stream(self, x: Array, hidden_sizes: Sequence[int], rows: int) -> Array:
        """Dense layers `[inputs, N]` to `[rows, *outputs, N]`."""
        for size in hidden_sizes:
            x = self.activate(self.dense(size)(x))
        return self.dense(rows * math.prod(self.outputs))(x).reshape(rows, *self.outputs, -1)


def q_network(
    observation: PyTree, num_actions: int, hidden_sizes: Sequence[int] | None = None, **options: Any
) -> QNetwork:
    """The default network for an observation.

        network = q_network(env.reset(key, params)[0], env.num_actions, layer_norm=True)

    Args:
        observation: an array or a `jax.ShapeDtypeStruct` without a batch axis, or a tree of them, with a space
            `Discrete(n)` in place of each number of a state, as from `jaxrl.networks.example_of(env, params)`.
        num_actions: of the environment.
        hidden_sizes: units of each dense layer; by default 128, and 256 after the convolutions of stacks of frames.
        options: other attributes of `QNetwork`. By default, stacks have the convolutions of Mnih et al. 2013.

    Raises:
        ArgumentError: the observation is something else, or it has no board but `conv_features` are given.
    """
    check_observation(observation)
    check_conv_features(options.get("conv_features", 0), observation)
    default = (128,)
    if has_stacks(observation):
        default = (LECTURE.hidden_size,)
        options = {"convolutions": LECTURE.convolutions} | options
    sizes = default if hidden_sizes is None else check_hidden_sizes(hidden_sizes)
    return QNetwork(num_actions, sizes, num_states=num_states_of(observation), **options)
