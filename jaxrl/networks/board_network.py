"""Networks of board games: what each window of the board shows, and from that a policy and a value."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.arguments import ArgumentError
from jaxrl.distributions import Categorical
from jaxrl.networks.actor_critic import weights
from jaxrl.networks.layers import BoardConv
from jaxrl.types import Array


class BoardNetwork(nn.Module):
    """π(· | s) and V(s) of a game: boards `[N, H, W, C]` to a `Categorical` over actions and values `[N]`.

    A convolution sees windows of cells, as many as fit into the board, which in Connect Four are those of its lines.
    The dense layers after it serve both the policy and the value: the network is searched with, so it must be small.
    """

    num_actions: int
    hidden_sizes: Sequence[int] = (256,)
    conv_features: int = 128
    window: int = 4

    @nn.compact
    def __call__(self, observations: Array) -> tuple[Categorical, Array]:
        x = observations.astype(jnp.float32)
        if self.conv_features:
            size = min(self.window, x.shape[1]), min(self.window, x.shape[2])
            x = jnp.moveaxis(jax.nn.relu(BoardConv(self.conv_features, size)(jnp.moveaxis(x, 0, -1))), -1, 0)
        x = x.reshape(len(x), -1)
        for features in self.hidden_sizes:
            x = jax.nn.relu(nn.Dense(features, kernel_init=weights(2**0.5))(x))
        logits = nn.Dense(self.num_actions, kernel_init=weights(0.01), name="policy")(x)
        return Categorical(logits), nn.Dense(1, kernel_init=weights(0.01), name="value")(x)[:, 0]


def board_network(
    observation: jax.ShapeDtypeStruct,
    num_actions: int,
    hidden_sizes: Sequence[int] = (256,),
    conv_features: int = 128,
    window: int = 4,
) -> BoardNetwork:
    """A network for the observations of a game.

    Args:
        observation: an array or a `jax.ShapeDtypeStruct` without a batch axis, `[H, W, C]`.
        num_actions: of the game.
        hidden_sizes: units of each dense layer, which the policy and the value share.
        conv_features: of the convolution before them; 0 for none.
        window: the convolution's height and width, at most those of the board.

    Raises:
        ArgumentError: the observation is no board.
    """
    if (shape := getattr(observation, "shape", None)) is None or len(shape) != 3:
        raise ArgumentError("observation", "must be a board [H, W, C]", observation, got=str(shape and list(shape)))
    return BoardNetwork(num_actions, tuple(hidden_sizes), conv_features, window)
