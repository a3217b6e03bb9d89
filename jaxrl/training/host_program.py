"""The program of a run whose environments step on the host. It has the interface of `Program`.

A trainer's stages are compiled one by one, and called around the steps of the environments. The agents of a population
learn one after another.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, Generic

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.envs import host, host_source
from jaxrl.envs.host import HostError, pack, unpack
from jaxrl.envs.host_source import HostSource, halves_of, merge
from jaxrl.envs.source import Source, reset_memory
from jaxrl.envs.vector import VectorState
from jaxrl.memory import check_fits
from jaxrl.random import as_keys
from jaxrl.training.collect import collect
from jaxrl.training.devices import bytes_of, mesh_of
from jaxrl.training.hparams import as_arrays
from jaxrl.training.population import RunState, replace_iteration
from jaxrl.training.program import (
    Program,
    batch_shapes,
    check_agents,
    init_run_state,
    record,
    run_options,
    what_fits,
)
from jaxrl.training.stages import Plan
from jaxrl.types import Array, Decision, Hparams, Input, Metrics, PyTree, StateT, Trainer, TrainState, Transition
from jaxrl.xla.threefry import ordinary

TRIALS = 5
"""Rollouts that find out whether overlapping halves are faster."""
RESUMED = np.uint32(2**32 - 1)
"""What is folded into the key of an iteration in which the environments start anew. Nothing else folds it."""


def make_program(trainer: Trainer, key: Array, hparams: Hparams, **options: Any) -> "Program | HostProgram":
    """The program of a trainer, compiled as a whole or, if its environments step on the host, around their steps.

    The arguments are those of `Program`.
    """
    kind: Any = HostProgram if trainer.on_host else Program
    return kind(trainer, key, hparams, **options)


class HostProgram(Generic[StateT]):
    """`Program` for environments that step on the host.

    It holds the environments of the state that it has returned last, or that `restore_envs` restored. Any other state
    starts new episodes.

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
        overlap: bool | None = None,
    ) -> None:
        """Traces the stages.

        Args:
            trainer, key, hparams, freeze_diverged, sequential: as in `Program`.
            devices: one device at most; by default, the first.
            overlap: whether the device decides for one half of the environments while the other half steps, with the
                same result; by default, the first rollouts find out what is faster.

        Raises:
            ArgumentError: the environments do not step on the host, there are several devices, or the key does not fit
                the hyperparameters.
            MemoryError: the states do not fit into the free memory.
        """
        start = time.perf_counter()
        if not trainer.on_host:
            raise ArgumentError(
                "trainer", "must be of environments that step on the host; Program takes others", got=""
            )
        self.trainer, self.stages = trainer, trainer.stages
        self.env = self.stages.envs.host
        key = as_keys(key)
        check_agents(key, hparams)
        if devices is not None and len(devices) > 1:
            rule = f"must be 1, since {self.env.name} steps on the host"
            raise ArgumentError("num_devices", rule, len(devices))
        self.agents, self.freeze_diverged, self.sequential = key.shape, freeze_diverged, sequential
        self.mesh = mesh_of(devices, self.agents)
        self.device = self.mesh.devices.flat[0]
        one = jax.tree.map(lambda x: x[0], (key, as_arrays(hparams))) if self.agents else (key, as_arrays(hparams))
        shapes = jax.eval_shape(partial(init_run_state, self.trainer), *one, trainer.constants)
        self._one: RunState = self._placed(shapes)
        self.shapes: RunState = self._placed(batch_shapes(shapes, *self.agents)) if self.agents else self._one
        self._plan_shapes: Plan = jax.eval_shape(self.stages.plan, shapes.state)
        self.constants = jax.device_put(trainer.constants, self.device)
        one_way = len(self._plan_shapes.keys) == 1 or trainer.num_envs == 1
        ways = (False,) if one_way else (False, True) if overlap is None else (overlap,)
        self._seconds: dict[bool, list[float]] = {way: [] for way in ways}  # of rollouts, by whether halves overlap
        copies = 2 if self.agents else 1  # agents are taken out of a population, and put back
        needed = copies * bytes_of(self.shapes)
        check_fits("the run's states take", needed, what_fits(self.shapes.state, needed, bool(self.agents)))
        self._live: tuple[Array | None, list[HostSource]] = None, []
        self.compile_seconds = time.perf_counter() - start

    def init(self, key: Array, hparams: Hparams) -> RunState:
        """The initial state of a run, with its warm-up.

        Raises:
            ArgumentError: the keys or the hyperparameters are for another number of agents.
            HostError: an environment raised an error.
        """
        key = as_keys(key)
        if key.shape != self.agents:
            raise ArgumentError("key", f"must be of shape {self.agents}, as the program's", key.shape)
        check_agents(key, hparams)
        sources = self._new_sources()
        agents = (key, as_arrays(hparams))
        many = [jax.tree.map(lambda x, i=i: x[i], agents) for i in range(len(sources))] if self.agents else [agents]
        run_states = [self._init_one(source, *one) for source, one in zip(sources, many, strict=True)]
        return self._keep(run_states, sources)

    def compiled(self) -> Callable[[RunState, int], RunState]:
        """`(run_state, iterations) -> run_state`: advances a run by so many iterations. It donates its argument."""
        for name in ("_plan", "_act", "_settle", "_learn"):  # compile now
            getattr(self, name)
        return self._advance

    def save_envs(self, run_state: RunState) -> bytes | None:
        """The states of the environments; None if they cannot be saved, or have gone on from this state."""
        live, sources = self._live
        if not self.env.can_save or live is not run_state.state.iteration:
            return None
        with contextlib.suppress(HostError):  # what is broken shows in the next step
            return pack({f"{i} {j}": half for i, source in enumerate(sources) for j, half in enumerate(source.save())})
        return None

    def restore_envs(self, run_state: RunState, saved: bytes | None) -> str | None:
        """Restores what `save_envs` returned; returns what is lost, in one line, or None."""
        if saved is None:
            return f"{self.env.name} cannot be restored: its environments start new episodes"
        sources, states, parts = self._new_sources(), self._split(run_state), unpack(saved)
        for i, (source, one) in enumerate(zip(sources, states, strict=True)):
            halves = [parts[f"{i} {j}"] for j in range(len(source.rows))]
            source.restore(halves, one.state.source.envs, one.state.source.memory)
        self._live = run_state.state.iteration, sources
        return None

    def memory(self) -> int:
        """Bytes that the compiled programs need, the states included; compiles them."""
        analysis = self._learn.memory_analysis()
        learning = analysis.argument_size_in_bytes + analysis.temp_size_in_bytes
        return learning + (2 * bytes_of(self.shapes) if self.agents else 0)

    def check_memory(self) -> None:
        """Checks that the programs fit into the free memory, before the run begins; compiles them.

        Raises:
            MemoryError: they do not.
        """
        less = "fewer agents (seeds), fewer num_envs, smaller batches or a smaller network would need less"
        check_fits("the compiled programs take", self.memory(), less)

    def _new_sources(self) -> list[HostSource]:
        for source in self._live[1]:
            source.close()
        self._live = None, []
        count = self.agents[0] if self.agents else 1
        return [HostSource(self.env, self.trainer.num_envs) for _ in range(count)]

    def _init_one(self, source: HostSource, key: Array, hparams: Hparams) -> RunState:
        env_key, keys = jax.jit(self.stages.split)(key)
        source.reset(host.seeds(env_key, source.num_envs))
        run_state, plan = self._start(keys, hparams, source.state)
        source.memory = run_state.state.source.memory
        if plan is None:
            return run_state
        state, replay = run_state.state, run_state.state.replay
        words, clocks = jax.device_get((jax.random.key_data(plan.keys[:, 0]), plan.env_steps))
        for row in range(len(words)):
            transitions, _ = self._collect(source, state.agent, (words[row : row + 1], clocks[row : row + 1]))
            replay = self._store(state.agent, replay, transitions, np.int32(row))
        return run_state._replace(state=state._replace(replay=replay))

    def _advance(self, run_state: RunState, iterations: int) -> RunState:
        run_states, (live, sources) = self._split(run_state), self._live
        self._live = None, sources  # after an error, no state is theirs
        try:
            if live is not run_state.state.iteration:
                sources = self._new_sources()
                run_states = [self._start_anew(source, one) for source, one in zip(sources, run_states, strict=True)]
            ends = [self._advance_one(source, one, iterations) for source, one in zip(sources, run_states, strict=True)]
        except HostError as error:
            if self.agents or error.run_state is None:  # the agents of a population share one clock
                error.run_state = run_state
            raise
        return self._keep(ends, sources)

    def _start_anew(self, source: HostSource, run_state: RunState) -> RunState:
        """Begins new episodes, and returns the state in which the replay knows it."""
        state = run_state.state
        key = jax.random.fold_in(jax.random.fold_in(state.key, state.iteration), RESUMED)
        source.reset(host.seeds(key, source.num_envs))
        source.memory = state.source.memory
        self._forget(source, state.agent)
        return run_state if self.stages.cut is None else self._cut(run_state)

    def _advance_one(self, source: HostSource, run_state: RunState, iterations: int) -> RunState:
        """Advances one agent. An error of an environment has the state after the last whole iteration."""
        plan, acting = self._plan(run_state.state)
        try:
            for _ in range(iterations):
                if plan.reset_key is not None:
                    source.reset(host.seeds(plan.reset_key, source.num_envs), source.memory)
                    self._forget(source, run_state.state.agent)
                transitions, metrics = self._collect(source, run_state.state.agent, acting, self._overlap())
                run_state, plan, acting = self._learn(run_state, plan, transitions, metrics, self.constants)
        except HostError as error:
            error.run_state = run_state
            raise
        return run_state

    def _collect(
        self, source: HostSource, agent_state: PyTree, acting: PyTree, overlap: bool = False
    ) -> tuple[Transition, Metrics]:
        """Acts for as many steps as there are keys. `acting` holds them, uint32 `[T, 2]`, and the clocks."""
        keys, clocks = jax.device_get(acting)

        def act(given: Input, done: np.ndarray, t: int) -> Decision:
            return self._act(agent_state, given, done, keys[t], clocks[t], self.constants)

        start = time.perf_counter()
        results = host_source.collect(source, act, len(keys), partial(self._settled, agent_state), overlap)
        if len(keys) > 1 and len(self._seconds[overlap]) < TRIALS:  # not of the warm-up, step by step
            self._seconds[overlap].append(time.perf_counter() - start)
        return results

    def _overlap(self) -> bool:
        """Whether halves overlap: what was faster in the first rollouts, after some of either kind."""
        least = min(self._seconds, key=lambda way: len(self._seconds[way]))
        if len(self._seconds) == 1 or len(self._seconds[least]) < TRIALS:
            return least
        return min(self._seconds, key=lambda way: min(self._seconds[way]))

    def _settled(self, agent_state: PyTree, memories: Sequence[PyTree], done: np.ndarray) -> PyTree:
        """The memory after a rollout, from that of each half."""
        if not jax.tree.leaves(memories):
            return memories[0]
        return self._settle(agent_state, list(memories), done)

    def _forget(self, source: HostSource, agent_state: PyTree) -> None:
        """Gives the memory of a first step to all environments."""
        done = np.ones(source.num_envs, bool)
        source.memory = self._settled(agent_state, [source.memory] * len(source.rows), done)

    def _split(self, run_state: RunState) -> list[RunState]:
        """The states of all agents."""
        run_state = jax.device_put(run_state, self.device)
        return [self._take(run_state, i) for i in range(*self.agents)] if self.agents else [run_state]

    def _keep(self, run_states: list[RunState], sources: list[HostSource]) -> RunState:
        """The state of the run, whose environments go on from here."""
        ends = []
        for one, source in zip(run_states, sources, strict=True):
            ended = jax.device_put(Source(source.state, source.memory), self.device)
            ends.append(one._replace(state=one.state._replace(source=ended)))
        run_state = self._stack(ends) if self.agents else jax.device_put(ends[0], self.device)
        self._live = run_state.state.iteration, sources
        return run_state

    # What follows is compiled when it is first used.

    @cached_property
    def _start(self) -> Any:
        """`(keys, hparams, VectorState) -> (RunState, Plan)` before the warm-up."""

        def start(keys: PyTree, hparams: Hparams, env_states: VectorState) -> tuple[RunState, Plan | None]:
            state, plan = self.stages.start(keys, hparams, env_states)
            nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), self._one.metrics)
            return RunState(state, nothing, jnp.int32(-1)), plan

        return jax.jit(start)

    @cached_property
    def _store(self) -> Any:
        return jax.jit(self.stages.store, donate_argnums=1)

    @cached_property
    def _cut(self) -> Any:
        def cut(run_state: RunState) -> RunState:
            return run_state._replace(state=run_state.state._replace(replay=self.stages.cut(run_state.state)))

        return jax.jit(cut, donate_argnums=0)

    @cached_property
    def _plan(self) -> Any:
        """`(TrainState) -> (Plan, acting)`."""
        return self._compile(self._planned, self._one.state)

    def _planned(self, state: TrainState) -> tuple[Plan, PyTree]:
        plan = self.stages.plan(state)
        return plan, (jax.random.key_data(plan.keys[:, 0]), plan.env_steps)

    @cached_property
    def _act(self) -> Any:
        """`(agent_state, Input, done, key, env_steps, constants) -> Decision`."""
        agent, num_envs = self.stages.agent, self.trainer.num_envs

        def act(
            agent_state: PyTree, given: Input, done: Array, key: Array, env_steps: Array, constants: PyTree
        ) -> Decision:
            memory = reset_memory(given.memory, agent.memory(agent_state, num_envs), done)
            return agent.act(agent_state, given._replace(memory=memory, constants=constants), ordinary(key), env_steps)

        state, done = self._one.state, jax.ShapeDtypeStruct((num_envs,), bool)
        given = Input(state.source.envs.observation, state.source.envs.legal, state.source.memory)
        given = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), given)
        key, clock = jax.ShapeDtypeStruct((2,), jnp.uint32), jax.ShapeDtypeStruct((), jnp.float32)
        return self._compile(act, state.agent, given, done, key, clock, self.constants)

    @cached_property
    def _settle(self) -> Any:
        """`(agent_state, memories, done) -> memory`."""
        agent, num_envs, state = self.stages.agent, self.trainer.num_envs, self._one.state
        rows = halves_of(num_envs)

        def settle(agent_state: PyTree, memories: list[PyTree], done: Array) -> PyTree:
            return merge(memories, rows, agent.memory(agent_state, num_envs), done)

        done = jax.ShapeDtypeStruct((num_envs,), bool)
        return self._compile(settle, state.agent, [state.source.memory] * len(rows), done)

    @cached_property
    def _learn(self) -> Any:
        """`(RunState, Plan, Transition [T, N], metrics, constants) -> (RunState, Plan, acting)`, of the next one."""
        stages, state = self.stages, self._one.state

        def learn(
            run_state: RunState, plan: Plan, transitions: Transition, metrics: Metrics, constants: PyTree
        ) -> tuple[RunState, Plan, PyTree]:
            after, learning = stages.learn(run_state.state, plan, transitions, constants)
            run_state = record(run_state, after, metrics | learning, self.freeze_diverged)
            return run_state, *self._planned(run_state.state)

        def collected(state: TrainState, plan: Plan, constants: PyTree) -> tuple[Transition, Metrics]:
            agent, envs = stages.agent, stages.envs
            return collect(agent, envs, state.agent, state.source, plan.keys, plan.env_steps, constants)[1:]

        shapes = jax.eval_shape(collected, state, self._plan_shapes, self.constants)
        return self._compile(learn, self._one, self._plan_shapes, *shapes, self.constants, donate_argnums=0)

    @cached_property
    def _take(self) -> Any:
        """`(RunState [A], i) -> RunState` of one agent."""
        return jax.jit(
            lambda run_state, i: replace_iteration(
                jax.tree.map(lambda x: x[i], replace_iteration(run_state, ())), run_state.state.iteration
            )
        )

    @cached_property
    def _stack(self) -> Any:
        """`(RunStates) -> RunState [A]`, with one clock."""

        def stack(run_states: list[RunState]) -> RunState:
            stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *[replace_iteration(one, ()) for one in run_states])
            return replace_iteration(stacked, run_states[0].state.iteration)

        return jax.jit(stack)

    def _compile(self, function: Callable, *shapes: PyTree, **jit: Any) -> Any:
        start = time.perf_counter()
        lowered = jax.jit(function, **jit).lower(*shapes)
        compiled = lowered.compile(compiler_options=run_options(self.sequential, self.device))
        self.compile_seconds += time.perf_counter() - start
        return compiled

    def _placed(self, shapes: PyTree) -> PyTree:
        sharding = jax.sharding.SingleDeviceSharding(self.device)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), shapes)
