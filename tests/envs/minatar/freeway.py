"""Freeway as the original keeps it, and as we do."""

import random
from typing import Any

import numpy as np

from jaxrl.envs.minatar.freeway import FreewayState
from jaxrl.types import PyTree
from tests.envs.minatar.originals import Arrays, Original, Outcome, Row, Words, coin, int32

SCALARS = {"chicken_y": "pos", "move_timer": "move_timer", "time_left": "terminate_timer"}
"""Our names of the numbers, and the original's."""
UP = 2


def draws(game: Any, words: Words) -> list:
    # Always the same, because whether the chicken crosses is not known yet; what is not asked for is forgotten.
    digits = [int(digit) for word in words[1:] for digit in f"{(word >> 4) * 10**4 >> 28:04}"]
    return [np.array([digit % 5 + 1 for digit in digits]), np.array([1 - coin(digit < 5) for digit in digits])]


def read(game: Any) -> Row:
    x, rows, timer, speed = zip(*game.cars, strict=True)
    assert rows == (1, 2, 3, 4, 5, 6, 7, 8)
    row = {ours: getattr(game, its) for ours, its in SCALARS.items()}
    return row | {"car_x": x, "car_timer": timer, "car_speed": speed}


def write(game: Any, row: Row) -> None:
    for ours, its in SCALARS.items():
        setattr(game, its, row[ours])
    cars = zip(row["car_x"], range(1, 9), row["car_timer"], row["car_speed"], strict=True)
    game.cars = [list(car) for car in cars]


def arrays(s: PyTree) -> Arrays:
    return {name: leaf.T for name, leaf in s._asdict().items()}


def ours(a: Arrays) -> FreewayState:
    return FreewayState(**{name: int32(a[name]) for name in FreewayState._fields})


def late(rng: random.Random) -> Row:
    """Any time, so that some walks end soon."""
    return dense(rng) | {"chicken_y": 9, "time_left": rng.randint(0, 1000)}


def dense(rng: random.Random) -> Row:
    speed = [rng.choice((-1, 1)) * rng.randint(1, 5) for _ in range(8)]
    return {
        "chicken_y": rng.randint(1, 9),
        "move_timer": rng.choice((0, rng.randint(0, 2))),
        "time_left": rng.choice((0, 1, rng.randint(0, 2500))),
        "car_x": [rng.choice((3, 4, 5, 0, 9, rng.randrange(10))) for _ in range(8)],
        "car_timer": [rng.choice((0, rng.randint(0, abs(v)))) for v in speed],
        "car_speed": speed,
    }


def policy(row: Row, rng: random.Random) -> int:
    """Goes up, come what may."""
    return UP


def events(before: Row, after: Outcome) -> dict[str, bool]:
    return {
        "a crossing": after.reward == 1,
        "a hit": after.reward == 0 and before["chicken_y"] < 8 and after.row["chicken_y"] == 9,
        "the last act": before["time_left"] == 0 and after.terminated,
    }


ORIGINAL = Original("freeway", draws, read, write, arrays, ours, late, dense, policy, events, lists={})
