"""Ctrl-C during the imports of a command ends it quietly, without the traceback of whatever is being imported.

Import this first. In any program but `python -m jaxrl.experiments…` it does nothing.
"""

import os
import signal
import sys
from itertools import pairwise
from types import FrameType


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(130)


def _is_command(words: list[str]) -> bool:
    return any(flag == "-m" and word.startswith("jaxrl.experiments") for flag, word in pairwise(words))


if _is_command(sys.orig_argv) and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, _end)


def imported() -> None:
    """Lets Ctrl-C raise KeyboardInterrupt again."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)
