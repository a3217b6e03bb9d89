"""Atari games, which step on the host: 84 × 84 frames of ALE's emulators, four of them in an observation.

    env, _ = jaxrl.make("atari:Pong", sticky=0)

Frames are those of gymnasium's `AtariPreprocessing` with `FrameStackObservation`, to the bit. As many processes as
there are cores run the emulators, this one among them. Their states are saved with a run, which therefore resumes
to the same bits.
"""

import difflib
import itertools
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Annotated, Any

import jax
import numpy as np
from annotated_types import Interval

from jaxrl.arguments import ArgumentError, check_value, first_line
from jaxrl.envs.host import HostEnvironment, HostError, Outcome, Seen, pack, unpack

ATARI = "atari"
STACK, SIZE = 4, 84
"""Frames of an observation, and their height and width in pixels."""


def find_atari(game: str) -> Callable[..., HostEnvironment]:
    """A function of the rules' options that makes a game, such as "Pong" or "SpaceInvaders".

    Raises:
        ArgumentError: ale-py is not installed, or has no such game, or not its ROM.
    """
    name = f"{ATARI}:{game}"
    try:
        from jaxrl.envs import atari_emulators
    except ImportError as error:
        rule = f"needs the packages ale-py and opencv-python-headless (pip install 'jaxrl[atari]'): {error}"
        raise ArgumentError("env_id", rule, name) from error
    games = atari_emulators.game_names()
    if game not in games:
        folded = {known.lower(): known for known in games}
        near = difflib.get_close_matches(game.lower().replace("_", ""), folded, n=1, cutoff=0.0)
        raise ArgumentError(
            "env_id", f"must be a game that ale-py has (the nearest is {ATARI}:{folded[near[0]]})", name
        )
    return partial(_make, name, games[game])


def _make(
    name: str,
    rom: str,
    *,
    sticky: float = 0.0,
    frame_skip: int = 4,
    max_noops: int = 30,
    max_frames: int = 108_000,
    life_loss: bool = True,
    clip_rewards: bool = True,
    all_actions: bool = False,
) -> HostEnvironment:
    """A game with the actions that matter.

    Frames, lives and signs of rewards are as Mnih et al. (2015, https://doi.org/10.1038/nature14236) have them in
    learning. With `sticky=0.25` and `life_loss=False`, actions are sticky and episodes whole games, as in Machado et
    al. (2018, https://doi.org/10.1613/jair.5699). Returns are scores of whole games, never clipped.

    Args:
        name: its name in errors and on pictures.
        rom: that of its ROM.
        sticky: the probability that a frame repeats the action of the frame before instead, in [0, 1).
        frame_skip: frames in which an action is repeated. The last two are merged pixel by pixel into their maximum.
        max_noops: a game begins with 1 to so many frames without an action; 0 for none.
        max_frames: frames after which a game is truncated; 0 for no cap.
        life_loss: whether a lost life ends the agent's episode, though not the game.
        clip_rewards: whether an agent learns from the signs of the scores.
        all_actions: whether to offer all 18 actions instead of those that have an effect.

    Raises:
        ArgumentError: an option is out of bounds, or the ROM is missing.
    """
    from jaxrl.envs.atari_emulators import Emulator, Rules

    check_value("sticky", sticky, Annotated[float, Interval(ge=0, lt=1)])
    check_value("frame_skip", frame_skip, Annotated[int, Interval(ge=1, lt=2**31)])
    for option, number in (("max_noops", max_noops), ("max_frames", max_frames)):
        check_value(option, number, Annotated[int, Interval(ge=0, lt=2**31)])
    for option, flag in (("life_loss", life_loss), ("clip_rewards", clip_rewards), ("all_actions", all_actions)):
        check_value(option, flag, bool)
    if 0 < max_frames <= (least := max_noops + frame_skip):
        rule = f"must be 0, for no cap, or more than {least}, the no-ops and a step"
        raise ArgumentError("max_frames", rule, max_frames)
    rules = Rules(rom, frame_skip, max_noops, float(sticky), max_frames, all_actions)
    try:
        actions = Emulator(rules).actions
    except (OSError, RuntimeError) as error:
        raise ArgumentError("env_id", f"must have its ROM ({first_line(error)})", name) from error
    from gymnax.environments.spaces import Box, Discrete  # here, for it takes seconds

    said = [
        f"frame skip {frame_skip}" + (" with max-pooling" if frame_skip > 1 else ""),
        f"up to {max_noops} no-ops" if max_noops else "no no-ops",
        f"sticky actions {sticky:g}" if sticky else "no sticky actions",
        "lost lives end episodes in learning" if life_loss else "lost lives end no episodes",
        "rewards clipped in learning, scores not" if clip_rewards else "rewards not clipped",
        f"{'all' if all_actions else 'minimal'} actions ({len(actions)})",
        f"{max_frames:,}-frame cap" if max_frames else "no frame cap",
    ]
    shape = (STACK, SIZE, SIZE)
    return HostEnvironment(
        name=name,
        rules=", ".join(said),
        example=Seen(jax.ShapeDtypeStruct(shape, np.uint8)),
        actions=Discrete(len(actions)),
        observations=Box(0, 255, shape, np.uint8),
        make_envs=lambda num_envs, draws: AtariEnvs(name, rules, num_envs, draws, life_loss, clip_rewards),
        can_save=True,
        frame_stack=STACK,
        action_names=tuple(action.name.lower() for action in actions),
    )


class AtariEnvs:
    """`SavedEnvs` of one game. Methods raise a `HostError` if an emulator does, or if its process ends.

    Args:
        name: of the game.
        rules: a `jaxrl.envs.atari_emulators.Rules`.
        num_envs: N.
        draws: whether to show the screens in colour.
        life_loss, clip_rewards: as of the factory.
        processes: how many run the emulators, this one among them; by default, as many as there are cores. They change
            no bit.
    """

    def __init__(
        self,
        name: str,
        rules: tuple,
        num_envs: int,
        draws: bool = False,
        life_loss: bool = False,
        clip_rewards: bool = True,
        processes: int | None = None,
    ) -> None:
        self.name, self.life_loss, self.clip_rewards = name, life_loss, clip_rewards
        processes = min(num_envs, processes or _num_cores())
        ends = np.linspace(0, num_envs, processes + 1).astype(int)
        self.parts = [slice(first, end) for first, end in itertools.pairwise(ends)]
        # This process works while it is sent to: it is the last.
        self.workers: list[Any] = [*(_Process() for _ in self.parts[1:]), _Here()]
        nums = [part.stop - part.start for part in self.parts]
        self._call("make", [(tuple(rules), num, draws) for num in nums])

    def reset(self, seeds: np.ndarray) -> Seen:
        frames, screens = self._join(self._call("reset", self._split(seeds)))
        self.stack = np.repeat(frames[:, None], STACK, axis=1)
        return self._seen(screens)

    def step(self, actions: np.ndarray) -> Outcome:
        stepped = self._join(self._call("step", self._split(actions)))
        score, lost_life, terminated, truncated, last, first, last_screens, first_screens = stepped
        over = terminated | truncated
        if self.life_loss:
            terminated = terminated | (lost_life & ~truncated)
        self.stack = np.concatenate([self.stack[:, 1:], last[:, None]], axis=1)
        seen = self._seen(last_screens)
        if (ended := terminated | truncated).any():
            self.stack = self.stack.copy()
            self.stack[ended] = first[ended, None]
        reward = np.sign(score) if self.clip_rewards else score
        return Outcome(reward, terminated, truncated, seen, self._seen(first_screens), score, over)

    def save(self) -> bytes:
        parts = {"stack": self.stack.tobytes()}
        for i, emulator in enumerate(itertools.chain(*self._call("save"))):
            parts |= {f"{i} {name}": part for name, part in emulator.items()}
        return pack(parts)

    def restore(self, saved: bytes) -> Seen:
        parts = unpack(saved)
        emulators: list[dict[str, bytes]] = [{} for _ in range(self.parts[-1].stop)]
        for name, part in parts.items():
            if name != "stack":
                i, _, own = name.partition(" ")
                emulators[int(i)][own] = part
        self._call("restore", self._split(emulators))
        self.stack = np.frombuffer(parts["stack"], np.uint8).reshape(len(emulators), STACK, SIZE, SIZE)
        return self._seen(None)

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def _seen(self, screens: np.ndarray | None) -> Seen:
        return Seen(self.stack, None, None if screens is None else list(screens))

    def _split(self, x: Any) -> list[tuple[Any]]:
        """The arguments of each worker: its part of what is given for each environment."""
        return [(x[part],) for part in self.parts]

    def _join(self, results: list[Sequence[Any]]) -> list[Any]:
        """The arrays of all workers as one; what is None stays so."""
        return [None if xs[0] is None else np.concatenate(xs) for xs in zip(*results, strict=True)]

    def _call(self, method: str, arguments: Sequence[tuple] | None = None) -> list[Any]:
        """Calls a method of all workers' emulators, side by side, with the arguments of each."""
        given: Any = zip(self.workers, arguments or [()] * len(self.workers), strict=True)
        try:
            for worker, own in given:
                worker.send((method, *own))
            answers = [worker.receive() for worker in self.workers]
        except (EOFError, OSError) as error:
            raise HostError(f"{self.name} ended in {method}: the process of an emulator is gone") from error
        for _, failed in answers:
            if failed is not None:
                reason = failed.strip().splitlines()[-1]
                raise HostError(f"{self.name} raised in {method}: {reason}") from EmulatorError(failed)
        return [result for result, _ in answers]


class EmulatorError(Exception):
    """What an emulator raised, perhaps in another process: its traceback."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class _Here:
    """Runs emulators in this process."""

    def __init__(self) -> None:
        from jaxrl.envs.atari_emulators import answer

        self._answer, self._emulators = answer, []  # type: ignore[var-annotated]

    def send(self, message: tuple) -> None:
        self._answered = self._answer(self._emulators, message)

    def receive(self) -> tuple[Any, str | None]:
        return self._answered

    def close(self) -> None:
        self._emulators.clear()


class _Process:
    """Runs emulators in a process of their own, which ends with this one."""

    def __init__(self) -> None:
        ours, theirs = Pipe()
        program = Path(__file__).with_name("atari_emulators.py")
        with theirs:
            command = [sys.executable, "-P", str(program), str(theirs.fileno())]
            variables = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=variables)
        self.send, self.receive = ours.send, ours.recv
        self.close = weakref.finalize(self, _end, self._process, ours)


def _end(process: subprocess.Popen, connection: Connection) -> None:
    """Ends a process that runs emulators."""
    connection.close()
    process.wait()


def _num_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
