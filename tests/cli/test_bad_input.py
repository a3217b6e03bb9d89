"""Bad input: one line that names the flag and the value, exit code 2, nothing compiled, nothing written."""

import re

import jax
import pytest
from rich.console import Console

from jaxrl.arguments import ArgumentError
from jaxrl.experiments import dqn_minatar, ppo_cartpole, pqn_minatar
from jaxrl.runs.options import with_values
from jaxrl.runs.train import train

BAD = [
    (
        "--env Breakout-MinAtr",
        r"--env must be a known name \(the nearest is Breakout-MinAtar\), got 'Breakout-MinAtr'",
    ),
    ("--env Pendulum-v1", "--env must have discrete actions, got Pendulum-v1"),
    ("--env nowhere:factory", "--env must name a factory that can be imported .* got 'nowhere:factory'"),
    (
        "--env CartPole-v1 --rules gymnax",
        "--rules applies only to the games of MinAtar, got .*'CartPole-v1'",
    ),
    (
        "--env-options sticky_actions=0.1",
        "--env-options sticky_actions is not an option of Breakout-MinAtar, which has sticky_action_prob, .* got 0.1$",
    ),
    ("--env-options sticky_action_prob=2", "--env-options sticky_action_prob must be <= 1, got 2$"),
    ("--env-options sticky_action_prob=often", "--env-options sticky_action_prob must be a number, got 'often'$"),
    ("--env-options difficulty_ramping=maybe", "--env-options difficulty_ramping must be true or false, got 'maybe'$"),
    ("--env-options sticky_action_prob 0", "--env-options must be NAME=VALUE, .*, got 'sticky_action_prob'$"),
    ("--env-options =1", "--env-options must be NAME=VALUE, .*, got '=1'$"),
    ("--env-options rules=gymnax", "--env-options must be NAME=VALUE, .*, got 'rules=gymnax'$"),
    ("--env GridWorld --env-options map=S.", "--env-options map must .*, got 'S.'$"),
    (
        "--env Acrobot-v1 --env-options gravity=3",
        "--env-options gravity is not an option of Acrobot-v1, which has .*available_torque, .*, got 3",
    ),
    ("--env GridWorld --env-options map=A_MAP", "--env-options map must have rows as long as row 0, .* in row 1: '.'"),
    (
        "--env GridWorld --env-options map=S..G max_steps_in_episode=2",
        "--env-options max_steps_in_episode must be at least 3, .*, got 2$",
    ),
    ("--env jaxrl.envs.cart_pole:CartPole --env-options size=3", "--env-options size is not an option of .*, got 3$"),
    ("--env jaxrl.envs.registry:make", "--env must come with the option env_id, which it needs"),
    ("--total-steps 0", "--total-steps must be > 0, got 0"),
    (f"--total-steps {2**39}", f"--total-steps must be less than {2**39}, where counters overflow, got {2**39}"),
    ("--total-steps 5000", r"--total-steps must be at least \d+ .*, got 5000"),
    ("--num-seeds 0", "--num-seeds must be > 0, got 0"),
    ("--seed -1", "--seed must be >= 0, got -1"),
    ("--total-steps 1e4.5", "--total-steps must be a whole number, got '1e4.5'$"),
    ("--total-steps 1.5", "--total-steps must be a whole number, got 1.5$"),
    ("--hparams.learning-rate fast", "--hparams.learning-rate must be a number, got 'fast'$"),
    ("--config.hidden-sizes 64 x", "--config.hidden-sizes must be a whole number, got 'x'$"),
    ("--num-devices two", "--num-devices must be a whole number, got 'two'$"),
    ("--rules atari", "--rules must be one of original, gymnax, got 'atari'$"),
    ("--log-every 0", "--log-every must be > 0, got 0"),
    ("--checkpoint-every 0", "--checkpoint-every must be > 0, got 0"),
    ("--eval-episodes -3", "--eval-episodes must be > 0, got -3"),
    ("--hparams.learning-rate 0", "--hparams.learning-rate must be > 0, got 0"),
    ("--hparams.learning-rate -0.1", "--hparams.learning-rate must be > 0, got -0.1"),
    ("--hparams.learning-rate 1e-50", "--hparams.learning-rate must be > 0 in float32, got 1e-50"),
    ("--hparams.epsilon-decay-steps 1e39", r"--hparams.epsilon-decay-steps must be finite in float32, got 1e\+39"),
    ("--hparams.learning-rate nan", "--hparams.learning-rate must be > 0, got nan"),
    ("--hparams.discount 1.5", "--hparams.discount must be <= 1, got 1.5"),
    ("--hparams.discount -0.1", "--hparams.discount must be >= 0, got -0.1"),
    ("--hparams.epsilon-end 2", "--hparams.epsilon-end must be <= 1, got 2"),
    ("--hparams.tau 0", "--hparams.tau must be > 0, got 0"),
    ("--hparams.target-update-period 0", "--hparams.target-update-period must be > 0, got 0"),
    ("--config.num-envs 0", "--config.num-envs must be > 0, got 0"),
    ("--config.batch-size -1", "--config.batch-size must be > 0, got -1"),
    ("--config.replay-capacity 0", "--config.replay-capacity must be > 0, got 0"),
    ("--config.warmup-steps -1", "--config.warmup-steps must be >= 0, got -1"),
    ("--config.hidden-sizes 64 0", "--config.hidden-sizes must be > 0, got 0"),
    (
        "--config.batch-size 200 --config.replay-capacity 100",
        "--config.batch-size must be at most 100, the capacity of the replay buffer, got 200",
    ),
    ("--config.replay-capacity 3000000000", "--config.replay-capacity must be < 2147483648, got 3000000000"),
    ("--eval-episodes 2e9", "--eval-episodes must be <= 1000000, got 2000000000"),
    ("--hparams.target-update-period 99999999999", "--hparams.target-update-period must be < 2147483648"),
    ("--hparams.learning-rate inf", "--hparams.learning-rate must be < 1e.30, got inf"),
    ("--record A_FILE/x", r"--record must be a directory that can be made \(Not a directory\), got A_FILE/x"),
    ("--resume", "--out must name the directory of the run to resume$"),
    ("--resume --out A_FILE", "--out must be a directory, got A_FILE$"),
    ("--out EMPTY --record ./EMPTY", "--record must be another directory than that of the run, got EMPTY"),
    ("--out A_FILE", "--out must be a directory, got A_FILE$"),
    ("--out A_FILE/run", r"--out must be a directory that can be made \(Not a directory\), got A_FILE/run$"),
    ("--seed 2147483648", "--seed must be < 2147483648, got 2147483648"),
    ("--config.num-atoms 1 --config.values quantiles", "--config.num-atoms must be >= 2, got 1"),
    (
        "--config.values categorical --config.v-min 5 --config.v-max 5",
        "--config.v-min must be less than the highest return, 5.0, got 5.0",
    ),
    ("--config.values categorical --config.v-max inf", "--config.v-max must be finite, got inf"),
    ("--config.n-step 0", "--config.n-step must be > 0, got 0"),
    (
        "--config.n-step 4 --config.replay-capacity 768",
        "--config.n-step must be at least 1 and at most the 3 rows of the replay, got 4",
    ),
    ("--hparams.priority-exponent 1.5", "--hparams.priority-exponent must be <= 1, got 1.5"),
    ("--hparams.priority-exponent -0.5", "--hparams.priority-exponent must be >= 0, got -0.5"),
    ("--hparams.importance-exponent-end 2", "--hparams.importance-exponent-end must be <= 1, got 2"),
    (
        "--hparams.priority-exponent 0.9",
        "^error: --hparams.priority-exponent has no effect with config.replay uniform, got 0.9$",
    ),
]

BAD_PPO = [
    ("--hparams.gae-lambda 1.1", "--hparams.gae-lambda must be <= 1, got 1.1"),
    ("--hparams.gae-lambda -0.1", "--hparams.gae-lambda must be >= 0, got -0.1"),
    ("--hparams.clip 0", "--hparams.clip must be > 0, got 0"),
    ("--hparams.learning-rate-decay-steps -1", "--hparams.learning-rate-decay-steps must be >= 0, got -1"),
    ("--hparams.entropy-coef -1", "--hparams.entropy-coef must be >= 0, got -1"),
    ("--config.num-epochs 0", "--config.num-epochs must be > 0, got 0"),
    ("--config.num-minibatches 0", "--config.num-minibatches must be > 0, got 0"),
    (
        "--config.num-minibatches 512",
        r"--config.num-minibatches must be less than the 512 transitions of a rollout, got 512",
    ),
    (
        "--config.num-minibatches 3",
        r"--config.num-minibatches must divide the 512 transitions of a rollout, got 3",
    ),
    ("--config.rollout-length 0", "--config.rollout-length must be > 0, got 0"),
    (
        "--config.num-envs 1e8 --total-steps 1e11",
        r"--config.num-envs must keep the transitions of a rollout < 2147483648, got \d+00000000$",
    ),
    ("--config.hidden-sizes 64 0", "--config.hidden-sizes must be > 0, got 0"),
    ("--config.activation gelu", "--config.activation must be one of tanh, relu, got 'gelu'$"),
    ("--total-steps 511", r"--total-steps must be at least 512 .*, got 511"),
]


BAD_PQN = [
    ("--hparams.q-lambda 1.1", "--hparams.q-lambda must be <= 1, got 1.1"),
    ("--hparams.q-lambda -0.1", "--hparams.q-lambda must be >= 0, got -0.1"),
    (
        "--config.num-minibatches 3",
        r"--config.num-minibatches must divide the 4096 transitions of a rollout, got 3",
    ),
    ("--config.num-envs 0", "--config.num-envs must be > 0, got 0"),
    ("--config.conv-features -1", "--config.conv-features must be >= 0, got -1"),
    ("--env Pendulum-v1", "--env must have discrete actions, got Pendulum-v1"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_one_line_names_the_flag(refused, tmp_path, arguments: str, message: str) -> None:
    (tmp_path / "A_FILE").write_text("")
    (tmp_path / "A_MAP").write_text("S.\n.\n")
    (tmp_path / "EMPTY").mkdir()
    code, lines = refused(*arguments.split())
    assert code == 2
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["A_FILE", "A_MAP", "EMPTY"]


OF_OTHERS = [
    pytest.param(experiment, arguments, message, id=f"{experiment.name} {arguments}")
    for experiment, bad in ((ppo_cartpole.experiment, BAD_PPO), (pqn_minatar.experiment, BAD_PQN))
    for arguments, message in bad
]


@pytest.mark.parametrize(("experiment", "arguments", "message"), OF_OTHERS)
def test_one_line_names_the_flag_of_others(refused, tmp_path, experiment, arguments: str, message: str) -> None:
    code, lines = refused(*arguments.split(), experiment=experiment)
    assert code == 2
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", ["--hparams.learning-rte 1", "--config.num-envs", "--no-such-flag"])
def test_flags_that_do_not_parse(refused, tmp_path, arguments: str) -> None:
    code, lines = refused(*arguments.split())
    assert code == 2
    assert lines
    assert not list(tmp_path.iterdir())


def test_an_error_about_no_option_names_the_experiment(refused) -> None:
    def build(env, env_params, config):
        raise ArgumentError("trunk", "must give values [N], here [2]", 3)

    code, lines = refused(experiment=dqn_minatar.experiment._replace(build=build))
    assert (code, lines) == (2, ["error: in the experiment dqn_minatar, trunk must give values [N], here [2], got 3"])


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize backend 'cuda'")])
def test_an_unknown_platform(refused, monkeypatch, error: Exception) -> None:
    def devices() -> None:
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    code, lines = refused()
    assert (code, lines) == (2, ["error: JAX_PLATFORMS must name a kind of device that jax finds here, got 'cuda'"])


def test_a_directory_of_something_else(refused, tmp_path) -> None:
    for name, contents in (("sweep.json", "{}"), ("config.json", '{"my": "own"}'), ("metrics.csv", "mine")):
        directory = tmp_path / name
        directory.mkdir()
        (directory / name).write_text(contents)
        code, lines = refused("--out", str(directory), "--resume")
        assert (code, len(lines)) == (2, 1)
        assert str(directory) in lines[0]
        assert [path.name for path in directory.iterdir()] == [name]
        assert (directory / name).read_text() == contents


def test_what_a_run_needs_is_said_before_anything_slow(monkeypatch, capsys, tmp_path) -> None:
    """The environment before anything is traced, and the memory before anything compiles."""
    monkeypatch.setattr("jaxrl.runs.train.run", lambda *args, **kwargs: pytest.fail(capsys.readouterr().out))
    console, options = Console(highlight=False), with_values(ppo_cartpole.experiment.defaults, {"out": tmp_path})
    with monkeypatch.context() as patch:
        patch.setattr("jaxrl.runs.train.trace", lambda *args: pytest.fail(capsys.readouterr().out))
        with pytest.raises(pytest.fail.Exception, match="PPO on CartPole-v1"):
            train(ppo_cartpole.experiment, options, console)
    with pytest.raises(pytest.fail.Exception) as end:
        train(ppo_cartpole.experiment, with_values(options, {"num_seeds": 2000}), console)
    first, second, third, last = str(end.value).splitlines()
    assert (first, second) == ("PPO on CartPole-v1 (default rules, 500-step cap)", f"writing to {tmp_path}")
    assert re.fullmatch(r"memory: \d+\.\d+ [MG]iB \(\d+\.\d+ GiB free\)", third)
    assert last == "compiling, then the first steps"
