"""The network of board games: one trunk for the policy and the value."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Categorical
from jaxrl.networks.actor_critic import inputs_of, weights
from jaxrl.networks.layers import check_conv_features
from jaxrl.networks.network import check_hidden_sizes
from jaxrl.types import Array


class BoardNetwork(nn.Module):
    """π(· | s) and V(s) of a game: boards `[N, H, W, C]` to a `Categorical` over actions and values `[N]`.

    The policy and the value share all layers but their last: a search evaluates many positions, so the network must be
    small. With `conv_features`, boards of at least 3 × 3 cells first pass through a convolution with so many features.
    """

    num_actions: int
    hidden_sizes: Sequence[int] = (512, 512)
    conv_features: int = 0

    @nn.compact
    def __call__(self, observations: Array) -> tuple[Categorical, Array]:
        x = inputs_of(observations, 0, self.conv_features)
        for features in self.hidden_sizes:
            x = jax.nn.relu(nn.Dense(features, kernel_init=weights(2**0.5))(x))
        logits = nn.Dense(self.num_actions, kernel_init=weights(0.01), name="policy")(x)
        return Categorical(logits), nn.Dense(1, kernel_init=weights(0.01), name="value")(x)[:, 0]


def board_network(
    observation: Array | jax.ShapeDtypeStruct,
    num_actions: int,
    hidden_sizes: Sequence[int] = (512, 512),
    conv_features: int = 0,
) -> BoardNetwork:
    """A network for the observations of a game.

    Args:
        observation: an example without a batch axis, `[H, W, C]`.
        num_actions: of the game.
        hidden_sizes: units of each dense layer, which the policy and the value share.
        conv_features: of a 3 × 3 convolution before them; 0 for none.

    Raises:
        ArgumentError: the observation is no board, or is too small for a convolution.
    """
    if len(shape := jnp.shape(observation)) != 3:
        raise ArgumentError("observation", "must be a board [H, W, C]", observation, got=str(list(shape)))
    check_conv_features(conv_features, observation)
    return BoardNetwork(num_actions, check_hidden_sizes(hidden_sizes), conv_features)
