"""The commands, as a newcomer types them."""

import csv
import json
import os
import pickle
import re
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from PIL.GifImagePlugin import GifImageFile

from jaxrl import ArgumentError, load, rollout
from jaxrl.cli.command import main
from jaxrl.experiments import dqn_cartpole, dqn_minatar, evaluate, play
from jaxrl.formatting import format_si
from jaxrl.runs.options import flatten, with_values
from jaxrl.runs.run_directory import check_out
from tests.calling import call_main
from tests.integration import commands
from tests.integration.commands import TINY, command, final_state, steps_on_disk

SHORT = [*TINY, "--total-steps", "20000"]
CHOSEN = ["--num-seeds", "2", "--seed", "3", "--env-options", "sticky_action_prob=0.2"]
RULES = "original: 6 actions, sticky actions 0.2"
HPARAMS = ", ".join(path for path in flatten(dqn_minatar.experiment.defaults) if path.startswith("hparams."))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run of two seeds, in an environment with an option of its own."""
    run = tmp_path_factory.mktemp("runs") / "finished"
    code, out, err = command("dqn_minatar", *SHORT, *CHOSEN, "--loggers", "csv", "tensorboard", "--out", str(run))
    assert code == 0, err
    assert "evaluation return" in out
    # The table is in a file, where lines have no width: no path is cut.
    assert all(str(run / name) in out.split() for name in ("learning_curve.png", "tensorboard", "checkpoints"))
    assert re.search(r"evaluation return +-?[\d.]+ \(-?[\d.]+ to -?[\d.]+\), range of 2 seeds\n", out)
    progress, summary = re.findall(r"([\d.,]+k?) steps/s", out)[-2:]
    assert progress == format_si(float(summary.replace(",", "")))
    return run


def test_the_run_directory(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["env"] == "Breakout-MinAtar"
    assert summary["rules"].startswith(RULES)
    assert summary["seeds"] == [3, 4]
    assert json.loads((finished / "config.json").read_text())["options"]["out"] == str(finished)
    assert summary["eval_episodes"] == 16
    for name in ("algorithm", "seed", "env_steps", "eval_return_mean", "eval_return_std", "eval_unfinished",
                 "compile_seconds", "train_seconds", "env_steps_per_second", "device"):  # fmt: skip
        assert name in summary
    config = json.loads((finished / "config.json").read_text())
    assert config["options"]["config.num_envs"] == 16
    assert config["options"]["env_options"] == ["sticky_action_prob=0.2"]
    assert config["versions"]["jax"] == jax.__version__
    assert config["machine"]["cores"] == os.cpu_count()
    assert "commit" in config
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["3", "4"] * (len(rows) // 2)
    assert len({(row["seed"], row["env_steps"]) for row in rows}) == len(rows)
    assert rows[0]["episode_return"] != rows[1]["episode_return"]
    with Image.open(finished / "learning_curve.png") as curve:
        assert curve.size[0] > 800
    with GifImageFile(finished / "policy.gif") as video:
        assert video.n_frames > 100
        assert video.size == (580, 400)
    assert list((finished / "tensorboard").glob("events.out.tfevents.*"))


def test_load_gives_the_policy_of_each_seed(finished: Path) -> None:
    policy, other = load(finished), load(finished, seed=4)
    assert policy.env_params.sticky_action_prob == 0.2
    observation, _ = policy.env.reset(jax.random.key(0), policy.env_params)
    actions = jax.jit(policy)(observation[None], jax.random.key(1))
    assert (actions.shape, actions.dtype) == ((1,), jnp.int32)
    for one in (observation, np.float32(observation), np.asarray(observation).astype(int).tolist()):
        assert policy(one, jax.random.key(1)) == actions[0]
    for wrong, got in ((jnp.zeros(7), r"\[7\]"), (observation[None, None], r"\[1, 1, 10, 10, 4\]"),
                       ([[1], 2], r"\[\[1\], 2\]"), (None, "None"), ({"x": 1}, "{'x': 1}")):  # fmt: skip
        with pytest.raises(ArgumentError, match=rf"observations must be \[N, 10, 10, 4\] or \[10, 10, 4\], got {got}"):
            policy(wrong, jax.random.key(1))
    assert rollout(policy.env, policy, jax.random.key(2), 3, 2, policy.env_params).action.shape == (3, 2)
    kernels = [p.agent_state.params["params"]["Dense_0"]["kernel"] for p in (policy, other)]
    assert not np.array_equal(*kernels)
    with pytest.raises(ValueError, match=r"seed must be in 3 .. 4, got 5"):
        load(finished, seed=5)
    with pytest.raises(ValueError, match=r"^directory must be the directory of a run or a sweep \(config.json: No "):
        load(finished / "checkpoints")


def test_a_policy_is_exported_and_pickled(finished: Path) -> None:
    """And plays as it did, to the bit."""
    policy = load(finished)
    boards = jax.random.bernoulli(jax.random.key(0), 0.1, (64, *policy.observation.shape))
    exported, pickled = jax.export.deserialize(bytearray(policy.export())), pickle.loads(pickle.dumps(policy))
    for seed in range(3):
        key = jax.random.key(seed)
        actions = jax.jit(policy)(boards, key)
        np.testing.assert_array_equal(exported.call(boards, jax.random.key_data(key)), actions)
        np.testing.assert_array_equal(jax.jit(pickled)(boards, key), actions)
    assert len(set(np.asarray(actions))) > 1
    assert exported.call(boards[:5], jax.random.key_data(key)).shape == (5,)
    assert pickled.options == policy.options


@pytest.fixture
def call(monkeypatch, capsys):
    """A command in this process, which is quicker, and its video short: exit code, stdout and stderr."""
    monkeypatch.setattr("jaxrl.runs.train.VIDEO_STEPS", 10)

    def call(main: Callable[[], None], *arguments: str) -> tuple[int, str, str]:
        return call_main(monkeypatch, capsys, main, *arguments)

    return call


def test_evaluate_again(finished: Path, call) -> None:
    code, out, err = command("evaluate", str(finished), "--episodes", "4", "--max-steps", "30")
    assert code == 0, err
    assert "over 4 episodes with ε = 0.001, " in out
    assert "standard deviation" in out
    code, _, err = call(evaluate.main, str(finished / "nothing"))
    assert (code, len(err.splitlines())) == (2, 1)


@pytest.mark.parametrize("name", ["evaluate", "play"])
def test_a_seed_of_a_run_is_chosen_alike(finished: Path, call, name: str) -> None:
    main = evaluate.main if name == "evaluate" else play.main
    code, _, err = call(main, str(finished), "--seed", "5")
    assert (code, err) == (2, "error: --seed must be in 3 .. 4, got 5\n")
    code, _, err = call(main, str(finished), "--agent", "5")
    assert (code, err.splitlines()[0]) == (2, f"error: --agent is for sweeps, and {finished} holds none, got 5")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("hparams.newthing", 3, f"hparams.newthing is not known (one of {HPARAMS}), got 3"),
        ("config.num_env", 3, "config.num_env is not known (the nearest is config.num_envs), got 3"),
        ("config.num_envs", "many", "config.num_envs must be of the type of 256, got 'many'"),
        ("config.num_envs", -1, "config.num_envs must be > 0, got -1"),
        ("hparams.discount", 0.5, f"hparams.discount must be {np.float32(0.99)}, as in training, got 0.5"),
    ],
)
def test_a_record_changed_by_hand(finished: Path, tmp_path: Path, call, path: str, value, message: str) -> None:
    changed = shutil.copytree(finished, tmp_path / "changed")
    config = json.loads((changed / "config.json").read_text())
    config["options"][path] = value
    (changed / "config.json").write_text(json.dumps(config))
    code, _, err = call(evaluate.main, str(changed))
    assert (code, err) == (2, f"error: in {changed / 'config.json'}, {message}\n")


def test_an_environment_that_is_not_here(finished: Path, tmp_path: Path, call) -> None:
    """It is said where its module was found."""
    elsewhere = shutil.copytree(finished, tmp_path / "elsewhere")
    config = json.loads((elsewhere / "config.json").read_text())
    config["options"] |= {"env": "nowhere:factory", "env_options": []}
    (elsewhere / "config.json").write_text(json.dumps(config))
    code, _, err = call(evaluate.main, str(elsewhere))
    assert (code, len(err.splitlines())) == (2, 1)
    assert err.startswith(
        f"error: in {elsewhere / 'config.json'} (started in {config['started_in']}), env must name a factory "
    )


def test_play_records_a_video_of_a_run(finished: Path, tmp_path: Path, call) -> None:
    video = tmp_path / "videos" / "video.gif"
    code, out, err = command("play", str(finished), "--steps", "60", "--out", str(video))
    assert code == 0, err
    assert out.startswith(f"Breakout-MinAtar ({RULES}")
    assert out.endswith(f"written to {video}\n")
    with GifImageFile(video) as frames:
        assert frames.n_frames >= 60
    for name, value in (("--env", "CartPole-v1"), ("--rules", "gymnax"), ("--env-options", "a=1")):
        code, _, err = call(play.main, str(finished), name, value)
        assert (code, len(err.splitlines())) == (2, 1)
        assert re.match(f"error: {name} must be .*, as in {finished}, got ", err)
        assert err.endswith(f"got {value}\n")


def test_an_existing_run_is_not_overwritten_and_a_changed_one_not_resumed(finished: Path, call) -> None:
    train = partial(main, dqn_minatar.experiment)
    arguments = [*SHORT, *CHOSEN, "--out", str(finished)]
    before = commands.file_digest(finished / "config.json")
    code, _, err = call(train, *arguments)
    assert (code, len(err.splitlines())) == (2, 1)
    assert err == f"error: --out must be a directory without a run, except to resume it, got {finished}\n"
    code, _, err = call(train, *arguments, "--resume", "--hparams.discount", "0.5")
    assert (code, len(err.splitlines())) == (2, 1)
    assert err == f"error: --hparams.discount must stay 0.99 to resume {finished}, got 0.5\n"
    assert commands.file_digest(finished / "config.json") == before


def test_options_of_the_environment_are_part_of_a_run(finished: Path, tmp_path: Path) -> None:
    """A run from before there were such options has none."""
    now = load(finished).options
    again = with_values(now, {"out": finished, "resume": True})
    check_out(dqn_minatar.experiment, again)
    without = with_values(again, {"env_options": ()})
    with pytest.raises(ArgumentError, match=r"^env_options must stay \['sticky_action_prob=0.2'\] to .*, got \[\]$"):
        check_out(dqn_minatar.experiment, without)
    old = shutil.copytree(finished, tmp_path / "old")
    config = json.loads((old / "config.json").read_text())
    del config["options"]["env_options"]
    (old / "config.json").write_text(json.dumps(config))
    check_out(dqn_minatar.experiment, with_values(without, {"out": old}))
    policy = load(old)
    assert policy.options.task.env_options == ()
    assert policy.env_params.sticky_action_prob == 0.1


def test_sigint_saves_and_says_how_to_resume(tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = [*TINY, "--total-steps", "100000000", "--out", str(run)]
    process = commands.start_signalled(signal.SIGINT, commands.Moment(1, commands.ROW), "dqn_minatar", *arguments)
    code, out, err = commands.finish(process)
    assert code == 0, err
    assert not err
    assert "stopped at" in out
    assert f"python -m jaxrl.experiments.dqn_minatar {' '.join(arguments)} --resume" in out
    assert len(steps_on_disk(run)) == 1


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint(finished: Path, tmp_path: Path) -> None:
    """For a process it is the same: no file may grow beyond a limit that the checkpoints exceed.

    What was trained is evaluated all the same, and the pictures are drawn that there is room for. A row that was
    removed is missed before.
    """
    run = shutil.copytree(finished, tmp_path / "run")
    lines = (run / "metrics.csv").read_text().splitlines(keepends=True)
    (run / "metrics.csv").write_text("".join(lines[:3] + lines[5:]))
    before = final_state(run)
    limited = ["sh", "-c", 'ulimit -f 40; exec "$@"', "sh"]
    arguments = [*TINY, *CHOSEN, "--total-steps", "40000", "--out", str(run), "--resume"]
    code, out, err = command("dqn_minatar", *arguments, prefix=limited)
    assert code == 1
    saved = "the run is saved at 20,000 environment steps, from where --resume continues it"
    assert re.search(rf"^error: cannot write checkpoint \d+ in .*: File too large; {saved}\n$", err), err
    assert re.search(r"note: .*metrics.csv lacks 1 of the \d rows until the checkpoint", out), out
    assert "evaluation return" in out
    assert final_state(run) == before
    load(run)


def test_your_own_environment(tmp_path: Path, call) -> None:
    """Any module on the path will do; here gymnax's own, under the name of its class."""
    run = tmp_path / "run"
    factory = "gymnax.environments.classic_control.cartpole:CartPole"
    arguments = [*TINY, "--env", factory, "--total-steps", "3000", "--out", str(run)]
    code, _, err = call(partial(main, dqn_cartpole.experiment), *arguments)
    assert code == 0, err
    assert load(run).env.name == "CartPole-v1"


def test_the_list_of_experiments() -> None:
    process = commands.start("__main__")
    code, out, err = commands.finish(process)
    assert code == 0, err
    for name in ("dqn_minatar", "dqn_cartpole", "evaluate", "play"):
        assert f"python -m jaxrl.experiments.{name}" in out


def test_nobody_reads_what_is_printed() -> None:
    """As after `| head`."""
    process = commands.start("__main__")
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate(timeout=60)
    assert not err


@pytest.mark.slow
def test_a_run_that_nobody_reads_ends_with_all_its_files(finished: Path, tmp_path: Path) -> None:
    """As after `| head -1`."""
    process = commands.start("dqn_minatar", *SHORT, *CHOSEN, "--out", str(tmp_path / "run"))
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.stdout = None
    code, _, err = commands.finish(process)
    assert (code, err) == (0, "")
    names = {path.name for path in finished.iterdir()}
    assert {path.name for path in (tmp_path / "run").iterdir()} == names - {"tensorboard"}


def test_help_explains_every_field() -> None:
    code, out, err = command("dqn_minatar", "--help", env=os.environ | {"COLUMNS": "200"})
    assert code == 0, err
    for text in (
        "--hparams.learning-rate",
        "Learning rate of the optimizer",
        "--config.num-envs",
        "default: 256",
        "--debug-nans",
    ):
        assert text in out
