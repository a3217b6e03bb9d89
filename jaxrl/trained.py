"""Using what was trained."""

import dataclasses
import importlib
from pathlib import Path
from typing import Any

import jax

from jaxrl.cli import run_directory
from jaxrl.cli.experiment import Experiment, Options, make_options, unflatten
from jaxrl.envs import make
from jaxrl.training.checkpoint import Checkpoints
from jaxrl.training.program import of_population, start
from jaxrl.types import Agent, Array, PyTree


@dataclasses.dataclass(frozen=True, eq=False)  # compared and hashed by identity, as `jax.jit` needs it
class TrainedPolicy:
    """A trained policy with its world: call it with observations `[N, *observation]` and a key to get actions `[N]`.

    Pure and traceable: it may stand inside `jax.jit`, `vmap` or `scan`.
    """

    env: Any
    """The world it was trained in, with gymnax's interface."""
    env_params: Any
    agent: Agent = dataclasses.field(repr=False)
    agent_state: PyTree = dataclasses.field(repr=False)
    """The agent's whole state: parameters, optimizer state and hyperparameters."""
    options: Options
    """How it was trained."""

    def __call__(self, observations: PyTree, key: Array) -> Array:
        return self.agent.policy(self.agent_state, observations, key)


def load(directory: str | Path, seed: int | None = None) -> TrainedPolicy:
    """The policy of a run, from its newest whole checkpoint.

    Args:
        directory: the run's directory.
        seed: which one, for a run of several seeds (by default its first).

    Raises:
        ValueError: the directory holds no run, or not that seed, or its world cannot be made.
        CheckpointError: it holds no usable checkpoint.
    """
    directory = Path(directory)
    config = run_directory.read_config(directory)
    experiment: Experiment = importlib.import_module(f"jaxrl.experiments.{config['experiment']}").experiment
    options = unflatten(config["options"], experiment.defaults)
    seed = options.seed if seed is None else seed
    if not 0 <= seed - options.seed < options.num_seeds:
        raise ValueError(f"seed must be in {options.seed} .. {options.seed + options.num_seeds - 1}, got {seed}")
    env, env_params = make(options.env, options.protocol, **make_options(options.env_options))
    agent, trainer = experiment.build(env, env_params, options.config)
    shapes = jax.eval_shape(lambda key: start(trainer, key, options.hparams), jax.random.key(0))
    if options.num_seeds > 1:
        shapes = of_population(shapes, options.num_seeds)
    checkpoints = Checkpoints(directory / run_directory.CHECKPOINTS, read_only=True)
    progress, _, _ = checkpoints.restore(shapes)
    agent_state = progress.state.agent
    if options.num_seeds > 1:
        agent_state = jax.tree.map(lambda x: x[seed - options.seed], agent_state)
    return TrainedPolicy(env, env_params, agent, agent_state, options)
