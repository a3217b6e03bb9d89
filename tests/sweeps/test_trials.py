"""Which agents a sweep has, and which of them one program can train."""

import dataclasses
import re
from pathlib import Path

import jax
import numpy as np
import polars as pl
import pytest
from flax import struct

from jaxrl.arguments import ArgumentError
from jaxrl.experiments import dqn_cartpole
from jaxrl.random import key_streams
from jaxrl.runs.options import flatten, with_values
from jaxrl.sweeps import trials
from jaxrl.sweeps.report import retrain_best
from jaxrl.sweeps.results import SweepResult
from jaxrl.sweeps.spec import SweepSpec, read_spec
from jaxrl.sweeps.trials import make_groups, make_trials, pad

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
    def read(text: str = SPEC) -> SweepSpec:
        (tmp_path / "sweep.toml").write_text(text)
        return read_spec(tmp_path / "sweep.toml")

    return read


def test_each_configuration_has_an_agent_of_each_seed(read) -> None:
    spec = read()
    found = make_trials(spec)
    assert found["agent"].to_list() == list(range(18))
    assert found["configuration"].to_list() == [c for c in range(6) for _ in range(3)]
    assert found["seed"].to_list() == [5, 6, 7] * 6
    for row in found.iter_rows(named=True):
        options = spec.configuration(row["configuration"], seed=row["seed"])
        assert options == with_values(spec.options, spec.draws[row["configuration"]] | {"seed": row["seed"]})
        assert options.budget.num_seeds == 1  # as a run of its own
        for path, value in flatten(options).items():
            if "." in path:
                assert row[path] == (" ".join(map(str, value)) if isinstance(value, list) else value)


def test_agents_share_a_group_if_they_share_their_static_values(read) -> None:
    spec = read()
    found = make_groups(spec, 4)
    drawn = {(values["config.hidden_sizes"], values["config.batch_size"]) for values in spec.draws}
    assert 1 < len(found) == len(drawn)
    assert [group.number for group in found] == list(range(len(found)))
    assert {(group.options.config.hidden_sizes, group.options.config.batch_size) for group in found} == drawn
    for group in found:
        assert group.trials["agent"].is_sorted()
        configurations = group.trials["configuration"].unique()
        assert {spec.configuration(number).config for number in configurations} == {group.options.config}
    assert found[0].trials["hparams.discount"].n_unique() > 1


def test_environments_and_rules_make_groups_too(read, monkeypatch) -> None:
    monkeypatch.setattr(trials, "trace", lambda _, trainer, __: trainer)
    env = 'env.values = ["CartPole-v1", "Acrobot-v1"]\n'
    text = SPEC.replace("seeds = 3", env + "seeds = 3").replace("values = [[8], [8, 8]]", "values = [[8]]")
    spec = read(text.replace("values = [16, 32]", "values = [16]"))
    found = make_groups(spec, 2)
    assert {group.options.task.env for group in found} == {"CartPole-v1", "Acrobot-v1"}
    for group in found:
        assert set(group.trials["env"]) == {group.options.task.env}
        assert group.env.name == group.options.task.env
    with pytest.raises(ArgumentError, match=r"^max_groups must be at least 2: every combination of env, config"):
        make_groups(spec, 1)


def test_what_is_traced_needs_no_group_of_its_own(read) -> None:
    text = SPEC.replace("hidden_sizes = { values = [[8], [8, 8]] }", "hidden_sizes = [8]")
    (one,) = make_groups(read(text.replace("batch_size = { values = [16, 32] }", "")), 1)
    assert len(one.trials) == 18


def test_inputs_are_each_trials_own(read) -> None:
    spec = read()
    group = make_groups(spec, 4)[0]
    some = group.trials[[-1, 0, 1, 1]]
    keys, hparams = group.inputs(some)
    for i, row in enumerate(some.iter_rows(named=True)):
        training, _, _ = key_streams([row["seed"]])
        np.testing.assert_array_equal(jax.random.key_data(keys[i]), jax.random.key_data(training[0]))
        own = jax.tree.map(lambda column, i=i: column[i].item(), hparams)
        assert own == spec.configuration(row["configuration"]).hparams
    assert keys.shape == (4,)


@struct.dataclass
class Schedule:
    rates: tuple[float, ...] = (0.1, 0.2)


@struct.dataclass
class OwnHparams:
    schedule: Schedule = Schedule()
    coefficients: tuple[float, ...] = (1.0, 2.0, 3.0)


def test_hyperparameters_may_be_tuples_and_records(monkeypatch) -> None:
    for name in ("build", "trace"):
        monkeypatch.setattr(trials, name, lambda *_: (None, None))
    defaults = dataclasses.replace(dqn_cartpole.experiment.defaults, hparams=OwnHparams())
    own = dqn_cartpole.experiment._replace(defaults=defaults)
    fields = {"hparams.coefficients": {"values": [[1, 2, 3], [4, 5, 6]]}}
    (group,) = make_groups(SweepSpec(own, "grid", seeds=2, fields=fields), 1)
    _, hparams = group.inputs(group.trials)
    assert np.transpose(hparams.coefficients).tolist() == [[1, 2, 3]] * 2 + [[4, 5, 6]] * 2
    assert np.transpose(hparams.schedule.rates).tolist() == [[0.1, 0.2]] * 4
    nested = {"hparams": {"schedule": {"rates": {"values": [[0.1, 0.2], [0.3, 0.4]]}}}}
    (group,) = make_groups(SweepSpec(own, "grid", fields=nested), 1)
    assert np.transpose(group.inputs(group.trials)[1].schedule.rates).tolist() == [[0.1, 0.2], [0.3, 0.4]]


def test_a_groups_program_runs_sequentially_if_the_experiment_does() -> None:
    plain = dqn_cartpole.experiment
    for sequential in (False, True):
        defaults = with_values(plain.defaults, {"sequential": sequential})
        (group,) = make_groups(SweepSpec(plain._replace(defaults=defaults), "grid"), 1)
        assert group.program(1, jax.devices()[:1]).sequential is sequential


@pytest.mark.parametrize(("size", "numbers"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (5, [0, 1, 2, 2, 2])])
def test_a_chunk_is_padded_with_its_last_trial(size: int, numbers: list[int]) -> None:
    assert pad(pl.DataFrame({"agent": range(3)}), size)["agent"].to_list() == numbers


def test_more_programs_than_allowed_are_refused_before_they_are_made(read, monkeypatch) -> None:
    spec = read()
    number = len(make_groups(spec, 4))
    monkeypatch.setattr(trials, "Group", lambda *_: pytest.fail("it made one"))
    with pytest.raises(ArgumentError) as error:
        make_groups(spec, number - 1)
    assert str(error.value) == (
        f"max_groups must be at least {number}: every combination of config.hidden_sizes, config.batch_size that is "
        f"drawn needs a program of its own, got {number - 1}"
    )


def test_static_values_that_do_not_fit_each_other_are_refused(read) -> None:
    text = SPEC.replace("values = [16, 32]", "values = [16, 2_000]")
    with pytest.raises(
        ArgumentError, match=r"config\.batch_size must be at most 1000, the capacity of the replay buffer, got 2000$"
    ):
        make_groups(read(text), 4)


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
        ("", 'num_atoms = { values = [11] }\nvalues = { values = ["expected", "categorical"] }', "grid", None),
        (
            "",
            'v_max = 9.0\nvalues = { values = ["quantiles", "expected"] }',
            "grid",
            "config.v_max has no effect with config.values quantiles, got 9.0",
        ),
    ],
)
def test_fields_that_change_no_agent_are_refused(read, monkeypatch, hparams, config, search, message) -> None:
    monkeypatch.setattr(trials, "build", lambda *_: (None, None))
    monkeypatch.setattr(trials, "trace", lambda *_: None)
    count = "configurations = 6" if search == "random" else ""
    text = f'experiment = "dqn_cartpole"\nsearch = "{search}"\n{count}\n[hparams]\n{hparams}\n[config]\n{config}'
    spec = read(text)
    if message is None:
        trials.check_effective(spec, make_groups(spec, 4))
    else:
        with pytest.raises(ArgumentError, match=f"^in .*/sweep.toml, {re.escape(message)}$"):
            trials.check_effective(spec, make_groups(spec, 4))


def test_a_variant_that_changes_nothing_is_refused(read, monkeypatch) -> None:
    monkeypatch.setattr(trials, "build", lambda *_: (None, None))
    monkeypatch.setattr(trials, "trace", lambda *_: None)
    text = (
        'experiment = "dqn_cartpole"\nsearch = "list"\n[variants.a]\nhparams.priority_exponent = 0.9\nconfig.replay = '
    )
    trials.check_effective(spec := read(text + '"prioritised"\n[variants.b]'), make_groups(spec, 2))
    spec = read(text + '"uniform"\n[variants.b]')
    with pytest.raises(ArgumentError, match=r"hparams\.priority_exponent has no effect with config\.replay uniform"):
        trials.check_effective(spec, make_groups(spec, 2))


def test_the_command_that_trains_the_best_again_leaves_out_what_has_no_effect(read) -> None:
    """There it would be refused."""
    spec = read(
        'experiment = "dqn_cartpole"\nsearch = "grid"\n[hparams]\npriority_exponent = 0.9\n[config]\n' + REPLAYS
    )
    best = (pl.DataFrame({"configuration": [number]}) for number in range(2))
    commands = [retrain_best(spec, SweepResult(Path(), pl.DataFrame(), pl.DataFrame(), frame)) for frame in best]
    module = "python -m jaxrl.experiments.dqn_cartpole"
    assert commands == [module, f"{module} --hparams.priority-exponent 0.9 --config.replay prioritised"]


def test_too_few_steps_are_refused(read) -> None:
    with pytest.raises(ArgumentError, match=r"^in .*/sweep\.toml, total_steps must be at least \d+ .*, got 100$"):
        make_groups(read(SPEC.replace("12_000", "100")), 4)
