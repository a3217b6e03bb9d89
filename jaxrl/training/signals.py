"""Signals that end a process, caught while a run can still be saved."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def caught_signals() -> Iterator[Callable[[], bool]]:
    """Turns signals that end a process into a flag: an exception in the middle of a call would lose the donated state.

    A second SIGINT or SIGTERM acts as without this. A second SIGHUP does not, since a closing terminal sends several.
    SIGHUP and SIGUSR1 are left to those who handle or ignore them, as `nohup` does.
    """
    caught: list[int] = []
    before: dict[int, Any] = {}
    others = [getattr(signal, name) for name in ("SIGHUP", "SIGUSR1") if hasattr(signal, name)]

    def handler(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        if number not in others:
            restore(signal.SIGINT, signal.SIGTERM)

    def restore(*numbers: int) -> None:
        for number in before.keys() & set(numbers):
            signal.signal(number, before[number])

    try:
        for number in (signal.SIGINT, signal.SIGTERM, *others):
            if number not in others or signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, handler)
    except ValueError:
        before.clear()  # outside the main thread, Python allows no handlers
    try:
        yield lambda: bool(caught)
    finally:
        restore(*before)
