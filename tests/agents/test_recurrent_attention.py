"""Recurrent attention: the score function by hand and by Monte Carlo, and what a policy looks at."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import ArgumentError, Input, ops
from jaxrl.agents.recurrent_attention import (
    RecurrentAttentionConfig,
    RecurrentAttentionHparams,
    attention_loss,
    look,
    recurrent_attention,
)
from jaxrl.networks.glimpses import GlimpseNetwork
from jaxrl.networks.image_classifier import ImageClassifier
from jaxrl.types import Sample, Transition
from tests.compiling import quick_jit
from tests.instruments import watching

NETWORK = GlimpseNetwork(3, glimpses=3, size=4, hidden_size=6)
LEARNED = RecurrentAttentionConfig()
IMAGES = np.random.default_rng(0).integers(256, size=(2, 12, 12, 1)).astype(np.uint8)
ENDS = np.zeros(2, bool)
STEPS = Transition(IMAGES, np.array([2, 0]), np.ones(2, np.float32), ENDS, ENDS, IMAGES)
AGENT = recurrent_attention(NETWORK, LEARNED)


@pytest.fixture(scope="module")
def state():
    state = AGENT.init(jax.random.key(0), RecurrentAttentionHparams(place_deviation=0.4, value_coef=0.7), IMAGES[0])
    bigger = jax.tree.map(lambda x: 3 * x, state.params)
    return state._replace(params=bigger, hparams=jax.tree.map(jnp.float32, state.hparams))


def test_gradient_by_hand(state) -> None:
    """Of the locator: Σ_t (L − b_t) ∇ log p(l_t); of the rest, ∇L; of the baselines, that of ½ (b_t − L)²."""

    @quick_jit
    def both(params):
        key = jax.random.key(3)
        looked = look(NETWORK, LEARNED, state, params, IMAGES, key)
        losses = jax.lax.stop_gradient(-jax.vmap(ops.categorical_log_prob)(looked.logits[-1], STEPS.action))

        def by_hand(params):
            again = look(NETWORK, LEARNED, state, params, IMAGES, key)
            loss = -jax.nn.log_softmax(again.logits[-1])[jnp.arange(2), STEPS.action].mean()
            scores = -jnp.square((looked.places[1:] - again.means) / 0.4).sum(-1) / 2
            policy = ((losses - looked.values) * scores).sum(0).mean()
            return loss + policy + 0.7 * (0.5 * jnp.square(again.values - losses)).mean()

        ours = jax.grad(lambda p: attention_loss(NETWORK, LEARNED, state, p, STEPS, key)[0])(params)
        return ours, jax.grad(by_hand)(params), losses

    ours, by_hand, losses = both(state.params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, by_hand)
    assert min(np.abs(x).max() for x in jax.tree.leaves(ours)) > 1e-4
    assert len(losses) == 2


def test_places(state) -> None:
    """Samples have the deviation of the hyperparameter; a policy looks at the means; the control, anywhere."""

    @quick_jit
    def run(key):
        many = jnp.tile(IMAGES[:1], (4000, 1, 1, 1))
        random = recurrent_attention(NETWORK, RecurrentAttentionConfig(places="random"))
        return (
            look(NETWORK, LEARNED, state, state.params, many, key),
            AGENT.policy(state, Input(IMAGES), key),
            AGENT.policy(state, Input(IMAGES), jax.random.fold_in(key, 1)),
            NETWORK.apply(state.params, IMAGES),
            random.policy(state, Input(many), key),
        )

    sampled, first, second, mean, anywhere = run(jax.random.key(0))
    noise = np.asarray(sampled.places[1:] - sampled.means)
    np.testing.assert_allclose(noise.std((1, 2)), 0.4, rtol=0.03)
    assert abs(noise.mean()) < 0.01
    assert abs(np.corrcoef(noise[0, :, 0], noise[1, :, 0])[0, 1]) < 0.06
    for decision in (first, second):
        np.testing.assert_array_equal(decision.extras.places, jnp.swapaxes(mean.places, 0, 1))
        np.testing.assert_array_equal(decision.extras.answers, mean.logits.argmax(-1).T)
        np.testing.assert_array_equal(decision.action, decision.extras.answers[:, -1])
    places = np.asarray(anywhere.extras.places)
    assert (places[:, 0] == 0).all()
    np.testing.assert_allclose(np.quantile(places[:, 1:], [0, 0.25, 0.5, 1]), [-1, -0.5, 0, 1], atol=0.03)


@pytest.mark.slow
def test_it_learns_where_to_look() -> None:
    """A bright spot at one of two places far from the middle, whose brightness is the answer."""

    def draw(key, size):
        keys = jax.random.split(key, 2)
        side, answer = (jax.random.bernoulli(k, 0.5, (size,)).astype(jnp.int32) for k in keys)
        row, column = jnp.arange(16)[:, None], jnp.arange(16)[None]
        mark = (row // 4 == 1) & (column // 4 == jnp.where(side, 2, 1)[:, None, None])  # shows the side
        spot = (row // 4 == 3) & (column // 4 == jnp.where(side, 3, 0)[:, None, None])
        image = jnp.where(spot, jnp.where(answer, 250, 120)[:, None, None], jnp.where(mark, 200, 0))
        return image[..., None].astype(jnp.uint8), answer

    network = GlimpseNetwork(2, glimpses=3, size=8, hidden_size=32)
    accuracies = {}
    for places in ("learned", "random"):
        agent = recurrent_attention(network, RecurrentAttentionConfig(places))
        hparams = RecurrentAttentionHparams(3e-3, place_deviation=0.3)

        def step(state, key, agent=agent):
            keys = jax.random.split(key)
            images, answers = draw(keys[0], 64)
            ends = jnp.zeros((1, 64), bool)
            batch = Transition(images[None], answers[None], jnp.ones((1, 64)), ends, ends, images[None])
            state, metrics, _ = agent.update(state, Sample(batch, jnp.ones(64)), keys[1], jnp.float32(0))
            return state, metrics["accuracy"].sum

        learn = jax.jit(lambda state, keys, step=step: jax.lax.scan(step, state, keys))
        start = agent.init(jax.random.key(0), jax.tree.map(jnp.float32, hparams), jnp.zeros((16, 16, 1), jnp.uint8))
        _, accuracy = learn(start, jax.random.split(jax.random.key(1), 600))
        accuracies[places] = float(accuracy[-50:].mean())
    assert accuracies["learned"] > 0.97
    assert accuracies["random"] < 0.9


def test_it_acts_by_its_last_answer(state) -> None:
    params = state.params["params"]
    sharp = params | {"Dense_7": jax.tree.map(lambda x: 1e4 * x, params["Dense_7"])}
    many = Input(jnp.tile(IMAGES[:1], (500, 1, 1, 1)))
    with watching(compiled=True) as log:
        act = quick_jit(lambda key: AGENT.act(state._replace(params={"params": sharp}), many, key, jnp.float32(0)))
        decision = act(jax.random.key(0))
    log.check()
    answers = np.asarray(decision.extras.answers)
    assert (answers[:, 0] != answers[:, -1]).any()
    np.testing.assert_array_equal(decision.action, answers[:, -1])


def test_random_places_differ_and_means_stay_inside(state) -> None:
    config = RecurrentAttentionConfig("random")
    looked = quick_jit(lambda key: look(NETWORK, config, state, state.params, IMAGES, key))(jax.random.key(0))
    assert (looked.places[1] != looked.places[2]).all()
    far: Any = NETWORK.apply(jax.tree.map(lambda x: 100 * x, state.params), IMAGES)
    assert (abs(far.means) <= 1).all()


def test_weights_are_those_of_the_losses(state) -> None:
    for places in ("learned", "random"):
        config, key = RecurrentAttentionConfig(places), jax.random.key(0)
        one, two, both = (
            attention_loss(NETWORK, config, state, state.params, STEPS, key, jnp.float32(w))[0]
            for w in ([1, 0], [0, 1], [1, 1])
        )
        np.testing.assert_allclose(one + two, both, rtol=1e-5)
        assert one != two


def test_without_places_to_learn_there_is_no_loss_of_baselines(state) -> None:
    config, key = RecurrentAttentionConfig("random"), jax.random.key(0)
    loss, metrics = attention_loss(NETWORK, config, state, state.params, STEPS, key)
    np.testing.assert_allclose(loss, metrics["loss"])


def test_bad_input() -> None:
    with pytest.raises(ArgumentError, match="size must be at most the image's 3 × 3 pixels"):
        AGENT.init(jax.random.key(0), RecurrentAttentionHparams(), np.zeros((3, 3, 1), np.uint8))
    with pytest.raises(ArgumentError, match=r"observations must be images \[N, H, W, 1\], got \(1, 12, 12, 3\)"):
        AGENT.init(jax.random.key(0), RecurrentAttentionHparams(), np.zeros((12, 12, 3), np.uint8))
    for name, least in (("glimpses", 2), ("size", 1), ("scales", 1)):
        few = GlimpseNetwork(3, **{"size": 4, name: least - 1})
        with pytest.raises(ArgumentError, match=f"{name} must be >= {least}, got {least - 1}"):
            few.init(jax.random.key(0), IMAGES)
    other: Any = ImageClassifier(3)
    with pytest.raises(ArgumentError, match="network must return a Looked, got Categorical"):
        recurrent_attention(other, LEARNED).init(jax.random.key(0), RecurrentAttentionHparams(), IMAGES[0])
    with pytest.raises(ArgumentError, match="batch must be of the kind Sample"):
        AGENT.update(None, STEPS, jax.random.key(0), 0.0)
    with pytest.raises(ArgumentError, match="places must be"):
        recurrent_attention(NETWORK, dataclasses.replace(LEARNED, places="everywhere"))
