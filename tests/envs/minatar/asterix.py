"""Asterix as the original keeps it, and as we do."""

import random
from typing import Any

from jaxrl.envs.minatar.asterix import AsterixState
from jaxrl.envs.minatar.bits import Board
from jaxrl.types import PyTree
from tests.envs.minatar.originals import Arrays, Original, Outcome, Row, Words, board_rows, board_words, coin, int32

SCALARS = ("player_x", "player_y", "spawn_speed", "spawn_timer", "move_speed", "move_timer", "ramp_timer", "ramp_index")
BOARDS = ("moving_right", "moving_left", "gold")


def draws(game: Any, words: Words) -> list:
    if game.spawn_timer > 0:
        return []
    side, gold = coin(words[0] & 1 == 1), coin(words[1] >> 16 < 65536 // 3)
    return [side, gold, (words[1] & 0xFFFF) * game.entities.count(None) >> 16]


def read(game: Any) -> Row:
    row: Row = {name: getattr(game, name) for name in SCALARS} | {name: [0] * 10 for name in BOARDS}
    for y, thing in enumerate(game.entities, start=1):
        if thing is not None:
            x, right, gold = thing[0], thing[2], thing[3]
            row["moving_right" if right else "moving_left"][y] |= 1 << x
            row["gold"][y] |= gold << x
    return row


def write(game: Any, row: Row) -> None:
    for name in SCALARS:
        setattr(game, name, row[name])
    game.entities = [None] * 8
    for y in range(1, 9):
        cell = row["moving_right"][y] | row["moving_left"][y]
        if cell:
            game.entities[y - 1] = [cell.bit_length() - 1, y, row["moving_right"][y] > 0, row["gold"][y] > 0]


def arrays(s: PyTree) -> Arrays:
    return {name: getattr(s, name) for name in SCALARS} | {name: board_rows(getattr(s, name)) for name in BOARDS}


def ours(a: Arrays) -> AsterixState:
    boards = {name: Board(*board_words(a[name])) for name in BOARDS}
    return AsterixState(**{name: int32(a[name]) for name in SCALARS}, **boards)


def some_row(rng: random.Random, things: float) -> Row:
    """Any row; each of the eight rows holds something with probability `things`."""
    row: Row = {name: [0] * 10 for name in BOARDS}
    for y in range(1, 9):
        if rng.random() < things:
            cell = 1 << rng.randrange(10)
            row[rng.choice(("moving_right", "moving_left"))][y] = cell
            row["gold"][y] = cell * rng.randrange(2)
    ramps = rng.randrange(10)
    spawn_speed, move_speed = 10 - ramps, 5 - ramps // 2
    return row | {
        "player_x": rng.randrange(10),
        "player_y": rng.randint(1, 8),
        "spawn_speed": spawn_speed,
        "spawn_timer": rng.choice((0, rng.randint(0, spawn_speed))),
        "move_speed": max(move_speed, 1),
        "move_timer": rng.choice((0, rng.randint(0, max(move_speed, 1)))),
        "ramp_timer": 100 if ramps == 9 else rng.choice((-1, 0, rng.randint(-1, 100))),
        "ramp_index": ramps,
    }


def late(rng: random.Random) -> Row:
    return some_row(rng, 0.0) | {"player_x": 5, "player_y": 5}


def dense(rng: random.Random) -> Row:
    return some_row(rng, rng.choice((0.3, 0.9, 1.0)))


def policy(row: Row, rng: random.Random) -> int:
    """Goes where no enemy is about to be."""

    def danger(x: int, y: int) -> float:
        gold = row["gold"][y]
        right, left = row["moving_right"][y] & ~gold, row["moving_left"][y] & ~gold
        touching, near = right | right << 1 | left | left >> 1, right << 2 | left >> 2
        return 10 * (touching >> x & 1) + (near >> x & 1) - (gold > 0) * 0.5 + rng.random() * 0.4

    x, y = row["player_x"], row["player_y"]
    places = ((x, y), (max(x - 1, 0), y), (x, max(y - 1, 1)), (min(x + 1, 9), y), (x, min(y + 1, 8)))
    values = [danger(*place) for place in places]
    return values.index(min(values))


def events(before: Row, after: Outcome) -> dict[str, bool]:
    row = after.row
    full = all(
        right | left for right, left in zip(before["moving_right"][1:9], before["moving_left"][1:9], strict=True)
    )
    return {
        "a spawn on a full board": before["spawn_timer"] == 0 and full,
        "gold": after.reward == 1,
        "an end": after.terminated,
        "a ramp": row["ramp_index"] > before["ramp_index"],
        "the fastest level": row["spawn_speed"] == row["move_speed"] == 1,
    }


ORIGINAL = Original("asterix", draws, read, write, arrays, ours, late, dense, policy, events, lists={})
