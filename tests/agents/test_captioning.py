"""Captions: the gradient is that of the expected loss, and words follow each other as they were learned."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import ArgumentError, Input, ops
from jaxrl.agents.captioning import CaptioningConfig, CaptioningHparams, caption_loss, captioning
from jaxrl.distributions import Categorical
from jaxrl.networks.caption_network import MIDDLE, STRIDE, CaptionNetwork
from jaxrl.networks.image_classifier import ImageClassifier
from jaxrl.recipes.attention_images import attention_accuracy
from jaxrl.types import Sample, Transition
from tests.compiling import quick_jit
from tests.instruments import watching

WORDS, LENGTH, PLACES, B = 4, 2, 9, 2
NETWORK = CaptionNetwork(WORDS, hidden_size=5, features=4)
APPLY: Callable[..., Any] = NETWORK.apply
HARD = CaptioningConfig(samples=2)
IMAGES = np.random.default_rng(0).integers(256, size=(B, 24, 24, 1)).astype(np.uint8)
"""With 3 × 3 places."""
HPARAMS = CaptioningHparams(entropy_coef=0.3)


def steps(words, ends) -> Transition:
    words, ends = np.array(words), np.array(ends)
    seen = np.broadcast_to(IMAGES, (len(words), *IMAGES.shape))
    return Transition(seen, words, np.ones(words.shape, np.float32), ends, np.zeros_like(ends), seen)


SHORT = steps([[1, 3], [2, 0]], [[False, True], [True, True]])
"""Two words about the first image, and one about the second."""


@pytest.fixture(scope="module")
def state():
    state = captioning(NETWORK, HARD).init(jax.random.key(0), HPARAMS, IMAGES[0])
    return state._replace(params=jax.tree.map(lambda x: 2 * x, state.params))


@pytest.mark.parametrize("image", [0, 1])
def test_gradient_is_that_of_the_expected_loss(state, image) -> None:
    """By enumeration of the places before two words, 81, and of two samples of them, 6,561; one word may not count."""
    given = jax.tree.map(lambda x: x[:, image : image + 1], SHORT)
    words, counts = given.action, np.array([[1], [1 - image]], np.float32)
    paths = np.array(list(itertools.product(range(PLACES), repeat=LENGTH)))
    pairs = np.array(list(itertools.product(range(len(paths)), repeat=2)))
    log_prob = jax.vmap(jax.vmap(ops.categorical_log_prob))

    def look(params, path):
        """Costs, and log-probabilities and entropies of the places, each of two words, after looks at `path`."""
        attend = lambda t, logits: jax.nn.one_hot(path[t][None], PLACES)  # noqa: E731
        read = APPLY(params, given.observation[0], words, attend)
        entropies = jax.vmap(jax.vmap(ops.categorical_entropy))(read.places)
        places = log_prob(read.places, path[:, None])
        return ((counts * x)[:, 0] for x in (-log_prob(read.logits, words), places, entropies))

    def probabilities(log_probs):
        return jnp.exp(log_probs.sum(1)) / (PLACES if image else 1)  # the place before a word that is not said

    def expected(params):
        costs, log_probs, entropies = jax.vmap(lambda path: tuple(look(params, path)))(paths)
        probs = probabilities(log_probs)
        frozen = jax.lax.stop_gradient(probs)  # the bonus is of the states that were reached
        return (probs @ costs.sum(1) - 0.3 * frozen @ entropies.sum(1)) / counts.sum()

    def estimated(params):
        log_probs = jax.vmap(lambda path: tuple(look(params, path))[1])(paths)
        probs = jax.lax.stop_gradient(probabilities(log_probs))

        def one(places):
            choose = lambda t, choice: places[:, t]  # noqa: E731
            return caption_loss(NETWORK, HARD, HPARAMS, params, given, choose)[0]

        return probs[pairs].prod(1) @ jax.vmap(one)(jnp.asarray(paths)[pairs])

    exact, ours = quick_jit(lambda params: (jax.grad(expected)(params), jax.grad(estimated)(params)))(state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-5), ours, exact)
    assert np.abs(exact["params"]["query"]["kernel"]).max() > 1e-4


@pytest.mark.parametrize("attention", ["hard", "soft"])
def test_a_word_at_a_time_equals_the_whole_caption(state, attention) -> None:
    """The policy's memory is what the right words lead to in training; it looks where the weights are largest."""
    agent = captioning(NETWORK, CaptioningConfig(attention))

    @quick_jit
    def say(params):
        memory, said = agent.memory(state, B), []
        for _ in range(3):
            decision = agent.policy(state._replace(params=params), Input(IMAGES, memory=memory), jax.random.key(0))
            memory = decision.memory
            said.append(decision)
        words = jnp.stack([decision.action for decision in said])
        one_hot = lambda t, logits: jax.nn.one_hot(logits.argmax(-1), PLACES)  # noqa: E731
        return said, APPLY(params, IMAGES, words, one_hot if attention == "hard" else None)

    said, read = say(state.params)
    for t, decision in enumerate(said):
        np.testing.assert_array_equal(decision.action, read.logits[t].argmax(-1))
        weights = jax.nn.softmax(read.places[t])
        expected = weights if attention == "soft" else weights == weights.max(-1, keepdims=True)
        np.testing.assert_allclose(decision.extras, expected, atol=1e-6)


def test_what_counts(state) -> None:
    """Words after the last one do not; the loss is the mean over words, accuracy and entropy too."""

    @quick_jit
    def losses(params, words):
        choose = lambda t, places: Categorical(places.logits).mode()  # noqa: E731
        given = SHORT._replace(action=words)
        return caption_loss(NETWORK, HARD, HPARAMS, params, given, choose)

    loss, metrics = losses(state.params, SHORT.action)
    other, _ = losses(state.params, np.array([[1, 3], [2, 3]]))
    assert loss == other
    attend = lambda t, logits: jax.nn.one_hot(logits.argmax(-1), PLACES)  # noqa: E731
    read = APPLY(state.params, IMAGES, SHORT.action, attend)
    log_probs = jax.nn.log_softmax(read.logits)
    said = [log_probs[0, 0, 1], log_probs[0, 1, 3], log_probs[1, 0, 2]]
    np.testing.assert_allclose(metrics["loss"], -np.mean(said), rtol=1e-5)
    entropy = -(jax.nn.softmax(read.places) * jax.nn.log_softmax(read.places)).sum(-1)
    np.testing.assert_allclose(metrics["entropy"], (entropy[0].sum() + entropy[1, 0]) / 3, rtol=1e-5)


def test_every_word_has_a_random_place_of_its_own(state, monkeypatch) -> None:
    places = []

    def spy(network, config, hparams, params, steps, choose, weights):
        anywhere = Categorical(jnp.zeros((200, PLACES)))
        places.append([np.asarray(choose(t, anywhere)) for t in range(3)])
        return sum(x.sum() for x in jax.tree.leaves(params)), {}

    monkeypatch.setitem(caption_loss.__globals__, "caption_loss", spy)
    update = captioning(NETWORK, HARD).update
    for key in (0, 1):
        update(state, Sample(SHORT, jnp.ones(B)), jax.random.key(key), jnp.float32(0))
    drawn = np.array(places).reshape(6, 200)  # the same places by chance in one of nine
    same = (drawn[:, None] == drawn).mean(-1)
    assert same[~np.eye(6, dtype=bool)].max() < 0.3


def test_what_a_place_sees() -> None:
    """Pixels 8 i to 8 i + 14, and no others; the middle is where attention counts."""
    of_pixels = jax.grad(lambda x: NETWORK.apply(params, x, method="see")[0][0, 4, :-2].sum())
    image = jnp.ones((1, 24, 24, 1))
    params = jax.tree.map(jnp.ones_like, NETWORK.init(jax.random.key(0), image))
    seen = np.asarray(of_pixels(image))[0, ..., 0] != 0
    for axis in (0, 1):
        np.testing.assert_array_equal(np.flatnonzero(seen.any(axis))[[0, -1]], [STRIDE, STRIDE + 2 * MIDDLE])


def test_a_place_is_blamed_for_later_words_alone(state) -> None:
    """Of two samples of the first image's two places: F_1 = L_1 + L_2, F_2 = L_2, each minus the other sample's."""
    given = jax.tree.map(lambda x: x[:, :1], SHORT)
    places = jnp.array([[1, 4], [6, 2]])  # [sample, word]

    def ours(params):
        return caption_loss(NETWORK, HARD, HPARAMS, params, given, lambda t, choice: places[:, t])[0]

    def by_hand(params):
        total = jnp.float32(0)
        reads = [
            APPLY(params, IMAGES[:1], given.action, lambda t, _, p=p: jax.nn.one_hot(p[t][None], 9)) for p in places
        ]
        losses = [-jax.nn.log_softmax(read.logits[:, 0])[jnp.arange(2), given.action[:, 0]] for read in reads]
        ahead = [jax.lax.stop_gradient(jnp.array([loss.sum(), loss[1]])) for loss in losses]
        for i, read in enumerate(reads):
            log_probs = jax.nn.log_softmax(read.places[:, 0])
            chosen = log_probs[jnp.arange(2), places[i]]
            entropy = -(jnp.exp(log_probs) * log_probs).sum()
            total += losses[i].sum() + (ahead[i] - ahead[1 - i]) @ chosen - 0.3 * entropy
        return total / 4

    got, expected = quick_jit(lambda params: (jax.grad(ours)(params), jax.grad(by_hand)(params)))(state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), got, expected)


def test_attention_accuracy() -> None:
    """Two digits among 3 × 3 places, whose middles are at 7, 15 and 23."""
    centres = np.array([[[8.0, 9.0], [20.0, 24.0], [np.nan, np.nan]]])
    answer = np.array([[7, 3, 10]])
    at = lambda *places: np.eye(9)[list(places)][None]  # noqa: E731
    assert attention_accuracy(centres, answer, at(0, 8, 4)) == 1
    assert attention_accuracy(centres, answer, at(8, 0, 4)) == 0
    assert attention_accuracy(centres, answer, at(0, 0, 0)) == 0.5
    assert attention_accuracy(centres, answer, at(1, 5, 0)) == 1  # 6 columns away, and 5 rows
    assert attention_accuracy(centres, answer, at(2, 7, 0)) == 0


def test_soft_attention_learns_the_likelihood(state) -> None:
    """Of the words until the end; what comes after it counts nowhere."""

    @quick_jit
    def find(steps):
        return caption_loss(NETWORK, CaptioningConfig("soft"), HPARAMS, state.params, steps, lambda t, c: c.mode())

    read = APPLY(state.params, IMAGES, SHORT.action)
    log_probs, right = jax.nn.log_softmax(read.logits), read.logits.argmax(-1) == SHORT.action
    for word in range(WORDS):
        loss, metrics = find(SHORT._replace(action=np.array([[1, 3], [2, word]])))
        likelihood = log_probs[0, 0, 1] + log_probs[0, 1, 3] + log_probs[1, 0, 2]
        np.testing.assert_allclose(loss, -likelihood / 3, rtol=1e-4)
        np.testing.assert_allclose(metrics["accuracy"], (right[0].sum() + right[1, 0]) / 3, rtol=1e-5)


def test_weights_are_those_of_the_losses(state) -> None:
    def find(weights):
        config = CaptioningConfig("soft")
        return caption_loss(NETWORK, config, HPARAMS, state.params, SHORT, lambda t, c: c.mode(), jnp.float32(weights))[
            0
        ]

    one, two, both = (find(weights) for weights in ([1, 0], [0, 1], [1, 1]))
    np.testing.assert_allclose(one + two, both, rtol=1e-5)
    assert one != two


def test_no_key_of_acting_is_used_twice(state) -> None:
    agent = captioning(NETWORK, HARD)
    given = Input(IMAGES, memory=agent.memory(state, B))
    with watching(compiled=True) as log:
        quick_jit(lambda key: agent.act(state, given, key, jnp.float32(0)))(jax.random.key(0))
    log.check()


def test_bad_input() -> None:
    with pytest.raises(ArgumentError, match="samples must be"):
        captioning(NETWORK, CaptioningConfig(samples=1))
    other: Any = ImageClassifier(3)
    with pytest.raises(ArgumentError, match="network must return a Read, got Categorical"):
        captioning(other, HARD).init(jax.random.key(0), CaptioningHparams(), IMAGES[0])
    with pytest.raises(ArgumentError, match="batch must be of the kind Sample"):
        captioning(NETWORK, HARD).update(None, SHORT, jax.random.key(0), 0.0)
