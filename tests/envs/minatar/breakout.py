"""Breakout as the original keeps it, and as we do."""

import random
from typing import Any

import numpy as np

from jaxrl.envs.minatar.breakout import BreakoutState
from jaxrl.types import PyTree
from tests.envs.minatar.originals import COLUMNS, Arrays, Original, Outcome, Row, Words, int32

SCALARS = {name: name for name in ("ball_x", "ball_y", "strike", "last_x", "last_y")} | {"paddle": "pos"}
"""Our names of the numbers, and the original's."""
DIRECTIONS = ((-1, -1), (1, -1), (1, 1), (-1, 1))
"""(x, y), as the original numbers them."""


def draws(game: Any, words: Words) -> list:
    return [words[0] & 1]  # the original asks when an episode begins only


def read(game: Any) -> Row:
    x, y = DIRECTIONS[game.ball_dir]
    bricks = game.brick_map @ COLUMNS
    assert not bricks[[0, *range(4, 10)]].any()
    row = {ours: getattr(game, its) for ours, its in SCALARS.items()}
    return row | {"direction_x": x, "direction_y": y, "bricks": bricks[1:4]}


def write(game: Any, row: Row) -> None:
    for ours, its in SCALARS.items():
        setattr(game, its, row[ours])
    game.ball_dir = DIRECTIONS.index((row["direction_x"], row["direction_y"]))
    game.brick_map = np.zeros((10, 10))
    game.brick_map[1:4] = (np.array(row["bricks"])[:, None] & COLUMNS) > 0


def arrays(s: PyTree) -> Arrays:
    numbers = {name: getattr(s, name) for name in (*SCALARS, "direction_x", "direction_y")}
    return numbers | {"bricks": np.stack([s.bricks & 0x3FF, s.bricks >> 10 & 0x3FF, s.bricks >> 20], axis=-1)}


def ours(a: Arrays) -> BreakoutState:
    numbers = {name: int32(x) for name, x in a.items() if name in BreakoutState._fields}
    bricks = a["bricks"] @ np.array([1, 1 << 10, 1 << 20])
    return BreakoutState(**numbers | {"bricks": bricks.astype(np.uint32), "strike": a["strike"] == 1})


def late(rng: random.Random) -> Row:
    """Few bricks are left."""
    return dense(rng) | {
        "ball_y": 5,
        "last_y": 4,
        "direction_y": 1,
        "bricks": [rng.getrandbits(3), 0, rng.choice((0, 512))],
    }


def dense(rng: random.Random) -> Row:
    x, y = rng.randrange(10), rng.randrange(9)
    return {
        "ball_x": x,
        "ball_y": rng.choice((y, 8)),
        "direction_x": rng.choice((-1, 1)),
        "direction_y": rng.choice((-1, 1)),
        "paddle": min(max(x + rng.randint(-2, 2), 0), 9),
        "bricks": [rng.getrandbits(10) * rng.randrange(2) for _ in range(3)],
        "strike": rng.randrange(2),
        "last_x": rng.randrange(10),
        "last_y": rng.randrange(10),
    }


def policy(row: Row, rng: random.Random) -> int:
    """Follows the ball."""
    gap = row["ball_x"] - row["paddle"]
    return 3 if gap > 0 else 1 if gap < 0 else 0


def events(before: Row, after: Outcome) -> dict[str, bool]:
    return {
        "a wall cleared": not any(after.row["bricks"]),
        "a wall put back": sum(after.row["bricks"]) > sum(before["bricks"]),
        "an end": after.terminated,
        "a start from the left": after.terminated and after.next_row["ball_x"] == 0,
        "a start from the right": after.terminated and after.next_row["ball_x"] == 9,
    }


ORIGINAL = Original("breakout", draws, read, write, arrays, ours, late, dense, policy, events, lists={})
