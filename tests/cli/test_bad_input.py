"""Bad input: one line that names the flag and the value, exit code 2, nothing compiled, nothing written."""

import ast
import dataclasses
import importlib
import inspect
import itertools
import re
import sys
from pathlib import Path

import jax
import pytest
from rich.console import Console

from jaxrl import experiments
from jaxrl.arguments import ArgumentError, whole_number
from jaxrl.cli.command import main
from jaxrl.cli.parse import parse
from jaxrl.experiments import (
    a2c_cartpole,
    benchmark,
    dqn_cartpole,
    dqn_minatar,
    evaluate,
    play,
    ppo_cartpole,
    pqn_cartpole,
    pqn_minatar,
    q_iteration_gridworld,
    q_learning_gridworld,
    rainbow_minatar,
    reinforce_cartpole,
    sweep,
)
from jaxrl.runs import checks
from jaxrl.runs.options import Options, flatten, make_options, read_options, with_values
from jaxrl.runs.train import train

BAD = [
    (
        "--env Breakout-MinAtr",
        r"--env must be a known name \(the nearest is 'Breakout-MinAtar'\), got 'Breakout-MinAtr'",
    ),
    ("--env Pendulum-v1", "--env must have discrete actions, got Pendulum-v1"),
    ("--env nowhere:factory", "--env must name a factory that can be imported .* got 'nowhere:factory'"),
    ("--env CartPole-v1 --rules gymnax", "--rules is a choice of .* only, got rules='gymnax' for 'CartPole-v1'"),
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
    ("--env GridWorld --env-options map=A_MAP", "--env-options map's rows must be as long as row 0, .* in row 1: '.'"),
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
        "--config.batch-size must be at most replay_capacity, got 200 and 100",
    ),
    ("--config.replay-capacity 3000000000", "--config.replay-capacity must be < 2147483648, got 3000000000"),
    ("--eval-episodes 1000000000000", "--eval-episodes must be < 2147483648, got 1000000000000"),
    ("--hparams.target-update-period 99999999999", "--hparams.target-update-period must be < 2147483648"),
    ("--hparams.learning-rate inf", "--hparams.learning-rate must be < 1e.30, got inf"),
    ("--record A_FILE/x", r"--record must be a directory that can be made \(Not a directory\), got A_FILE/x"),
    ("--resume", "--resume needs out, the directory of the run to continue$"),
    ("--resume --out A_FILE", "--out must be a directory, got A_FILE$"),
    ("--out EMPTY --record ./EMPTY", "--record must be another directory than out, got EMPTY"),
    ("--out A_FILE", "--out must be a directory, got A_FILE$"),
    ("--out A_FILE/run", r"--out must be a directory that can be made \(Not a directory\), got A_FILE/run$"),
    ("--seed 2147483648", "--seed must be < 2147483648, got 2147483648"),
    ("--config.num-atoms 1 --config.values quantiles", "--config.num-atoms must be >= 2, got 1"),
    ("--config.values categorical --config.v-min 5 --config.v-max 5", "--config.v-min must be < v_max = 5.0, got 5.0"),
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
    ("--config.num-minibatches 512", r"--config.num-minibatches must be < num_envs \* rollout_length = 512, got 512"),
    (
        "--config.num-minibatches 3",
        r"--config.num-minibatches must divide num_envs \* rollout_length = 512, got 3",
    ),
    ("--config.rollout-length 0", "--config.rollout-length must be > 0, got 0"),
    (
        "--config.num-envs 1e8 --total-steps 1e11",
        r"--config.num-envs must keep num_envs \* rollout_length < 2147483648, got \d+00000000$",
    ),
    ("--config.hidden-sizes 64 0", "--config.hidden-sizes must be > 0, got 0"),
    ("--total-steps 511", r"--total-steps must be at least 512 .*, got 511"),
]


BAD_PQN = [
    ("--hparams.q-lambda 1.1", "--hparams.q-lambda must be <= 1, got 1.1"),
    ("--hparams.q-lambda -0.1", "--hparams.q-lambda must be >= 0, got -0.1"),
    (
        "--config.num-minibatches 3",
        r"--config.num-minibatches must divide num_envs \* rollout_length = 4096, got 3",
    ),
    ("--config.num-envs 0", "--config.num-envs must be > 0, got 0"),
    ("--config.conv-features 0", "--config.conv-features must be > 0, got 0"),
    ("--env Pendulum-v1", "--env must have discrete actions, got Pendulum-v1"),
]


@pytest.fixture
def call(monkeypatch, capsys, tmp_path):
    """Calls the command, and gives its exit code and the lines on stderr."""

    def call(*arguments: str, experiment=dqn_minatar.experiment) -> tuple[int, list[str]]:
        monkeypatch.setattr(sys, "argv", [experiment.name, *arguments])
        monkeypatch.setattr("jaxrl.runs.train.run", lambda *args, **kwargs: pytest.fail("it started to compile"))
        with pytest.raises(SystemExit) as end:
            main(experiment)
        return end.value.code, capsys.readouterr().err.strip().splitlines()

    monkeypatch.chdir(tmp_path)
    return call


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[arguments for arguments, _ in BAD])
def test_one_line_names_the_flag(call, tmp_path, arguments: str, message: str) -> None:
    (tmp_path / "A_FILE").write_text("")
    (tmp_path / "A_MAP").write_text("S.\n.\n")
    (tmp_path / "EMPTY").mkdir()
    code, lines = call(*arguments.split())
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
def test_one_line_names_the_flag_of_others(call, tmp_path, experiment, arguments: str, message: str) -> None:
    code, lines = call(*arguments.split(), experiment=experiment)
    assert code == 2
    assert len(lines) == 1
    assert re.search(message, lines[0]), lines[0]
    assert not list(tmp_path.iterdir())


def test_an_activation_that_there_is_not(call, tmp_path) -> None:
    """The parser's own message, which is several lines in a frame."""
    code, lines = call("--config.activation", "gelu", experiment=ppo_cartpole.experiment)
    assert code == 2
    assert any("--config.activation" in line for line in lines)
    assert "gelu" in "".join(lines)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", ["--hparams.learning-rte 1", "--config.num-envs many", "--no-such-flag"])
def test_flags_that_do_not_parse(call, tmp_path, arguments: str) -> None:
    code, lines = call(*arguments.split())
    assert code == 2
    assert lines
    assert not list(tmp_path.iterdir())


IDLE = [
    (dqn_cartpole, {"hparams.importance_exponent_start": 0.5}, "config.replay uniform"),
    (dqn_cartpole, {"hparams.importance_exponent_end": 0.5}, "config.replay uniform"),
    (rainbow_minatar, {"hparams.importance_exponent_end": 0.5, "hparams.priority_exponent": 0.0}, "exponent 0"),
    (
        rainbow_minatar,
        {"hparams.importance_exponent_steps": 5.0, "hparams.importance_exponent_start": 1.0},
        "hparams.importance_exponent_start equal to its end",
    ),
    (rainbow_minatar, {"hparams.epsilon_decay_steps": 5.0}, "hparams.epsilon_start equal to its end"),
    (rainbow_minatar, {"config.loss": "l2"}, "config.values categorical"),
    (rainbow_minatar, {"config.v_max": 5.0, "config.values": "quantiles"}, "config.values quantiles"),
    (dqn_cartpole, {"config.v_min": -1.0}, "config.values expected"),
    (dqn_cartpole, {"config.v_max": 20.0}, "config.values expected"),  # DQN's default, but not the experiment's
    (dqn_cartpole, {"config.num_atoms": 7}, "config.values expected"),
    (dqn_cartpole, {"config.conv_features": 8}, "env CartPole-v1, which shows no board"),
    (dqn_cartpole, {"config.layer_norm": True, "config.hidden_sizes": []}, "config.hidden_sizes of no layers"),
    (dqn_cartpole, {"config.double": True, "hparams.tau": 1.0}, "hparams.tau 1"),
    (pqn_cartpole, {"config.conv_features": 8}, "env CartPole-v1, which shows no board"),
    (pqn_cartpole, {"hparams.q_lambda": 0.5, "config.rollout_length": 1}, "config.rollout_length 1"),
    (pqn_cartpole, {"hparams.epsilon_decay_steps": 5.0, "hparams.epsilon_start": 0.2}, "equal to its end"),
    (a2c_cartpole, {"hparams.gae_lambda": 0.5, "config.rollout_length": 1}, "config.rollout_length 1"),
    (ppo_cartpole, {"config.activation": "relu", "config.hidden_sizes": []}, "config.hidden_sizes of no layers"),
    (ppo_cartpole, {"hparams.clip": 0.1, "config.num_epochs": 1, "config.num_minibatches": 1}, "num_minibatches 1"),
    (reinforce_cartpole, {"hparams.value_coef": 1.0, "config.weight": "reward_to_go"}, "weight reward_to_go"),
]  # fmt: skip


def refuse_idle(module, changed) -> None:
    options = with_values(module.experiment.defaults, changed)
    env, env_params = checks.make_env(options.task.env, options.task.rules, options.task.env_options)
    checks.check_idle(module.experiment, env, env_params, options, [options])


@pytest.mark.parametrize(("module", "changed", "reason"), IDLE)
def test_what_is_changed_has_an_effect(module, changed, reason: str) -> None:
    (path, value), *others = changed.items()
    message = f"^{path} has no effect with .*{reason}.*, got {value!r}$"
    with pytest.raises(ArgumentError, match=message):
        refuse_idle(module, changed)
    refuse_idle(module, dict(others))  # where it is the experiment's own


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        (dqn_cartpole, {"hparams.priority_exponent": 0.9, "config.replay": "prioritised"}),
        (dqn_cartpole, {"config.v_max": 5.0, "config.num_atoms": 7, "config.values": "categorical"}),
        (dqn_cartpole, {"config.num_atoms": 7, "config.values": "quantiles"}),
        (dqn_cartpole, {"config.double": True, "config.loss": "huber", "hparams.epsilon_decay_steps": 5.0}),
        (rainbow_minatar, {"hparams.tau": 1.0, "config.conv_features": 8, "config.v_max": 5.0}),
        (reinforce_cartpole, {"hparams.value_coef": 1.0, "config.rollout_length": 1}),
        (ppo_cartpole, {"hparams.clip": 0.1, "hparams.gae_lambda": 0.5, "config.activation": "relu"}),
        (pqn_minatar, {"config.conv_features": 8, "hparams.q_lambda": 0.5, "config.layer_norm": False}),
    ],
)
def test_what_has_an_effect_can_be_changed(module, changed) -> None:
    refuse_idle(module, changed)


def test_a_setting_needs_an_effect_in_one_run_of_several() -> None:
    experiment = dqn_cartpole.experiment
    given = with_values(experiment.defaults, {"config.num_atoms": 7})
    runs = [given, with_values(given, {"config.values": "quantiles"})]
    env, env_params = checks.make_env(given.task.env, given.task.rules, given.task.env_options)
    checks.check_idle(experiment, env, env_params, given, runs)
    with pytest.raises(ArgumentError, match=r"^config\.num_atoms has no effect"):
        checks.check_idle(experiment, env, env_params, given, runs[:1])


@pytest.mark.parametrize(("decay", "untrained"), [(0, 0), (3_000, 0), (2_000, 0), (500, 1_500)])
def test_steps_without_a_learning_rate_are_counted(decay: float, untrained: int) -> None:
    changed = {"total_steps": 2_000, "hparams.learning_rate_decay_steps": decay}
    assert checks.untrained_steps(with_values(a2c_cartpole.experiment.defaults, changed)) == untrained
    assert checks.untrained_steps(dqn_cartpole.experiment.defaults) == 0


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--hparams.lr", "--hparams.lr is not known (the nearest is --hparams.learning-rate)"),
        ("--learning_rate=3", "--learning-rate is not known (the nearest is --hparams.learning-rate)"),
        ("--config.batchsize", "--config.batchsize is not known (the nearest is --config.batch-size)"),
        ("--total-step", "--total-step is not known (the nearest is --total-steps)"),
        ("--hparams.gamma", "--hparams.gamma is not known (there are --hparams.learning-rate, --hparams.discount, "),
        ("--no-such-flag", "--no-such-flag is not known (--help lists all options)"),
        ("more", "'more' belongs to no option; --help lists them"),
    ],
)
def test_the_nearest_flag_is_named(call, flag: str, message: str) -> None:
    code, lines = call(flag)
    assert (code, len(lines)) == (2, 1)
    assert lines[0].startswith(f"error: {message}")


def test_a_flag_that_turns_something_off_is_named(call) -> None:
    _, lines = call("--config.layer-norm", experiment=pqn_minatar.experiment)
    assert lines == ["error: --config.layer-norm is not known (the nearest is --config.no-layer-norm)"]


NUMBERS = {"1e6": 10**6, "1_000_000": 10**6, "2.5e5": 250_000, "1E3": 1000, "-3": -3, "1000.0": 1000}


@pytest.mark.parametrize("text", NUMBERS)
def test_whole_numbers(text: str) -> None:
    assert whole_number(text) == NUMBERS[text]


@pytest.mark.parametrize("text", ["1.5", "1e-1", "nan", "inf", "1e999999999", "", "many", "0x10"])
def test_no_whole_numbers(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"must be a whole number, such as 1000000 or 1e6, got {text!r}")):
        whole_number(text)


def test_every_whole_number_on_the_command_line_may_have_an_exponent(monkeypatch) -> None:
    words = "--total-steps 1e6 --log-every=2.5e5 --hparams.target-update-period 1e4 --config.hidden-sizes 1e2 64"
    monkeypatch.setattr(sys, "argv", ["command", *words.split()])
    defaults = dqn_minatar.experiment.defaults
    options = parse(Options[type(defaults.hparams), type(defaults.config)], None, default=defaults)
    assert (options.budget.total_steps, options.budget.log_every) == (1_000_000, 250_000)
    assert (options.hparams.target_update_period, options.config.hidden_sizes) == (10_000, (100, 64))


@pytest.mark.parametrize("name", [path.stem for path in sorted(Path(experiments.__file__).parent.glob("[!_]*.py"))])
def test_the_help_says_what_the_defaults_are(name: str, monkeypatch, capsys) -> None:
    module = importlib.import_module(f"jaxrl.experiments.{name}")
    monkeypatch.setattr(sys, "argv", ["command", "--help"])
    with pytest.raises(SystemExit):
        main(module.experiment) if hasattr(module, "experiment") else module.main()
    out = capsys.readouterr().out
    assert "None" not in out
    assert "(default: )" not in out


def test_options_are_explained_in_one_line_each() -> None:
    """Of a docstring in several lines, the help would be broken where they end and where the screen does."""
    defaults = [experiment.defaults for experiment in (dqn_minatar.experiment, ppo_cartpole.experiment,
                pqn_minatar.experiment, reinforce_cartpole.experiment, q_learning_gridworld.experiment)]  # fmt: skip
    records = {type(getattr(options, field.name)) for options in defaults for field in dataclasses.fields(options)}
    records |= {
        play.Options,
        evaluate.Options,
        sweep.SweepOptions,
    }
    records |= {q_iteration_gridworld.Options, benchmark.Envs, benchmark.Replay, benchmark.Agents}
    explained = 0
    for kind in {base for record in records for base in record.__mro__ if dataclasses.is_dataclass(base)}:
        body = ast.parse(inspect.getsource(kind)).body[0].body  # type: ignore[attr-defined]
        for field, text in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign):
                assert "\n" not in text.value.value, (kind, text.value.value)
                explained += 1
    assert explained > 100


def test_what_a_run_needs_is_said_before_anything_slow(monkeypatch, capsys, tmp_path) -> None:
    """The environment before anything is traced, and the memory before anything compiles."""
    monkeypatch.setattr("jaxrl.runs.train.run", lambda *args, **kwargs: pytest.fail(capsys.readouterr().out))
    console, options = Console(highlight=False), with_values(ppo_cartpole.experiment.defaults, {"out": tmp_path})
    with monkeypatch.context() as patch:
        patch.setattr("jaxrl.runs.checks.trace_trainer", lambda *args: pytest.fail(capsys.readouterr().out))
        with pytest.raises(pytest.fail.Exception, match="PPO on CartPole-v1"):
            train(ppo_cartpole.experiment, options, console)
    with pytest.raises(pytest.fail.Exception) as end:
        train(ppo_cartpole.experiment, with_values(options, {"num_seeds": 2000}), console)
    first, second, third, last = str(end.value).splitlines()
    assert (first, second) == ("PPO on CartPole-v1 (default rules, 500-step cap)", f"writing to {tmp_path}")
    assert re.fullmatch(r"memory: \d+\.\d+ [MG]iB of \d+\.\d+ GiB that are free", third)
    assert last == "compiling, then the first steps"


def test_what_is_no_option_is_the_experiments(call) -> None:
    def build(env, env_params, config):
        raise ArgumentError("network", "must give values [N], here [2]", 3)

    code, lines = call(experiment=dqn_minatar.experiment._replace(build=build))
    assert (code, lines) == (2, ["error: in the experiment dqn_minatar, network must give values [N], here [2], got 3"])


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize backend 'cuda'")])
def test_a_platform_that_there_is_not(call, monkeypatch, error: Exception) -> None:
    def devices() -> None:
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    code, lines = call()
    assert (code, lines) == (2, ["error: JAX_PLATFORMS must name a kind of device that jax finds here, got 'cuda'"])


def test_the_record_of_a_run_gives_its_options_again() -> None:
    defaults = dqn_minatar.experiment.defaults
    changed = {"hparams.epsilon_decay_steps": 5e4, "hparams.max_grad_norm": 1}
    options = with_values(defaults, changed | {"rules": "gymnax", "env_options": ("a=1",), "num_seeds": 2})
    assert read_options(flatten(options), defaults) == options
    assert read_options({}, options) == options


def test_a_directory_of_something_else(call, tmp_path) -> None:
    for name, contents in (("sweep.json", "{}"), ("config.json", '{"my": "own"}'), ("metrics.csv", "mine")):
        directory = tmp_path / name
        directory.mkdir()
        (directory / name).write_text(contents)
        code, lines = call("--out", str(directory), "--resume")
        assert (code, len(lines)) == (2, 1)
        assert str(directory) in lines[0]
        assert [path.name for path in directory.iterdir()] == [name]
        assert (directory / name).read_text() == contents


def test_values_of_an_environments_options_are_numbers_truths_or_text() -> None:
    options = make_options(("a=3", "b=-0.5", "c=1e-3", "d=True", "e=false", "f=cliff", "g=S.\n.G\nmove = -1", "h="))
    expected = {"a": 3, "b": -0.5, "c": 0.001, "d": True, "e": False, "f": "cliff", "g": "S.\n.G\nmove = -1", "h": ""}
    assert options == expected
    assert [type(value) for value in options.values()] == [type(value) for value in expected.values()]
    assert list(map(type, make_options(("a=2e3", "b=2.0", "c=-1E2")).values())) == [int, float, int]
