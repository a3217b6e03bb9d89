"""What is made of a sweep's results: their order, the tables, and the command that trains one again."""

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import tyro
from rich.console import Console

from jaxrl.experiments import dqn_minatar, pqn_minatar, reinforce_cartpole
from jaxrl.formatting import markdown_table, screen_table
from jaxrl.plots.learning_curve import measure_of
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options, Task, flatten
from jaxrl.sweeps.report import shown_curves
from jaxrl.sweeps.results import (
    environments_table,
    rank_configurations,
    results_table,
    retrain_command,
    write_parquet,
)
from tests.sweeps.frames import DOUBLE, RATE, by_configuration, frame


@pytest.mark.parametrize("env", ["CartPole-v1", "game:tic_tac_toe", "game:kuhn_poker"])
def test_training_returns_of_both_players_are_not_drawn(env: str) -> None:
    curves = pl.DataFrame({"agent": [0], "env_steps": [1], "episode_return": [1.0], "eval_return": [1.0]})
    spec: Any = SimpleNamespace(options=SimpleNamespace(task=Task(env)))
    assert measure_of(shown_curves(spec, curves).columns) == (
        "episode_return" if env == "CartPole-v1" else "eval_return"
    )


def test_means_and_intervals_are_of_the_seeds_that_finished() -> None:
    results = by_configuration([[1.0, 2.0, 3.0], [7.0, None, 9.0], [None, 4.0, None]])
    results = results.with_columns(train_return=pl.Series([1.0, 3.0, 8.0, 5.0, 7.0, None, None, None, None]))
    best = rank_configurations(results, [RATE, DOUBLE])
    assert best.columns == [
        "configuration", RATE, DOUBLE, "seeds", "finished", "eval_return", "eval_returns", "train_return",
    ]  # fmt: skip
    assert best.rows() == [
        (0, 1.0, False, 3, 3, 2.0, [1.0, 2.0, 3.0], 4.0),
        (1, 0.1, True, 3, 2, 8.0, [7.0, 9.0], 6.0),
        (2, 0.01, False, 3, 1, 4.0, [4.0], None),
    ]


def test_the_best_come_first() -> None:
    returns: list[list[float | None]] = [[3.0, None], [1.0, 1.0], [5.0, 5.0], [None, None], [4.0, 6.0], [9.0, None]]
    best = rank_configurations(by_configuration(returns), [RATE])
    assert best["configuration"].to_list() == [2, 4, 1, 5, 0, 3]


def test_ties_go_by_training_return_and_then_by_number() -> None:
    results = by_configuration([[5.0]] * 5, [2.0, 3.0, None, 3.0, float("nan")])
    assert rank_configurations(results, [])["configuration"].to_list() == [1, 3, 0, 2, 4]
    shuffled = results.sample(fraction=1.0, shuffle=True, seed=0)
    assert rank_configurations(shuffled, []).equals(rank_configurations(results, []))


def test_a_seed_that_failed_counts_like_one_that_diverged() -> None:
    results = by_configuration([[9.0, None], [1.0, 1.0]])
    results = results.with_columns(status=pl.col("status").replace("diverged", "failed"))
    assert rank_configurations(results, []).select("configuration", "finished").rows() == [(1, 2), (0, 1)]


def test_the_tables(capsys) -> None:
    results = by_configuration([[200.0, 224.6], [0.5, 0.7], [None, None]], [187.26, 0.123, None])
    best = rank_configurations(results.with_columns(pl.lit(0.00123456).alias(RATE)), [RATE, DOUBLE])
    assert markdown_table(results_table(best, [RATE, DOUBLE], rows=2)).splitlines() == [
        "| rank | configuration | learning rate | double | evaluation return | seeds finished | training return |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        "| 1 | 0 | 0.00123 | False | 212.3 (200.0 to 224.6) | 2 of 2 | 187.3 |",
        "| 2 | 1 | 0.00123 | True | 0.60 (0.50 to 0.70) | 2 of 2 | 0.12 |",
    ]
    Console(width=100).print(screen_table(results_table(best, [RATE, DOUBLE]), narrow=True))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[-3:] == [
        ["1", "0", "0.00123", "False", "212.3", "(200.0", "to", "224.6)", "2", "of", "2", "187.3"],
        ["2", "1", "0.00123", "True", "0.60", "(0.50", "to", "0.70)", "2", "of", "2", "0.12"],
        ["3", "2", "0.00123", "False", "–", "0", "of", "2", "–"],
    ]


def test_settings_beside_each_other_in_several_environments() -> None:
    in_b: list[list[int | None]] = [[1, 3], [5, 5], [4, None], [6, 6]]
    in_a: list[list[int | None]] = [[70, 72], [60, 60], [50, 50], [None, None]]
    sizes = "config.hidden_sizes"
    settings = [{"env": env, sizes: size, RATE: rate} for env in "ba" for size in ("4", "8 8") for rate in (0.1, 1.1)]
    swept = ["env", sizes, RATE]
    rows = [
        {"configuration": c, **setting, "eval_return": value}
        for c, (setting, returns) in enumerate(zip(settings, in_b + in_a, strict=True))
        for value in returns
    ]
    best = rank_configurations(frame(rows), swept)
    page = markdown_table(environments_table(best, swept)).splitlines()
    assert page[0] == "| hidden sizes | learning rate | a | b | mean rank |"
    assert page[2:] == [
        "| 4 | 0.1 | 71.00 (70.00 to 72.00) | 2.00 (1.00 to 3.00) | 2.0 |",
        "| 4 | 1.1 | 60.00 (60.00 to 60.00) | 5.00 (5.00 to 5.00) | 2.0 |",
        "| 8 8 | 1.1 | – | 6.00 (6.00 to 6.00) | 2.5 |",
        "| 8 8 | 0.1 | 50.00 (50.00 to 50.00) | 4.00 | 3.5 |",
    ]
    assert environments_table(best.filter(pl.col("configuration") != 5), swept) is None  # other settings in a than in b
    assert environments_table(best, ["env"]) is environments_table(best, [RATE]) is None


def test_five_seeds_have_an_interval() -> None:
    best = rank_configurations(by_configuration([[1.0, 2.0, 3.0, 4.0, 5.0]]), [])
    assert "| 3.00 ± 1.96 | 5 of 5 |" in markdown_table(results_table(best, []))


def test_parquet_keeps_every_bit(tmp_path: Path) -> None:
    results = by_configuration([[0.1 + 0.2, None], [1 / 3, -0.0]])
    write_parquet(results, tmp_path / "results.parquet")
    assert pl.read_parquet(tmp_path / "results.parquet").equals(results)
    assert [path.name for path in tmp_path.iterdir()] == ["results.parquet"]


def test_a_file_survives_a_write_that_fails(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "results.parquet"
    write_parquet(by_configuration([[1.0]]), path)
    before = path.read_bytes()

    def write_half(self: pl.DataFrame, file: Path) -> None:
        file.write_bytes(before[: len(before) // 2])
        raise OSError("the disk is full")

    monkeypatch.setattr(pl.DataFrame, "write_parquet", write_half)
    with pytest.raises(OSError, match="full"):
        write_parquet(by_configuration([[2.0]]), path)
    assert path.read_bytes() == before


def parse(experiment: Experiment, command: str) -> Options:
    """What `jaxrl.runs.train.main` would read from a command."""
    python, dash_m, module, *arguments = shlex.split(command)
    assert (python, dash_m, module) == ("python", "-m", f"jaxrl.experiments.{experiment.name}")
    defaults = experiment.defaults
    generic: Any = Options
    options_type = generic[type(defaults.hparams), type(defaults.config)]
    return tyro.cli(options_type, default=defaults, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))


@pytest.mark.parametrize(
    ("experiment", "changed"),
    [
        (dqn_minatar.experiment, {}),
        (
            dqn_minatar.experiment,
            {
                "hparams.learning_rate": 0.1 + 0.2,
                "hparams.discount": float(np.float32(0.99)),
                "hparams.epsilon_decay_steps": 1e22,
                "hparams.target_update_period": 1000,
                "config.double": True,
                "config.noisy": False,
                "config.hidden_sizes": [64, 32],
                "config.values": "categorical",
                "config.v_min": -1.5e-7,
                "env_options": ["map=S. G", "note='a; b'"],
                "rules": "gymnax",
                "seed": 7,
            },
        ),
        (dqn_minatar.experiment, {"config.hidden_sizes": [], "env": "my module:an environment $HOME"}),
        (reinforce_cartpole.experiment, {"config.reset_each_rollout": False, "sequential": False}),
        (
            reinforce_cartpole.experiment,
            {"config.reset_each_rollout": True, "sequential": True, "config.activation": "relu"},
        ),
        (pqn_minatar.experiment, {"config.layer_norm": False}),
    ],
)
def test_tyro_reads_the_command_back(experiment: Experiment, changed: dict[str, Any]) -> None:
    """To the same options, and the same bits."""
    options = parse(experiment, retrain_command(experiment, changed))
    assert flatten(options) == flatten(experiment.defaults) | changed


def test_the_command_as_it_is_typed() -> None:
    changed = {"hparams.learning_rate": 0.00123, "config.double": True, "config.hidden_sizes": (64, 64)}
    assert retrain_command(dqn_minatar.experiment, changed) == (
        "python -m jaxrl.experiments.dqn_minatar --hparams.learning-rate 0.00123 --config.double "
        "--config.hidden-sizes 64 64"
    )
    with pytest.raises(KeyError, match="learning_speed"):
        retrain_command(dqn_minatar.experiment, {"hparams.learning_speed": 1.0})
