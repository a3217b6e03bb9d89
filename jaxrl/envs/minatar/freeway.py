"""Freeway: a chicken earns a point for crossing eight lanes of traffic; a car sends it back to the start.

The game terminates in the step after 2,500. Cars get new random speeds at its start and after every crossing.
"""

from typing import NamedTuple

import jax.numpy as jnp

from jaxrl.envs.minatar.bits import ROW, cell, from_rows, pack
from jaxrl.envs.minatar.environment import DOWN, NOOP, UP, Game, MinAtarParams
from jaxrl.types import Array
from jaxrl.xla.fusion import no_fuse

CHANNELS = ("chicken", "car", "speed 1", "speed 2", "speed 3", "speed 4", "speed 5")
PLAYER_SPEED, TIME_LIMIT, CHICKEN_X = 3, 2500, 4


class FreewayState(NamedTuple):
    """int32 `[...]`, and `[8, ...]` for the cars. Car i drives in row i + 1."""

    chicken_y: Array
    move_timer: Array
    """Steps until the chicken can move again."""
    time_left: Array
    car_x: Array
    car_timer: Array
    """Steps until the car moves."""
    car_speed: Array
    """-5 to -1 (to the left) or 1 to 5 (to the right); the car moves every `|speed| + 1` steps."""


def initial(bits: Array) -> FreewayState:
    """A new game, all cars in column 0."""
    ones, speed = jnp.ones(bits.shape[1:], jnp.int32), draw_speeds(bits)
    return FreewayState(
        chicken_y=9 * ones,
        move_timer=PLAYER_SPEED * ones,
        time_left=TIME_LIMIT * ones,
        car_x=jnp.zeros_like(speed),
        car_timer=abs(speed),
        car_speed=speed,
    )


def draw_speeds(bits: Array) -> Array:
    """Eight random speeds `[8, ...]`, from 1 to 5 in either direction, all equally likely.

    Words 1 and 2 are fractions of 28 bits. The first four decimal digits of each are the cars' speeds.
    """
    outcomes = []
    for fraction in (bits[1] >> 4, bits[2] >> 4):
        for _ in range(4):
            fraction *= 10
            outcomes.append((fraction >> 28).astype(jnp.int32))
            fraction &= 0xFFFFFFF
    outcome = jnp.stack(outcomes)
    return jnp.where(outcome < 5, outcome + 1, 4 - outcome)


def step(s: FreewayState, action: Array, bits: Array, params: MinAtarParams) -> tuple[FreewayState, Array, Array]:
    """One step: the chicken moves, then the cars."""
    del params
    moves = ((action == UP) | (action == DOWN)) & (s.move_timer == 0)
    move_timer = jnp.where(moves, PLAYER_SPEED, s.move_timer)
    y = jnp.clip(s.chicken_y + jnp.where(moves, jnp.where(action == UP, -1, 1), 0), 0, 9)

    crossed = y == 0
    speed = jnp.where(crossed, draw_speeds(bits), s.car_speed)
    timer = jnp.where(crossed, abs(speed), s.car_timer)
    y = jnp.where(crossed, 9, y)

    drives = timer == 0
    x = s.car_x + jnp.where(drives, jnp.sign(speed), 0)
    x = jnp.where(x < 0, 9, jnp.where(x > 9, 0, x))
    timer = jnp.where(drives, abs(speed), timer - 1)

    # A hit sends the chicken to row 9, where no car drives. Only the car in its row counts, before or after its move.
    row = jnp.arange(1, 9).reshape(8, *[1] * y.ndim)
    hit = ((row == y) & ((s.car_x == CHICKEN_X) | (x == CHICKEN_X))).any(axis=0)
    time_left = s.time_left - 1
    state = FreewayState(jnp.where(hit, 9, y), jnp.maximum(move_timer - 1, 0), time_left, x, timer, speed)
    return state, crossed.astype(jnp.float32), time_left < 0


def boards(s: FreewayState) -> Array:
    """The packed observation, with a mark behind each car in the channel of its speed."""
    chicken = cell(s.chicken_y, jnp.full_like(s.chicken_y, CHICKEN_X))
    car = jnp.uint32(1) << s.car_x.astype(jnp.uint32)
    to_the_left, to_the_right = car >> 1 | (car & 1) << 9, car << 1 & ROW | car >> 9
    car, mark = no_fuse((car, jnp.where(s.car_speed > 0, to_the_left, to_the_right)))
    lanes = [car, *(jnp.where(abs(s.car_speed) == v, mark, 0) for v in range(1, 6))]
    return pack([chicken, *(from_rows(lane) for lane in lanes)])


def elapse(s: FreewayState, steps: Array) -> FreewayState:
    """The state with so many steps less left."""
    return s._replace(time_left=s.time_left - steps)


FREEWAY = Game("Freeway-MinAtar", CHANNELS, (NOOP, UP, DOWN), 3, initial, step, boards, 2500, TIME_LIMIT + 1, elapse)
