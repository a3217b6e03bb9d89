"""The examples of the README and of the guide run."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

from jaxrl import experiments
from jaxrl.experiments import benchmark

ROOT = Path(__file__).parents[2]
README, GUIDE = ROOT / "README.md", ROOT / "experiments/README.md"
SHORTER = {
    "length=500": "length=5",
    "total_steps=20_000": "total_steps=6_000",
    "total_steps=10_000": "total_steps=6_000",
    "key(0), 10_000": "key(0), 16",
    "10_000, log_every=2_000": "1_400, log_every=200",
}
"""The loops of the examples, as long as is needed to see that they run."""


def test_the_examples_run(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pattern = r"<!-- The tests run this example\. -->\n```python\n(.*?)```"
    examples = re.findall(pattern, README.read_text() + GUIDE.read_text(), re.DOTALL)
    assert len(examples) == 12
    for long, short in SHORTER.items():
        assert sum(long in example for example in examples) == 1
        examples = [example.replace(long, short) for example in examples]
    goes_on = next(example for example in examples if "my_checkpoints" in example)
    for example in (*examples, goes_on):  # once more, from what is there
        exec(compile(example, str(README), "exec"), {})
    said = capsys.readouterr().out
    for picture in ("seaquest.png", "seaquest.gif", "grid.png"):
        assert (tmp_path / picture).stat().st_size > 1000
    assert "loss of each agent: [" in said
    assert float(said.split("Q*: (16, 100, 4) within ")[1].split()[0]) <= 1e-5
    assert float(said.split("return of the last episodes: ")[1].split()[0]) > 5
    assert float(said.split("return of my agent: ")[1].split()[0]) > 50  # 22 at random
    assert int(said.split("a search that only knows the rules: ")[1].split()[0]) < 300  # a random mover makes 1,900
    assert "Elo above a random player: Ratings(elo=array([  0" in said
    assert "NashConv of matching pennies: [0.]" in said
    assert said.count("resuming at 5,632 environment steps") == 1


def test_every_command_and_flag_it_names_exists(capsys, monkeypatch) -> None:
    """Flags of a command must be in its help; flags in the text, in that of any command."""

    def help_of(command: tuple[str, ...]) -> str:
        monkeypatch.setattr(sys, "argv", ["command", *command[1:], "--help"])
        module = import_module(f"jaxrl.experiments.{command[0]}")
        with pytest.raises(SystemExit, match=r"^0$"):
            module.main(module.experiment) if hasattr(module, "experiment") else module.main()
        return capsys.readouterr().out

    def flags(text: str) -> set[str]:
        return set(re.findall(r"--[a-z][a-z.-]*", text))

    monkeypatch.setenv("COLUMNS", "200")
    text = README.read_text() + GUIDE.read_text()
    kinds = "|".join(benchmark.BENCHMARKS)
    commands = re.findall(rf"-m\s+jaxrl\.experiments\.(\w+)( (?:{kinds}))?\b([^`\n]*)", text.replace("NAME`", "play`"))
    listed = re.findall(
        rf"^\| `(\w+)( (?:{kinds}))?\b([^`\n]*)` \|", text.split("## Commands")[1].split("\n#")[0], re.M
    )
    names = {path.stem for path in Path(experiments.__file__).parent.glob("*.py")} - {"__init__", "__main__"}
    assert {name for name, _, _ in listed} == names
    commands += listed
    helps = {command: help_of(command) for command in {(name, *kind.split()) for name, kind, _ in commands}}
    for name, kind, arguments in commands:
        named = flags(arguments.split("#")[0])
        assert named <= flags(helps[name, *kind.split()]), f"{name}{kind}: {named}"
    assert flags(text) - {"--help"} <= flags(" ".join(helps.values()))


@pytest.mark.parametrize("page", ["README.md", "experiments/README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_leads_somewhere(page: str) -> None:
    written = ROOT / page
    text = written.read_text()
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", text):
        linked = written.parent / target if target else written
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    for path in re.findall(r"`(jaxrl/[\w/]+(?:\.py|/))`", text):
        assert (ROOT / path).exists(), path
