"""The compiled program of a run: its initial state, and how to advance it by any number of iterations."""

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Generic

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError, check_is_no_class
from jaxrl.memory import available_memory, check_fits
from jaxrl.random import as_keys
from jaxrl.training.devices import bytes_of, local_copies, mesh_of, platform_of, shard_along, shard_envs, to_devices
from jaxrl.training.hparams import as_arrays
from jaxrl.training.population import RUN_STATE_AXES, RunState, map_agents, map_blocks, replace_iteration
from jaxrl.types import Array, Hparams, Metrics, PyTree, StateT, Trainer, TrainState


class DivergedError(Exception):
    """A loss or a parameter became NaN."""


def init_run_state(trainer: Trainer, key: Array, hparams: Hparams, constants: PyTree) -> RunState:
    """The initial state of a run of one agent."""
    state = trainer.init(key, hparams, constants)
    _, metrics = jax.eval_shape(trainer.step, state, constants)
    return RunState(state, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), metrics), jnp.int32(-1))


def iterate(trainer: Trainer, run_state: RunState, constants: PyTree, freeze_diverged: bool = False) -> RunState:
    """One iteration of one agent, which records the first NaN in a metric.

    Args:
        trainer: the trainer of one agent.
        run_state: the state of its run.
        constants: `Trainer.constants`.
        freeze_diverged: whether an agent that diverges keeps the parameters from before that iteration, while its
            environments continue. An infinite metric counts as divergence, since the parameters would be NaN next.
    """
    return record(run_state, *trainer.step(run_state.state, constants), freeze_diverged)


def record(before: RunState, state: TrainState, metrics: Metrics, freeze_diverged: bool) -> RunState:
    """The state of a run after an iteration that led to `state`. The arguments and the result are as of `iterate`."""
    total = sum(mean.sum for mean in metrics.values())  # NaN or infinite if one of them is
    found = ~jnp.isfinite(total) if freeze_diverged else jnp.isnan(total)
    nan_iteration = jnp.where(found & (before.nan_iteration < 0), state.iteration, before.nan_iteration)
    if freeze_diverged:
        # Only the agent, since a select between two replays would copy them. Metrics are known before the optimizer's
        # step, so this fuses with it; looking for NaNs in its result took a tenth of DQN's time.
        agent = jax.tree.map(lambda old, new: jnp.where(nan_iteration < 0, new, old), before.state.agent, state.agent)
        state = state._replace(agent=agent)
    return RunState(state, jax.tree.map(jnp.add, before.metrics, metrics), nan_iteration)


def has_nan(tree: PyTree) -> Array:
    """Whether any number in a pytree is NaN, bool scalar."""
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.stack([jnp.isnan(x).any() for x in leaves] or [jnp.array(False)]).any()


class Program(Generic[StateT]):
    """The functions of a run, each compiled once, when it is first needed.

    One program serves all runs of the same sizes: keys and hyperparameters are its arguments.

    Attributes:
        trainer: the trainer of one agent.
        agents: `()` for one agent, `(A,)` for a population.
        shapes: the shapes and shardings of the run's `RunState`.
        compile_seconds: seconds spent on tracing and compiling so far.
    """

    def __init__(
        self,
        trainer: Trainer[StateT],
        key: Array,
        hparams: Hparams,
        *,
        devices: Sequence[jax.Device] | None = None,
        freeze_diverged: bool = False,
        sequential: bool = False,
    ) -> None:
        """Traces the program.

        Args:
            trainer: the trainer of one agent.
            key, hparams: a key and the hyperparameters of one agent, or keys `[A]` and hyperparameters `[A]` of a
                population; only their shapes matter here.
            devices: where to place a population's agents, or a single agent's environments; by default, the first.
            freeze_diverged: whether an agent with a NaN is frozen while the others continue.
            sequential: on a CPU, run the kernels one after another instead of several at once, with the same result.
                This is faster for many small kernels, such as those of small networks in few environments; large
                kernels use all cores anyway.

        Raises:
            ArgumentError: the number of agents, or of environments, is not a multiple of the number of devices, or the
                key is invalid or for another number of agents than the hyperparameters.
            MemoryError: the state does not fit into the free memory.
        """
        start = time.perf_counter()
        if trainer.on_host:
            rule = "must be that of pure functions; jaxrl.run and HostProgram take those that step on the host"
            raise ArgumentError("trainer", rule, None, got=f"one of {trainer.stages.envs.host.name}")
        # Under `jit`, the step is traced once, both for its shapes and for the program.
        self.trainer = trainer._replace(step=jax.jit(trainer.step))
        key = as_keys(key)
        check_agents(key, hparams)
        self.agents, self.sequential = key.shape, sequential
        self.freeze_diverged = freeze_diverged
        self.mesh = mesh_of(devices, self.agents)
        with self._context():
            self._init_jitted = jax.jit(self._init).trace(*self._arguments(key, hparams))
        info = self._init_jitted.out_info
        self.shapes: RunState = jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), info, self._shardings(info)
        )
        self._check_fits(
            "the run's state takes",
            bytes_of(self.shapes),
            what_fits(self.shapes.state, bytes_of(self.shapes) * local_copies(self.mesh), bool(self.agents)),
        )
        self.compile_seconds = time.perf_counter() - start

    def init(self, key: Array, hparams: Hparams) -> RunState:
        """The initial state of a run.

        Raises:
            ArgumentError: the keys or the hyperparameters are for another number of agents.
        """
        key = as_keys(key)
        if key.shape != self.agents:
            raise ArgumentError("key", f"must be of shape {self.agents}, as the program's", key.shape)
        check_agents(key, hparams)
        # Restored arrays are committed to their devices. So are these: otherwise there would be a second program.
        shardings = jax.tree.map(lambda x: x.sharding, self.shapes)
        return jax.device_put(self._init_compiled(*self._arguments(key, hparams)), shardings)

    def compiled(self) -> Callable[[RunState, int], RunState]:
        """`(run_state, iterations) -> run_state`: advances a run by so many iterations. It donates its argument."""
        program = self._advance_compiled
        return lambda run_state, iterations: program(run_state, np.int32(iterations), self.constants)

    def save_envs(self, run_state: RunState) -> None:
        """The states of environments that step on the host; None, for a `RunState` holds everything."""
        del run_state

    def restore_envs(self, run_state: RunState, saved: bytes | None) -> None:
        """Restores what `save_envs` returned; returns what is lost, in one line, or None."""
        del run_state, saved

    def text(self) -> str:
        """XLA's text of the compiled program, with its operations as they run; compiles it."""
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
        """Checks that the program fits into the free memory, before its run begins; compiles it.

        Raises:
            MemoryError: it does not.
        """
        fewer = "fewer agents (seeds), " if self.agents else ""
        self._check_fits(
            "the compiled program takes",
            self.memory(),
            f"{fewer}{'fewer num_envs, a shorter rollout_length, ' if self.trainer.num_envs else 'a smaller dataset, '}"
            "smaller batches or a smaller network would need less",
        )

    def _check_fits(self, what: str, bytes_per_device: int, hint: str) -> None:
        check_fits(what, bytes_per_device * local_copies(self.mesh), hint)

    @cached_property
    def constants(self) -> PyTree:
        """The trainer's constants, on every device. Those that are there already, from another program, are shared."""
        everywhere = shard_along(self.mesh, None)
        return jax.tree.map(
            lambda x: x if getattr(x, "sharding", None) == everywhere else to_devices(x, everywhere),
            self.trainer.constants,
        )

    def _arguments(self, key: Array, hparams: Hparams) -> tuple[Array, Hparams, PyTree]:
        """The arguments of `_init` on their devices, with keys as their data: only numbers can be distributed."""
        sharding = shard_along(self.mesh, 0 if self.agents else None)
        arguments = (jax.random.key_data(as_keys(key)), as_arrays(hparams))
        return *jax.tree.map(lambda x: to_devices(x, sharding), arguments), self.constants

    def _init(self, key_data: Array, hparams: Hparams, constants: PyTree) -> RunState:
        keys = as_keys(key_data)
        if not self.agents:
            run_state = init_run_state(self.trainer, keys, hparams, constants)
        else:
            run_state = self._on_each_device(self._init_agents, (0, 0, None))(keys, hparams, constants)
        return jax.lax.with_sharding_constraint(run_state, self._shardings(run_state))

    def _init_agents(self, keys: Array, hparams: Hparams, constants: PyTree) -> RunState:
        size = 1 if platform_of(self.mesh) == "cpu" else len(keys)
        run_state = map_blocks(lambda x: init_run_state(self.trainer, x[0], x[1], constants), (keys, hparams), size)
        return replace_iteration(run_state, run_state.state.iteration[0])

    def _advance(self, run_state: RunState, iterations: Array, constants: PyTree) -> RunState:
        """Any number of iterations in one program, since it is an argument of the loop and not a shape."""

        def advance(run_state: RunState, constants: PyTree) -> RunState:
            def body(_: Array, run_state: RunState) -> RunState:
                return iterate(self.trainer, run_state, constants, self.freeze_diverged)

            return jax.lax.fori_loop(0, iterations, body, run_state)

        def advance_agents(agents: RunState, constants: PyTree) -> RunState:
            return map_agents(lambda agent: advance(agent, constants), agents, platform_of(self.mesh))

        if not self.agents:
            return advance(run_state, constants)
        return self._on_each_device(advance_agents, (RUN_STATE_AXES, None))(run_state, constants)

    def _on_each_device(self, function: Callable[..., RunState], axes: tuple[Any, ...]) -> Callable[..., RunState]:
        """A function of a population, applied to each device's part of it."""

        def spec(axis: int | None) -> jax.P:
            return shard_along(self.mesh, axis).spec

        specs = [jax.tree.map(spec, x, is_leaf=lambda x: x is None) for x in (*axes, RUN_STATE_AXES)]
        return jax.shard_map(function, mesh=self.mesh, in_specs=tuple(specs[:-1]), out_specs=specs[-1], check_vma=False)

    def _shardings(self, run_state: RunState) -> RunState:
        """The sharding of each leaf."""
        replicated, own = (shard_along(self.mesh, axis) for axis in (None, 0))
        if self.agents:
            return replace_iteration(jax.tree.map(lambda _: own, run_state), replicated)
        everywhere = jax.tree.map(lambda _: replicated, run_state)
        if self.mesh.size == 1:
            return everywhere
        return everywhere._replace(state=shard_envs(self.mesh, run_state.state, self.trainer))

    @cached_property
    def _init_compiled(self) -> Any:
        # For one agent, a shorter compilation saves more than a faster initialization.
        quickly = platform_of(self.mesh) == "cpu" and not self.agents
        return self._compile(self._init_jitted.lower, {"xla_backend_optimization_level": 0} if quickly else {})

    @cached_property
    def _advance_compiled(self) -> Any:
        shardings = jax.tree.map(lambda x: x.sharding, self.shapes)
        program = jax.jit(self._advance, donate_argnums=0, out_shardings=shardings)
        count = jax.ShapeDtypeStruct((), jnp.int32)
        options = run_options(self.sequential, self.mesh.devices.flat[0])
        return self._compile(lambda: program.lower(self.shapes, count, self.constants), options)

    def _context(self) -> contextlib.AbstractContextManager:
        """The context in which one agent on several devices is traced; see `shard_batch`."""
        return jax.set_mesh(self.mesh) if self.mesh.size > 1 and not self.agents else contextlib.nullcontext()

    def _compile(self, lower: Callable[[], Any], options: dict[str, Any]) -> Any:
        start = time.perf_counter()
        with self._context():
            compiled = lower().compile(compiler_options=options)
        self.compile_seconds += time.perf_counter() - start
        return compiled


GRAPHS = "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,CUDNN,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"
"""What XLA launches as one CUDA graph: all that it does by default, and loops and branches, with what is in them."""


def run_options(sequential: bool, device: jax.Device) -> dict[str, Any]:
    """The compiler options of what a run calls over and over on such a device; see `Program`.

    On an NVIDIA GPU, loops are CUDA graphs: their many small kernels take less time than it takes to launch them one by
    one. On an H200, PPO on CartPole became 1.5 times as fast, DQN on Breakout 1.2 times.
    """
    if device.platform == "cpu":
        return {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"} if sequential else {}
    if "cuda" in device.client.platform_version:
        return {"xla_gpu_enable_command_buffer": GRAPHS, "xla_gpu_graph_min_graph_size": 1}
    return {}


def check_agents(key: Array, hparams: Hparams) -> None:
    """Checks for one key that hyperparameters are of one agent, `()`, and for keys `[A]` that they are `[A]`."""
    check_is_no_class("hparams", hparams)
    if key.ndim > 1:
        rule = "must be one key, or keys [A] of a population"
        raise ArgumentError("key", rule, key.shape, got=f"keys of shape {key.shape}")
    for path, x in jax.tree_util.tree_leaves_with_path(hparams):
        name, got = "hparams" + jax.tree_util.keystr(path), f"shape {np.shape(x)}"
        if key.ndim and np.shape(x)[:1] != key.shape:
            rule = f"must be of [{len(key)}] agents, as many as keys are (jaxrl.repeat makes the same for all)"
            raise ArgumentError(name, rule, np.shape(x), got)
        if not key.ndim and dataclasses.is_dataclass(hparams) and np.ndim(x):
            raise ArgumentError(name, "must be one number for one key", np.shape(x), got)


def batch_shapes(shapes: RunState, agents: int) -> RunState:
    """The shapes of a population, from those of one agent."""
    many = jax.tree.map(lambda x: jax.ShapeDtypeStruct((agents, *x.shape), x.dtype), shapes)
    return replace_iteration(many, shapes.state.iteration)


LESS = {"replay": "a smaller replay_capacity", "source": "fewer num_envs", "agent": "a smaller network"}
"""What reduces each part of a state."""


def largest_part(state: TrainState) -> str:
    """The part of a state that takes the most memory."""
    return max(LESS, key=lambda part: bytes_of(getattr(state, part)))


def what_fits(state: TrainState, needed: int, is_population: bool) -> str:
    """How to need less memory than the shapes of a run's state do, as a hint in an error.

    Args:
        state: the shapes.
        needed: bytes, copies of the state included.
        is_population: whether there may be fewer agents.
    """
    part, fewer = largest_part(state), ", or fewer agents (seeds)," if is_population else ""
    if part == "replay" and hasattr(state.replay, "rings"):
        # The rest, and what the program needs beside the state, are a tenth at most.
        per_byte = math.prod(state.replay.rings.shape[-3:-1]) * bytes_of(state) / needed / bytes_of(state.replay)
        spare = available_memory() - needed * (1 - bytes_of(state.replay) / bytes_of(state))
        if (capacity := int(0.9 * spare * per_byte)) > 0:
            return f"a smaller replay_capacity (at most {capacity:,}){fewer} would fit"
    return f"{LESS[part]}{fewer} would need less"
