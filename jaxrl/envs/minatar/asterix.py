"""Asterix: enemies and gold cross the board, one in each row. An enemy ends the game, gold is worth a point."""

# mypy: disable-error-code="assignment"
# The defaults of a state are the numbers of a new game, which `start_with` turns into arrays.

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.envs.minatar.bits import EMPTY, EVERY_ROW, RIGHT_EDGE, THREE_ROWS, Board, cell, from_rows, pack, start_with
from jaxrl.envs.minatar.environment import DOWN, LEFT, NOOP, RIGHT, UP, Game, MinAtarParams
from jaxrl.types import Array

CHANNELS = ("player", "enemy", "trail", "gold")
SPAWN_SPEED, MOVE_SPEED, RAMP_INTERVAL = 10, 5, 100


class AsterixState(NamedTuple):
    """int32 `[...]` by default. Rows 1 to 8 hold at most one thing each."""

    player_x: Array = 5
    player_y: Array = 5
    moving_right: Board = EMPTY
    """Enemies and gold that move right."""
    moving_left: Board = EMPTY
    gold: Board = EMPTY
    """Gold in either direction."""
    spawn_speed: Array = SPAWN_SPEED
    """Steps between two spawns, 1 to 10."""
    spawn_timer: Array = SPAWN_SPEED
    move_speed: Array = MOVE_SPEED
    """Steps between two moves of everything, 1 to 5."""
    move_timer: Array = MOVE_SPEED
    ramp_timer: Array = RAMP_INTERVAL
    ramp_index: Array = 0


def step(s: AsterixState, action: Array, bits: Array, params: MinAtarParams) -> tuple[AsterixState, Array, Array]:
    """One step: something may spawn, the player moves, then everything else, and the game ramps up."""
    s = spawn(s, bits)
    x = jnp.clip(s.player_x + (action == RIGHT) - (action == LEFT), 0, 9)
    y = jnp.clip(s.player_y + (action == DOWN) - (action == UP), 1, 8)
    player = cell(y, x)

    s, reward, caught = meet(s._replace(player_x=x, player_y=y), player)
    move = s.move_timer == 0
    moved, moved_reward, moved_caught = meet(
        s._replace(
            moving_right=s.moving_right.right(),
            moving_left=s.moving_left.left(),
            gold=(s.gold & s.moving_right).right() | (s.gold & s.moving_left).left(),
        ),
        player,
    )
    s = jax.tree.map(lambda new, old: jnp.where(move, new, old), moved, s)
    s = s._replace(spawn_timer=s.spawn_timer - 1, move_timer=jnp.where(move, s.move_speed, s.move_timer) - 1)
    reward |= move & moved_reward
    return ramp(s, params), reward.astype(jnp.float32), caught | move & moved_caught


def spawn(s: AsterixState, bits: Array) -> AsterixState:
    """When the timer is 0, an enemy or, one time in three, gold enters a free row from the left or the right.

    Bit 0 of word 0 selects the side, the upper half of word 1 gold or enemy, its lower half the row.
    """
    rightward, gold = (bits[0] & 1) == 1, bits[1] >> 16 < 65536 // 3
    free = free_rows(s.moving_right | s.moving_left)
    rank = (bits[1] & 0xFFFF) * jax.lax.population_count(free) >> 16
    for i in range(7):
        free = jnp.where(i < rank, free & (free - 1), free)  # drops the lowest row
    row = free & -free  # bit y, or none if no row is free
    edge = jnp.where(rightward, jnp.uint32(1), jnp.uint32(1 << 9))
    new = from_rows(jnp.stack([jnp.where(row >> y & 1 == 1, edge, 0) for y in range(1, 9)]))
    now = s.spawn_timer == 0
    return s._replace(
        moving_right=s.moving_right | new.where(now & rightward),
        moving_left=s.moving_left | new.where(now & ~rightward),
        gold=s.gold | new.where(now & gold),
        spawn_timer=jnp.where(now, s.spawn_speed, s.spawn_timer),
    )


def free_rows(board: Board) -> Array:
    """The empty rows among 1 to 8, bit y for row y."""
    low = THREE_ROWS & ~RIGHT_EDGE
    full = [((word & low) + low | word) >> 9 & EVERY_ROW for word in board[:3]]  # bit 10 i: row i has a cell
    rows = [(f | f >> 9 | f >> 18) & 7 for f in full]
    return ~(rows[0] | rows[1] << 3 | rows[2] << 6) & 0b111111110


def meet(s: AsterixState, player: Board) -> tuple[AsterixState, Array, Array]:
    """Removes gold at the player: the new state, whether gold was found, and whether an enemy caught the player."""
    found = s.gold & player
    caught = ((s.moving_right | s.moving_left) - s.gold) & player
    s = s._replace(moving_right=s.moving_right - found, moving_left=s.moving_left - found, gold=s.gold - found)
    return s, found.any(), caught.any()


def ramp(s: AsterixState, params: MinAtarParams) -> AsterixState:
    """Every 102 steps spawns become more frequent, and every other time moves become faster too."""
    ramping = params.difficulty_ramping & ((s.spawn_speed > 1) | (s.move_speed > 1))
    now = ramping & (s.ramp_timer < 0)
    return s._replace(
        move_speed=s.move_speed - (now & (s.move_speed > 1) & (s.ramp_index & 1 == 1)),
        spawn_speed=s.spawn_speed - (now & (s.spawn_speed > 1)),
        ramp_timer=jnp.where(now, RAMP_INTERVAL, s.ramp_timer - ramping),
        ramp_index=s.ramp_index + now,
    )


def boards(s: AsterixState) -> Array:
    """The packed observation."""
    enemy = (s.moving_right | s.moving_left) - s.gold
    trail = s.moving_right.left() | s.moving_left.right()
    return pack([cell(s.player_y, s.player_x), enemy, trail, s.gold])


ASTERIX = Game("Asterix-MinAtar", CHANNELS, (NOOP, LEFT, UP, RIGHT, DOWN), 2, start_with(AsterixState()), step, boards)
