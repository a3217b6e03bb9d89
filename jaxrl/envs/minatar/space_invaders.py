"""Space Invaders: a cannon against waves of aliens that descend and shoot. Each alien hit is worth a point.

Nothing in the game is random. Each new wave of aliens moves faster.
"""

# mypy: disable-error-code="assignment"
# The defaults of a state are the numbers of a new game, which `start_with` turns into arrays.

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrl.envs.minatar.bits import EMPTY, EVERY_ROW, Board, pack, start_with
from jaxrl.envs.minatar.environment import FIRE, LEFT, NOOP, RIGHT, Game, MinAtarParams
from jaxrl.types import Array

CHANNELS = ("cannon", "alien", "alien moving left", "alien moving right", "friendly bullet", "enemy bullet")
SHOT_COOL_DOWN, MOVE_INTERVAL, SHOT_INTERVAL, FASTEST = 5, 12, 10, 6
COLUMNS = 0b0011111100
"""The columns of new aliens, 2 to 7; their rows are 0 to 3."""
NEW_ALIENS = Board(*map(np.uint32, (COLUMNS * EVERY_ROW, COLUMNS, 0, 0)))  # type: ignore[arg-type]
"""A new wave of aliens."""


class SpaceInvadersState(NamedTuple):
    """int32 `[...]` by default."""

    cannon_x: Array = 5
    friendly: Board = EMPTY
    """The cannon's bullets."""
    enemy: Board = EMPTY
    """The aliens' bullets."""
    aliens: Board = NEW_ALIENS
    moving_right: Array = False
    """bool; the direction of the aliens."""
    move_interval: Array = MOVE_INTERVAL
    """Steps between two moves of the aliens, fewer when few are left: 12 for the first wave of aliens, down to 6."""
    move_timer: Array = MOVE_INTERVAL
    enemy_shot_timer: Array = SHOT_INTERVAL
    shot_timer: Array = 0
    """Steps until the cannon can fire again."""


def step(
    s: SpaceInvadersState, action: Array, bits: Array, params: MinAtarParams
) -> tuple[SpaceInvadersState, Array, Array]:
    """One step: the cannon, the bullets, the aliens, their shot, the hits, and new aliens when none is left."""
    del bits
    fires = (action == FIRE) & (s.shot_timer == 0)
    friendly = s.friendly | row_9(jnp.uint32(1) << s.cannon_x.astype(jnp.uint32)).where(fires)
    x = jnp.clip(s.cannon_x + (action == RIGHT) - (action == LEFT), 0, 9)
    cannon = jnp.uint32(1) << x.astype(jnp.uint32)
    friendly, enemy = friendly.up(), s.enemy.down()
    terminated = (enemy.row_9 | s.aliens.row_9) & cannon != 0

    moves = s.move_timer == 0
    turns = moves & (s.aliens.columns() & jnp.where(s.moving_right, jnp.uint32(1 << 9), jnp.uint32(1)) != 0)
    terminated |= turns & (s.aliens.row_9 != 0)
    lower = s.aliens.down()
    lower = lower._replace(rows_0_to_2=lower.rows_0_to_2 | s.aliens.row_9)  # wraps around, once the game is over
    sideways = s.aliens.right().where(s.moving_right, s.aliens.left())
    aliens = lower.where(turns, sideways.where(moves, s.aliens))
    terminated |= moves & (aliens.row_9 & cannon != 0)
    move_timer = jnp.where(moves, jnp.minimum(s.aliens.size(), s.move_interval), s.move_timer)

    shoots = s.enemy_shot_timer == 0
    enemy |= shooter(aliens, cannon).where(shoots)
    hit = aliens & friendly
    aliens, friendly = aliens - hit, friendly - hit

    cleared = ~aliens.any()
    state = SpaceInvadersState(
        cannon_x=x,
        friendly=friendly,
        enemy=enemy,
        aliens=NEW_ALIENS.where(cleared, aliens),
        moving_right=s.moving_right ^ turns,
        move_interval=s.move_interval - (cleared & params.difficulty_ramping & (s.move_interval > FASTEST)),
        move_timer=move_timer - 1,
        enemy_shot_timer=jnp.where(shoots, SHOT_INTERVAL, s.enemy_shot_timer) - 1,
        shot_timer=jnp.maximum(jnp.where(fires, SHOT_COOL_DOWN, s.shot_timer) - 1, 0),
    )
    return state, hit.size().astype(jnp.float32), terminated


def shooter(aliens: Board, cannon: Array) -> Board:
    """The alien that shoots: the lowest one in the column nearest to the cannon, the left one of two.

    Args:
        aliens: at least one.
        cannon: the cannon's column as a bit, uint32 `[...]`.
    """
    columns = aliens.columns()
    left = columns & (2 * cannon - 1)
    for shift in (1, 2, 4, 8):
        left |= left >> shift
    left ^= left >> 1  # the highest bit
    right = columns & ~(2 * cannon - 1)
    right &= -right  # the lowest bit
    # Column l is as near to c as r if c - l <= r - c, which is 2^c * 2^c <= 2^l * 2^r.
    column = jnp.where((right == 0) | (cannon * cannon <= left * right), left, right)
    a, b, c, d = (lowest(word & column * EVERY_ROW) for word in aliens)
    return Board(jnp.where(b | c | d == 0, a, 0), jnp.where(c | d == 0, b, 0), jnp.where(d == 0, c, 0), d)


def lowest(word: Array) -> Array:
    """The lowest set cell in each column of a word's three rows."""
    return word & ~(word >> 10 | word >> 20)


def row_9(row: Array) -> Board:
    """A board with these ten bits in row 9."""
    return EMPTY._replace(row_9=row)


def boards(s: SpaceInvadersState) -> Array:
    """The packed observation."""
    cannon = row_9(jnp.uint32(1) << s.cannon_x.astype(jnp.uint32))
    moving_left, moving_right = s.aliens.where(~s.moving_right), s.aliens.where(s.moving_right)
    return pack([cannon, s.aliens, moving_left, moving_right, s.friendly, s.enemy])


SPACE_INVADERS = Game(
    "SpaceInvaders-MinAtar", CHANNELS, (NOOP, LEFT, RIGHT, FIRE), 1, start_with(SpaceInvadersState()), step, boards
)
