"""Trained policies: using one, and restoring it from the checkpoints of a run."""

import dataclasses
import importlib.util
import reprlib
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError, errors_in
from jaxrl.envs import observation_of
from jaxrl.runs import run_directory
from jaxrl.runs.experiment import Experiment, find_experiment
from jaxrl.runs.options import Options, read_options
from jaxrl.runs.task import make_env
from jaxrl.training.checkpoint import Checkpoints
from jaxrl.training.program import batch_shapes, init_run_state
from jaxrl.types import Agent, Array, Input, PyTree, Trainer


@dataclasses.dataclass(frozen=True, eq=False)  # compared and hashed by identity, as `jax.jit` needs it
class TrainedPolicy:
    """A trained policy with its environment: a function of observations and a key to actions.

    It can be called inside `jax.jit`, `vmap` and `scan`, and pickled if its experiment can be imported.
    """

    env: Any
    """The environment it was trained in, with gymnax's interface."""
    env_params: Any
    agent: Agent = dataclasses.field(repr=False)
    agent_state: PyTree = dataclasses.field(repr=False)
    """The whole state of the agent: parameters, optimizer state and hyperparameters."""
    experiment: Experiment = dataclasses.field(repr=False)
    options: Options
    """How it was trained."""
    name: str = ""
    """The name of an agent of a sweep."""

    def __call__(self, observations: PyTree, key: Array) -> Any:
        """Actions `[N, ...]` for observations `[N, *observation]`, or one action for one observation.

        Args:
            observations: arrays, or lists of numbers. Given a `jaxrl.Input`, with memory or legal actions, the result
                is a `jaxrl.Decision`.
            key: for a stochastic policy, such as one with ε > 0.

        Raises:
            ArgumentError: the shapes are not those of the environment's observations, or the policy needs an `Input`.
        """
        if isinstance(observations, Input):
            self._check_memory(observations)
            if self.agent.needs_env_states and not jax.tree.leaves(observations.env_states):
                rule = "must have env_states, the environments' states with their axis last, since this policy searches"
                raise ArgumentError("observations", rule, None, got="none")
            return self.agent.policy(self.agent_state, observations, key)
        if self.agent.needs_env_states or self._has_memory:
            rule = "must be a jaxrl.Input, since this policy has a memory or plans with the environment's states"
            raise ArgumentError("observations", rule, observations, got=type(observations).__name__)
        batch, is_one = self._batch(observations)
        actions = self.agent.policy(self.agent_state, Input(batch), key).action
        return actions[0] if is_one else actions

    @property
    def params(self) -> PyTree:
        """The parameters of its network by their names, as flax gives them.

            policy = load("runs/dqn_cartpole/2026-01-31-120000")
            jax.tree.map(jnp.shape, policy.params)
            policy.params["params"]["Dense_0"]["kernel"]  # [inputs, features]

        They are those of the agent's state, or of the state of the agent inside, as of `jaxrl.normalised`.

        Raises:
            ArgumentError: the agent has no network.
        """
        state = self.agent_state
        while not hasattr(state, "params"):
            if not hasattr(state, "agent"):
                rule = "must be of an agent with a network, whose state has params"
                raise ArgumentError("policy", rule, None, got=f"one whose state is a {type(state).__name__}")
            state = state.agent
        return state.params

    def memory(self, num_envs: int) -> PyTree:
        """What the policy remembers at the start of an episode, `[N, ...]`; `()` for most."""
        return self.agent.memory(self.agent_state, num_envs)

    @property
    def _has_memory(self) -> bool:
        return bool(jax.tree.leaves(jax.eval_shape(lambda: self.memory(1))))

    def _check_memory(self, given: Input) -> None:
        expected = jax.eval_shape(lambda: self.memory(len(jax.tree.leaves(given.observation)[0])))
        shapes = [jax.tree.map(lambda x: list(jnp.shape(x)), memory) for memory in (expected, given.memory)]
        if shapes[0] != shapes[1]:
            rule = f"must be of the shape {shapes[0]}, as of this policy's memory(num_envs)"
            raise ArgumentError("memory", rule, shapes[1])

    @cached_property
    def observation(self) -> PyTree:
        """The shape and dtype of an observation."""
        return observation_of(self.env, self.env_params)

    def _batch(self, observations: PyTree) -> tuple[PyTree, bool]:
        """Observations as arrays with a batch axis, and whether they had none."""
        expected = self.observation

        def shapes(*batch: str) -> PyTree:
            return jax.tree.map(lambda x: f"[{', '.join([*batch, *map(str, x.shape)])}]", expected)

        rule = f"must be {shapes('N')} or {shapes()}".replace("'", "")
        try:
            arrays = jax.tree.map(lambda _, x: jnp.asarray(x), expected, observations)
        except (TypeError, ValueError) as error:
            raise ArgumentError("observations", rule, observations, reprlib.repr(observations)) from error
        pairs = list(zip(jax.tree.leaves(arrays), jax.tree.leaves(expected), strict=True))
        for x, shape in pairs:
            if jnp.issubdtype(shape.dtype, jnp.integer) and not jnp.issubdtype(x.dtype, jnp.integer):
                raise ArgumentError("observations", f"must be whole numbers ({shape.dtype})", x.dtype)
        batch = pairs[0][0].shape[: max(pairs[0][0].ndim - len(pairs[0][1].shape), 0)]
        if len(batch) > 1 or any(x.shape != (*batch, *shape.shape) for x, shape in pairs):
            got = jax.tree.map(lambda x: list(x.shape), arrays)
            raise ArgumentError("observations", rule, observations, str(got))
        arrays = jax.tree.map(lambda x, shape: x.astype(shape.dtype), arrays, expected)
        return (arrays, False) if batch else (jax.tree.map(lambda x: x[None], arrays), True)

    def export(self) -> bytes:
        """The policy as a serialized program, which runs without jaxrl.

        Returns:
            The input of `jax.export.deserialize`, which gives a function of observations `[N, *observation]` for any N,
            and the data of a key, `jax.random.key_data(key)`, to actions `[N, ...]`, on a CPU, a GPU or a TPU.

        Raises:
            ArgumentError: the policy has a memory.
            ImportError: flatbuffers is not installed.
        """
        from jax import export

        if self._has_memory:
            raise ArgumentError("policy", "must have no memory to be exported", None, got="one with a memory")
        if importlib.util.find_spec("flatbuffers") is None:
            raise ImportError("exporting a policy needs the package flatbuffers (pip install flatbuffers)")

        def call(observations: PyTree, key_data: Array) -> Array:
            return self(observations, jax.random.wrap_key_data(key_data, impl="threefry2x32"))

        (n,) = export.symbolic_shape("N")
        observations = jax.tree.map(lambda x: jax.ShapeDtypeStruct((n, *x.shape), x.dtype), self.observation)
        key_data = jax.ShapeDtypeStruct((2,), jnp.uint32)
        program = export.export(jax.jit(call), platforms=("cpu", "cuda", "tpu"))(observations, key_data)
        return bytes(program.serialize())

    def __reduce__(self) -> tuple[Any, ...]:
        # An agent is a record of local functions, which cannot be pickled, so it is built again.
        return _build_policy, (self.experiment, self.options, jax.device_get(self.agent_state), self.name)


def _build_policy(experiment: Experiment, options: Options, agent_state: PyTree, name: str) -> TrainedPolicy:
    env, env_params, agent, _ = _build_to_load(experiment, options)
    return TrainedPolicy(env, env_params, agent, jax.tree.map(jnp.asarray, agent_state), experiment, options, name)


def _build_to_load(experiment: Experiment, options: Options) -> tuple[Any, Any, Agent, Trainer]:
    """The environment of some options and its parameters, the agent, and a trainer, perhaps without its data."""
    env, env_params = make_env(options.task)
    return env, env_params, *(experiment.build_to_load or experiment.build)(env, env_params, options.config)


def load_run(directory: Path, seed: int | None = None, best: bool = False) -> TrainedPolicy:
    """The policy of a run, from its newest intact checkpoint.

    Args:
        directory: of the run.
        seed: which seed (default: the first).
        best: as it was at its best evaluation while training.

    Raises:
        ArgumentError: the directory holds no run, or not that seed, or no best one, or its environment or experiment
            cannot be made.
        CheckpointError: it holds no usable checkpoint.
    """
    config, source = run_directory.read_config(directory), directory / run_directory.CONFIG
    started = f"{source} (started in {config.get('started_in', 'another directory')})"
    with errors_in(started):  # modules of the user's own are found from there
        experiment = find_experiment(config["experiment"])
    with errors_in(source):
        options = read_options(config["options"], experiment.defaults)
    first, seeds = options.budget.seed, options.budget.num_seeds
    index = 0 if seed is None else seed - first
    if not 0 <= index < seeds:
        rule = (
            f"must be {first}, the only seed of this run"
            if seeds == 1
            else f"must be in {first} .. {first + seeds - 1}"
        )
        raise ArgumentError("seed", rule, seed)
    checkpoints = directory / (run_directory.BEST if best else run_directory.CHECKPOINTS)
    if best and not checkpoints.exists():
        rule = "must be of a run with --keep-best that has evaluated its agents"
        raise ArgumentError("best", rule, True, got=str(directory))
    agents = None if seeds == 1 and not best else seeds
    with errors_in(started):
        policy = restore(experiment, options, checkpoints, agents, index, whole=not best)
    with errors_in(source):
        _check_hparams(options.hparams, policy.agent_state)
    return policy


def _check_hparams(recorded: Any, agent_state: PyTree) -> None:
    """Checks the recorded hyperparameters against those in the agent's state.

    Raises:
        ArgumentError: the record was changed.
    """
    kind = type(recorded)
    for trained in jax.tree.leaves(agent_state, is_leaf=lambda x: isinstance(x, kind)):
        for field in dataclasses.fields(kind) if isinstance(trained, kind) else ():
            said, true = (np.float32(getattr(hparams, field.name)) for hparams in (recorded, trained))
            if said != true:
                raise ArgumentError(f"hparams.{field.name}", f"must be {true}, as in training", said)


def restore(
    experiment: Experiment, options: Options, checkpoints: Path, agents: int | None, index: int, whole: bool
) -> TrainedPolicy:
    """The policy of one of the agents in a checkpoint.

    Args:
        experiment, options: how it was trained.
        checkpoints: the folder of the checkpoints.
        agents: the number of agents in a checkpoint; None if it has no axis of agents.
        index: which agent.
        whole: whether the checkpoints hold the state of the run, or of the agents alone.

    Raises:
        ArgumentError: the environment cannot be made.
        CheckpointError: there is no usable checkpoint.
    """
    env, env_params, agent, trainer = _build_to_load(experiment, options)
    key = jax.random.key(0, impl="threefry2x32")
    run = jax.eval_shape(partial(init_run_state, trainer), key, options.hparams, trainer.constants)
    if agents is not None:
        run = batch_shapes(run, agents)
    state, _, _ = Checkpoints(checkpoints, read_only=True).restore(run if whole else run.state.agent)
    agent_state = state.state.agent if whole else state
    if agents is not None:
        agent_state = jax.tree.map(lambda x: x[index], agent_state)
    return TrainedPolicy(env, env_params, agent, agent_state, experiment, options)
