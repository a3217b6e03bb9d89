"""Programs can be lowered for accelerators on a machine that has none."""

import jax
import pytest

from jaxrl.envs import vectorize
from jaxrl.runs.experiment import find_experiment, known_experiments
from jaxrl.runs.task import Task, make_env

PLATFORMS = ("cuda", "tpu")
QUICK = ("dqn_cartpole", "ppo_cartpole", "pqn_cartpole", "q_learning_gridworld")
CHECKS = [jax.export.DisabledSafetyCheck.custom_call("LayoutConstraint")]  # of the replay's rings, which XLA knows
GAMES = [f"{game}-MinAtar" for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")]


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in known_experiments()]
)
def test_experiments(name: str) -> None:
    experiment = find_experiment(name)
    options = experiment.defaults
    env, env_params = make_env(options.task)
    _, trainer = (experiment.build_to_load or experiment.build)(env, env_params, options.config)
    state = jax.eval_shape(trainer.init, jax.random.key(0), options.hparams, trainer.constants)
    step = jax.export.export(jax.jit(trainer.step), platforms=PLATFORMS, disabled_checks=CHECKS)
    exported = step(state, trainer.constants)
    assert exported.platforms == PLATFORMS


@pytest.mark.parametrize("env_id", ["CartPole-v1", "GridWorld", *GAMES])
def test_environments(env_id: str) -> None:
    envs = vectorize(*make_env(Task(env_id)), 2)
    states = jax.eval_shape(envs.reset, jax.random.key(0))
    actions = jax.ShapeDtypeStruct((2,), "int32")
    exported = jax.export.export(jax.jit(envs.step), platforms=PLATFORMS)(states, actions, jax.random.key(0))
    assert exported.platforms == PLATFORMS
