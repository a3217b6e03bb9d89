"""How tests call a command in their own process, which is quicker than another one."""

import sys
from collections.abc import Callable
from typing import Any

import pytest


def call_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], main: Callable[[], None], *arguments: str
) -> tuple[int, str, str]:
    """Calls a command in this process: its exit code, and what it printed on stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    code: Any = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()
