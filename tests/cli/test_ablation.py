"""The ablation: a sweep over a list of variants, drawn and recorded, that goes on where it stopped."""

import dataclasses
import json
from pathlib import Path

import polars as pl
import pytest
from PIL import Image

import jaxrl
from jaxrl.arguments import ArgumentError
from jaxrl.experiments import ablation, dqn_minatar, rainbow_minatar
from jaxrl.runs import run_directory
from jaxrl.runs.options import flatten, with_values
from jaxrl.sweeps import execute

SMALL = (
    *("--env", "CartPole-v1", "--total-steps", "300", "--num-seeds", "2", "--eval-episodes", "4"),
    *("--eval-max-steps", "20", "--config.num-envs", "4", "--config.batch-size", "8", "--config.replay-capacity", "64"),
    *("--config.warmup-steps", "16", "--config.hidden-sizes", "8"),
)


@pytest.fixture
def call(run_main, monkeypatch):
    monkeypatch.setattr("jaxrl.sweeps.plan.seconds_per_iteration", lambda *_: 0.1)
    return lambda *arguments: run_main(ablation.main, *SMALL, *arguments)


@pytest.mark.slow
def test_it_trains_draws_records_and_goes_on(call, tmp_path, monkeypatch) -> None:
    """A group that fails is left out and trained by --resume; what is finished stays as it is."""
    arguments = ["--variants", "dqn", "no-target-network", "n-step", "--out", "a", "--record", "b"]
    train_chunk = execute.train_chunk

    def broken(group, *others) -> bool:
        if group.options.config.n_step > 1:
            raise RuntimeError("an unforeseen error")
        return train_chunk(group, *others)

    with monkeypatch.context() as patch:
        patch.setattr(execute, "train_chunk", broken)
        code, lines, errors = call(*arguments)
    assert code == 1
    assert errors == ["error: groups failed: 1: RuntimeError: an unforeseen error; see a/group_1_error.txt"]
    assert "picture: a/ablation.png" in lines
    assert pl.read_parquet("b/results.parquet")["variant"].unique(maintain_order=True).to_list() == [
        "DQN", "DQN without target network",
    ]  # fmt: skip
    page = (tmp_path / "b" / "README.md").read_text()
    code, lines, errors = call(*arguments, "--resume")
    assert (code, errors) == (0, [])
    with Image.open("a/ablation.png") as picture:
        assert picture.width == 960  # a page's
    found = pl.read_parquet("b/results.parquet")
    assert found.select("variant", "seed").rows() == [
        (name, seed) for name in ("DQN", "DQN without target network", "3-step") for seed in (0, 1)
    ]
    assert found["algorithm"].unique().to_list() == ["DQN"]
    assert {path.name for path in (tmp_path / "b").iterdir()} == {
        "README.md", "ablation.png", "curves.parquet", "results.parquet",
    }  # fmt: skip
    again = (tmp_path / "b" / "README.md").read_text()
    assert [line in again for line in page.splitlines() if line.startswith("| DQN")] == [True, True]
    assert "| 3-step | " in again
    assert "| algorithm | evaluation return | environment steps/s | minutes |" in again
    assert "300 environment steps a seed, 2 seeds each." in again
    assert "The evaluation return is the mean of 4 episodes" in again
    agent = jaxrl.load("a", agent=4)
    assert (agent.options.config.n_step, agent.options.budget.seed) == (3, 0)
    assert json.loads((tmp_path / "a" / "sweep.json").read_text())["spec"]["variants"]["3-step"] == {"config.n_step": 3}

    code, _, errors = call("--num-seeds", "0")
    assert (code, errors) == (2, ["error: --num-seeds must be > 0, got 0"])
    code, _, errors = call(*arguments)
    assert (code, errors) == (
        2,
        ["error: --out must be a directory without a sweep or a run, except to resume it, got a"],
    )
    code, _, errors = call(*arguments, "--resume", "--hparams.discount", "0.5")
    assert (code, errors) == (2, ["error: --hparams.discount must stay 0.99 to resume a, got 0.5"])


def test_a_picture_that_fails_costs_no_result(call, tmp_path, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        with pytest.raises(ArgumentError, match="no other process uses"), run_directory.lock(Path("a"), "out"):
            pass  # the comparison holds its directory until all is written
        raise RuntimeError("an unforeseen error\nwith more")

    monkeypatch.setattr(ablation, "draw_variants", broken)
    code, lines, errors = call("--variants", "dqn", "--out", "a", "--record", "b")
    assert (code, errors) == (0, [])
    assert any(line.startswith("note: ablation.png could not be drawn: RuntimeError: an unforeseen") for line in lines)
    assert "in broken\n" in (tmp_path / "a" / "picture_errors.txt").read_text()
    assert {path.name for path in (tmp_path / "b").iterdir()} == {"README.md", "curves.parquet", "results.parquet"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--variants dqn dqn", "error: --variants must be one or more different ones, got dqn dqn"),
        ("--out a --record a", "error: --record must be another directory than that of the run, got a"),
        ("--num-seeds 0", "error: --num-seeds must be > 0, got 0"),
        ("--checkpoint-every 0", "error: --checkpoint-every must be > 0, got 0.0"),
        ("--resume", "error: --out must name the directory of the sweep to resume"),
        (
            "--config.n-step 40",
            "error: --config.n-step must be at least 1 and at most the 16 rows of the replay, got 40",
        ),
        (
            "--env CartPole-v2",
            "error: --env must be a known name (the nearest is CartPole-v1), got 'CartPole-v2'",
        ),
        ("--hparams.discount 2", "error: --hparams.discount must be <= 1, got 2.0"),
        (
            "--config.conv-features 8",
            "error: --config.conv-features has no effect with env CartPole-v1, which shows no board, got 8",
        ),
        (
            "--variants dqn n-step --config.v-max 9",
            "error: --config.v-max has no effect with config.values expected, got 9.0",
        ),
    ],
)
def test_bad_input_is_found_before_anything_is_trained(call, tmp_path, arguments: str, message: str) -> None:
    (tmp_path / "FILE").touch()
    code, _, errors = call(*arguments.split())
    assert (code, errors) == (2, [message])
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


def test_rainbow_is_all_parts_at_once() -> None:
    rainbow, plain = rainbow_minatar.experiment.defaults, dqn_minatar.experiment.defaults
    for _, part in ablation.PARTS.values():
        if part != {"config.values": "quantiles"}:
            assert with_values(rainbow, part) == rainbow
            assert with_values(plain, part) != plain


def test_rainbow_explores_by_its_noise_alone() -> None:
    spec = ablation.make_spec(dataclasses.replace(ablation.START, variants=("dqn", "rainbow")))
    found, rainbow = spec.configuration(1), rainbow_minatar.experiment.defaults
    for path in ablation.ALL_PARTS:
        assert flatten(found)[path] == flatten(rainbow)[path], path
    assert found.hparams.epsilon_start == found.hparams.epsilon_end == found.hparams.epsilon_eval == 0


def test_without_replay_it_learns_from_the_newest_steps() -> None:
    options = dataclasses.replace(ablation.START, variants=("dqn", "no-replay"))
    spec = ablation.make_spec(options)
    config = spec.configuration(1).config
    assert config.batch_size == config.replay_capacity == config.num_envs == 64
    assert spec.configuration(0).config == options.config
