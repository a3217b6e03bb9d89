"""The recipes of visual attention: naming one digit after a few glimpses, and captions of several digits."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from annotated_types import Interval

from jaxrl.agents.behaviour_cloning import behaviour_cloning
from jaxrl.agents.captioning import CaptioningConfig, captioning
from jaxrl.agents.recurrent_attention import RecurrentAttentionConfig, recurrent_attention
from jaxrl.envs.digits import STOP, WORDS, DigitCaptions, Digits
from jaxrl.networks.caption_network import MIDDLE, STRIDE, CaptionNetwork
from jaxrl.networks.glimpses import Glances, GlimpseNetwork, check_glimpse
from jaxrl.networks.image_classifier import ImageClassifier
from jaxrl.plots.digit_pictures import draw_captions, draw_glimpses
from jaxrl.plots.picture_errors import errors_as_notes
from jaxrl.recipes.shown_images import CHUNK, Shown, check_shows, key_of, show_test_images, wrong_answers
from jaxrl.runs.experiment import ignored_settings
from jaxrl.runs.options import Options
from jaxrl.training import OfflineConfig, offline
from jaxrl.types import Agent, Array, Input, PyTree, Trainer

GLIMPSES, CAPTIONS = "glimpses.png", "captions.png"


@dataclasses.dataclass(frozen=True)
class Attention(RecurrentAttentionConfig, OfflineConfig):
    """Static configuration of recurrent attention."""

    network: Literal["glimpses", "convolutional"] = "glimpses"
    """Whether it sees a few places, or all of the image at once, as a control."""
    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 256
    """Images per gradient step."""
    glimpses: Annotated[int, Interval(ge=2, le=64)] = 6
    """Places that it looks at, at least 2. The first is the middle."""
    glimpse_size: Annotated[int, Interval(ge=2, le=256)] = 8
    """Pixels of a side of a glimpse."""
    scales: Annotated[int, Interval(ge=1, le=6)] = 1
    """Squares around each place, each twice as wide and as coarse as the one before."""
    hidden_size: Annotated[int, Interval(ge=2, lt=2**16)] = 256
    """Units of the recurrent core."""


def build_attention(env: Any, env_params: Any, config: Attention) -> tuple[Agent, Trainer]:
    """Recurrent attention that learns from images drawn afresh.

    Raises:
        ArgumentError: the environment does not show digits, or an image is smaller than a glimpse.
    """
    del env_params
    check_shows(env, Digits)
    if config.network == "convolutional":
        agent: Agent = behaviour_cloning(ImageClassifier(env.num_actions))
        return agent, offline(agent, env.training_batch, config)
    check_glimpse(config.glimpse_size, env.shape[:2], "glimpse_size")
    network = GlimpseNetwork(env.num_actions, config.glimpses, config.glimpse_size, config.scales, config.hidden_size)
    agent = recurrent_attention(network, config)
    return agent, offline(agent, env.training_batch, config)


def report_attention(agent: Agent, env: Digits, env_params: Any, agent_states: PyTree, directory: Path) -> dict:
    """The shares of new images that are named wrongly. Draws where the first seed looks."""
    del env_params
    shown = show_test_images(agent, env, agent_states, directory)
    action, _, glances = shown.decisions
    if isinstance(glances, Glances):
        with errors_as_notes(directory / GLIMPSES):
            draw_glimpses(
                shown.drawn.image,
                np.asarray(glances.places[0]),
                action[0],
                shown.drawn.answer[:, 0],
                directory / GLIMPSES,
            )
    return wrong_answers(shown)


def ignored_by_attention(options: Options, observation: Any) -> dict[str, str]:
    """The settings that random places, or a convolutional network, ignore, and why."""
    del observation
    is_random, is_whole = options.config.places == "random", options.config.network == "convolutional"
    of_places = ("hparams.place_deviation", "hparams.value_coef")
    of_glimpses = tuple(f"config.{name}" for name in ("places", "glimpses", "glimpse_size", "scales", "hidden_size"))
    return ignored_settings(
        (is_random, "config.places random", of_places),
        (is_whole, "config.network convolutional", of_places + of_glimpses),
    )


@dataclasses.dataclass(frozen=True)
class Captioning(CaptioningConfig, OfflineConfig):
    """Static configuration of captions."""

    batch_size: Annotated[int, Interval(gt=0, lt=2**31)] = 64
    """Images per gradient step."""
    hidden_size: Annotated[int, Interval(ge=2, lt=2**16)] = 128
    """Units of the decoder."""
    conv_features: Annotated[int, Interval(ge=4, lt=2**16)] = 64
    """Channels of the last of three convolutions; the others have a quarter and a half of them."""


def build_captioning(env: Any, env_params: Any, config: Captioning) -> tuple[Agent, Trainer]:
    """Captions by attention, learned from images drawn afresh.

    Raises:
        ArgumentError: the environment does not show digits with captions.
    """
    del env_params
    check_shows(env, DigitCaptions)
    agent = captioning(CaptionNetwork(env.num_actions, config.hidden_size, config.conv_features), config)
    return agent, offline(agent, env.training_batch, config)


def report_captioning(
    agent: Agent, env: DigitCaptions, env_params: Any, agent_states: PyTree, directory: Path
) -> dict[str, Any]:
    """The shares of captions of new images that are right to the last word, and of looks at the digit that is named.

    Draws what the first seed says, and where it looks.
    """
    del env_params
    shown = read_aloud(agent, env, agent_states, key_of(directory))
    words, places = shown.decisions
    right = (words == shown.drawn.answer).all(-1).mean(-1)
    looks = [attention_accuracy(shown.drawn.centres, shown.drawn.answer, seen) for seen in places]
    with errors_as_notes(directory / CAPTIONS):
        draw_captions(shown.drawn.image, words[0], shown.drawn.answer, places[0], WORDS, directory / CAPTIONS)
    return {
        "caption_accuracy": float(right.mean()),
        "caption_accuracy_per_seed": right.tolist(),
        "attention_accuracy": float(np.mean(looks)),
        "attention_accuracy_per_seed": looks,
    }


def read_aloud(agent: Agent, env: DigitCaptions, agent_states: PyTree, key: Array) -> Shown:
    """What agents `[A]` say about new images: words `[A, M, n]`, `stop` after the first, and weights `[A, M, n, L]`."""

    @jax.jit
    def read(agent_states: PyTree) -> Shown:
        drawn = jax.vmap(env.draw)(jax.random.split(key, CHUNK))

        def say(agent_state: PyTree) -> tuple[Array, Array]:
            def word(memory: PyTree, _: None) -> tuple[PyTree, tuple[Array, Array]]:
                decision = agent.policy(agent_state, Input(drawn.image, memory=memory), key)
                return decision.memory, (decision.action, decision.extras)

            start = agent.memory(agent_state, CHUNK)
            _, (words, places) = jax.lax.scan(word, start, length=drawn.answer.shape[1])
            said = jnp.concatenate([jnp.zeros_like(words[:1], bool), words[:-1] == STOP])
            words = jnp.where(jnp.cumsum(said, axis=0) > 0, STOP, words)
            return jnp.swapaxes(words, 0, 1), jnp.swapaxes(places, 0, 1)

        return Shown(drawn, jax.lax.map(say, agent_states))

    return jax.device_get(read(agent_states))


def attention_accuracy(centres: np.ndarray, answer: np.ndarray, weights: np.ndarray) -> float:
    """The share of digits at which the network looks when it should name them.

    It does if, of all digits, the one it should name is the nearest to the middle of what the place of the largest
    weight sees, and that middle is at most 8 pixels away in each direction.

    Args:
        centres: of the digits, NaN where there is none, `[M, n, 2]`.
        answer: the right words, `[M, n]`.
        weights: of the places, `[M, n, L]`.
    """
    side = round(weights.shape[-1] ** 0.5)
    place = weights.argmax(-1)
    looked = STRIDE * np.stack([place // side, place % side], -1) + MIDDLE
    distance = np.abs(looked[:, :, None] - centres[:, None])  # [M, word, digit, 2]
    squares = np.nan_to_num(np.square(distance).sum(-1), nan=np.inf)
    own = np.arange(answer.shape[1])
    near = (distance[:, own, own] <= 8).all(-1)
    named = answer != STOP
    return float((near & (squares.argmin(-1) == own))[named].mean())


def ignored_by_captioning(options: Options, observation: Any) -> dict[str, str]:
    """The settings that soft attention ignores, and why."""
    del observation
    soft = options.config.attention == "soft"
    return ignored_settings((soft, "config.attention soft", ("config.samples", "hparams.entropy_coef")))
