"""Plays the original `minatar` package and our games with the same random words, and compares every step.

A state has three forms. A *row* is plain Python: a dict of numbers and lists, read from the original and written into
it. *Arrays* are many rows stacked, a dict of NumPy arrays `[B, ...]`. The third is our own state, batch last. Each game
has a file here that knows how to go from one to another; a row holds all that matters of a state and nothing else.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import minatar
import numpy as np

from jaxrl.envs.minatar import MinAtar, MinAtarParams, MinAtarState
from jaxrl.types import Array, PyTree
from tests.compiling import AS_USERS_DO

Row = dict[str, Any]
Arrays = dict[str, np.ndarray]
Words = Sequence[int]
"""The random words of one environment and step."""

ENVS = 50
"""Games played side by side; always as many, so that our step is compiled once."""
COLUMNS = 1 << np.arange(10)


class Original(NamedTuple):
    """What the tests know of a game.

    Attributes:
        name: what the original calls it.
        draws: `(game, words)` to what the original's generator answers in this step, in the order of its questions.
        read: the row of the original's game.
        write: makes the original's game what a row says.
        arrays: our state, NumPy leaves `[..., B]`, as arrays.
        ours: arrays as our state.
        late: a random row from late in the game, the start of a walk.
        dense: a random row in which much is about to happen.
        policy: an action for a row, chosen so that the game goes on.
        events: what a walk must have seen, and whether this step from this row shows it.
        lists: the fields of a row that are lists of varying length: the most they can hold, and numbers an item.
    """

    name: str
    draws: Callable[[Any, Words], list]
    read: Callable[[Any], Row]
    write: Callable[[Any, Row], None]
    arrays: Callable[[PyTree], Arrays]
    ours: Callable[[Arrays], PyTree]
    late: Callable[[random.Random], Row]
    dense: Callable[[random.Random], Row]
    policy: Callable[[Row, random.Random], int]
    events: Callable[[Row, "Outcome"], dict[str, bool]]
    lists: dict[str, tuple[int, int]]


def coin(yes: bool) -> float:
    """A uniform number that is below a third, and below a half, or neither."""
    return 0.25 if yes else 0.75


class Draws:
    """Stands in for the original's random generators and gives prepared answers."""

    def __init__(self) -> None:
        self.answers: list = []

    def rand(self, size: int | None = None) -> Any:
        answer = self.answers.pop(0)
        assert np.shape(answer) == (() if size is None else (size,))
        return answer

    def randint(self, low: int, high: int | None = None, size: int | None = None) -> Any:
        low, high = (0, low) if high is None else (low, high)
        answer = self.rand(size)
        assert np.all((low <= np.array(answer)) & (np.array(answer) < high))
        return answer


class Outcome(NamedTuple):
    """What one action did to the original."""

    action: int
    reward: int
    terminated: bool
    row: Row
    observation: np.ndarray
    next_row: Row
    """Where the next action starts: `row`, or the start of the next episode."""
    next_observation: np.ndarray


class Game:
    """A game of the original that starts again when it has ended."""

    def __init__(self, original: Original, params: MinAtarParams) -> None:
        self.original, self.draws = original, Draws()
        self.env = minatar.Environment(original.name, params.sticky_action_prob, params.difficulty_ramping)
        self.env.random = self.env.env.random = self.draws

    def start(self, row: Row) -> None:
        self.original.write(self.env.env, row)
        self.env.env.terminal = False
        self.env.last_action = row["last_action"]

    def reset(self, words: Words) -> None:
        self.draws.answers = self.original.draws(self.env.env, words)
        self.env.reset()

    def read(self) -> Row:
        return self.original.read(self.env.env) | {"last_action": self.env.last_action}

    def act(self, action: int, words: Words) -> Outcome:
        """One step, and the start of the next episode when it ended this one, both with the same words."""
        sticky = (words[0] >> 8) * 2.0**-24
        self.draws.answers = [sticky, *self.original.draws(self.env.env, words)]
        reward, terminated = self.env.act(action)
        row, observation = self.read(), self.env.state()
        if not terminated:
            return Outcome(action, reward, False, row, observation, row, observation)
        self.reset(words)
        return Outcome(action, reward, True, row, observation, self.read(), self.env.state())


def stack(original: Original, rows: Sequence[Row]) -> Arrays:
    """Rows as arrays; what a list does not fill is -1."""
    arrays = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name in original.lists:
            slots, size = original.lists[name]
            arrays[name] = np.full((len(rows), slots, size), -1)
            used = np.arange(slots) < np.array([len(items) for items in values])[:, None]
            arrays[name][used] = np.array([item for items in values for item in items]).reshape(-1, size)
        else:
            arrays[name] = np.array(values, int)
    return arrays


def compact(fields: Sequence[np.ndarray], used: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The used slots of fields `[slots, B]` in ascending order, the rest -1: `[B, slots, fields]`."""
    items = np.where(used[..., None], np.stack(np.broadcast_arrays(*fields), axis=-1).astype(int), -1)
    first = np.argsort(np.where(used, order, 10**6), axis=0, kind="stable")
    return np.moveaxis(np.take_along_axis(items, first[..., None], axis=0), 0, 1)


def board_rows(board: Sequence[np.ndarray]) -> np.ndarray:
    """The ten bits of each row of our board: int `[B, 10]`."""
    return np.stack([np.asarray(board[y // 3]) >> y % 3 * 10 & 0x3FF for y in range(10)], axis=-1).astype(int)


def board_words(rows: np.ndarray) -> list[np.ndarray]:
    """The four words of our board, uint32 `[B]`, of rows `[B, 10]`."""
    rows = np.pad(rows, ((0, 0), (0, 2))).astype(np.uint32).reshape(-1, 4, 3)
    return list((rows << np.array([0, 10, 20], np.uint32)).sum(axis=-1, dtype=np.uint32).T)


def int32(x: np.ndarray) -> np.ndarray:
    """An array of rows `[B, ...]` as a leaf of our state, `[..., B]`."""
    return np.moveaxis(x, 0, -1).astype(np.int32)


class Ours(NamedTuple):
    """What our steps led to, as `Outcome`; the batch `B` is the last axis of states, else the first."""

    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    state: MinAtarState
    observation: np.ndarray
    next_state: MinAtarState
    next_observation: np.ndarray


def our_step(env: MinAtar, state: MinAtarState, action: Array, words: Array, params: MinAtarParams) -> Ours:
    next_state, final, reward, terminated, truncated = env.advance(state, action, words, params)
    return Ours(reward, terminated, truncated, final, env.observe(final), next_state, env.observe(next_state))


Step = Callable[..., Ours]
compiled_step: Step = jax.jit(our_step, static_argnums=0, compiler_options=AS_USERS_DO)


def concatenate(parts: Sequence[Ours]) -> Ours:
    """One after the other along the batch."""

    def join(*xs: Array, axis: int) -> np.ndarray:
        return np.concatenate([np.asarray(x) for x in xs], axis)

    fields = zip(Ours._fields, zip(*parts, strict=True), strict=True)
    return Ours(*(jax.tree.map(partial(join, axis=-1 if "state" in name else 0), *xs) for name, xs in fields))


def our_state(original: Original, rows: Sequence[Row]) -> MinAtarState:
    arrays = stack(original, rows)
    return MinAtarState(original.ours(arrays), int32(arrays["last_action"]), np.zeros(len(rows), np.int32))


def differences(original: Original, outcomes: Sequence[Outcome], ours: Ours) -> Arrays:
    """For each thing that is compared, in which of the `B` steps it differs."""

    def differ(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        assert a.shape == b.shape
        return (a != b).reshape(len(a), -1).any(axis=1)

    result = {
        "reward": differ(np.array([o.reward for o in outcomes]), ours.reward),
        "terminated": differ(np.array([o.terminated for o in outcomes]), ours.terminated),
        "truncated": ours.truncated,
        "observation": differ(np.stack([o.observation for o in outcomes]), ours.observation),
        "next observation": differ(np.stack([o.next_observation for o in outcomes]), ours.next_observation),
    }
    for when, rows, state in (
        ("", [o.row for o in outcomes], ours.state),
        ("next ", [o.next_row for o in outcomes], ours.next_state),
    ):
        our_arrays = original.arrays(state.game) | {"last_action": state.last_action}
        result |= {when + name: differ(x, our_arrays[name]) for name, x in stack(original, rows).items()}
    return result


def assert_equal(original: Original, outcomes: Sequence[Outcome], ours: Ours) -> None:
    for name, differs in differences(original, outcomes, ours).items():
        assert not differs.any(), f"{name} differs in {differs.sum()} steps, first in {differs.argmax()}"


def walk(
    env: MinAtar, original: Original, steps: int, seed: int, chunk: int = 500, always: int = 0
) -> Iterator[list[Outcome]]:
    """Plays `ENVS` games of both side by side, half of them from late starts, and asserts that all steps are equal.

    Actions follow the original's policy, in some environments with many random ones, in some with none. Yields the
    outcomes of `chunk` steps, `ENVS` of each, at a time. The bits `always` are set in all random words.
    """
    rng, choose = np.random.default_rng(seed), random.Random(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.integers(2**32, size=(*shape, env.random_words), dtype=np.uint32) | np.uint32(always)

    games = [Game(original, env.default_params) for _ in range(ENVS)]
    for i, game in enumerate(games):
        game.reset(draw().tolist())
        if i % 2:
            game.start(original.late(choose) | {"last_action": 0})
    chaos = [(0.0, 0.02, 0.1, 0.3, 1.0)[i // 2 % 5] for i in range(ENVS)]
    rows = [game.read() for game in games]
    state = our_state(original, rows)
    for start in range(0, steps, chunk):
        outcomes, ours = [], []
        for _ in range(start, min(start + chunk, steps)):
            words = draw(ENVS)
            for i, (game, now) in enumerate(zip(games, words.tolist(), strict=True)):
                at_random = choose.random() < chaos[i]
                outcomes.append(game.act(choose.randrange(6) if at_random else original.policy(rows[i], choose), now))
                rows[i] = outcomes[-1].next_row
            actions = np.array([outcome.action for outcome in outcomes[-ENVS:]], np.int32)
            ours.append(compiled_step(env, state, actions, words.T, env.default_params))
            state = ours[-1].next_state
        assert_equal(original, outcomes, concatenate(ours))
        yield outcomes


class SingleSteps(NamedTuple):
    """Dense states, the random words that followed (uint32 `[W, B]`), and what one action did to each."""

    params: MinAtarParams
    rows: list[Row]
    words: np.ndarray
    outcomes: list[Outcome]


def single_steps(env: MinAtar, original: Original, params: MinAtarParams, count: int, seed: int = 0) -> SingleSteps:
    rng, choose, game = np.random.default_rng(seed), random.Random(seed), Game(original, params)
    words = rng.integers(2**32, size=(count, env.random_words), dtype=np.uint32)
    rows, outcomes = [], []
    for now in words.tolist():
        rows.append(original.dense(choose) | {"last_action": choose.randrange(6)})
        game.start(rows[-1])
        outcomes.append(game.act(choose.randrange(6), now))
    return SingleSteps(params, rows, words.T, outcomes)


def our_single_steps(env: MinAtar, original: Original, steps: SingleSteps, step: Step, batch: int) -> Ours:
    """Our steps from the same states, `batch` at once."""
    state = our_state(original, steps.rows)
    actions = np.array([outcome.action for outcome in steps.outcomes], np.int32)

    def part(start: int) -> Ours:
        some = slice(start, start + batch)
        states = jax.tree.map(lambda leaf: leaf[..., some], state)
        return step(env, states, actions[some], steps.words[:, some], steps.params)

    return concatenate([part(start) for start in range(0, len(actions), batch)])
