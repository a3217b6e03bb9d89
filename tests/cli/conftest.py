"""How the tests call a command in their own process."""

import sys
from collections.abc import Callable
from typing import Any

import pytest

from jaxrl.cli.command import main
from jaxrl.experiments import dqn_minatar
from tests.calling import call_main


@pytest.fixture
def run_main(monkeypatch, capsys, tmp_path):
    """Calls a command in an empty folder: its exit code, and the lines it printed on stdout and stderr."""

    def run_main(main: Callable[[], None], *arguments: str) -> tuple[int, list[str], list[str]]:
        code, out, err = call_main(monkeypatch, capsys, main, *arguments)
        return code, out.splitlines(), err.splitlines()

    monkeypatch.chdir(tmp_path)
    return run_main


@pytest.fixture
def refused(monkeypatch, capsys, tmp_path):
    """Calls a command that ends before it compiles anything: its exit code, and the lines on stderr."""

    def refused(*arguments: str, experiment=dqn_minatar.experiment) -> tuple[Any, list[str]]:
        monkeypatch.setattr(sys, "argv", [experiment.name, *arguments])
        monkeypatch.setattr("jaxrl.runs.train.run", lambda *args, **kwargs: pytest.fail("it started to compile"))
        with pytest.raises(SystemExit) as end:
            main(experiment)
        return end.value.code, capsys.readouterr().err.strip().splitlines()

    monkeypatch.chdir(tmp_path)
    return refused
