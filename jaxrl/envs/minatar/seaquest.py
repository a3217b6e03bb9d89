"""Seaquest: a submarine hunts fish and enemy submarines, rescues divers, and must surface for air with one aboard."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrl.envs.minatar.bits import Board, cell, empty, locate, pack
from jaxrl.envs.minatar.environment import DOWN, FIRE, LEFT, RIGHT, UP, Game, MinAtarParams
from jaxrl.types import Array, PyTree

CHANNELS = (
    "submarine front", "submarine back", "friendly bullet", "trail", "enemy bullet", "enemy fish", "enemy submarine",
    "oxygen gauge", "diver gauge", "diver",
)  # fmt: skip
MAX_OXYGEN, MAX_DIVERS = 200, 6
ENEMY_SPAWN_SPEED, DIVER_SPAWN_SPEED = 20, 30
MOVE_SPEED, FASTEST, DIVER_MOVE_SPEED = 5, 2, 5
SHOT_COOL_DOWN, ENEMY_SHOT_INTERVAL = 5, 10
ENEMIES, BULLETS, DIVERS = 32, 2, 2
"""Slots. At most 30 enemies live at once, and at most 2 friendly bullets and 2 divers."""
NOWHERE = 12
"""The row of an empty slot; a board shows nothing there."""


class Enemies(NamedTuple):
    """Slots `[32, ...]`, the newest first: every spawn moves all one slot on. int32, or bool."""

    x: Array
    y: Array
    """1 to 8, or NOWHERE."""
    right: Array
    """bool; the way it goes."""
    submarine: Array
    """bool; submarines shoot, fish do not."""
    move_timer: Array
    shot_timer: Array


class Divers(NamedTuple):
    """Slots `[2, ...]`, the newest first."""

    x: Array
    y: Array
    right: Array
    move_timer: Array


class Bullets(NamedTuple):
    """Friendly bullets, slots `[2, ...]`."""

    x: Array
    y: Array
    right: Array


class SeaquestState(NamedTuple):
    """Scalars int32 `[...]` where nothing else is said."""

    x: Array
    """Column of the submarine's front, 0 to 9."""
    y: Array
    """Its row: 0 (the surface) to 8."""
    right: Array
    """bool; the way it faces."""
    oxygen: Array
    """0 to 200; one unit a step under water."""
    diver_count: Array
    """Divers aboard, at most 6; negative after surfacing with a count of 6 and then again."""
    surface: Array
    """bool; at the surface since an earlier step."""
    bullets: Bullets
    enemies: Enemies
    divers: Divers
    enemy_right: Board
    """The enemies' bullets that fly right."""
    enemy_left: Board
    enemy_spawn_speed: Array
    """Steps between two spawns of enemies, 1 to 20."""
    enemy_spawn_timer: Array
    diver_spawn_timer: Array
    move_speed: Array
    """Steps an enemy rests between two moves, 2 to 5."""
    ramp_index: Array
    shot_timer: Array
    """Steps until the submarine can fire again."""


def initial(bits: Array) -> SeaquestState:
    """A new game; the same always."""
    shape = bits.shape[1:]

    def full(value: int, *slots: int) -> Array:
        return jnp.full((*slots, *shape), value, jnp.int32)

    def no(*slots: int) -> Array:
        return jnp.zeros((*slots, *shape), bool)

    return SeaquestState(
        x=full(5),
        y=full(0),
        right=no(),
        oxygen=full(MAX_OXYGEN),
        diver_count=full(0),
        surface=~no(),
        bullets=Bullets(full(0, BULLETS), full(NOWHERE, BULLETS), no(BULLETS)),
        enemies=Enemies(
            full(0, ENEMIES), full(NOWHERE, ENEMIES), no(ENEMIES), no(ENEMIES), full(0, ENEMIES), full(0, ENEMIES)
        ),
        divers=Divers(full(0, DIVERS), full(NOWHERE, DIVERS), no(DIVERS), full(0, DIVERS)),
        enemy_right=empty(shape),
        enemy_left=empty(shape),
        enemy_spawn_speed=full(ENEMY_SPAWN_SPEED),
        enemy_spawn_timer=full(ENEMY_SPAWN_SPEED),
        diver_spawn_timer=full(DIVER_SPAWN_SPEED),
        move_speed=full(MOVE_SPEED),
        ramp_index=full(0),
        shot_timer=full(0),
    )


def step(s: SeaquestState, action: Array, bits: Array, params: MinAtarParams) -> tuple[SeaquestState, Array, Array]:
    """One step, in the order in which things happen."""
    s = spawn_diver(spawn_enemy(s, bits), bits)
    s = steer(s, action)
    s, shot = move_bullets(s)
    s = move_divers(s)
    s, rammed_or_shot, caught = move_enemies(s)
    s, hit = move_enemy_bullets(s)
    s = s._replace(
        enemy_spawn_timer=jnp.maximum(s.enemy_spawn_timer - 1, 0),
        diver_spawn_timer=jnp.maximum(s.diver_spawn_timer - 1, 0),
        shot_timer=jnp.maximum(s.shot_timer - 1, 0),
    )
    s, rescued, drowned = breathe(s, params)
    return s, (shot + rammed_or_shot + rescued).astype(jnp.float32), caught | hit | drowned


def spawn_enemy(s: SeaquestState, bits: Array) -> SeaquestState:
    """When it is time, an enemy enters a row in which nobody goes the other way.

    Bit 0 of word 0 chooses its side, bits 1 to 3 its row; word 1 whether it is a submarine, one time in three.
    """
    right, y = (bits[0] & 1) == 1, 1 + (bits[0] >> 1 & 7).astype(jnp.int32)
    submarine = bits[1] < 2**32 // 3
    now = s.enemy_spawn_timer == 0
    blocked = ((s.enemies.y == y) & (s.enemies.right != right)).any(axis=0)
    new = Enemies(
        jnp.where(right, 0, 9), y, right, submarine, s.move_speed, jnp.full_like(s.move_speed, ENEMY_SHOT_INTERVAL)
    )
    return s._replace(
        enemies=push(s.enemies, new, now & ~blocked),
        enemy_spawn_timer=jnp.where(now, s.enemy_spawn_speed, s.enemy_spawn_timer),
    )


def spawn_diver(s: SeaquestState, bits: Array) -> SeaquestState:
    """When it is time, a diver enters; bit 4 of word 0 chooses the side, bits 5 to 7 the row."""
    right, y = (bits[0] >> 4 & 1) == 1, 1 + (bits[0] >> 5 & 7).astype(jnp.int32)
    now = s.diver_spawn_timer == 0
    new = Divers(jnp.where(right, 0, 9), y, right, jnp.full_like(y, DIVER_MOVE_SPEED))
    return s._replace(
        divers=push(s.divers, new, now), diver_spawn_timer=jnp.where(now, DIVER_SPAWN_SPEED, s.diver_spawn_timer)
    )


def push(slots: PyTree, new: PyTree, now: Array) -> PyTree:
    """Where `now`, slots with `new` in the first and everything else one further; the last is forgotten."""

    def one(slots: Array, new: Array) -> Array:
        return jnp.where(now, jnp.concatenate([new[None], slots[:-1]]), slots)

    return jax.tree.map(one, slots, new)


def steer(s: SeaquestState, action: Array) -> SeaquestState:
    """The submarine fires, or moves and faces the way it moved."""
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


def shoot(enemies: Enemies, bullets: Bullets, targets: Array, order: Array) -> tuple[Enemies, Bullets, Array]:
    """Each bullet takes one target in its cell with it, the one that comes first.

    Args:
        enemies: `[32, ...]`.
        bullets: `[2, ...]`; no two share a cell.
        targets: which enemies can be hit, bool `[32, ...]`.
        order: who is hit when several are in the cell: the lowest, int32 `[32, ...]`, no two equal.

    Returns:
        the enemies and the bullets that are left, and the number of hits, int32 `[...]`.
    """
    dead, spent = jnp.zeros_like(targets), []
    for i in range(BULLETS):
        there = targets & (enemies.x == bullets.x[i]) & (enemies.y == bullets.y[i])
        rank = jnp.where(there, order, 2 * ENEMIES)
        best = rank.min(axis=0)
        dead |= there & (rank == best)
        spent.append(best < 2 * ENEMIES)
    gone = jnp.stack(spent)
    enemies = enemies._replace(y=jnp.where(dead, NOWHERE, enemies.y))
    return enemies, bullets._replace(y=jnp.where(gone, NOWHERE, bullets.y)), gone.sum(axis=0, dtype=jnp.int32)


def move_bullets(s: SeaquestState) -> tuple[SeaquestState, Array]:
    """Friendly bullets fly and hit: of several enemies in a cell a fish before a submarine, then the oldest."""
    x = s.bullets.x + jnp.where(s.bullets.right, 1, -1)
    y = jnp.where((x < 0) | (x > 9), NOWHERE, s.bullets.y)
    order = jnp.where(s.enemies.submarine, 2 * ENEMIES - 1, ENEMIES - 1) - slot_index(s)
    enemies, bullets, hits = shoot(s.enemies, s.bullets._replace(x=x, y=y), s.enemies.y < NOWHERE, order)
    return s._replace(enemies=enemies, bullets=bullets), hits


def slot_index(s: SeaquestState) -> Array:
    """The enemies' slots, int32 `[32, 1 ...]`."""
    return jnp.arange(ENEMIES).reshape(ENEMIES, *[1] * s.x.ndim)


def move_divers(s: SeaquestState) -> SeaquestState:
    """Divers move, the newest first, and come aboard while there is room."""
    count, d = s.diver_count, s.divers
    step_x, moves = jnp.where(d.right, 1, -1), d.move_timer == 0
    x, y, timer = [], [], []
    for i in range(DIVERS):
        here = (d.x[i] == s.x) & (d.y[i] == s.y) & (count < MAX_DIVERS)
        moved = d.x[i] + step_x[i]
        there = ~here & moves[i] & (moved == s.x) & (d.y[i] == s.y) & (count < MAX_DIVERS)
        gone = here | there | moves[i] & ((moved < 0) | (moved > 9))
        count += here | there
        x.append(jnp.where(moves[i], moved, d.x[i]))
        y.append(jnp.where(gone, NOWHERE, d.y[i]))
        timer.append(jnp.where(moves[i], DIVER_MOVE_SPEED, d.move_timer[i] - 1))
    divers = Divers(jnp.stack(x), jnp.stack(y), d.right, jnp.stack(timer))
    return s._replace(diver_count=count, divers=divers)


def move_enemies(s: SeaquestState) -> tuple[SeaquestState, Array, Array]:
    """Fish and submarines move, may ram the submarine or a bullet, and submarines shoot.

    Only an enemy that moved can have met a bullet, since no bullet that is left shares a cell with one that did not.
    Of several enemies that met it a submarine is hit before a fish, then the newest.
    """
    e = s.enemies
    alive, moves = e.y < NOWHERE, e.move_timer == 0
    x = jnp.where(moves, e.x + jnp.where(e.right, 1, -1), e.x)
    inside = (x >= 0) & (x <= 9)
    row = e.y == s.y
    caught = (row & ((e.x == s.x) | (x == s.x))).any(axis=0)

    # Submarines shoot after they moved, even those that are hit in this very step.
    shoots = alive & e.submarine & (e.shot_timer == 0)
    enemy_right = s.enemy_right | board(e.y, x, shoots & inside & e.right)
    enemy_left = s.enemy_left | board(e.y, x, shoots & inside & ~e.right)

    moved = Enemies(
        x=x,
        y=jnp.where(inside, e.y, NOWHERE),
        right=e.right,
        submarine=e.submarine,
        move_timer=jnp.where(moves, s.move_speed, e.move_timer - 1),
        shot_timer=jnp.where(shoots, ENEMY_SHOT_INTERVAL, e.shot_timer - 1),
    )
    targets = moves & inside & ~(row & (x == s.x))
    order = jnp.where(e.submarine, 0, ENEMIES) + slot_index(s)
    enemies, bullets, hits = shoot(moved, s.bullets, targets & alive, order)
    s = s._replace(enemies=enemies, bullets=bullets, enemy_right=enemy_right, enemy_left=enemy_left)
    return s, hits, caught


def move_enemy_bullets(s: SeaquestState) -> tuple[SeaquestState, Array]:
    """The enemies' bullets fly; whether one hits the submarine before or after."""
    submarine = cell(s.y, s.x)
    right, left = s.enemy_right.right(), s.enemy_left.left()
    hit = ((s.enemy_right | s.enemy_left | right | left) & submarine).any()
    return s._replace(enemy_right=right, enemy_left=left), hit


def breathe(s: SeaquestState, params: MinAtarParams) -> tuple[SeaquestState, Array, Array]:
    """Air: used up below, filled up at the surface, where divers are worth points and the game gets harder."""
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
        move_speed=s.move_speed - (ramps & (s.move_speed > FASTEST) & (s.ramp_index % 2 == 1)),
        enemy_spawn_speed=s.enemy_spawn_speed - (ramps & (s.enemy_spawn_speed > 1)),
        ramp_index=s.ramp_index + ramps,
    )
    return s, reward, drowned


def gauge(oxygen: Array) -> Array:
    """Oxygen in tenths of a full tank, rounded down, 0 to 10."""
    return jnp.maximum(oxygen, 0) * 10 // MAX_OXYGEN


def board(y: Array, x: Array, shown: Array) -> Board:
    """The board of all slots `[slots, ...]` that are `shown`."""
    word, bit = locate(y, x)
    words = (jnp.where(shown & (word == i), bit, jnp.uint32(0)) for i in range(4))
    return Board(*(jax.lax.reduce(w, jnp.uint32(0), jax.lax.bitwise_or, (0,)) for w in words))


def boards(s: SeaquestState) -> Array:
    """The observation as a bit string."""
    e, d, b = s.enemies, s.divers, s.bullets
    to_right = board(e.y, e.x, e.right) | board(d.y, d.x, d.right)
    to_left = board(e.y, e.x, ~e.right) | board(d.y, d.x, ~d.right)
    oxygen = (jnp.uint32(1) << gauge(s.oxygen).astype(jnp.uint32)) - 1
    aboard = jnp.clip(s.diver_count, 0, MAX_DIVERS).astype(jnp.uint32)
    nothing = empty(s.x.shape)
    return pack(
        [
            cell(s.y, s.x),
            cell(s.y, jnp.where(s.right, s.x - 1, s.x + 1)),
            board(b.y, b.x, b.y < NOWHERE),
            to_right.left() | to_left.right(),
            s.enemy_right | s.enemy_left,
            board(e.y, e.x, ~e.submarine),
            board(e.y, e.x, e.submarine),
            nothing._replace(row_9=oxygen),
            nothing._replace(row_9=((jnp.uint32(1) << aboard) - 1) << (9 - aboard)),
            board(d.y, d.x, d.y < NOWHERE),
        ]
    )


SEAQUEST = Game("Seaquest-MinAtar", CHANNELS, (*range(6),), 2, initial, step, boards)
