"""The ablation: every variant is trained, drawn and recorded, and goes on where it stopped."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from jaxrl.cli import study
from jaxrl.experiments import ablation, dqn_minatar, rainbow_minatar
from jaxrl.training.host_loop import DivergedError

SMALL = (
    *("--env", "CartPole-v1", "--total-steps", "300", "--num-seeds", "2", "--eval-episodes", "4"),
    *("--eval-max-steps", "20", "--config.num-envs", "4", "--config.batch-size", "8", "--config.replay-capacity", "64"),
    *("--config.warmup-steps", "16", "--config.hidden-sizes", "8"),
)


@pytest.fixture
def call(run_main, monkeypatch):
    monkeypatch.setattr("jaxrl.runs.train.FILM_STEPS", 10)
    return lambda *arguments: run_main(ablation.main, *SMALL, *arguments)


def test_it_trains_draws_records_and_goes_on(call, tmp_path) -> None:
    """A variant that is finished is left alone, one that was killed before its first checkpoint begins anew, one that
    diverges is left out; raised --total-steps continue all."""
    arguments = ["--variants", "dqn", "n-step", "--out", "a", "--record", "b"]
    unfinished = tmp_path / "a" / "n-step"
    unfinished.mkdir(parents=True)
    (unfinished / "config.json").write_text('{"experiment": "dqn_minatar", "options": {}}')
    code, lines, errors = call(*arguments, "--resume")
    assert (code, errors) == (0, [])
    assert "picture: a/ablation.png" in lines
    assert lines.count("note: there is no checkpoint to resume from: the run begins anew") == 1
    with Image.open("a/ablation.png") as picture:
        assert picture.width == 960  # a page's
    with open("b/results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["seed"]) for row in rows] == [("dqn", "0"), ("dqn", "1"), ("n-step", "0"), ("n-step", "1")]
    names = {"README.md", "ablation.png", "curves.csv", "results.csv"}
    assert {path.name for path in (tmp_path / "b").iterdir()} == names
    again = call(*arguments, "--resume")
    assert again[0] == 0
    assert not any("compiling" in line for line in again[1])  # nothing was trained anew
    code, _, errors = call(*arguments)
    assert code == 2
    assert errors == ["error: --out a/dqn already holds a run; add --resume to continue it, or name another"]
    code, _, errors = call(*arguments, "--resume", "--hparams.discount", "0.5")
    assert code == 2
    assert errors == ["error: --resume: --hparams.discount is 0.5, but 0.99 in a/dqn"]


def test_a_variant_that_diverges_is_left_out_and_so_is_a_picture_that_fails(call, monkeypatch) -> None:
    """Whatever is wrong with a picture, the run has its results, and what is wrong is said."""
    trained = study.train

    def train(experiment, options, console):
        if options.out.name == "dqn":
            raise DivergedError("a NaN")
        return trained(experiment, options, console)

    def broken(*_: object) -> None:
        raise RuntimeError("an unforeseen error\nwith more")

    monkeypatch.setattr(study, "train", train)
    for name in ("learning_curve", "video"):
        monkeypatch.setattr(f"jaxrl.runs.train.{name}", broken)
    monkeypatch.setattr(ablation, "draw", broken)
    code, lines, errors = call("--variants", "dqn", "double", "--out", "a", "--record", "b")
    assert (code, errors) == (0, [])
    assert any("DQN is left out: a NaN" in line for line in lines)
    assert json.loads(Path("a/double/summary.json").read_text())["algorithm"] == "Double DQN"
    for picture in ("a/double/learning_curve.png", "a/double/policy.gif", "a/ablation.png"):
        directory, name = Path(picture).parent, Path(picture).name
        more = f"(more in {directory}/picture_errors.txt)"
        assert f"note: {name} could not be drawn: RuntimeError: an unforeseen error {more}" in lines
        assert not any(line.split()[-1:] == [picture] for line in lines)  # it is not said to lie there
        assert "in broken\n" in (directory / "picture_errors.txt").read_text()
    assert {path.name for path in Path("b").iterdir()} == {"README.md", "curves.csv", "results.csv"}


@pytest.mark.parametrize("seeds", [1, 3, 6])
def test_its_picture_is_of_what_was_seen(tmp_path, monkeypatch, seeds: int) -> None:
    """A panel for each variant beside DQN, with single rows as dots; and all evaluations with their intervals."""
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, _: drawn.append(figure))
    found = []
    for name, returns in (("dqn", [0.0, 10, 0, 10, 0, 10]), ("double", [9.0, 9, 9, 9, 9, 9])):
        (tmp_path / name).mkdir()
        rows = [f"{seed},20000,{returns[seed]}" for seed in range(seeds)]
        (tmp_path / name / "metrics.csv").write_text("\n".join(["seed,env_steps,episode_return", *rows]))
        result = {"name": name, "label": ablation.VARIANTS[name].label, "env": "E", "rules": "rules"}
        result |= {"eval_return_per_seed": returns[:seeds], "eval_return_mean": sum(returns[:seeds]) / seeds}
        found.append(result | {"num_seeds": seeds, "seeds": list(range(seeds)), "env_steps": 20000})
    ablation.draw(tmp_path, found, tmp_path / "picture.png")
    panel, evaluations = drawn[0].axes
    assert panel.get_title("left") == "Double DQN"
    assert {"o"} <= {line.get_marker() for line in panel.lines} <= {"o", "."}
    assert panel.get_xlim() == pytest.approx((0, 20400))
    assert [text.get_text() for text in evaluations.get_yticklabels()] == ["Double DQN", "DQN"]
    low, high = evaluations.get_xlim()
    reach = [x for line in evaluations.lines for x in line.get_xdata()]
    assert low <= min(reach) <= max(reach) <= high  # nothing is cut
    assert 0 <= min(reach) <= max(reach) <= 10
    assert ("95 % interval" in evaluations.get_xlabel()) == (seeds > 4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--variants dqn dqn", "error: --variants must be different ones, got dqn dqn"),
        ("--resume", "error: --resume needs --out DIR, the study to continue"),
        (
            "--config.n-step 40",
            "error: --config.n-step must be at least 1 and at most the 16 rows of the replay, got 40",
        ),
        ("--env Nowhere-v1", "error: --env must be a known name (the nearest is 'CartPole-v1'), got 'Nowhere-v1'"),
        ("--hparams.discount 2", "error: --hparams.discount must be <= 1, got 2.0"),
        (
            "--config.conv-features 8",
            "error: --config.conv-features has no effect with --env CartPole-v1, which shows no board, got 8",
        ),
        (
            "--variants dqn n-step --config.v-max 9",
            "error: --config.v-max has no effect with --config.values expected, got 9.0",
        ),
    ],
)
def test_bad_input_is_found_before_anything_is_trained(call, tmp_path, arguments: str, message: str) -> None:
    (tmp_path / "FILE").touch()
    code, _, errors = call(*arguments.split())
    assert (code, errors) == (2, [message])
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"]


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
