"""The command of a training experiment: from the command line to the options."""

import pytest

from jaxrl.cli.command import main
from jaxrl.experiments import ppo_memory


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", ("velocities=False",)),
        ("--env CartPole-v1", ("velocities=False",)),
        ("--env MemoryChain-bsuite", ()),
        ("--env MemoryChain-bsuite --env-options memory_length=3", ("memory_length=3",)),
        ("--env MemoryChain-bsuite --env_options velocities=False", ("velocities=False",)),
        ("--env-options", ()),
    ],
)
def test_another_environment_has_options_of_its_own(monkeypatch, arguments: str, expected: tuple[str, ...]) -> None:
    given = []

    def train(experiment, options, console):
        given.append(options)
        return "", {}

    monkeypatch.setattr("jaxrl.cli.command.train", train)
    monkeypatch.setattr("sys.argv", ["ppo_memory", *arguments.split()])
    main(ppo_memory.experiment)
    assert given[0].task.env_options == expected
