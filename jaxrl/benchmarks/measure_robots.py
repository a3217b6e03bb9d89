"""Environment steps per second of PPO and SAC on robots, beside brax's own training loops at the same settings."""

import contextlib
import statistics
from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import polars as pl
from flax import linen

from jaxrl.benchmarks.measure_agents import compile_program
from jaxrl.benchmarks.measure_train import sizes_of, warm_up
from jaxrl.benchmarks.pages import Rows
from jaxrl.benchmarks.timing import format_speeds, speeds_of, steps_of
from jaxrl.envs.robots import Robot
from jaxrl.formatting import markdown_table
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options, with_values
from jaxrl.runs.task import make_env
from jaxrl.training import OffPolicyConfig

SETTINGS = {"normalise": True, "n_step": 1, "rollout_length": 1}
"""What is changed in the configuration of SAC, because brax has no choice there."""
TEXT = """# Speed of training robots, beside brax

Environment steps/s of one agent while it trains: medians of {repeats} runs, with their range. Both libraries train in
one process and take turns, with as many steps each. Compile times are in seconds: of the training loop alone, of brax
those of its first run beyond the others.

{table}

The settings are those of jaxrl's experiments, also in brax: environments, steps between updates, gradient steps,
minibatches, networks, and running statistics of the observations. The physics is brax's in both.

- jaxrl begins every episode at a new start and shows the true last observation. brax resets a lane to its first state.
- SAC learns from one step in both, where jaxrl's experiment takes three.
- brax evaluates SAC between its runs, which is not timed.
- brax calls a function that jax 0.10 has removed. The benchmark puts one in its place."""


def measure(experiment: Experiment, env_id: str, backend: str, seconds: float, repeats: int) -> Rows:
    """Measures an experiment on a robot of brax in both libraries, and returns a row for each.

    Args:
        experiment: PPO's or SAC's.
        env_id: the robot, such as "brax:hopper".
        backend: brax's physics, such as "spring".
        seconds: the approximate time of one run of jaxrl. brax makes as many steps.
        repeats: how many runs.
    """
    options = match(experiment, env_id, backend)
    env, env_params = make_env(options.task)
    _, trainer = experiment.build(env, env_params, options.config)
    _, ours = compile_program(trainer, options, None, jax.devices()[:1])
    warm_up(ours, trainer)
    iterations = steps_of(ours, seconds)
    steps, times, times_theirs = iterations * trainer.steps_per_iteration, list[float](), list[float]()

    def take_turns(num_steps: int, metrics: dict[str, Any]) -> None:
        """brax calls this after each of its runs."""
        del num_steps
        if speed := metrics.get("training/sps"):
            times_theirs.append(steps / float(speed))
            if len(times_theirs) > 1:  # the first run compiles
                times.append(ours.run(iterations))

    with device_put_replicated():
        train_in_brax(env.physics, options, steps, repeats + 1, take_turns)
    compiling = times_theirs[0] - statistics.median(times_theirs[1:])
    run = {"experiment": experiment.name, "env": env_id, "backend": backend, "num_steps": steps, **sizes_of(options)}

    def row(library: str, seconds: list[float], compile_seconds: float) -> dict[str, Any]:
        speeds = speeds_of(steps, seconds)
        return {**run, "library": library, **speeds, "seconds": seconds, "compile_seconds": compile_seconds}

    return [row("jaxrl", times, ours.compile_seconds), row("brax", times_theirs[1:], compiling)]


def match(experiment: Experiment, env_id: str, backend: str) -> Options:
    """The experiment's options on a robot, with the settings that brax can have too."""
    config = experiment.defaults.config
    names = SETTINGS if isinstance(config, OffPolicyConfig) else ("normalise",)
    values = {f"config.{name}": SETTINGS[name] for name in names}
    return with_values(experiment.defaults, {"env": env_id, "env_options": (f"backend={backend}",), **values})


@contextlib.contextmanager
def device_put_replicated() -> Iterator[None]:
    """Gives jax the function of that name again, which brax 0.14 calls and jax has removed."""
    if (name := "device_put_replicated") in vars(jax):
        yield
        return
    setattr(jax, name, lambda tree, devices: jax.tree.map(lambda x: jnp.stack([x] * len(devices)), tree))
    try:
        yield
    finally:
        delattr(jax, name)


def train_in_brax(physics: Any, options: Options, steps: int, runs: int, progress_fn: Any) -> None:
    """Trains an agent of brax for some runs of `steps` environment steps each, and calls `progress_fn` after each.

    Args:
        physics: brax's environment.
        options: those of jaxrl.
        steps: of each run: whole iterations.
        runs: how many.
        progress_fn: `(num_steps, metrics) -> None`.
    """
    config, length = options.config, Robot("brax", physics).default_params.max_steps_in_episode
    layers, activation = tuple(config.hidden_sizes), getattr(linen, config.activation)
    common = {"num_envs": config.num_envs, "episode_length": length, "progress_fn": progress_fn}
    common |= {"normalize_observations": True, "num_evals": runs + 1, "learning_rate": options.hparams.learning_rate}
    if isinstance(config, OffPolicyConfig):
        from brax.training.agents.sac import networks as sac_networks
        from brax.training.agents.sac import train as sac

        network = partial(sac_networks.make_sac_networks, hidden_layer_sizes=layers, activation=activation)
        prefill = -(-max(config.warmup_steps, config.batch_size) // config.num_envs) * config.num_envs
        sac.train(
            physics, prefill + runs * steps, network_factory=network, num_eval_envs=1, batch_size=config.batch_size,
            grad_updates_per_step=config.updates_per_iteration, min_replay_size=prefill,
            max_replay_size=config.replay_capacity, **common,
        )  # fmt: skip
    else:
        from brax.training.agents.ppo import networks as ppo_networks
        from brax.training.agents.ppo import train as ppo

        network = partial(
            ppo_networks.make_ppo_networks, policy_hidden_layer_sizes=layers, value_hidden_layer_sizes=layers,
            activation=activation,
        )  # fmt: skip
        ppo.train(
            physics, runs * steps, network_factory=network, run_evals=False, unroll_length=config.rollout_length,
            num_minibatches=config.num_minibatches, batch_size=config.num_envs // config.num_minibatches,
            num_updates_per_batch=config.num_epochs, **common,
        )  # fmt: skip


def tabulate(rows: Rows) -> pl.DataFrame:
    """One line for each measurement, of two rows."""

    def line(ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
        ratio = ours["env_steps_per_second"] / theirs["env_steps_per_second"]
        compiling = f"{ours['compile_seconds']:.1f}, {theirs['compile_seconds']:.1f}"
        name = f"{ours['env']} ({ours['backend']})"
        return [ours["experiment"], name, format_speeds(ours), format_speeds(theirs), f"{ratio:.2f}", compiling]

    columns = ["experiment", "robot", "jaxrl, steps/s", "brax, steps/s", "ratio", "compile s"]
    return pl.DataFrame([line(*pair) for pair in zip(rows[::2], rows[1::2], strict=True)], columns, orient="row")


def describe(rows: Rows) -> str:
    """What was measured, and the table, in Markdown."""
    table = tabulate(rows)
    return TEXT.format(repeats=len(rows[0]["seconds"]), table=markdown_table(table, right=table.columns[2:]))
