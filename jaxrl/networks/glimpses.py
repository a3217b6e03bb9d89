"""Networks that look at a few places of an image, one after another (Mnih et al. 2014)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.arguments import ArgumentError
from jaxrl.networks.actor_critic import weights
from jaxrl.networks.network import as_features
from jaxrl.types import Array


class Looked(NamedTuple):
    """What a `GlimpseNetwork` saw and thought. Places are (row, column) from (−1, −1) to (1, 1), the image's corners.

    Attributes:
        logits: of the actions, `[T, N, num_actions]`, after each glimpse; it learns from the last ones.
        places: where it looked, `[T, N, 2]`. The first place is the middle.
        means: where it meant to look next, `[T - 1, N, 2]`.
        values: the loss that it expected before each choice, `[T - 1, N]`. No gradient flows from means and values
            into the rest.
    """

    logits: Array
    places: Array
    means: Array
    values: Array


class Glances(NamedTuple):
    """What a decision kept of its glimpses at each of `N` images.

    Attributes:
        places: where it looked, `[N, T, 2]`, as in `Looked`.
        answers: the most probable action after each glimpse, `[N, T]`. The last one is the answer.
    """

    places: Array
    answers: Array


def take_glimpse(images: Array, places: Array, size: int, scales: int) -> Array:
    """Square pieces of images around places, of which the s-th is 2^s times as wide and as coarse.

    Args:
        images: float `[N, H, W]`, 0 outside.
        places: (row, column) of the middle, `[N, 2]`; −1 and 1 are the edges.
        size: pixels of a side.
        scales: how many pieces.

    Returns:
        `[N, scales, size, size]`. No gradient flows into the places.
    """
    height, width = images.shape[1:]
    widest = size * 2 ** (scales - 1)
    padded = jnp.pad(images, ((0, 0), (widest, widest), (widest, widest)))
    extent = jnp.array([height, width], jnp.float32)
    middle = jnp.clip(jnp.round((places + 1) / 2 * extent).astype(jnp.int32), 0, jnp.array([height, width]))

    def piece(image: Array, middle: Array, side: int) -> Array:
        whole = jax.lax.dynamic_slice(image, middle + widest - side // 2, (side, side))
        factor = side // size
        return whole.reshape(size, factor, size, factor).mean((1, 3)) if factor > 1 else whole

    pieces = [jax.vmap(lambda x, m, s=size * 2**s: piece(x, m, s))(padded, middle) for s in range(scales)]
    return jnp.stack(pieces, axis=1)


class GlimpseNetwork(nn.Module):
    """The recurrent attention model: images `[N, H, W, 1]` to a `Looked`.

    A glimpse and its place become features; a recurrent core remembers; from its state come the next place, the
    expected loss, and the logits. Sections 3 and 4 of the paper, with rectified units.

    Args:
        num_actions: of the logits.
        glimpses: T.
        size, scales: of a glimpse, as in `take_glimpse`.
        hidden_size: of the core, and of the features of a glimpse.
    """

    num_actions: int
    glimpses: int = 6
    size: int = 8
    scales: int = 1
    hidden_size: int = 256

    @nn.compact
    def __call__(self, observations: Array, choose: Callable[[int, Array], Array] | None = None) -> Looked:
        """Looks at images.

        Args:
            observations: `[N, H, W, 1]`.
            choose: `(t, mean [N, 2]) -> place [N, 2]`; by default the mean. No gradient flows into the place.
        """
        if observations.ndim != 4 or observations.shape[-1] != 1:
            raise ArgumentError("observations", "must be images [N, H, W, 1]", observations.shape)
        for name, least in (("glimpses", 2), ("size", 1), ("scales", 1)):
            if getattr(self, name) < least:
                raise ArgumentError(name, f"must be >= {least}", getattr(self, name))
        images = as_features(observations, 0)[..., 0]
        check_glimpse(self.size, images.shape[1:])
        half = self.hidden_size // 2
        what, where = nn.Dense(half, kernel_init=weights(2**0.5)), nn.Dense(half, kernel_init=weights(2**0.5))
        see, enter, core = (nn.Dense(self.hidden_size, kernel_init=weights(1.0)) for _ in range(3))
        locate, expect = nn.Dense(2, kernel_init=weights(0.1)), nn.Dense(1, kernel_init=weights(0.01))
        answer = nn.Dense(self.num_actions, kernel_init=weights(0.1))
        state = jnp.zeros((len(images), self.hidden_size), jnp.float32)
        place = jnp.zeros((len(images), 2), jnp.float32)
        logits, places, means, values = [], [place], [], []
        for t in range(self.glimpses):
            glimpse = take_glimpse(images, place, self.size, self.scales).reshape(len(images), -1)
            features = jnp.concatenate([nn.relu(what(glimpse)), nn.relu(where(place))], axis=1)
            state = nn.relu(core(state) + enter(nn.relu(see(features))))
            logits.append(answer(state))
            if t == self.glimpses - 1:
                break
            detached = jax.lax.stop_gradient(state)
            means.append(jnp.tanh(locate(detached)))
            values.append(expect(detached)[:, 0])
            place = jax.lax.stop_gradient(means[-1] if choose is None else choose(t, means[-1]))
            places.append(place)
        return Looked(jnp.stack(logits), jnp.stack(places), jnp.stack(means), jnp.stack(values))


def check_glimpse(size: int, shape: tuple[int, ...], name: str = "size") -> None:
    """Raises `ArgumentError` if an image `[H, W]` is smaller than a glimpse, whose size has a name."""
    if min(shape) < size:
        text = " × ".join(map(str, shape))
        raise ArgumentError(name, f"must be at most the image's {text} pixels, for a glimpse", size)
