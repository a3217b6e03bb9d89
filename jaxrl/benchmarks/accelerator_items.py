"""The items of `benchmark accelerator`, in the order of their worth."""

import dataclasses
import functools
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrl.benchmarks import profiles
from jaxrl.benchmarks.measure_envs import from_jaxrl, random_rollout
from jaxrl.benchmarks.timing import TimedLoop, time_loops
from jaxrl.envs import GAMES, describe_rules, make, rollout, vectorize
from jaxrl.formatting import format_count
from jaxrl.loading import load
from jaxrl.runs.experiment import find_experiment
from jaxrl.runs.options import Options, with_values
from jaxrl.runs.task import make_env
from jaxrl.training.devices import mesh_of
from jaxrl.training.evaluation import evaluate_agents, evaluation_while_training
from jaxrl.training.hparams import repeat
from jaxrl.training.population import RunState
from jaxrl.training.program import Program, run_options
from jaxrl.types import Array, Input, PyTree

Figures = dict[str, Any]
"""What was measured, by its name with its unit, in JSON's types."""


class Item(NamedTuple):
    """One thing to measure.

    Attributes:
        group: the title of its table.
        name: what its line in the table is called.
        prepare: compiles what it needs, beside other items, and returns what measures it, alone.
    """

    group: str
    name: str
    prepare: Callable[[], Callable[[], Figures]]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large everything is. The defaults are for a data-centre GPU."""

    copied: int = 2**30
    """Bytes of the array that is copied."""
    matrix: int = 8192
    """Rows of the matrices that are multiplied."""
    envs_compared: int = 256
    """Environments that step here and on the CPU, 1000 steps each."""
    num_envs: tuple[int, ...] = (4096, 262_144)
    """Numbers of environments of one game."""
    populations: tuple[int, ...] = (1, 16, 128, 1024)
    """Numbers of agents."""
    replay_capacity: int = 1_000_000
    """Transitions in the replay of each of DQN's agents."""
    total_steps: float = 1.0
    """Share of its usual steps for which an agent trains at most."""
    seconds: float = 0.5
    """Approximate duration of one timed run."""


SMALL = Sizes(2**22, 256, 8, (64,), (1, 2), 20_000, 0.02, 0.02)
"""Sizes for a test of the benchmark itself, on any machine."""


def items(sizes: Sizes) -> Iterator[Item]:
    """All items, the most important first."""
    yield Item("Limits of the device", "copies, products and kernels", functools.partial(limits, sizes))
    for game in GAMES:
        yield Item("The same as on the CPU", game, functools.partial(same_as_cpu, game, sizes))
    for name, score, changes in LESSONS:
        yield Item("Learning", _title(name, changes), functools.partial(learn, name, score, changes, sizes))
    for name in ("dqn_minatar", "ppo_cartpole", "pqn_minatar", "ppo_minatar"):
        changes = {"config.replay_capacity": sizes.replay_capacity} if name == "dqn_minatar" else {}
        for agents in sizes.populations if name in ("dqn_minatar", "ppo_cartpole") else sizes.populations[:-1]:
            prepare = functools.partial(population, name, agents, changes, sizes)
            yield Item("Populations", f"{_title(name, changes)}, {format_count(agents, 'agent')}", prepare)
    yield Item("Resuming", "dqn_minatar --deterministic", functools.partial(resume, sizes))
    for game in GAMES:
        for number in sizes.num_envs:
            prepare = functools.partial(random_steps, game, number, sizes)
            yield Item("Random steps", f"{game}, {number:,} environments", prepare)
    for name in ("dqn_minatar", "ppo_cartpole", "pqn_minatar"):
        yield Item("Kernels of an iteration", name, functools.partial(kernels_of, name, sizes))
    rainbow = functools.partial(population, "rainbow_minatar", 1, {}, sizes)
    yield Item("Populations", "rainbow_minatar, 1 agent", rainbow)  # last: it compiles for minutes


LARGER = {"config.conv_features": 32, "config.hidden_sizes": [256]}
"""A larger network."""
LESSONS: tuple[tuple[str, float, dict[str, Any]], ...] = (
    ("dqn_minatar", 10, {}),
    ("pqn_minatar", 10, {}),
    ("pqn_minatar", 55, LARGER | {"hparams.learning_rate_decay_steps": 5e6, "total_steps": 5_000_000}),
    ("ppo_minatar", 10, {}),
    ("ppo_cartpole", 475, {}),
)
"""Experiments, the evaluation return at which they stop, and what differs from their defaults."""


def _title(name: str, changes: dict[str, Any]) -> str:
    return " ".join([name, *(f"{path.rpartition('.')[2]}={text_of(value)}" for path, value in changes.items())])


def text_of(value: Any) -> str:
    """A figure in a table."""
    if isinstance(value, list):
        return "; ".join(map(text_of, value))
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def limits(sizes: Sizes) -> Callable[[], Figures]:
    """The bandwidth of a copy, the rates of matrix products, and the time of a small kernel in each kind of loop."""
    n, m = sizes.copied // 4, sizes.matrix
    vector, scalar = jnp.ones(n, jnp.float32), jnp.zeros(1024, jnp.float32)
    matrix = jax.random.normal(jax.random.key(0), (m, m), jnp.float32)

    def product(x: Array) -> Array:
        return x @ x / m

    def hundred(x: Array) -> Array:
        return jax.lax.scan(lambda x, _: (jnp.sin(x), None), x, length=100)[0]

    loops = [
        _loop(jnp.negative, vector),
        _loop(product, matrix),
        _loop(product, matrix.astype(jnp.bfloat16)),
        _loop(jnp.sin, scalar),
        _loop(hundred, scalar),
    ]

    def call() -> Figures:
        rates = [timing.steps_per_second for timing in time_loops(loops, sizes.seconds / 2, 3)]
        return {
            "copy GB/s": rates[0] * 8 * n / 1e9,
            "float32 TFLOP/s": rates[1] * 2 * m**3 / 1e12,
            "bfloat16 TFLOP/s": rates[2] * 2 * m**3 / 1e12,
            "µs/step of a loop of one small kernel": 1e6 / rates[3],
            "the same, of known length": 1e4 / rates[4],
        }

    return call


def _loop(body: Callable[[Array], Array], carry: Array) -> TimedLoop:
    """A loop over `body`, compiled as a run is."""
    run = jax.jit(lambda x, steps: jax.lax.fori_loop(0, steps, lambda _, x: body(x), x))
    options = run_options(False, jax.local_devices()[0])
    return TimedLoop(run.lower(carry, np.int32(0)).compile(compiler_options=options), carry, 0.0)


def same_as_cpu(game: str, sizes: Sizes) -> Callable[[], Figures]:
    """Whether a game with the same keys and actions shows the same here and on the CPU, in every bit."""
    env, params = make(game)
    steps = 1000

    def policy(given: Input, key: Array) -> Array:
        return jax.random.randint(key, (sizes.envs_compared,), 0, env.num_actions)

    @jax.jit
    def play(key: Array) -> Any:
        return rollout(env, policy, key, num_steps=steps, num_envs=sizes.envs_compared, env_params=params)

    key = jax.random.key(0)
    here = play.lower(key).compile()
    with jax.default_device(jax.devices("cpu")[0]):
        there = jax.tree.map(np.asarray, play(jax.device_put(key, jax.devices("cpu")[0])))

    def call() -> Figures:
        return {"steps": steps * sizes.envs_compared, **differences(here(key), there)}

    return call


def differences(here: PyTree, there: PyTree) -> Figures:
    """How many numbers two pytrees of the same shapes have, and in how many of them they differ."""
    pairs = [(np.asarray(x), np.asarray(y)) for x, y in zip(*map(jax.tree.leaves, (here, there)), strict=True)]
    return {"numbers": sum(x.size for x, _ in pairs), "different": sum(int((x != y).sum()) for x, y in pairs)}


class _Learner(NamedTuple):
    program: Program
    options: Options
    agent: Any
    steps_per_iteration: int
    key: Array
    hparams: Any

    def start(self) -> RunState:
        return self.program.init(self.key, self.hparams)


def _learner(name: str, changes: dict[str, Any], agents: int = 0) -> _Learner:
    """An experiment's program, compiled; of one agent, or of a population."""
    experiment = find_experiment(name)
    options = with_values(experiment.defaults, changes)
    env, env_params = make_env(options.task)
    agent, trainer = experiment.build(env, env_params, options.config)
    key, hparams = jax.random.key(0), options.hparams
    if agents:
        key, hparams = jax.random.split(key, agents), repeat(hparams, agents)
    program = Program(trainer, key, hparams, sequential=options.execution.sequential)
    program.compiled()
    return _Learner(program, options, agent, trainer.steps_per_iteration, key, hparams)


def learn(name: str, score: float, changes: dict[str, Any], sizes: Sizes) -> Callable[[], Figures]:
    """How soon an agent reaches a score. It is evaluated 20 times, in time that does not count."""
    learner = _learner(name, changes)
    task, budget = learner.options.task, learner.options.budget
    envs = vectorize(*make_env(task), budget.eval_episodes)
    evaluate_all = evaluate_agents(learner.agent, envs, budget.eval_max_steps)
    evaluate, mesh = evaluation_while_training(evaluate_all, [0]), mesh_of(None, ())
    start = learner.start()
    states = jax.tree.map(lambda x: x[None], start.state.agent)
    evaluate(states, 0, mesh)  # compiles it

    def call() -> Figures:
        advance, run_state = learner.program.compiled(), start
        iterations = max(1, int(budget.total_steps * sizes.total_steps / 20 / learner.steps_per_iteration))
        seconds, reached = 0.0, -math.inf
        for i in range(1, 21):
            began = time.perf_counter()
            run_state = jax.block_until_ready(advance(run_state, iterations))
            seconds += time.perf_counter() - began
            reached = float(evaluate(jax.tree.map(lambda x: x[None], run_state.state.agent), i, mesh)[0])
            if reached >= score:
                break
        steps = i * iterations * learner.steps_per_iteration
        return {
            "target": score,
            "reached": reached,
            "seconds": seconds,
            "steps": steps,
            "steps/s": steps / seconds,
            "compile s": learner.program.compile_seconds,
        }

    return call


def population(name: str, agents: int, changes: dict[str, Any], sizes: Sizes) -> Callable[[], Figures]:
    """The speed of agents that learn side by side, and the memory of their program."""
    learner = _learner(name, changes, agents)
    advance = learner.program.compiled()

    def call() -> Figures:
        start = learner.start()
        loop = TimedLoop(advance, start, learner.program.compile_seconds)
        (timing,) = time_loops([loop], sizes.seconds, 3)
        return {
            "steps/s": timing.steps_per_second * agents * learner.steps_per_iteration,
            "ms/iteration": 1e3 / timing.steps_per_second,
            "GiB": learner.program.memory() / 2**30,
            "compile s": learner.program.compile_seconds,
        }

    return call


def kernels_of(name: str, sizes: Sizes) -> Callable[[], Figures]:
    """The kernels of one iteration of one agent, launched one by one: a profile does not see all of those in graphs."""
    learner = _learner(name, {})
    program = jax.jit(learner.program._advance, donate_argnums=0)
    options: Any = {"xla_gpu_graph_min_graph_size": 10**6} if jax.default_backend() == "gpu" else {}
    lowered = program.lower(learner.program.shapes, np.int32(0), learner.program.constants)
    compiled, iterations = lowered.compile(compiler_options=options), 4

    def call() -> Figures:
        loop = TimedLoop(lambda *carry: compiled(*carry, learner.program.constants), learner.start(), 0.0)
        (timing,) = time_loops([loop], sizes.seconds, 3)
        profiled = profiles.profile(lambda: loop.run(iterations))
        return {
            "kernels": sum(x.runs for x in profiled) / iterations,
            "ms in kernels": sum(x.seconds for x in profiled) / iterations * 1e3,
            "ms without graphs": 1e3 / timing.steps_per_second,
            "longest": [
                f"{x.name} {x.runs / iterations:.0f}× {x.seconds / iterations * 1e3:.3g} ms" for x in profiled[:6]
            ],
        }

    return call


def random_steps(game: str, num_envs: int, sizes: Sizes) -> Callable[[], Figures]:
    """The speed of a game under a random policy, with its observations in a ring, as bits."""
    env, params = make(game)
    each = from_jaxrl(env, params, "packed", "", describe_rules(env, params), num_envs)
    init, run = random_rollout(each)
    carry = jax.jit(init)(jax.random.key(0))
    began = time.perf_counter()
    compiled = jax.jit(run, donate_argnums=0).lower(carry, np.int32(0)).compile()
    loop = TimedLoop(compiled, carry, time.perf_counter() - began)

    def call() -> Figures:
        (timing,) = time_loops([loop], sizes.seconds, 3)
        return {"steps/s": num_envs * timing.steps_per_second, "compile s": loop.compile_seconds}

    return call


def resume(sizes: Sizes) -> Callable[[], Figures]:
    """Whether a run that stops halfway and is resumed ends with the same parameters.

    Its commands are processes of their own, which share the device with this one.
    """
    steps = max(20_000, int(400_000 * sizes.total_steps))

    def command(out: Path, total_steps: int, *flags: str) -> float:
        began = time.monotonic()
        words = [sys.executable, "-m", "jaxrl.experiments.dqn_minatar", "--deterministic", "--out", str(out)]
        words += ["--total-steps", str(total_steps), "--log-every", "10000", "--config.replay-capacity", "50000"]
        subprocess.run([*words, *flags], check=True, capture_output=True, text=True, env=_small_process())
        return time.monotonic() - began

    with tempfile.TemporaryDirectory() as directory:
        whole, halves = Path(directory, "whole"), Path(directory, "halves")
        seconds = [command(whole, steps), command(halves, steps // 2), command(halves, steps, "--resume")]
        found = differences(*(load(path).params for path in (whole, halves)))
    figures = {"steps": steps, **found, "seconds of the commands": seconds}
    return lambda: figures


def _small_process() -> dict[str, str]:
    """The environment variables of a process that leaves this one's memory alone."""
    return {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
