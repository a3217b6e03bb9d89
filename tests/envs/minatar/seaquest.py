"""Seaquest as the original keeps it, and as we do.

A row lists fish, submarines and divers from the oldest to the newest. The order of bullets does not matter: friendly
ones are listed by their cells, and of the enemies' only the cells count, because two in one cell do what one does.
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxrl.envs.minatar.bits import Board
from jaxrl.envs.minatar.seaquest import NOWHERE, Bullets, SeaquestState, Swimmers
from jaxrl.types import PyTree
from tests.envs.minatar.originals import (
    Arrays,
    Original,
    Outcome,
    Row,
    Words,
    board_rows,
    board_words,
    coin,
    compact,
    int32,
)

SCALARS = {
    "x": "sub_x",
    "y": "sub_y",
    "right": "sub_or",
    "oxygen": "oxygen",
    "diver_count": "diver_count",
    "surface": "surface",
    "enemy_spawn_speed": "e_spawn_speed",
    "enemy_spawn_timer": "e_spawn_timer",
    "diver_spawn_timer": "d_spawn_timer",
    "move_speed": "move_speed",
    "ramp_index": "ramp_index",
    "shot_timer": "shot_timer",
}
"""Our names of the numbers, and the original's."""
LISTS = {"fish": "e_fish", "submarines": "e_subs", "divers": "divers", "bullets": "f_bullets"}
SLOTS = {"fish": (32, 4), "submarines": (32, 5), "divers": (32, 4), "bullets": (2, 3)}
"""Items begin (x, y, moves right); all but bullets go on with the move timer, and submarines with the shot timer."""
BOOLS = ("right", "surface")
LEFT, UP, RIGHT, DOWN, FIRE = range(1, 6)


def draws(game: Any, words: Words) -> list:
    answers: list = []
    if game.e_spawn_timer == 0:
        answers += [coin(words[0] & 1 == 1), coin(words[1] < 2**32 // 3), 1 + (words[0] >> 1 & 7)]
    if game.d_spawn_timer == 0:
        answers += [coin(words[0] >> 4 & 1 == 1), 1 + (words[0] >> 5 & 7)]
    return answers


def read(game: Any) -> Row:
    row: Row = {ours: getattr(game, its) for ours, its in SCALARS.items()}
    row |= {ours: [tuple(item) for item in getattr(game, its)] for ours, its in LISTS.items()}
    row["bullets"].sort()
    row["bullets_right"], row["bullets_left"] = [0] * 10, [0] * 10
    for x, y, right in game.e_bullets:
        row["bullets_right" if right else "bullets_left"][y] |= 1 << x
    return row


def write(game: Any, row: Row) -> None:
    for ours, its in SCALARS.items():
        value = row[ours]
        setattr(game, its, bool(value) if ours in BOOLS else value)
    for ours, its in LISTS.items():
        setattr(game, its, [[*item[:2], bool(item[2]), *item[3:]] for item in row[ours]])
    game.e_bullets = [
        [x, y, right]
        for right, rows in ((True, row["bullets_right"]), (False, row["bullets_left"]))
        for y in range(10)
        for x in range(10)
        if rows[y] >> x & 1
    ]


def arrays(s: PyTree) -> Arrays:
    def swimmers(these: Swimmers, kind: np.ndarray, *more: np.ndarray) -> np.ndarray:
        fields = number(these.x), number(these.row) + 1, number((these.right,)), number(these.move_timer), *more
        return compact(fields, number((these.alive & kind,)) == 1, -np.arange(32)[:, None])

    e, b, everyone = s.enemies, s.bullets, np.uint32(0xFFFFFFFF)
    return {name: getattr(s, name) for name in SCALARS} | {
        "fish": swimmers(e, ~s.submarines),
        "submarines": swimmers(e, s.submarines, number(s.enemy_shot_timer)),
        "divers": swimmers(s.divers, everyone),
        "bullets": compact((b.x, b.y, b.right), b.y != NOWHERE, b.x * 100 + b.y * 10 + b.right),
        "bullets_right": board_rows(s.bullets_right),
        "bullets_left": board_rows(s.bullets_left),
    }


def number(words: Sequence[np.ndarray]) -> np.ndarray:
    """The numbers in our slots, the lowest bits first: int `[32, B]`."""
    bits = [word >> np.arange(32, dtype=np.uint32)[:, None] & 1 for word in words]
    return np.sum([bit.astype(int) << k for k, bit in enumerate(bits)], axis=0)


def slots(numbers: np.ndarray, count: int) -> np.ndarray:
    """Our words of the numbers `[B, 32]`: `[count, B]`."""
    return np.stack([((numbers >> k & 1) << np.arange(32)).sum(axis=1).astype(np.uint32) for k in range(count)])


def ours(a: Arrays) -> SeaquestState:
    """Fish as the newest enemies, submarines as the oldest: only the order within each kind matters."""

    def swimmers(items: np.ndarray) -> Swimmers:
        x, y, right, move_timer = items[..., :4].transpose(2, 0, 1)  # what a slot holds that is not alive is no matter
        (alive,), (right,) = slots(y > 0, 1), slots(right, 1)
        return Swimmers(alive, slots(x, 4), slots(y - 1, 3), right, slots(move_timer, 3))

    fish = np.pad(a["fish"], ((0, 0), (0, 0), (0, 1)), constant_values=-1)
    kinds = [np.insert(items, 5, kind, axis=2) for kind, items in enumerate((fish, a["submarines"]))]
    enemies = newest_first(np.concatenate(kinds[::-1], axis=1))
    x, y, right = a["bullets"].T.astype(np.int32)
    return SeaquestState(
        **{name: a[name] == 1 if name in BOOLS else int32(a[name]) for name in SCALARS},
        bullets=Bullets(x, np.where(y < 0, NOWHERE, y), right == 1),
        enemies=swimmers(enemies),
        submarines=slots(enemies[..., 5], 1)[0],
        enemy_shot_timer=slots(enemies[..., 4], 4),
        divers=swimmers(newest_first(a["divers"])),
        bullets_right=Board(*board_words(a["bullets_right"])),
        bullets_left=Board(*board_words(a["bullets_left"])),
    )


def newest_first(items: np.ndarray) -> np.ndarray:
    """Items `[B, items, fields]`, those with a y of -1 at the end: `[B, 32, fields]`."""
    items = items[:, ::-1]
    used = items[..., 1] >= 0
    assert used.sum(axis=1).max() <= 32
    order = np.argsort(~used, axis=1, kind="stable")[:, :32]
    return np.take_along_axis(items, order[..., None], axis=1)


def levels(rng: random.Random, ramps: int) -> Row:
    """The speeds after so many ramps."""
    return {
        "enemy_spawn_speed": max(20 - ramps, 1),
        "move_speed": max(5 - ramps // 2, 2),
        "ramp_index": ramps,
    }


def late(rng: random.Random) -> Row:
    """An empty sea at one of the fastest levels."""
    at_surface = rng.randrange(2)
    return levels(rng, rng.choice((19, 19, rng.randrange(20)))) | {
        **{"x": 5, "y": 4 * (1 - at_surface), "right": 0, "surface": at_surface, "shot_timer": 0},
        **{"oxygen": rng.choice((3, 20, 200)), "diver_count": rng.choice((-2, -1, 0, 1, 5, 6))},
        **{"fish": [], "submarines": [], "divers": [], "bullets": []},
        **{"bullets_right": [0] * 10, "bullets_left": [0] * 10},
        **{"enemy_spawn_timer": 0, "diver_spawn_timer": rng.randrange(30)},
    }


def dense(rng: random.Random) -> Row:
    """Much of everything in the few rows around the submarine, and most of it about to move."""
    speeds = levels(rng, rng.randrange(20))
    right, y = rng.randrange(2), rng.choice((0, 0, rng.randrange(9), rng.randrange(9)))
    x = rng.randint(1, 9) if right else rng.randrange(9)
    rows = [rng.randint(1, 8), min(max(y, 1), 8)]
    direction = [rng.randrange(2) for _ in range(10)]
    columns = [rng.randrange(10) for _ in range(3)]

    def thing(facing: int | None = None) -> tuple[int, ...]:
        row = rng.choice(rows)
        facing = direction[row] if facing is None else facing
        return rng.choice(columns), row, facing, rng.choice((0, rng.randint(0, speeds["move_speed"])))

    crowd = rng.choice((1, 3, 6, 12))
    fish = [thing() for _ in range(rng.randint(0, crowd))]
    submarines = [(*thing(), rng.choice((0, rng.randint(0, 10)))) for _ in range(rng.randint(0, crowd))]
    cool_down, diver_spawn_timer = rng.choice((0, rng.randint(0, 4))), rng.choice((0, rng.randint(0, 29)))
    places = {(rng.choice(columns) + rng.randint(-2, 2), rng.choice(rows)) for _ in range(rng.randint(0, 3))}
    free = {p for p in places if 0 <= p[0] <= 9 and p[0] != x} - {enemy[:2] for enemy in (*fish, *submarines)}
    # The submarine never overtakes its bullets: those to its right move right, those to its left move left.
    bullets = sorted((*place, int(place[0] > x)) for place in free)[: 1 if cool_down == 0 else 2]
    at_most = 1 if diver_spawn_timer == 0 else 2
    row = max(y, 1)
    near = [(x, row, 1, 3), (x - 1, row, 1, 0), (x + 1, row, 0, 0), thing(rng.randrange(2))]
    divers = [d for d in rng.sample(near, rng.randint(0, at_most)) if 0 <= d[0] <= 9]
    return speeds | {
        **{"x": x, "y": y, "right": right, "surface": int(y == 0 and rng.random() < 0.5)},
        "oxygen": rng.choice((0, 1, rng.randint(0, 200))),
        "diver_count": rng.choice((0, 1, 5, 5, 6, 6, rng.randint(-3, 6))),
        **{"fish": fish, "submarines": submarines, "divers": divers, "bullets": bullets},
        **{"bullets_right": stray(rng), "bullets_left": stray(rng), "shot_timer": cool_down},
        "enemy_spawn_timer": rng.choice((0, rng.randint(0, speeds["enemy_spawn_speed"]))),
        "diver_spawn_timer": diver_spawn_timer,
    }


def stray(rng: random.Random) -> list[int]:
    """Enemy bullets here and there, in rows 1 to 8."""
    share = rng.choice((0.0, 0.05))
    return [sum((rng.random() < share) << x for x in range(10)) if 1 <= y <= 8 else 0 for y in range(10)]


def policy(row: Row, rng: random.Random) -> int:
    """Keeps clear of what comes, shoots what is ahead, collects divers, and surfaces for air."""
    x, y = row["x"], row["y"]
    enemies = [(e[0], e[1], 1 if e[2] else -1) for e in (*row["fish"], *row["submarines"])]
    aboard = row["diver_count"]
    wants_air = (row["oxygen"] < 50 and aboard != 0) or aboard == 6
    rests = row["surface"] and rng.random() < 0.9  # so that the sea fills
    wants_diver = row["divers"] and aboard < 6 and not wants_air

    def cost(x: int, y: int) -> float:
        total = rng.random() + 5 * y * rests
        if wants_air:
            total += y
        elif wants_diver:
            total += min(abs(x - d[0]) + abs(y - d[1]) for d in row["divers"])
        elif y == 0 and aboard != 0 and row["oxygen"] > 50:
            total += 3
        if y == 0 and aboard == 0 and not row["surface"]:
            total += 1000
        for ex, ey, step in enemies:
            if ey == y and -1 <= (ahead := (x - ex) * step) <= 3:
                total += (200, 200, 100, 20)[max(ahead, 0)]
        if row["bullets_right"][y] & 0b111 << x >> 2 or row["bullets_left"][y] & 0b111 << x:
            total += 200
        return total

    ahead = range(x + 1, 10) if row["right"] else range(x)
    if row["shot_timer"] == 0 and any(ey == y and ex in ahead for ex, ey, _ in enemies) and cost(x, y) < 190:
        return FIRE
    places = {0: (x, y), LEFT: (x - 1, y), RIGHT: (x + 1, y), UP: (x, y - 1), DOWN: (x, y + 1)}
    on_board = {action: (px, py) for action, (px, py) in places.items() if 0 <= px <= 9 and 0 <= py <= 8}
    return min(on_board, key=lambda action: cost(*on_board[action]))


def events(before: Row, after: Outcome) -> dict[str, bool]:
    row = after.row
    surfaces = row["surface"] and not before["surface"]
    return {
        "twenty enemies": len(row["fish"]) + len(row["submarines"]) >= 20,
        "two divers": len(row["divers"]) == 2,
        "surfacing with six divers": surfaces and before["diver_count"] == 6,
        "surfacing with a negative count": surfaces and before["diver_count"] < 0,
        "surfacing without a diver": after.terminated and row["y"] == 0 and before["y"] == 1 and not surfaces,
        "an end for want of air": after.terminated and before["oxygen"] == 0,
        "a hit": after.reward == 1,
        "a ramp": row["ramp_index"] > before["ramp_index"],
        "the fastest level": row["enemy_spawn_speed"] == 1,
    }


ORIGINAL = Original("seaquest", draws, read, write, arrays, ours, late, dense, policy, events, SLOTS)
