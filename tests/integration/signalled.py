"""A command that sends itself a signal: `python -m tests.integration.signalled SIGNAL COUNT PATTERN EXPERIMENT …`.

The moment is the same on every machine: the COUNT-th time that it is about to do to a file what the PATTERN says, a
regular expression of Python's audit events, such as `os.rename .*checkpoints/`.
"""

import os
import re
import runpy
import sys
from typing import Any


def main() -> None:
    number, count, pattern, experiment, *arguments = sys.argv[1:]
    left = int(count)

    def hook(event: str, about: tuple[Any, ...]) -> None:
        nonlocal left
        if event.startswith(("open", "os.")) and re.search(pattern, f"{event} {about}"):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), int(number))

    sys.addaudithook(hook)
    sys.argv = [experiment, *arguments]
    runpy.run_module(f"jaxrl.experiments.{experiment}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
