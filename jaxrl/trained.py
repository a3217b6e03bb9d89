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
    name: str = ""
    """What an agent of a sweep is called there."""

    def __call__(self, observations: PyTree, key: Array) -> Array:
        return self.agent.policy(self.agent_state, observations, key)


def load(directory: str | Path, seed: int | None = None, agent: int | None = None) -> TrainedPolicy:
    """The policy of a run, from its newest whole checkpoint, or of an agent of a sweep that has finished training.

    Args:
        directory: the run's directory, or the sweep's.
        seed: which one, for a run of several seeds (by default its first).
        agent: which one, for a sweep (by default the best seed of the best configuration).

    Raises:
        ValueError: the directory holds no run and no sweep, or not that seed or agent, or its world cannot be made.
        CheckpointError: it holds no usable checkpoint.
    """
    directory = Path(directory)
    if (directory / run_directory.SWEEP).exists():
        from jaxrl.sweeps.load import find  # here, because it imports a library for tables

        if seed is not None:
            raise ValueError(f"seed is for runs; an agent of a sweep has its own, got {seed}")
        found = find(directory, agent)
        agent_of_sweep = _restore(
            found.experiment, found.options, found.checkpoints, found.agents, found.place, whole=False
        )
        return dataclasses.replace(agent_of_sweep, name=found.name)
    if agent is not None:
        raise ValueError(f"agent is for sweeps, and {directory} is none, got {agent}")
    config = run_directory.read_config(directory)
    experiment: Experiment = importlib.import_module(f"jaxrl.experiments.{config['experiment']}").experiment
    options = unflatten(config["options"], experiment.defaults)
    seed = options.seed if seed is None else seed
    if not 0 <= seed - options.seed < options.num_seeds:
        raise ValueError(f"seed must be in {options.seed} .. {options.seed + options.num_seeds - 1}, got {seed}")
    agents = None if options.num_seeds == 1 else options.num_seeds
    checkpoints = directory / run_directory.CHECKPOINTS
    return _restore(experiment, options, checkpoints, agents, seed - options.seed, whole=True)


def _restore(
    experiment: Experiment, options: Options, checkpoints: Path, agents: int | None, index: int, whole: bool
) -> TrainedPolicy:
    """One of the agents in a checkpoint.

    Args:
        experiment, options: how it was trained.
        checkpoints: their folder.
        agents: how many are in each, or None for one without an axis of agents.
        index: which one.
        whole: whether whole runs are in there, or the agents alone.
    """
    env, env_params = make(options.env, options.protocol, **make_options(options.env_options))
    agent, trainer = experiment.build(env, env_params, options.config)
    run = jax.eval_shape(lambda key: start(trainer, key, options.hparams), jax.random.key(0))
    if agents is not None:
        run = of_population(run, agents)
    state, _, _ = Checkpoints(checkpoints, read_only=True).restore(run if whole else run.state.agent)
    agent_state = state.state.agent if whole else state
    if agents is not None:
        agent_state = jax.tree.map(lambda x: x[index], agent_state)
    return TrainedPolicy(env, env_params, agent, agent_state, options)
