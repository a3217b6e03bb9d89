"""Space Invaders as the original keeps it, and as we do."""

import random
from typing import Any

import numpy as np

from jaxrl.envs.minatar.bits import Board
from jaxrl.envs.minatar.space_invaders import SpaceInvadersState
from jaxrl.types import PyTree
from tests.envs.minatar.originals import COLUMNS, Arrays, Original, Outcome, Row, Words, board_rows, board_words, int32

SCALARS = {
    "cannon_x": "pos",
    "move_interval": "enemy_move_interval",
    "move_timer": "alien_move_timer",
    "enemy_shot_timer": "alien_shot_timer",
    "shot_timer": "shot_timer",
}
"""Our names of the numbers, and the original's."""
BOARDS = {"friendly": "f_bullet_map", "enemy": "e_bullet_map", "aliens": "alien_map"}
LEFT, RIGHT, FIRE = 1, 3, 5


def draws(game: Any, words: Words) -> list:
    return []


def read(game: Any) -> Row:
    row = {ours: getattr(game, its) for ours, its in SCALARS.items()}
    row |= {ours: (getattr(game, its) @ COLUMNS).astype(int).tolist() for ours, its in BOARDS.items()}
    return row | {"moving_right": game.alien_dir > 0}


def write(game: Any, row: Row) -> None:
    for ours, its in SCALARS.items():
        setattr(game, its, row[ours])
    for ours, its in BOARDS.items():
        setattr(game, its, ((np.array(row[ours])[:, None] & COLUMNS) > 0).astype(float))
    game.alien_dir = 1 if row["moving_right"] else -1
    game.ramp_index = 12 - row["move_interval"]


def arrays(s: PyTree) -> Arrays:
    numbers = {name: getattr(s, name) for name in (*SCALARS, "moving_right")}
    return numbers | {name: board_rows(getattr(s, name)) for name in BOARDS}


def ours(a: Arrays) -> SpaceInvadersState:
    boards = {name: Board(*board_words(a[name])) for name in BOARDS}
    return SpaceInvadersState(
        **{name: int32(a[name]) for name in SCALARS}, **boards, moving_right=a["moving_right"] == 1
    )


def late(rng: random.Random) -> Row:
    """A whole wave of aliens, the end of one, or aliens that are about to land."""
    whole, last = [0b0011111100] * 4 + [0] * 6, [0, 0, 0, 1 << rng.randrange(10), *[0] * 6]
    landing = [0] * 7 + [rng.getrandbits(9) | 1, 0, 0]
    return dense(rng) | {
        "friendly": [0] * 10,
        "enemy": [0] * 10,
        "aliens": rng.choice((whole, last, last, landing)),
        "move_interval": rng.randint(6, 12),
        "move_timer": 6,
    }


def dense(rng: random.Random) -> Row:
    def bits(rows: range, share: float) -> list[int]:
        return [sum((rng.random() < share) << x for x in range(10)) if y in rows else 0 for y in range(10)]

    aliens = bits(range(rng.choice((0, 3)), rng.choice((5, 9, 10))), rng.choice((0.02, 0.2, 0.6)))
    if not any(aliens):
        aliens[rng.randrange(10)] = 1 << rng.randrange(10)
    friendly = [f & ~a for f, a in zip(bits(range(9), 0.2), aliens, strict=True)]
    return {
        "cannon_x": rng.randrange(10),
        "friendly": friendly,
        "enemy": bits(range(10), rng.choice((0.02, 0.2))),
        "aliens": aliens,
        "moving_right": rng.randrange(2),
        "move_interval": rng.randint(6, 12),
        "move_timer": rng.choice((0, rng.randint(0, 12))),
        "enemy_shot_timer": rng.choice((0, rng.randint(0, 9))),
        "shot_timer": rng.choice((0, rng.randint(0, 4))),
    }


def policy(row: Row, rng: random.Random) -> int:
    """Dodges what falls, and shoots at the columns of aliens."""
    x = row["cannon_x"]
    falling = row["enemy"][8] | row["aliens"][9] | row["aliens"][8]
    soon = row["enemy"][7] | row["enemy"][6]
    columns = np.bitwise_or.reduce(row["aliens"])

    def danger(place: int) -> float:
        nearest = min(abs(place - c) for c in range(10) if columns >> c & 1)
        return 100 * (falling >> place & 1) + 10 * (soon >> place & 1) + nearest + rng.random()

    if row["shot_timer"] == 0 and columns >> x & 1 and not (falling >> x & 1):
        return FIRE
    places = {0: x, LEFT: max(x - 1, 0), RIGHT: min(x + 1, 9)}
    return min(places, key=lambda action: danger(places[action]))


def events(before: Row, after: Outcome) -> dict[str, bool]:
    def size(row: Row) -> int:
        return sum(line.bit_count() for line in row["aliens"])

    return {
        "a new wave of aliens": size(after.row) > size(before),
        "a faster wave of aliens": after.row["move_interval"] < before["move_interval"],
        "the fastest wave of aliens": after.row["move_interval"] == 6,
        "an end by aliens that landed": after.terminated and before["aliens"][9] > 0,
        "another end": after.terminated and before["aliens"][9] == 0,
    }


ORIGINAL = Original("space_invaders", draws, read, write, arrays, ours, late, dense, policy, events, lists={})
