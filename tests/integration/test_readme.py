"""The README's example runs as it stands."""

import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_the_example_runs(capsys) -> None:
    marked = re.search(r"<!-- The tests run this example\. -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert marked
    exec(compile(marked[1], str(README), "exec"), {})
    assert "loss of each agent: [" in capsys.readouterr().out


def test_every_command_it_names_exists() -> None:
    for name in re.findall(r"-m jaxrl\.experiments\.(\w+)", README.read_text()):
        assert (README.parent / "jaxrl" / "experiments" / f"{name}.py").exists(), name
