"""Every random draw has its distribution, and draws are independent of one another and of what sticks."""

import random
from functools import partial
from itertools import combinations

import jax
import numpy as np
import pytest

from jaxrl.envs import make
from jaxrl.envs.minatar import GAMES, MinAtar, MinAtarState
from jaxrl.types import PyTree
from tests.envs.minatar import ORIGINALS, asterix, freeway, seaquest
from tests.envs.minatar.originals import Row, our_state

N = 100_000
FAIR, STUCK, THIRD, EIGHT = [0.5, 0.5], [0.9, 0.1], [2 / 3, 1 / 3], [1 / 8] * 8


def assert_independent(*draws: tuple[np.ndarray, list[float]]) -> None:
    """Each pair of draws, outcomes 0, 1, … of `N` environments with their probabilities, is within 5 σ."""
    for (a, p_a), (b, p_b) in combinations(draws, 2):
        count = np.zeros((len(p_a), len(p_b)))
        np.add.at(count, (np.asarray(a, int), np.asarray(b, int)), 1)
        p = np.outer(p_a, p_b)
        assert (abs(count - N * p) <= 5 * np.sqrt(N * p * (1 - p))).all()


@partial(jax.jit, static_argnums=0)
def advance(env: MinAtar, *args: PyTree) -> PyTree:
    return env.advance(*args)


def step(
    name: str, row: Row, action: int = 0, last_action: int = 1, sticky: float = 0.1
) -> tuple[MinAtarState, MinAtarState, np.ndarray]:
    """One step from a row in `N` environments: the state, that after a restart, and whether the action stuck."""
    env, params = make(name)
    state = our_state(ORIGINALS[name], [row | {"last_action": last_action}])
    state = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (*leaf.shape[:-1], N)), state)
    words = jax.random.bits(jax.random.key(0), (env.random_words, N))
    actions = np.full(N, action, np.int32)
    next_state, final, *_ = advance(env, state, actions, words, params.replace(sticky_action_prob=sticky))
    final, next_state = jax.tree.map(np.asarray, (final, next_state))
    return final, next_state, final.last_action == last_action


@pytest.mark.parametrize("free", range(1, 9))
def test_asterix_draws_a_side_gold_and_a_free_row(free: int) -> None:
    rows = np.random.default_rng(free).permutation(np.arange(1, 9))
    quiet = {"player_x": 5, "player_y": 5, "spawn_timer": 0, "move_timer": 3, "ramp_timer": 50, "ramp_index": 0}
    taken = [int(y in rows[free:]) for y in range(10)]
    boards = {"moving_right": taken, "moving_left": [0] * 10, "gold": taken}
    state, _, stuck = step("Asterix-MinAtar", quiet | {"spawn_speed": 10, "move_speed": 5} | boards)
    a = asterix.arrays(state.game)
    new_right, new_left = a["moving_right"] - taken, a["moving_left"]
    assert ((new_right == 0) | (new_right == 1)).all()
    assert ((new_left == 0) | (new_left == 1 << 9)).all()
    new = (new_right + new_left > 0)[:, np.sort(rows[:free])]
    assert (new.sum(axis=1) == 1).all()
    gold = (a["gold"] - taken > 0).any(axis=1)
    right = new_right.any(axis=1)
    assert_independent((right, FAIR), (gold, THIRD), (new.argmax(axis=1), [1 / free] * free), (stuck, STUCK))


def test_breakout_draws_a_corner() -> None:
    lost = {"ball_x": 0, "ball_y": 8, "direction_x": 1, "direction_y": 1, "paddle": 9, "bricks": [1023] * 3}
    _, fresh, stuck = step("Breakout-MinAtar", lost | {"strike": 0, "last_x": 0, "last_y": 7})
    assert set(np.unique(fresh.game.ball_x)) == {0, 9}
    assert_independent((fresh.game.ball_x == 0, FAIR), (stuck, STUCK))


@pytest.mark.parametrize("when", ["at the start", "after a crossing"])
def test_freeway_draws_eight_speeds(when: str) -> None:
    cars = {"car_x": [0] * 8, "car_timer": [5] * 8, "car_speed": [5] * 8}
    if when == "at the start":
        row = {"chicken_y": 5, "move_timer": 0, "time_left": 0} | cars
        _, state, stuck = step("Freeway-MinAtar", row)
    else:
        row = {"chicken_y": 1, "move_timer": 0, "time_left": 9} | cars
        state, _, stuck = step("Freeway-MinAtar", row, action=freeway.UP, last_action=freeway.UP)
    speed = state.game.car_speed
    outcome = np.where(speed > 0, speed - 1, 4 - speed)
    draws = [(outcome[car], [1 / 10] * 10) for car in range(8)]
    assert_independent(*draws, *([(stuck, STUCK)] if when == "at the start" else []))


def test_seaquest_draws_enemies_and_divers() -> None:
    quiet = seaquest.ORIGINAL.late(random.Random(0)) | {"enemy_spawn_timer": 0, "diver_spawn_timer": 0}
    state, _, stuck = step("Seaquest-MinAtar", quiet | {"y": 0, "surface": 1})
    a = seaquest.arrays(state.game)
    fish, submarine, diver = a["fish"][:, 0], a["submarines"][:, 0], a["divers"][:, 0]
    is_submarine = submarine[:, 0] >= 0
    enemy = np.where(is_submarine[:, None], submarine[:, :4], fish)
    assert (enemy[:, 0] == np.where(enemy[:, 2], 0, 9)).all()
    assert (diver[:, 0] == np.where(diver[:, 2], 0, 9)).all()
    draws = (enemy[:, 2], FAIR), (is_submarine, THIRD), (enemy[:, 1] - 1, EIGHT)
    assert_independent(*draws, (diver[:, 2], FAIR), (diver[:, 1] - 1, EIGHT), (stuck, STUCK))


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("probability", [0.0, 0.1, 0.25, 1.0])
def test_actions_stick_with_their_probability(name: str, probability: float) -> None:
    row = ORIGINALS[name].late(random.Random(0))
    state, _, stuck = step(name, row, action=1, last_action=3, sticky=probability)
    assert set(np.unique(state.last_action)) <= {1, 3}
    assert abs(stuck.mean() - probability) <= 5 * np.sqrt(probability * (1 - probability) / N)
