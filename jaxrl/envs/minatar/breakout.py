"""Breakout: a paddle, a ball that moves diagonally, and three rows of ten bricks, which return when all are gone.

The only random number is one coin at the start of an episode: the side from which the ball comes.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxrl.envs.minatar.bits import THREE_ROWS, Board, cell, pack
from jaxrl.envs.minatar.environment import LEFT, NOOP, RIGHT, Game, MinAtarParams
from jaxrl.types import Array

CHANNELS = ("paddle", "ball", "trail", "brick")
ALL_BRICKS = 2**30 - 1


class BreakoutState(NamedTuple):
    """int32 `[...]` by default; x (column) and y (row, 0 at the top) are in 0..9."""

    ball_x: Array
    ball_y: Array
    direction_x: Array
    """-1 or +1."""
    direction_y: Array
    paddle: Array
    bricks: Array
    """uint32; bit `(y - 1) * 10 + x` is the brick at (y, x), in rows 1 to 3."""
    strike: Array
    """bool; the ball met a brick in the last step, and passes through the next one."""
    last_x: Array
    last_y: Array


def initial(bits: Array) -> BreakoutState:
    """A new game; the lowest bit of word 0 is the coin."""
    left = (bits[0] & 1) == 0
    ones = jnp.ones(left.shape, jnp.int32)
    x = jnp.where(left, 0, 9 * ones)
    return BreakoutState(
        ball_x=x,
        ball_y=3 * ones,
        direction_x=jnp.where(left, 1, -ones),
        direction_y=ones,
        paddle=4 * ones,
        bricks=jnp.full(left.shape, ALL_BRICKS, jnp.uint32),
        strike=jnp.zeros(left.shape, bool),
        last_x=x,
        last_y=3 * ones,
    )


def step(s: BreakoutState, action: Array, bits: Array, params: MinAtarParams) -> tuple[BreakoutState, Array, Array]:
    """One step: the paddle moves, then the ball, which may meet the ceiling, a brick, the paddle, or the floor."""
    del bits, params
    paddle = jnp.clip(s.paddle + (action == RIGHT) - (action == LEFT), 0, 9)

    x, y = s.ball_x + s.direction_x, s.ball_y + s.direction_y
    direction_x = jnp.where((x < 0) | (x > 9), -s.direction_x, s.direction_x)
    x = jnp.clip(x, 0, 9)

    ceiling = y < 0
    brick_row = (y >= 1) & (y <= 3)
    brick = jnp.where(brick_row, jnp.uint32(1) << jnp.where(brick_row, (y - 1) * 10 + x, 0).astype(jnp.uint32), 0)
    meets_brick = (s.bricks & brick) != 0
    hit = meets_brick & ~s.strike
    bottom = y == 9
    caught_from_above = bottom & (s.ball_x == paddle)
    caught_at_corner = bottom & ~caught_from_above & (x == paddle)
    caught = caught_from_above | caught_at_corner

    bricks = jnp.where(hit, s.bricks & ~brick, s.bricks)
    bricks = jnp.where(bottom & (bricks == 0), jnp.uint32(ALL_BRICKS), bricks)
    state = BreakoutState(
        ball_x=x,
        ball_y=jnp.where(ceiling, 0, jnp.where(hit | caught, s.ball_y, y)),
        direction_x=jnp.where(caught_at_corner, -direction_x, direction_x),
        direction_y=jnp.where(ceiling | hit | caught, -s.direction_y, s.direction_y),
        paddle=paddle,
        bricks=bricks,
        strike=meets_brick,
        last_x=s.ball_x,
        last_y=s.ball_y,
    )
    return state, hit.astype(jnp.float32), bottom & ~caught


def boards(s: BreakoutState) -> Array:
    """The packed observation."""
    nothing = jnp.zeros_like(s.bricks)
    bricks = Board(s.bricks << 10 & THREE_ROWS, s.bricks >> 20, nothing, nothing)
    paddle = cell(jnp.full_like(s.paddle, 9), s.paddle)
    return pack([paddle, cell(s.ball_y, s.ball_x), cell(s.last_y, s.last_x), bricks])


BREAKOUT = Game("Breakout-MinAtar", CHANNELS, (NOOP, LEFT, RIGHT), 1, initial, step, boards)
