"""Atari games on the Arcade Learning Environment (Bellemare et al. 2013): emulators, and what they show, in NumPy.

The only file that imports `ale_py`, an optional package under the GPL-2.0. An emulator keeps Python's lock while it
runs, so threads cannot run two of them at once. `python -P atari_emulators.py FD` is therefore a process that runs some
of them. This file imports nothing of jaxrl, since such processes should start fast.
"""

import contextlib
import json
import signal
import sys
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import ale_py
import cv2
import numpy as np
from ale_py import roms

SIZE = 84
"""Height and width of a frame, in pixels."""
FOR_TWO = ("combat", "joust", "maze_craze", "warlords")
"""Games that nobody can play alone."""

ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
cv2.setNumThreads(0)


class Rules(NamedTuple):
    """How a game is played.

    Attributes:
        game: the name of its ROM, such as "space_invaders".
        frame_skip: frames in which an action is repeated. The last two are merged pixel by pixel into their maximum.
        max_noops: a game begins with 1 to so many frames without an action; 0 for none.
        sticky: the probability that a frame repeats the action of the frame before instead.
        max_frames: frames after which a game is cut.
        all_actions: whether to offer all 18 actions instead of those that have an effect.
    """

    game: str
    frame_skip: int
    max_noops: int
    sticky: float
    max_frames: int
    all_actions: bool


class Step(NamedTuple):
    """A step of n emulators.

    Attributes:
        score: what the game paid in all frames, float32 `[n]`.
        lost_life: whether a life was lost, bool `[n]`.
        terminated, truncated: whether the game is over, or was cut, bool `[n]`, never both.
        last: frames before any new game, uint8 `[n, 84, 84]`.
        first: the same, but of the new game where one began.
        last_screens, first_screens: the colours of the whole screens, uint8 `[n, H, W, 3]`, if they draw; else None.
    """

    score: np.ndarray
    lost_life: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    last: np.ndarray
    first: np.ndarray
    last_screens: np.ndarray | None
    first_screens: np.ndarray | None


def game_names() -> dict[str, str]:
    """The names of all games for one player, such as "SpaceInvaders", and those of their ROMs."""
    ids = [rom for rom in roms.get_all_rom_ids() if rom not in FOR_TWO]
    return {rom.title().replace("_", ""): rom for rom in ids}


class Emulator:
    """One game. For equal seeds, it is gymnasium's `AtariEnv` with its `AtariPreprocessing`, to the bit.

    ALE's states do not hold all: not which action is sticky, so this draws what repeats, from the numbers that ALE
    draws; and in a few games, not where in a picture they are. So a saved state is that of the last reset, and the
    actions since then.
    """

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.load(0)

    def load(self, seed: int) -> None:
        """A new emulator, and all random numbers from `seed`."""
        numpy_seed, ale_seed = np.random.SeedSequence(seed).generate_state(2)
        self.noops = np.random.default_rng(int(numpy_seed))
        self.sticky = np.random.MT19937()
        numbers: Any = np.random.RandomState(ale_seed)
        self.sticky.state = numbers.get_state(legacy=False)
        path = roms.get_rom_path(self.rules.game)
        if path is None or not Path(path).is_file():  # ALE would end the process
            raise FileNotFoundError(f"no ROM of {self.rules.game} at {path}")
        self.ale = ale_py.ALEInterface()
        self.ale.setFloat("repeat_action_probability", 0.0)
        self.ale.setInt("random_seed", int(ale_seed.astype(np.int32)))
        self.ale.setInt("max_num_frames_per_episode", self.rules.max_frames)
        self.ale.loadROM(path)
        self.actions = self.ale.getLegalActionSet() if self.rules.all_actions else self.ale.getMinimalActionSet()
        self.screens = np.zeros((2, *self.ale.getScreenDims()), np.uint8)  # the last one of a step, the one before

    def begin(self) -> np.ndarray:
        """The first frame of a new game."""
        self.ale.reset_game()
        self.start, self.played = self._start(), bytearray()
        return self._begin()

    def _begin(self) -> np.ndarray:
        self.repeated = self.actions[0]
        for _ in range(self.noops.integers(1, self.rules.max_noops + 1) if self.rules.max_noops else 0):
            self._act(self.actions[0])
            if self.ale.game_over():
                self.ale.reset_game()
                self.repeated = self.actions[0]
        self.lives = self.ale.lives()
        self.ale.getScreenGrayscale(self.screens[0])
        self.screens[1] = 0
        return self._frame()

    def step(self, action: int) -> tuple[float, bool, bool, bool, np.ndarray]:
        """`(score, lost_life, terminated, truncated, frame)` of the frames that an action lasts.

        After an end, the frame does not show the last of them, as in gymnasium.
        """
        self.played.append(action)
        score = 0.0
        for left in reversed(range(self.rules.frame_skip)):
            score += self._act(self.actions[action])
            if self.ale.game_over():
                break
            if left < 2:
                self.ale.getScreenGrayscale(self.screens[left])
        lives, terminated = self.ale.lives(), self.ale.game_over(with_truncation=False)
        lost_life, self.lives = lives < self.lives, lives
        return score, lost_life, terminated, self.ale.game_truncated() and not terminated, self._frame()

    def save(self) -> dict[str, bytes]:
        """How the game began, and the actions since."""
        return self.start | {"actions": bytes(self.played)}

    def restore(self, saved: dict[str, bytes]) -> None:
        """Plays a saved game again. 1,000 steps take about 0.25 s."""
        self.ale.reset_game()
        self.ale.restoreSystemState(ale_py.ALEState(saved["state"]))
        numbers = json.loads(saved["numbers"])
        self.noops.bit_generator.state = numbers["noops"]
        key = np.array(numbers["sticky"]["key"], np.uint32)
        self.sticky.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": numbers["sticky"]["pos"]}}
        self.start, self.played = {name: saved[name] for name in ("state", "numbers")}, bytearray()
        self._begin()
        for action in saved["actions"]:
            self.step(action)

    def _start(self) -> dict[str, bytes]:
        """The state of a game that has just been reset, and of the random numbers."""
        sticky = self.sticky.state["state"]
        sticky = {"key": sticky["key"].tolist(), "pos": int(sticky["pos"])}
        numbers = json.dumps({"noops": self.noops.bit_generator.state, "sticky": sticky})
        return {"state": self.ale.cloneSystemState().serialize(), "numbers": numbers.encode()}

    def _act(self, action: Any) -> int:
        """One frame. Of each two numbers, ALE draws the second for another player."""
        if self.rules.sticky == 0 or self.sticky.random_raw(2)[0] / 2**32 >= self.rules.sticky:
            self.repeated = action
        return self.ale.act(self.repeated)

    def _frame(self) -> np.ndarray:
        if self.rules.frame_skip > 1:
            np.maximum(self.screens[0], self.screens[1], out=self.screens[0])
        return cv2.resize(self.screens[0], (SIZE, SIZE), interpolation=cv2.INTER_AREA)


class Emulators:
    """n emulators, stepped one after another. Where a game ends, the next one begins."""

    def __init__(self, rules: Sequence[Any], num: int, draws: bool) -> None:
        self.emulators = [Emulator(Rules(*rules)) for _ in range(num)]
        self.draws = draws

    def reset(self, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """The first frames of new games with these seeds, and their screens."""
        frames = []
        for emulator, seed in zip(self.emulators, seeds, strict=True):
            emulator.load(int(seed))
            frames.append(emulator.begin())
        return np.stack(frames), self._screens()

    def step(self, actions: np.ndarray) -> tuple:
        """A `Step`, as a plain tuple."""
        steps = [emulator.step(action) for emulator, action in zip(self.emulators, actions.tolist(), strict=True)]
        score, *ends, last = (np.stack(x) for x in zip(*steps, strict=True))
        lost_life, terminated, truncated = (x.astype(bool) for x in ends)
        over, last_screens = terminated | truncated, self._screens()
        first, first_screens = last, last_screens
        if over.any():
            first = last.copy()
            for i in np.flatnonzero(over):
                first[i] = self.emulators[i].begin()
            first_screens = self._screens()
        score = score.astype(np.float32)
        return tuple(Step(score, lost_life, terminated, truncated, last, first, last_screens, first_screens))

    def save(self) -> list[dict[str, bytes]]:
        return [emulator.save() for emulator in self.emulators]

    def restore(self, saved: list[dict[str, bytes]]) -> None:
        """Goes on from what was saved."""
        for emulator, one in zip(self.emulators, saved, strict=True):
            emulator.restore(one)

    def _screens(self) -> np.ndarray | None:
        return np.stack([emulator.ale.getScreenRGB() for emulator in self.emulators]) if self.draws else None


def answer(emulators: list[Any], message: tuple) -> tuple[Any, str | None]:
    """`(result, traceback)` of a message `(method, *arguments)`, one of which is None.

    Args:
        emulators: the `Emulators` in a list, which the method "make" makes.
        message: what to call.
    """
    method, *arguments = message
    try:
        if method == "make":
            emulators[:] = [Emulators(*arguments)]
            return None, None
        return getattr(emulators[0], method)(*arguments), None
    except Exception:
        return None, traceback.format_exc()


def serve(connection: Connection) -> None:
    """Answers messages of another process, until it closes its end, or ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the other process may save a run first
    emulators: list[Any] = []
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            connection.send(answer(emulators, connection.recv()))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
