"""Which agents a sweep has, and which of them one program can train."""

import dataclasses
import re
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import polars as pl
import pytest

from jaxrl.arguments import UsageError
from jaxrl.experiments import dqn_cartpole
from jaxrl.random import key_streams
from jaxrl.sweeps import trials
from jaxrl.sweeps.execute import retrain
from jaxrl.sweeps.spec import Spec, draw, read_spec, with_values
from jaxrl.sweeps.trials import Trial, group, pad

SPEC = """
experiment = "dqn_cartpole"
search = "random"
configurations = 6
seeds = 3
seed = 5
total_steps = 12_000
[hparams]
learning_rate = { distribution = "log_uniform", low = 1e-4, high = 1e-2 }
discount = { values = [0.9, 0.99] }
target_update_period = { distribution = "integer", low = 1, high = 100 }
[config]
hidden_sizes = { values = [[8], [8, 8]] }
batch_size = { values = [16, 32] }
replay_capacity = 1_000
"""


@pytest.fixture
def read(tmp_path: Path):
    def read(text: str = SPEC) -> Spec:
        (tmp_path / "sweep.toml").write_text(text)
        return read_spec(tmp_path / "sweep.toml")

    return read


def test_each_configuration_has_an_agent_of_each_seed(read) -> None:
    spec = read()
    trials = sorted((trial for each in group(spec, 4) for trial in each.trials), key=lambda trial: trial.number)
    expected = [
        Trial(c * 3 + i, c, dataclasses.replace(with_values(spec.options, values), seed=5 + i))
        for c, values in enumerate(draw(spec))
        for i in range(3)
    ]
    assert trials == expected
    assert [trial.number for trial in trials] == list(range(18))
    assert {trial.options.budget.num_seeds for trial in trials} == {1}  # as a run of its own


def test_agents_share_a_group_if_they_share_their_static_values(read) -> None:
    spec = read()
    found = group(spec, 4)
    drawn = {(values["config.hidden_sizes"], values["config.batch_size"]) for values in draw(spec)}
    assert 1 < len(found) == len(drawn)
    assert [each.number for each in found] == list(range(len(found)))
    assert {(each.options.config.hidden_sizes, each.options.config.batch_size) for each in found} == drawn
    for each in found:
        numbers = [trial.number for trial in each.trials]
        assert numbers == sorted(numbers)
        assert {trial.options.config for trial in each.trials} == {each.options.config}
    assert len({trial.options.hparams.discount for trial in found[0].trials}) > 1


def test_what_is_traced_needs_no_group_of_its_own(read) -> None:
    text = SPEC.replace("hidden_sizes = { values = [[8], [8, 8]] }", "hidden_sizes = [8]")
    (one,) = group(read(text.replace("batch_size = { values = [16, 32] }", "")), 1)
    assert len(one.trials) == 18


def test_inputs_are_each_trials_own(read) -> None:
    each = group(read(), 4)[0]
    some = [each.trials[i] for i in (2, 0, 1, 1)]
    keys, hparams = each.inputs(some)
    for i, trial in enumerate(some):
        training, _, _ = key_streams([trial.options.budget.seed])
        np.testing.assert_array_equal(jax.random.key_data(keys[i]), jax.random.key_data(training[0]))
        own = jax.tree.map(lambda column, i=i: column[i].item(), hparams)
        assert own == trial.options.hparams
    assert keys.shape == (4,)


@pytest.mark.parametrize(("size", "numbers"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (5, [0, 1, 2, 2, 2])])
def test_what_a_chunk_lacks_is_the_last_again(size: int, numbers: list[int]) -> None:
    trials = [Trial(number, number, dqn_cartpole.experiment.defaults) for number in range(3)]
    assert [trial.number for trial in pad(trials, size)] == numbers


def test_more_programs_than_allowed_are_refused_before_they_are_made(read, monkeypatch) -> None:
    spec = read()
    number = len(group(spec, 4))
    monkeypatch.setattr(trials, "Group", lambda *_: pytest.fail("it made one"))
    with pytest.raises(UsageError) as error:
        group(spec, number - 1)
    message = str(error.value)
    assert message.startswith(f"config.hidden_sizes, config.batch_size: {number} different values")
    assert message.endswith(f"--max-groups is {number - 1}")
    assert "\n" not in message


def test_static_values_that_do_not_fit_each_other_are_refused(read) -> None:
    text = SPEC.replace("values = [16, 32]", "values = [16, 2_000]")
    with pytest.raises(UsageError, match=r"^--config\.batch-size must be at most replay_capacity, got 2000 and 1000$"):
        group(read(text), 4)


REPLAYS = 'replay = { values = ["uniform", "prioritised"] }'


@pytest.mark.parametrize(
    ("hparams", "config", "search", "message"),
    [
        (
            "priority_exponent = 0.9",
            "",
            "grid",
            "hparams.priority_exponent has no effect with config.replay uniform, got 0.9",
        ),
        (
            'priority_exponent = { distribution = "uniform", low = 0.1, high = 0.9 }',
            "",
            "random",
            "hparams.priority_exponent has no effect with config.replay uniform, got 0.1 to 0.9",
        ),
        (
            "",
            "num_atoms = { values = [51, 7] }",
            "grid",
            "config.num_atoms has no effect with config.values expected, got 51, 7",
        ),
        # In a grid both agents with the uniform replay would be the same; at random no two are.
        (
            "priority_exponent = { values = [0.5, 0.9] }",
            REPLAYS,
            "grid",
            "hparams.priority_exponent has no effect with config.replay uniform, got 0.5, 0.9",
        ),
        ("priority_exponent = { values = [0.5, 0.9] }", REPLAYS, "random", None),
        ("priority_exponent = 0.9", REPLAYS, "grid", None),
        ("priority_exponent = 0.5", "num_atoms = { values = [51] }", "grid", None),
    ],
)
def test_fields_that_change_no_agent_are_refused(read, monkeypatch, hparams, config, search, message) -> None:
    monkeypatch.setattr(trials.checks, "build", lambda *_: (None, None))
    count = "configurations = 6" if search == "random" else ""
    text = f'experiment = "dqn_cartpole"\nsearch = "{search}"\n{count}\n[hparams]\n{hparams}\n[config]\n{config}'
    spec = read(text)
    if message is None:
        trials.check_idle(spec, group(spec, 4))
    else:
        with pytest.raises(UsageError, match=f"^{re.escape(message)}$"):
            trials.check_idle(spec, group(spec, 4))


def test_the_command_that_trains_the_best_again_leaves_out_what_has_no_effect(read, monkeypatch) -> None:
    """There it would be refused."""
    monkeypatch.setattr(trials.checks, "build", lambda *_: (None, None))
    spec = read(
        'experiment = "dqn_cartpole"\nsearch = "grid"\n[hparams]\npriority_exponent = 0.9\n[config]\n' + REPLAYS
    )
    sweep = SimpleNamespace(spec=spec, groups=group(spec, 4))
    best = [retrain(sweep, pl.DataFrame({"configuration": [number]})) for number in range(2)]
    module = "python -m jaxrl.experiments.dqn_cartpole"
    assert best == [module, f"{module} --hparams.priority-exponent 0.9 --config.replay prioritised"]


def test_too_few_steps_are_refused(read) -> None:
    with pytest.raises(UsageError, match=r"^--total-steps must be at least \d+ .*, got 100$"):
        group(read(SPEC.replace("12_000", "100")), 4)
