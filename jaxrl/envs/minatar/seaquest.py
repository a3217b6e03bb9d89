"""Seaquest: a submarine hunts fish and enemy submarines, rescues divers, and must surface for air with a diver."""

# mypy: disable-error-code="assignment"
# The defaults of a state are the numbers of a new game, which `start_with` turns into arrays.

from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.envs.minatar.bits import EMPTY, ROW, Board, cell, from_rows, pack, start_with
from jaxrl.envs.minatar.environment import DOWN, FIRE, LEFT, RIGHT, UP, Game, MinAtarParams
from jaxrl.envs.minatar.slots import add_one, bits_of, each, equal, everywhere, newest, oldest, push, put, subtract_one
from jaxrl.types import Array
from jaxrl.xla.fusion import no_fuse

CHANNELS = (
    "submarine front", "submarine back", "friendly bullet", "trail", "enemy bullet", "enemy fish", "enemy submarine",
    "oxygen gauge", "diver gauge", "diver",
)  # fmt: skip
MAX_OXYGEN, MAX_DIVERS = 200, 6
ENEMY_SPAWN_SPEED, DIVER_SPAWN_SPEED = 20, 30
MOVE_SPEED, FASTEST, DIVER_MOVE_SPEED = 5, 2, 5
SHOT_COOL_DOWN, ENEMY_SHOT_INTERVAL = 5, 10
BULLETS = 2
"""Largest number of friendly bullets."""
NOWHERE = 12
"""Row of an absent friendly bullet, which no board shows."""
NO_SLOTS = np.uint32(0)


class Swimmers(NamedTuple):
    """Enemies or divers in rows 1 to 8, the newest in slot 0; see `jaxrl.envs.minatar.slots`.

    32 slots are enough for at most 30 enemies or 2 divers.

    Attributes:
        alive: set of slots.
        x: numbers of 4 bits, 0 to 9.
        row: numbers of 3 bits, y - 1.
        right: set of those that move right. All enemies in one row move in the same direction.
        move_timer: numbers of 3 bits.
    """

    alive: Array = NO_SLOTS
    x: Array = np.zeros(4, np.uint32)
    row: Array = np.zeros(3, np.uint32)
    right: Array = NO_SLOTS
    move_timer: Array = np.zeros(3, np.uint32)


class Bullets(NamedTuple):
    """Friendly bullets, int32 `[2, ...]`, and whether they fly right, bool."""

    x: Array = np.zeros(BULLETS, np.int32)
    y: Array = np.full(BULLETS, NOWHERE, np.int32)
    right: Array = np.zeros(BULLETS, bool)


class SeaquestState(NamedTuple):
    """int32 `[...]` by default."""

    x: Array = 5
    """Column of the submarine's front, 0 to 9."""
    y: Array = 0
    """Its row: 0 (the surface) to 8."""
    right: Array = False
    """bool; whether it faces right."""
    oxygen: Array = MAX_OXYGEN
    """0 to 200; each step under water uses one."""
    diver_count: Array = 0
    """Divers aboard, at most 6. Every surfacing takes one, even from a negative count."""
    surface: Array = True
    """bool; whether it was at the surface before."""
    bullets: Bullets = Bullets()
    enemies: Swimmers = Swimmers()
    submarines: Array = NO_SLOTS
    """Set of enemies that are submarines; the others are fish."""
    enemy_shot_timer: Array = np.zeros(4, np.uint32)
    """Numbers of 4 bits, of submarines."""
    divers: Swimmers = Swimmers()
    bullets_right: Board = EMPTY
    """Enemy bullets that fly right."""
    bullets_left: Board = EMPTY
    enemy_spawn_speed: Array = ENEMY_SPAWN_SPEED
    """Steps between two spawns of enemies, 1 to 20."""
    enemy_spawn_timer: Array = ENEMY_SPAWN_SPEED
    diver_spawn_timer: Array = DIVER_SPAWN_SPEED
    move_speed: Array = MOVE_SPEED
    """Steps between two moves of an enemy, 2 to 5."""
    ramp_index: Array = 0
    shot_timer: Array = 0
    """Steps until the submarine can fire again."""


def step(s: SeaquestState, action: Array, bits: Array, params: MinAtarParams) -> tuple[SeaquestState, Array, Array]:
    """One step, in the order of events."""
    s = no_fuse(spawn_diver(spawn_enemy(s, bits), bits))
    s = steer(s, action)
    s, shot = move_bullets(s)
    s = move_divers(s)
    s, met, caught = no_fuse(move_enemies(s))
    s, hit = move_enemy_bullets(s)
    s = s._replace(
        enemy_spawn_timer=jnp.maximum(s.enemy_spawn_timer - 1, 0),
        diver_spawn_timer=jnp.maximum(s.diver_spawn_timer - 1, 0),
        shot_timer=jnp.maximum(s.shot_timer - 1, 0),
    )
    s, rescued, drowned = breathe(s, params)
    return s, (shot + met + rescued).astype(jnp.float32), caught | hit | drowned


def spawn_enemy(s: SeaquestState, bits: Array) -> SeaquestState:
    """When the timer is 0, an enemy enters a row, unless another one moves in the opposite direction there.

    Bit 0 of word 0 selects its side, bits 1 to 3 its row; word 1 whether it is a submarine, one time in three.
    """
    right, row = (bits[0] & 1) == 1, bits[0] >> 1 & 7
    e, due = s.enemies, s.enemy_spawn_timer == 0
    other_way = e.alive & equal(e.row, row) & (e.right ^ everywhere(right))
    now = due & (other_way == 0)
    return s._replace(
        enemies=enter(e, now, right, row, s.move_speed),
        submarines=push(s.submarines, now, everywhere(bits[1] < 2**32 // 3)),
        enemy_shot_timer=push(s.enemy_shot_timer, now, bits_of(jnp.full_like(row, ENEMY_SHOT_INTERVAL), 4)),
        enemy_spawn_timer=jnp.where(due, s.enemy_spawn_speed, s.enemy_spawn_timer),
    )


def spawn_diver(s: SeaquestState, bits: Array) -> SeaquestState:
    """When the timer is 0, a diver enters. Bit 4 of word 0 selects its side, bits 5 to 7 its row."""
    now = s.diver_spawn_timer == 0
    right, row = (bits[0] >> 4 & 1) == 1, bits[0] >> 5 & 7
    return s._replace(
        divers=enter(s.divers, now, right, row, jnp.full_like(row, DIVER_MOVE_SPEED)),
        diver_spawn_timer=jnp.where(now, DIVER_SPAWN_SPEED, s.diver_spawn_timer),
    )


def enter(swimmers: Swimmers, now: Array, right: Array, row: Array, rest: Array) -> Swimmers:
    """Where `now` holds, adds a swimmer that moves right from the left or vice versa, and first rests."""
    return Swimmers(
        alive=push(swimmers.alive, now, everywhere(now)),
        x=push(swimmers.x, now, bits_of(jnp.where(right, 0, 9), 4)),
        row=push(swimmers.row, now, bits_of(row, 3)),
        right=push(swimmers.right, now, everywhere(right)),
        move_timer=push(swimmers.move_timer, now, bits_of(rest, 3)),
    )


def swim(swimmers: Swimmers, moves: Array, rest: Array | int) -> Swimmers:
    """Swimmers in `moves` move by one column or leave; the timers of the others count down."""
    s = swimmers
    leaves = moves & (s.right & equal(s.x, 9) | ~s.right & equal(s.x, 0))
    return s._replace(
        alive=s.alive & ~leaves,
        x=subtract_one(add_one(s.x, moves & s.right), moves & ~s.right),
        move_timer=put(subtract_one(s.move_timer, ~moves), moves, rest),
    )


def at(swimmers: Swimmers, x: Array, y: Array) -> Array:
    """The swimmers in a cell."""
    inside = everywhere((y >= 1) & (y <= 8))
    return swimmers.alive & equal(swimmers.x, x) & equal(swimmers.row, y - 1) & inside


def steer(s: SeaquestState, action: Array) -> SeaquestState:
    """The submarine fires, or moves and faces its direction."""
    fires = (action == FIRE) & (s.shot_timer == 0)
    first = s.bullets.y[0] == NOWHERE
    slot = jnp.stack([fires & first, fires & ~first])
    bullets = jax.tree.map(lambda new, old: jnp.where(slot, new, old), Bullets(s.x, s.y, s.right), s.bullets)
    return s._replace(
        x=jnp.clip(s.x + (action == RIGHT) - (action == LEFT), 0, 9),
        y=jnp.clip(s.y + (action == DOWN) - (action == UP), 0, 8),
        right=(s.right | (action == RIGHT)) & (action != LEFT),
        bullets=bullets,
        shot_timer=jnp.where(fires, SHOT_COOL_DOWN, s.shot_timer),
    )


def move_bullets(s: SeaquestState) -> tuple[SeaquestState, Array]:
    """Friendly bullets fly. Each hits one enemy in its new cell: fish before submarines, then the oldest."""
    x = s.bullets.x + jnp.where(s.bullets.right, 1, -1)
    y = jnp.where((x < 0) | (x > 9), NOWHERE, s.bullets.y)
    there = at(s.enemies, x, y)
    fish = there & ~s.submarines
    hits = oldest(jnp.where(fish != 0, fish, there))
    return shoot(s._replace(bullets=Bullets(x, y, s.bullets.right)), hits)


def shoot(s: SeaquestState, hits: Array) -> tuple[SeaquestState, Array]:
    """Removes each bullet with a hit and the enemy it hit, `[2, ...]`: the new state and the number of hits."""
    hits = no_fuse(hits)
    spent = hits != 0
    enemies = s.enemies._replace(alive=s.enemies.alive & ~(hits[0] | hits[1]))
    bullets = s.bullets._replace(y=jnp.where(spent, NOWHERE, s.bullets.y))
    return s._replace(enemies=enemies, bullets=bullets), spent.sum(axis=0, dtype=jnp.int32)


def move_divers(s: SeaquestState) -> SeaquestState:
    """Divers move, and come aboard before or after their move while there is room, the newest first."""
    d = s.divers
    moved = swim(d, d.alive & equal(d.move_timer, 0), DIVER_MOVE_SPEED)
    met = at(d, s.x, s.y) | at(moved, s.x, s.y)
    room = MAX_DIVERS - s.diver_count
    aboard = jnp.where(room >= 2, met, jnp.where(room == 1, newest(met), 0))
    count = s.diver_count + jax.lax.population_count(aboard).astype(jnp.int32)
    return s._replace(diver_count=count, divers=moved._replace(alive=moved.alive & ~aboard))


def move_enemies(s: SeaquestState) -> tuple[SeaquestState, Array, Array]:
    """Enemies move, submarines shoot, and friendly bullets may hit: the new state, hits, and whether the game ends.

    Only an enemy that moved can meet a bullet, since no remaining bullet shares a cell with one that did not. Each
    bullet hits submarines before fish, then the newest. An enemy that is hit still shoots in this step.
    """
    e = s.enemies
    moves = e.alive & equal(e.move_timer, 0)
    moved = swim(e, moves, s.move_speed)
    rammed = at(moved, s.x, s.y)
    caught = (at(e, s.x, s.y) | rammed) != 0

    shoots = e.alive & s.submarines & equal(s.enemy_shot_timer, 0)
    shots, to_the_right = board(moved, shoots & moved.alive), right_rows(e)
    s = s._replace(
        enemies=moved,
        enemy_shot_timer=put(subtract_one(s.enemy_shot_timer, ~shoots), shoots, ENEMY_SHOT_INTERVAL),
        bullets_right=s.bullets_right | shots & to_the_right,
        bullets_left=s.bullets_left | (shots - to_the_right),
    )
    there = at(moved, s.bullets.x, s.bullets.y) & moves & ~rammed
    submarines = there & s.submarines
    s, number = shoot(s, newest(jnp.where(submarines != 0, submarines, there)))
    return s, number, caught


def move_enemy_bullets(s: SeaquestState) -> tuple[SeaquestState, Array]:
    """Enemy bullets fly: the new state, and whether one hits the submarine before or after its move."""
    right, left = s.bullets_right.right(), s.bullets_left.left()
    hit = (s.bullets_right | s.bullets_left | right | left) & cell(s.y, s.x)
    return s._replace(bullets_right=right, bullets_left=left), hit.any()


def breathe(s: SeaquestState, params: MinAtarParams) -> tuple[SeaquestState, Array, Array]:
    """Air: used under water, refilled at the surface, where divers are worth points and the game ramps up."""
    below, surfaces = s.y > 0, (s.y == 0) & ~s.surface
    drowned = (s.oxygen <= 0) | surfaces & (s.diver_count == 0)
    surfaces &= s.diver_count != 0
    full = surfaces & (s.diver_count == MAX_DIVERS)
    reward = jnp.where(full, gauge(s.oxygen), 0)
    ramps = surfaces & params.difficulty_ramping & ((s.enemy_spawn_speed > 1) | (s.move_speed > FASTEST))
    s = s._replace(
        oxygen=jnp.where(surfaces, MAX_OXYGEN, s.oxygen - below),
        diver_count=jnp.where(full, 0, s.diver_count) - surfaces,
        surface=~below & (s.surface | surfaces),
        move_speed=s.move_speed - (ramps & (s.move_speed > FASTEST) & (s.ramp_index & 1 == 1)),
        enemy_spawn_speed=s.enemy_spawn_speed - (ramps & (s.enemy_spawn_speed > 1)),
        ramp_index=s.ramp_index + ramps,
    )
    return s, reward, drowned


def gauge(oxygen: Array) -> Array:
    """Oxygen in tenths of a full tank, rounded down, 0 to 10."""
    return jnp.maximum(oxygen, 0) * 10 // MAX_OXYGEN


def board(swimmers: Swimmers, slots: Array) -> Board:
    """A board with the swimmers in the given slots."""
    rows = slots & in_rows(swimmers)
    columns = enumerate(each(swimmers.x, 10))
    cells = (jnp.where(rows & column == 0, jnp.uint32(0), jnp.uint32(1 << x)) for x, column in columns)
    return from_rows(no_fuse(reduce(jnp.bitwise_or, cells)))


def in_rows(swimmers: Swimmers) -> Array:
    """The slots, alive or not, in each of rows 1 to 8: `[8, ...]`."""
    return equal(swimmers.row, jnp.arange(8).reshape(8, *[1] * swimmers.alive.ndim))


def right_rows(enemies: Swimmers) -> Board:
    """All cells of the rows whose enemies move right."""
    slots = enemies.alive & enemies.right & in_rows(enemies)
    return from_rows(jnp.where(slots == 0, jnp.uint32(0), jnp.uint32(ROW)))


def boards(s: SeaquestState) -> Array:
    """The packed observation."""
    e, d, b = s.enemies, s.divers, s.bullets
    fish, submarine = board(e, e.alive & ~s.submarines), board(e, e.alive & s.submarines)
    to_the_right, to_the_left = board(d, d.alive & d.right), board(d, d.alive & ~d.right)
    diver, enemy, rows = to_the_right | to_the_left, fish | submarine, right_rows(e)
    trail = ((enemy & rows) | to_the_right).left() | ((enemy - rows) | to_the_left).right()
    oxygen = (jnp.uint32(1) << gauge(s.oxygen).astype(jnp.uint32)) - 1
    aboard = jnp.clip(s.diver_count, 0, MAX_DIVERS).astype(jnp.uint32)
    return pack(
        [
            cell(s.y, s.x),
            cell(s.y, jnp.where(s.right, s.x - 1, s.x + 1)),
            cell(b.y[0], b.x[0]) | cell(b.y[1], b.x[1]),
            trail,
            s.bullets_right | s.bullets_left,
            fish,
            submarine,
            EMPTY._replace(row_9=oxygen),
            EMPTY._replace(row_9=((jnp.uint32(1) << aboard) - 1) << (9 - aboard)),
            diver,
        ]
    )


SEAQUEST = Game("Seaquest-MinAtar", CHANNELS, (*range(6),), 2, start_with(SeaquestState()), step, boards)
