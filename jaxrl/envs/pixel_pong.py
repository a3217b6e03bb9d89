"""Pong in pixels, with rules of its own: two paddles, a ball, and an opponent that is often too slow.

An observation is a stack of the last four frames, 84 × 84 bytes each. All of a frame follows from four positions, which
are one word: what is stored of an observation is four words, and frames are drawn where a network or a person sees
them.
"""

import dataclasses
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from annotated_types import Interval

from jaxrl.envs.base import Environment, EnvParams, uniform
from jaxrl.types import Array
from jaxrl.xla.fusion import no_fuse

SIDE, STACK = 84, 4
"""Pixels of a frame's side, and frames in an observation."""
WALLS = 4, 78
"""The upper row of each wall. Walls are two pixels high."""
TOP, BOTTOM = 6, 76
"""The ball's first and last row."""
BALL, PADDLE = 2, 12
"""Pixels of the ball's side and of a paddle's height. Paddles are two pixels wide."""
OPPONENT_COLUMN, AGENT_COLUMN = 4, 78
"""The left column of each paddle."""
MIDDLE = 41
"""The ball's row and column when it is served."""
LAST_PADDLE = BOTTOM + BALL - PADDLE
"""The last row of a paddle's upper end."""
BALL_SPEED, AGENT_SPEED, OPPONENT_SPEED = 3, 4, 2
"""Pixels in a step: of the ball across, of the agent's paddle, and of the opponent's."""
BRIGHTNESS = {"wall": 80, "opponent": 120, "agent": 200, "ball": 255}
"""The bytes of what a frame shows; the rest is 0."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PixelPongParams(EnvParams):
    """Traced parameters of a game."""

    pause_probability: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Probability that the opponent's paddle stays where it is for a step."""
    points: Annotated[int, Interval(ge=1, le=1000)] = 21
    """Points that win the game."""
    max_steps_in_episode: Annotated[int, Interval(ge=1, lt=2**31)] = 10_000
    """Steps after which a game is truncated."""


class PixelPongState(NamedTuple):
    """The state of a game, int32 `[...]` by default. Rows are counted from the top, columns from the left.

    Attributes:
        x, y: the ball's left column and upper row.
        dx, dy: what is added to them in a step.
        agent, opponent: the upper row of each paddle.
        won, lost: points so far of the agent, and of the opponent.
        time: steps since the start of the game.
        before: the last three frames before this one, oldest first, uint32 `[3, ...]`.
    """

    x: Array
    y: Array
    dx: Array
    dy: Array
    agent: Array
    opponent: Array
    won: Array
    lost: Array
    time: Array
    before: Array


@dataclasses.dataclass(frozen=True)
class PixelPong(Environment):
    """The agent's paddle, on the right, stays, moves up or moves down (actions 0, 1 and 2; others stay).

    Each point counts: 1 if the opponent misses the ball, −1 if the agent does. Who has 21 points first wins, and the
    game terminates. So its return R, from −21 to 21, gives the share of points that the agent won: 21 / (42 − R) if it
    won the game, else (21 + R) / (42 + R). 90 % are a return of 18.7.

    In each step, in this order:

    1. The agent's paddle moves by 4 pixels, as far as the walls.
    2. The opponent's paddle moves, if the ball comes towards it, by 2 pixels at most, until its middle is level with
       the ball's. In half of the steps, at random, it stays.
    3. The ball moves by 3 pixels across and by `dy` along, and is reflected by the walls.
    4. If the ball has come to a paddle's column, it is returned if it touches the paddle, and else the point is lost.
       Returned, it lies before the paddle, and its `dy` is 2/3 of the distance of its middle from the paddle's, towards
       zero: from −4 to 4. The opponent is too slow for a steep ball.
    5. After a point, the ball is served from the middle of the court to a random side, with a random `dy` from −2 to 2.
       Paddles stay where they are.

    Random words: bit 0 of word 0 is the side of a serve (1 is right), its upper 24 bits modulo 5 its `dy + 2`;
    `uniform(word 1)` decides whether the opponent pauses.
    """

    name = "PixelPong"
    num_actions = 3
    random_words = 2
    action_names = ("no-op", "up", "down")

    @property
    def default_params(self) -> PixelPongParams:
        return PixelPongParams()

    def initial(self, bits: Array, params: PixelPongParams) -> PixelPongState:
        del params
        zero = jnp.zeros(bits.shape[1:], jnp.int32)
        dx, dy = _serve(bits)
        state = PixelPongState(
            x=zero + MIDDLE, y=zero + MIDDLE, dx=dx, dy=dy, agent=zero + 36, opponent=zero + 36,
            won=zero, lost=zero, time=zero, before=jnp.zeros((STACK - 1, *zero.shape), jnp.uint32),
        )  # fmt: skip
        return state._replace(before=jnp.broadcast_to(_word(state), state.before.shape))

    def transition(
        self, state: PixelPongState, action: Array, bits: Array, params: PixelPongParams
    ) -> tuple[PixelPongState, Array, Array]:
        s = state
        before = jnp.concatenate([s.before[1:], _word(s)[None]])
        agent = jnp.clip(s.agent + AGENT_SPEED * ((action == 2).astype(jnp.int32) - (action == 1)), TOP, LAST_PADDLE)
        chase = jnp.clip(s.y + BALL // 2 - PADDLE // 2 - s.opponent, -OPPONENT_SPEED, OPPONENT_SPEED)
        follows = (s.dx < 0) & (uniform(bits[1]) >= params.pause_probability)
        opponent = jnp.clip(s.opponent + jnp.where(follows, chase, 0), TOP, LAST_PADDLE)
        x, y = s.x + s.dx, s.y + s.dy
        above, below = y < TOP, y > BOTTOM
        y = jnp.where(above, 2 * TOP - y, jnp.where(below, 2 * BOTTOM - y, y))
        dy = jnp.where(above | below, -s.dy, s.dy)

        right, left = x + BALL > AGENT_COLUMN, x < OPPONENT_COLUMN + 2
        paddle = jnp.where(right, agent, opponent)
        offset = y + BALL // 2 - (paddle + PADDLE // 2)
        touches = (y + BALL > paddle) & (y < paddle + PADDLE)
        returned, point = (right | left) & touches, (right | left) & ~touches
        dy = jnp.where(returned, jnp.sign(offset) * (2 * jnp.abs(offset) // 3), dy)
        x = jnp.where(returned, jnp.where(right, AGENT_COLUMN - BALL, OPPONENT_COLUMN + 2), x)
        dx = jnp.where(returned, -s.dx, s.dx)

        serve_dx, serve_dy = _serve(bits)
        won, lost = (s.won + (point & left)).astype(jnp.int32), (s.lost + (point & right)).astype(jnp.int32)
        after = PixelPongState(
            x=jnp.where(point, MIDDLE, x), y=jnp.where(point, MIDDLE, y),
            dx=jnp.where(point, serve_dx, dx), dy=jnp.where(point, serve_dy, dy),
            agent=agent, opponent=opponent, won=won, lost=lost, time=s.time + 1, before=before,
        )  # fmt: skip
        reward = (point & left).astype(jnp.float32) - (point & right)
        return after, reward, (won >= params.points) | (lost >= params.points)

    def encode(self, state: PixelPongState) -> Array:
        """A word for each frame, oldest first: the ball's column and row, and the rows of both paddles, 7 bits each."""
        return jnp.concatenate([state.before, _word(state)[None]])

    def decode(self, words: Array) -> Array:
        """uint8 `[..., 4, 84, 84]` from uint32 `[..., 4]`."""
        x, y, agent, opponent = ((words >> shift & 127)[..., None] for shift in (0, 7, 14, 21))
        pixels = jnp.arange(SIDE, dtype=jnp.uint32)

        def inside(first: Array | int, length: int) -> Array:
            return pixels - jnp.uint32(first) < length  # numbers below zero become large ones

        def rectangle(rows: Array, columns: Array, brightness: int) -> Array:
            return jnp.where(rows[..., :, None] & columns[..., None, :], jnp.uint8(brightness), jnp.uint8(0))

        walls = inside(WALLS[0], 2) | inside(WALLS[1], 2)
        picture = rectangle(walls, pixels < SIDE, BRIGHTNESS["wall"])
        for rows, columns, part in (
            (inside(opponent, PADDLE), inside(OPPONENT_COLUMN, 2), "opponent"),
            (inside(agent, PADDLE), inside(AGENT_COLUMN, 2), "agent"),
            (inside(y, BALL), inside(x, BALL), "ball"),
        ):
            picture = jnp.maximum(picture, rectangle(rows, columns, BRIGHTNESS[part]))
        return no_fuse(picture)  # drawn once, and not in each slice of a convolution

    def describe_rules(self, params: Any) -> str:
        return f"{super().describe_rules(params)}, first to {int(params.points)} points"

    def observation_space(self, params: Any = None) -> Any:
        """gymnax's `Box` of bytes."""
        from gymnax.environments import spaces

        del params
        return spaces.Box(0, 255, (STACK, SIDE, SIDE), jnp.uint8)


def _serve(bits: Array) -> tuple[Array, Array]:
    """`(dx, dy)` of a served ball, from the words `[2, ...]`."""
    dx = jnp.where(bits[0] & 1 == 1, BALL_SPEED, -BALL_SPEED)
    return dx.astype(jnp.int32), (bits[0] >> 8).astype(jnp.int32) % 5 - 2


def _word(state: PixelPongState) -> Array:
    """A frame as a word, uint32 `[...]`."""
    parts = (state.x, state.y, state.agent, state.opponent)
    word = jnp.zeros(state.x.shape, jnp.uint32)
    for i, part in enumerate(parts):
        word |= part.astype(jnp.uint32) << (7 * i)
    return word
