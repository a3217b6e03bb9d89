"""Networks that describe an image word by word, and look at it before each (Xu et al. 2015)."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxrl.networks.actor_critic import weights
from jaxrl.networks.image_classifier import StridedConv
from jaxrl.networks.network import as_features
from jaxrl.types import Array

STRIDE, MIDDLE = 8, 7
"""Place i of a row or column sees the 15 pixels from 8 i, around pixel 8 i + 7."""

Attend = Callable[[Array], Array]
"""From the logits of places `[N, L]` to what is seen of each, `[N, L]`: one-hot, or weights."""


class Read(NamedTuple):
    """What a `CaptionNetwork` says about `N` images, in `n` words.

    Attributes:
        logits: of the words, `[n, N, num_words]`.
        places: logits of where to look before each word, `[n, N, L]`.
        chosen: the place of the largest weight, int32 `[n, N]`.
    """

    logits: Array
    places: Array
    chosen: Array


class CaptionNetwork(nn.Module):
    """Convolutions give features at each place; a recurrent decoder attends to them, and says a word.

    Three convolutions with stride 2 see 15 × 15 pixels at each of `H / 8 × W / 8` places. A place's features know where
    it is. Section 3.1 of the paper, with a GRU in place of its LSTM, and products of keys and queries for its attention
    network, which takes several times as long.

    Args:
        num_words: of the vocabulary.
        hidden_size: of the decoder.
        features: of the last convolution; the others have a quarter and a half of them.
    """

    num_words: int
    hidden_size: int = 128
    features: int = 64

    def setup(self) -> None:
        sizes = (self.features // 4, self.features // 2, self.features)
        self.convolutions = [StridedConv(n) for n in sizes]
        self.key = nn.Dense(self.features, kernel_init=weights(1.0))
        self.query = nn.Dense(self.features, kernel_init=weights(1.0))
        self.embed = nn.Embed(self.num_words + 1, self.hidden_size)
        self.decoder = nn.GRUCell(self.hidden_size, kernel_init=weights(1.0), recurrent_kernel_init=weights(1.0))
        self.hidden = nn.Dense(self.hidden_size, kernel_init=weights(2**0.5))
        self.answer = nn.Dense(self.num_words, kernel_init=weights(0.1))

    def __call__(
        self, observations: Array, words: Array | None = None, attend: Callable | None = None, samples: int = 1
    ) -> Read:
        """Reads images with the right words before each word, `samples` times.

        Args:
            observations: `[N, H, W, 1]`.
            words: the right ones, int32 `[n, samples * N]`; by default one.
            attend: `(t, logits [samples * N, L]) -> weights [samples * N, L]`; by default their softmax.
            samples: of each image, one after another.
        """
        features = jax.tree.map(lambda x: jnp.tile(x, (samples, 1, 1)), self.see(observations))
        number = len(features[0])
        words = jnp.zeros((1, number), jnp.int32) if words is None else words
        state, word = jnp.zeros((number, self.hidden_size), jnp.float32), jnp.full(number, self.num_words, jnp.int32)
        reads = []
        for t in range(len(words)):
            logits, places, seen, state = self.step(features, state, word, partial(attend, t) if attend else nn.softmax)
            reads.append(Read(logits, places, seen.argmax(-1).astype(jnp.int32)))
            word = words[t]
        return jax.tree.map(lambda *x: jnp.stack(x), *reads)

    def see(self, observations: Array) -> tuple[Array, Array]:
        """Features and keys at each place: `[N, H, W, 1]` to `[N, L, features + 2]` and `[N, L, features]`."""
        x = as_features(observations, 0)
        for convolution in self.convolutions:
            x = nn.relu(convolution(x))
        height, width = x.shape[1:3]
        sides = (jnp.linspace(-1, 1, side, dtype=jnp.float32) for side in (height, width))
        rows, columns = jnp.meshgrid(*sides, indexing="ij")
        where = jnp.broadcast_to(jnp.stack([rows, columns], -1), (len(x), height, width, 2))
        features = jnp.concatenate([x, where], axis=-1).reshape(len(x), height * width, -1)
        return features, self.key(features)

    def step(self, features: tuple[Array, Array], state: Array, word: Array, attend: Attend) -> tuple[Array, ...]:
        """Says one word.

        Args:
            features: from `see`.
            state: of the decoder, `[N, hidden_size]`.
            word: the last one, int32 `[N]`; `num_words` at the beginning.
            attend: what is seen of each place.

        Returns:
            Logits of the word `[N, num_words]`, logits of the places `[N, L]`, what was seen of each `[N, L]`, and the
            next state.
        """
        embedded = self.embed(word)
        before = jnp.concatenate([state, embedded], axis=-1)
        scores = jnp.einsum("nf,nlf->nl", self.query(before), features[1]) / self.features**0.5
        seen = attend(scores)
        context = jnp.einsum("nl,nlf->nf", seen, features[0])
        state, _ = self.decoder(state, jnp.concatenate([context, embedded], axis=-1))
        hidden = nn.relu(self.hidden(jnp.concatenate([state, context], axis=-1)))
        return self.answer(hidden), scores, seen, state
