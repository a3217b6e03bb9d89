"""What trained agents do with new images: which ones they see, and how wrong answers and captions are counted."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.digits import STOP, DigitCaptions, Digits
from jaxrl.recipes import attention_images, shown_images
from jaxrl.types import Agent, Decision
from tests.compiling import quick_jit


def test_wrong_answers(monkeypatch) -> None:
    """Of agents that answer by the sum of the pixels, on images of the test part; keys differ from chunk to chunk."""
    monkeypatch.setattr(shown_images, "NUMBER", 20)
    monkeypatch.setattr(shown_images, "CHUNK", 10)
    monkeypatch.setattr(shown_images, "key_of", lambda _: jax.random.key(0))
    env = Digits(held_out=True)

    def policy(state, given, key):
        answers = (given.observation.astype(jnp.int32).sum((1, 2, 3)) + state) % 10
        return Decision(answers, extras=jax.random.bits(key, (len(answers),)))

    agent = Agent(None, None, policy, None)
    shown = shown_images.show_test_images(agent, env, jnp.arange(2), None)
    own = (shown.drawn.image.astype(int).sum((1, 2, 3)) + np.arange(2)[:, None]) % 10
    np.testing.assert_array_equal(shown.decisions.action, own)
    keys = jax.random.split(jax.random.split(jax.random.key(0))[0], (2, 10)).reshape(-1)
    np.testing.assert_array_equal(shown.drawn.image, quick_jit(jax.vmap(env.draw))(keys).image)
    assert len(np.unique(shown.decisions.extras[0])) == 20
    wrong = shown_images.wrong_answers(shown)
    np.testing.assert_allclose(wrong["test_error_per_seed"], (own != shown.drawn.answer[:, 0]).mean(1))


def test_captions_end_with_the_first_stop_and_are_right_as_a_whole(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(attention_images, "CHUNK", 6)
    monkeypatch.setattr(attention_images, "key_of", lambda _: jax.random.key(0))
    monkeypatch.setattr(attention_images, "draw_captions", lambda *_: None)
    said = jnp.array([3, STOP, 5, 5])

    def policy(state, given, key):
        (t, _), number = given.memory, len(given.memory[0])
        return Decision(jnp.full(number, said[t[0]]), (t + 1, t), jnp.ones((number, 36)))

    agent = Agent(None, None, policy, None, memory=lambda state, n: (jnp.zeros(n, int), jnp.zeros(n, int)))
    shown = attention_images.read_aloud(agent, DigitCaptions(), jnp.zeros(1), jax.random.key(0))
    np.testing.assert_array_equal(shown.decisions[0][0, 0], [3, STOP, STOP, STOP])
    found = attention_images.report_captioning(agent, DigitCaptions(), None, jnp.zeros(1), tmp_path)
    assert found["caption_accuracy"] == 0
