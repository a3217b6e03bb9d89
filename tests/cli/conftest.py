"""How the tests call a command in their own process."""

import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def run_main(monkeypatch, capsys, tmp_path):
    """Calls a command in an empty folder: its exit code, and the lines it printed on stdout and stderr."""

    def run_main(main: Callable[[], None], *arguments: str) -> tuple[int, list[str], list[str]]:
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    monkeypatch.chdir(tmp_path)
    return run_main
