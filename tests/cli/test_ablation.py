"""The ablation: every variant is trained, drawn and recorded, and goes on where it stopped."""

import csv
import dataclasses

import pytest
from PIL import Image

from jaxrl.experiments import ablation, dqn_minatar, rainbow_minatar

SMALL = (
    *("--env", "CartPole-v1", "--total-steps", "300", "--num-seeds", "2", "--eval-episodes", "4"),
    *("--eval-max-steps", "20", "--config.num-envs", "4", "--config.batch-size", "8", "--config.replay-capacity", "64"),
    *("--config.warmup-steps", "16", "--config.hidden-sizes", "8"),
)


@pytest.fixture
def call(run_main):
    return lambda *arguments: run_main(ablation.main, *SMALL, *arguments)


def test_it_trains_draws_records_and_goes_on(call, tmp_path) -> None:
    arguments = ["--variants", "dqn", "n-step", "no-replay", "--out", "a", "--record", "b"]
    code, lines, errors = call(*arguments)
    assert (code, errors) == (0, [])
    assert [line for line in lines if line.startswith("picture: a/ablation.png")]
    with Image.open("a/ablation.png") as picture:
        assert picture.width > 1000
    with open("b/results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["run"], row["seed"]) for row in rows} == {(v, s) for v in ("dqn", "n-step", "no-replay") for s in "01"}
    assert {path.name for path in (tmp_path / "b").iterdir()} == {
        "README.md", "ablation.png", "curves.csv", "results.csv"
    }  # fmt: skip
    again = call(*arguments, "--resume")
    assert again[0] == 0
    assert not any("training" in line for line in again[1])  # nothing was trained anew
    code, _, errors = call(*arguments)
    assert code == 2
    assert errors == ["error: --out a/dqn already holds a run; add --resume to continue it, or name another"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--variants dqn dqn", "error: --variants must be different ones, got dqn dqn"),
        ("--resume", "error: --resume needs --out DIR, the study to continue"),
        (
            "--config.n-step 40",
            "error: --config.n-step must be at least 1 and at most the 16 slabs of the replay, got 40",
        ),
        ("--env Nowhere-v1", "error: --env must be a known name (the nearest is 'CartPole-v1'), got 'Nowhere-v1'"),
        ("--hparams.discount 2", "error: --hparams.discount must be <= 1, got 2.0"),
    ],
)
def test_bad_input_is_found_before_anything_is_trained(call, tmp_path, arguments: str, message: str) -> None:
    code, _, errors = call(*arguments.split())
    assert (code, errors) == (2, [message])
    assert not list(tmp_path.iterdir())


def test_rainbow_is_all_parts_at_once() -> None:
    rainbow, plain = rainbow_minatar.experiment.defaults.config, dqn_minatar.experiment.defaults.config
    for part in ablation.PARTS.values():
        if part.config != {"values": "quantiles"}:
            changed = dataclasses.replace(rainbow, **part.config)
            assert changed == rainbow
            assert dataclasses.replace(plain, **part.config) != plain


def test_without_replay_it_learns_from_the_newest_steps(tmp_path) -> None:
    options = ablation.AblationOptions(**vars(dqn_minatar.experiment.defaults))
    config = ablation.variant_run(options, "no-replay", tmp_path).options.config
    assert config.batch_size == config.replay_capacity == config.num_envs
