"""Speed of Atari's emulators, beside ale-py's own environment, and of DQN, beside DQN whose emulators stand still."""

import dataclasses
import time
from typing import Any

import jax
import numpy as np
import polars as pl

from jaxrl.benchmarks.pages import Rows
from jaxrl.benchmarks.timing import TimedLoop, format_speeds, speeds_of, time_loops
from jaxrl.envs import HostEnvironment
from jaxrl.envs.atari import ATARI
from jaxrl.envs.host import HostEnvs, Outcome, Seen
from jaxrl.formatting import markdown_table
from jaxrl.runs.experiment import Experiment
from jaxrl.runs.options import Options, with_values
from jaxrl.runs.task import make_env
from jaxrl.training.host_program import make_program
from jaxrl.types import Trainer

EMULATION, LEARNING = "random actions", "DQN"
REFERENCES = {EMULATION: "ale-py", LEARNING: "emulators that stand still"}
"""What a measurement is compared with."""
WARMUP_STEPS = 1000
"""Fewer than the experiment's, which are not measured."""
TEXT = """# Speed of Atari games

Agent steps/s, each of 4 frames: medians of {repeats} runs, with their range. The two programs of a line take turns.
N games step at once.

{table}

- Random actions: ale-py steps with its own vectorised environment, which runs a thread on each core. Frames, stacks and
  rules are the same, but for what ale-py does where a game ends: its next step shows the new game.
- DQN: what it reaches without the emulators' work, which shows how much of that is hidden behind its own. All else is
  as in `dqn_atari`."""


def measure(experiment: Experiment, env_id: str, num_envs: int, seconds: float, repeats: int) -> Rows:
    """Measures the emulators and an experiment, `dqn_atari`, in a game, and returns a row for each.

    Args:
        experiment: what to train.
        env_id: such as "atari:Pong".
        num_envs: how many games step at once, N.
        seconds, repeats: the arguments of `time_loops`.
    """
    values = {"env": env_id, "config.num_envs": num_envs, "config.warmup_steps": WARMUP_STEPS}
    options = with_values(experiment.defaults, values)
    env, env_params = make_env(options.task)
    still = dataclasses.replace(env, make_envs=lambda num_envs, draws: StillEnvs(env, num_envs), can_save=False)
    emulation = [SteppedEnvs(env.make_envs(num_envs, False), env, num_envs), SteppedReference(env, num_envs)]
    trainers = [experiment.build(each, env_params, options.config)[1] for each in (env, still)]
    learning, steps = [learning_loop(each, options) for each in trainers], trainers[0].steps_per_iteration
    rows = []
    for name, loops, env_steps in ((EMULATION, emulation, num_envs), (LEARNING, learning, steps)):
        ours, reference = time_loops(loops, seconds, repeats)
        row = {"measured": name, "env": env_id, "num_envs": num_envs, "num_steps": ours.num_steps * env_steps}
        speeds = speeds_of(ours.num_steps * env_steps, ours.seconds)
        theirs = speeds_of(reference.num_steps * env_steps, reference.seconds)
        seconds_of = {"seconds": ours.seconds, "reference_seconds": reference.seconds}
        rows.append(row | speeds | {f"reference_{name}": speed for name, speed in theirs.items()} | seconds_of)
    return rows


class SteppedEnvs:
    """A loop that steps N environments with random actions."""

    compile_seconds = 0.0

    def __init__(self, envs: Any, env: HostEnvironment, num_envs: int) -> None:
        self.envs, self.num_envs, self.num_actions = envs, num_envs, env.actions.n
        self.random = np.random.default_rng(0)
        self.reset()

    def reset(self) -> None:
        self.envs.reset(np.arange(self.num_envs))

    def run(self, num_steps: int) -> float:
        """Runs `num_steps` more steps, and returns the seconds that they took."""
        actions = self.random.integers(self.num_actions, size=(num_steps, self.num_envs), dtype=np.int32)
        start = time.perf_counter()
        for action in actions:
            self.envs.step(action)
        return time.perf_counter() - start


class SteppedReference(SteppedEnvs):
    """The same with ale-py's own environments."""

    def __init__(self, env: HostEnvironment, num_envs: int) -> None:
        import gymnasium

        game = env.name.removeprefix(f"{ATARI}:")
        envs = gymnasium.make_vec(
            f"ALE/{game}-v5", num_envs, "vector_entry_point", use_fire_reset=False, repeat_action_probability=0.0
        )
        super().__init__(envs, env, num_envs)

    def reset(self) -> None:
        self.envs.reset(seed=0)


class StillEnvs(HostEnvs):
    """N environments that always show the same, and cost nothing."""

    def __init__(self, env: HostEnvironment, num_envs: int) -> None:
        random = np.random.default_rng(0)
        shape = (num_envs, *env.example.observation.shape)
        self.seen = Seen(random.integers(256, size=shape, dtype=env.example.observation.dtype))
        self.nothing, self.never = np.zeros(num_envs, np.float32), np.zeros(num_envs, bool)

    def reset(self, seeds: np.ndarray) -> Seen:
        del seeds
        return self.seen

    def step(self, actions: np.ndarray) -> Outcome:
        del actions
        return Outcome(self.nothing, self.never, self.never, self.seen, self.seen)

    def close(self) -> None:
        pass


def learning_loop(trainer: Trainer, options: Options) -> TimedLoop:
    """A loop of iterations of a trainer, warmed up."""
    key = jax.random.key(0)
    program = make_program(trainer, key, options.hparams)
    loop = TimedLoop(program.compiled(), program.init(key, options.hparams), program.compile_seconds)
    loop.run(16)  # it tries whether halves of the environments should take turns
    return loop


def tabulate(rows: Rows) -> pl.DataFrame:
    """One line for each row."""

    def line(row: dict[str, Any]) -> list[str]:
        reference = {name: row[f"reference_{name}"] for name in ("env_steps_per_second", "slowest", "fastest")}
        ratio = row["env_steps_per_second"] / reference["env_steps_per_second"]
        speeds = [format_speeds(row), REFERENCES[row["measured"]], format_speeds(reference)]
        return [row["measured"], row["env"], str(row["num_envs"]), *speeds, f"{ratio:.2f}"]

    columns = ["measured", "game", "N", "steps/s", "beside", "its steps/s", "ratio"]
    return pl.DataFrame([line(row) for row in rows], columns, orient="row")


def describe(rows: Rows) -> str:
    """What was measured, and the table, in Markdown."""
    table = tabulate(rows)
    shown = markdown_table(table, right=["N", "steps/s", "its steps/s", "ratio"])
    return TEXT.format(repeats=len(rows[0]["seconds"]), table=shown)
