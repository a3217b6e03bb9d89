"""The agents of a sweep, in groups that one compiled program can train."""

import dataclasses
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxrl.arguments import ArgumentError
from jaxrl.envs import vectorize
from jaxrl.random import key_streams
from jaxrl.runs.experiment import build, trace
from jaxrl.runs.options import Options, flatten, with_values
from jaxrl.runs.task import make_env
from jaxrl.sweeps.spec import Spec, draw
from jaxrl.training.evaluation import Evaluation, evaluate_agents
from jaxrl.training.program import Program
from jaxrl.types import Array, Hparams, PyTree


@dataclasses.dataclass(frozen=True)
class Trial:
    """One agent of a sweep."""

    number: int
    configuration: int
    options: Options
    """Its own, its seed among them: those of a run that would train it alone."""


class Group:
    """Agents that differ in traced values only.

    Attributes:
        number: of the group.
        trials: in the order of their numbers.
        options: of the first of them; all have its environment, its config and its number of steps.
    """

    def __init__(self, spec: Spec, number: int, trials: Sequence[Trial]) -> None:
        """Builds the agent and its trainer.

        Raises:
            ArgumentError: the static values do not fit each other or the environment.
        """
        self.number, self.trials, self.options = number, tuple(trials), trials[0].options
        self.env, self.env_params = make_env(self.options.task)
        self.agent, trainer = build(spec.experiment, self.env, self.env_params, self.options)
        self.trainer = trace(spec.experiment, trainer, self.options)
        self._programs: dict[tuple[int, int], Program] = {}

    def inputs(self, trials: Sequence[Trial]) -> tuple[Array, Hparams]:
        """The keys `[A]` and hyperparameters `[A]` of some trials."""
        keys, _, _ = key_streams([trial.options.budget.seed for trial in trials])
        records = [trial.options.hparams for trial in trials]
        columns = {
            field.name: np.array([getattr(record, field.name) for record in records])
            for field in dataclasses.fields(records[0])
        }
        return keys, dataclasses.replace(records[0], **columns)

    def program(self, size: int, devices: Sequence[jax.Device]) -> Program:
        """The program for so many agents at once, made when it is first asked for."""
        if (size, len(devices)) not in self._programs:
            self._programs[size, len(devices)] = Program(
                self.trainer,
                *self.inputs(pad(self.trials, size)),
                devices=devices,
                freeze_diverged=True,
                sequential=self.options.execution.sequential,
            )
        return self._programs[size, len(devices)]

    @cached_property
    def _evaluate(self) -> Any:
        envs = vectorize(self.env, self.env_params, self.options.budget.eval_episodes)
        return evaluate_agents(self.agent.policy, envs, self.options.budget.eval_max_steps)

    def evaluate(self, trials: Sequence[Trial], agent_states: PyTree, program: Program) -> Evaluation:
        """Evaluations `[A, episodes]` of some trials, each as its own run would end with."""
        _, keys, _ = key_streams([trial.options.budget.seed for trial in trials])
        return self._evaluate(agent_states, keys, program.mesh)


def check_effective(spec: Spec, groups: Sequence[Group]) -> None:
    """Checks that what the file changes in the experiment's defaults has an effect.

    A field that is drawn at random, or fixed, needs to have one in some configuration; one of a grid in all of them,
    which would repeat the same agents otherwise.

    Raises:
        ArgumentError: a field has none.
    """
    default, found = flatten(spec.experiment.defaults), dict[str, list[str]]()
    swept = {dimension.path: dimension for dimension in spec.dimensions if len(dimension.values) != 1}
    for each in groups:
        observation, _ = jax.eval_shape(each.env.reset, jax.random.key(0), each.env_params)
        for trial in each.trials:
            value = flatten(trial.options)
            for path, reason in spec.experiment.ignored(trial.options, observation).items():
                if path in swept or value[path] != default[path]:
                    found.setdefault(path, []).append(reason)
    for path, reasons in found.items():
        if len(reasons) == spec.configurations * spec.seeds or (spec.search == "grid" and path in swept):
            given = swept[path].shown if path in swept else flatten(spec.options)[path]
            raise ArgumentError(path, f"has no effect with {reasons[0]}", given, got=str(given))


def pad(trials: Sequence[Trial], size: int) -> list[Trial]:
    """The first `size` trials; where there are fewer, with repetitions of the last."""
    return [*trials[:size], *[trials[-1]] * (size - len(trials))]


def group(spec: Spec, max_groups: int) -> list[Group]:
    """All agents of a sweep, by the static values that they share.

    Raises:
        ArgumentError: they would be more than `max_groups`, or static values do not fit.
    """
    trials: dict[str, list[Trial]] = {}
    for configuration, values in enumerate(draw(spec)):
        options = with_values(spec.options, values)
        static = json.dumps({path: value for path, value in values.items() if path.startswith("config.")})
        for i in range(spec.seeds):
            own = with_values(options, {"seed": options.budget.seed + i})
            trial = Trial(configuration * spec.seeds + i, configuration, own)
            trials.setdefault(static, []).append(trial)
    if len(trials) > max_groups:
        swept = [dimension.path for dimension in spec.dimensions if dimension.path.startswith("config.")]
        raise ArgumentError(
            ", ".join(swept),
            f"must have at most max_groups = {max_groups} different values, each with a program of its own",
            len(trials),
        )
    return [Group(spec, number, agents) for number, agents in enumerate(trials.values())]
