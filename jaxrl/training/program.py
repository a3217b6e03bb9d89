"""The compiled program of a run: how it begins, and how it goes on by any number of iterations."""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError, check_is_no_class
from jaxrl.memory import check_fits
from jaxrl.random import as_keys
from jaxrl.training import devices as devices_lib
from jaxrl.training import metrics as metrics_lib
from jaxrl.training.hparams import as_arrays
from jaxrl.training.population import RUN_STATE_AXES, RunState, block_size, replace_iteration, take_turns
from jaxrl.types import Array, Hparams, PyTree, Trainer, TrainState


def init_run_state(trainer: Trainer, key: Array, hparams: Hparams) -> RunState:
    """A run of one agent at its beginning: the trainer's first state, and nothing measured yet."""
    state = trainer.init(key, hparams)
    _, metrics = jax.eval_shape(trainer.step, state)
    return RunState(state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics), jnp.int32(-1))


def iterate(trainer: Trainer, run_state: RunState, freeze_diverged: bool = False) -> RunState:
    """One iteration of one agent, which notices the first metric that is NaN.

    Args:
        trainer: for one agent.
        progress: where it is.
        freeze_diverged: whether an agent that has diverged stays as it was before that iteration, for good. Its
            environments go on. An infinite metric counts too: the parameters would be NaN next.
    """
    state, metrics = trainer.step(run_state.state)
    total = sum(mean.sum for mean in metrics.values())  # NaN or infinite if anything in it is
    found = ~jnp.isfinite(total) if freeze_diverged else jnp.isnan(total)
    nan_iteration = jnp.where(found & (run_state.nan_iteration < 0), state.iteration, run_state.nan_iteration)
    if freeze_diverged:
        # Only the agent: selecting between two replays would copy them. Metrics are known before the optimizer's step,
        # so that this is one more select in it; to look for NaNs in what it gives took a tenth of DQN's time.
        agent = jax.tree.map(
            lambda before, after: jnp.where(nan_iteration < 0, after, before), run_state.state.agent, state.agent
        )
        state = state._replace(agent=agent)
    return RunState(state, metrics_lib.add(run_state.metrics, metrics), nan_iteration)


def has_nan(tree: PyTree) -> Array:
    """Whether any number in it is NaN, bool scalar."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.stack([jnp.isnan(x).any() for x in leaves] or [jnp.array(False)]).any()


class Program:
    """The functions that a run calls, each compiled when it is first needed, and only once.

    One program serves all runs of the same sizes: keys and hyperparameters are its arguments.

    Attributes:
        trainer: of one agent.
        agents: `()` for one agent, `(A,)` for a population.
        shapes: of the run's `Progress`, with their shardings.
        compile_seconds: spent on tracing and compiling so far.
    """

    def __init__(
        self,
        trainer: Trainer,
        key: Array,
        hparams: Hparams,
        *,
        devices: Sequence[jax.Device] | None = None,
        freeze_diverged: bool = False,
        sequential: bool = False,
    ) -> None:
        """Traces the program.

        Args:
            trainer: for one agent.
            key, hparams: one key and the hyperparameters of one agent, or keys `[A]` and hyperparameters `[A]` of a
                population; only their shapes matter here.
            devices: what to spread a population's agents over, or a single agent's environments; unless given, the
                first.
            freeze_diverged: whether an agent with a NaN is left as it was, for good, and the others go on.
            sequential: on a CPU, run the program's kernels one after another instead of several at once, to the same
                bits. Where they are many and small, as with small networks in few environments, handing one to another
                core takes longer than the kernel; large ones use all cores by themselves.

        Raises:
            ArgumentError: the devices do not divide the agents, or the environments; the key is none, or of another
                number of agents than the hyperparameters.
            MemoryError: the state is larger than the free memory.
        """
        clock = time.perf_counter()
        # Under `jit` the step is traced once, for its shapes as well as for its program.
        self.trainer = trainer._replace(step=jax.jit(trainer.step))
        key = as_keys(key)
        _check_agents(key, hparams)
        self.agents, self.sequential = key.shape, sequential
        self.freeze_diverged = freeze_diverged
        self.mesh = devices_lib.mesh_of(devices, self.agents)
        with self._context():
            self._init_jitted = jax.jit(self._init).trace(*self._arguments(key, hparams))
        info = self._init_jitted.out_info
        self.shapes: RunState = jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), info, self._shardings(info)
        )
        fewer = ", or fewer agents (seeds)," if self.agents else ""
        check_fits(
            "the run's state takes",
            devices_lib.bytes_of(self.shapes) * local_copies(self.mesh),
            f"{LESS[largest_part(self.shapes.state)]}{fewer} would need less",
        )
        self.compile_seconds = time.perf_counter() - clock

    def init(self, key: Array, hparams: Hparams) -> RunState:
        """The run at its beginning.

        Raises:
            ArgumentError: the keys or the hyperparameters are of another number of agents.
        """
        key = as_keys(key)
        if key.shape != self.agents:
            raise ArgumentError("key", f"must be of shape {self.agents}, as the program's", key.shape)
        _check_agents(key, hparams)
        # Restored arrays are committed to their devices: so are these, so that both mean the same program.
        shardings = jax.tree.map(lambda x: x.sharding, self.shapes)
        return jax.device_put(self._init_compiled(*self._arguments(key, hparams)), shardings)

    def compiled(self) -> Callable[[RunState, int], RunState]:
        """`(progress, iterations) -> progress`: the run after so many more iterations. What it is given is used up."""
        program = self._advance_compiled
        return lambda run_state, iterations: program(run_state, np.int32(iterations))

    def advance_text(self) -> str:
        """The compiled program in XLA's language, for those who want to see what became of it."""
        return self._advance_compiled.as_text()

    def memory(self) -> int:
        """Bytes that the compiled program needs on each device, its state included; compiles it."""
        analysis = self._advance_compiled.memory_analysis()
        return (
            analysis.argument_size_in_bytes
            + analysis.temp_size_in_bytes
            + (analysis.output_size_in_bytes - analysis.alias_size_in_bytes)
        )

    def check_memory(self) -> None:
        """Refuses a program that needs more memory than is free, before its run has begun; compiles it.

        Raises:
            MemoryError: it does.
        """
        fewer = "fewer agents (seeds), " if self.agents else ""
        check_fits(
            "the run's state and what it works with take",
            self.memory() * local_copies(self.mesh),
            f"{fewer}fewer num_envs, a shorter rollout_length, smaller batches or a smaller network would need less",
        )

    def _arguments(self, key: Array, hparams: Hparams) -> tuple[Array, Hparams]:
        """The arguments of `_init`, on their devices: keys as their data, since only numbers can be distributed."""
        sharding = devices_lib.along(self.mesh, 0 if self.agents else None)
        arguments = (jax.random.key_data(as_keys(key)), as_arrays(hparams))
        return jax.tree.map(lambda x: devices_lib.distribute(x, sharding), arguments)

    def _init(self, key_data: Array, hparams: Hparams) -> RunState:
        keys = as_keys(key_data)
        if not self.agents:
            run_state = init_run_state(self.trainer, keys, hparams)
        else:
            run_state = self._on_each_device(self._init_agents, (0, 0))(keys, hparams)
        return jax.lax.with_sharding_constraint(run_state, self._shardings(run_state))

    def _init_agents(self, keys: Array, hparams: Hparams) -> RunState:
        batch = block_size(len(keys))
        run_state = jax.lax.map(lambda x: init_run_state(self.trainer, *x), (keys, hparams), batch_size=batch)
        return run_state._replace(state=run_state.state._replace(iteration=run_state.state.iteration[0]))

    def _advance(self, run_state: RunState, iterations: Array) -> RunState:
        """Any number of iterations in one program: it is an argument of the loop, not a shape."""

        def advance(run_state: RunState) -> RunState:
            return jax.lax.fori_loop(
                0, iterations, lambda _, x: iterate(self.trainer, x, self.freeze_diverged), run_state
            )

        def advance_agents(run_state: RunState) -> RunState:
            return take_turns(advance, run_state)

        return self._on_each_device(advance_agents, (RUN_STATE_AXES,))(run_state) if self.agents else advance(run_state)

    def _on_each_device(self, function: Callable[..., RunState], axes: tuple[Any, ...]) -> Callable[..., RunState]:
        """The same for a population of which each device has its part."""

        def spec(axis: int | None) -> jax.P:
            return devices_lib.along(self.mesh, axis).spec

        specs = [jax.tree.map(spec, x, is_leaf=lambda x: x is None) for x in (*axes, RUN_STATE_AXES)]
        return jax.shard_map(function, mesh=self.mesh, in_specs=tuple(specs[:-1]), out_specs=specs[-1], check_vma=False)

    def _shardings(self, run_state: RunState) -> RunState:
        """Where each leaf lies."""
        if not self.agents:
            everywhere = jax.tree.map(lambda _: devices_lib.along(self.mesh, None), run_state)
            if self.mesh.size == 1:
                return everywhere
            return everywhere._replace(state=devices_lib.shard_envs(self.mesh, run_state.state))
        shared, own = (devices_lib.along(self.mesh, axis) for axis in (None, 0))
        return replace_iteration(jax.tree.map(lambda _: own, run_state), shared)

    @cached_property
    def _init_compiled(self) -> Any:
        # Compiling one agent's beginning quickly saves more than running it fast.
        quickly = jax.default_backend() == "cpu" and not self.agents
        return self._timed(self._init_jitted.lower, {"xla_backend_optimization_level": 0} if quickly else {})

    @cached_property
    def _advance_compiled(self) -> Any:
        one_by_one = self.sequential and jax.default_backend() == "cpu"
        options: dict[str, Any] = (
            {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"} if one_by_one else {}
        )
        shardings = jax.tree.map(lambda x: x.sharding, self.shapes)
        program = jax.jit(self._advance, donate_argnums=0, out_shardings=shardings)
        count = jax.ShapeDtypeStruct((), jnp.int32)
        return self._timed(lambda: program.lower(self.shapes, count), options)

    def _context(self) -> contextlib.AbstractContextManager:
        """In which one agent of several devices is traced: see `shard_batch`."""
        return jax.set_mesh(self.mesh) if self.mesh.size > 1 and not self.agents else contextlib.nullcontext()

    def _timed(self, lower: Callable[[], Any], options: dict[str, Any]) -> Any:
        clock = time.perf_counter()
        with self._context():
            compiled = lower().compile(compiler_options=options)
        self.compile_seconds += time.perf_counter() - clock
        return compiled


def _check_agents(key: Array, hparams: Hparams) -> None:
    """Refuses hyperparameters that are not of one agent `()`, or of as many as there are keys `[A]`."""
    check_is_no_class("hparams", hparams)
    if key.ndim > 1:
        raise ArgumentError(
            "key", "must be one key, or keys [A] of a population", key.shape, got=f"keys of shape {key.shape}"
        )
    for path, x in jax.tree_util.tree_leaves_with_path(hparams):
        name = "hparams" + jax.tree_util.keystr(path)
        if key.ndim and np.shape(x)[:1] != key.shape:
            rule = f"must be of [{len(key)}] agents, as many as keys are (jaxrl.repeat makes the same for all)"
            raise ArgumentError(name, rule, np.shape(x), got=f"shape {np.shape(x)}")
        if not key.ndim and dataclasses.is_dataclass(hparams) and np.ndim(x):
            raise ArgumentError(name, "must be one number for one key", np.shape(x), got=f"shape {np.shape(x)}")


def batch_shapes(shapes: RunState, agents: int) -> RunState:
    """The shapes of a population, from those of one agent."""
    many = jax.tree.map(lambda x: jax.ShapeDtypeStruct((agents, *x.shape), x.dtype), shapes)
    return replace_iteration(many, shapes.state.iteration)


def local_copies(mesh: jax.sharding.Mesh) -> int:
    """How many devices of a mesh share this machine's memory: all of this process on a CPU, one on an accelerator."""
    return len(mesh.local_devices) if mesh.devices.flat[0].platform == "cpu" else 1


LESS = {"replay": "a smaller replay_capacity", "envs": "fewer num_envs", "agent": "a smaller network"}
"""What would make each part of a state smaller."""


def largest_part(state: TrainState) -> str:
    """The name of the part of a state that takes the most memory."""
    return max(LESS, key=lambda part: devices_lib.bytes_of(getattr(state, part)))
