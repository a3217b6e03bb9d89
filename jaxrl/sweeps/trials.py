"""The agents of a sweep, in groups that one compiled program can train."""

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
import polars as pl

from jaxrl.arguments import ArgumentError, errors_in
from jaxrl.envs import observation_of
from jaxrl.random import key_streams
from jaxrl.runs.experiment import build, trace
from jaxrl.runs.options import flatten
from jaxrl.runs.task import make_env
from jaxrl.sweeps.spec import SweepSpec
from jaxrl.training.checks import check_evaluates
from jaxrl.training.evaluation import EvaluateAt, Evaluation, evaluation_while_training
from jaxrl.training.host_program import HostProgram, make_program
from jaxrl.training.measure import measure_of
from jaxrl.training.program import Program
from jaxrl.types import Array, Hparams, PyTree


def make_trials(spec: SweepSpec) -> pl.DataFrame:
    """One row for each agent of a sweep, in the order of its number.

    Returns:
        `agent`, `configuration`, `variant` (its name in a list), `seed`, `group`, and by their paths all swept fields
        and the fields of hparams and config; arrays are text. Agents of equal static values form a group.
    """
    rows, groups, names = [], dict[str, int](), list(spec.variants)
    for configuration in range(len(spec.draws)):
        options = flatten(spec.configuration(configuration))
        static = json.dumps([x for path, x in options.items() if not path.startswith("hparams.")])
        row = {"configuration": configuration} | ({"variant": names[configuration]} if names else {})
        row |= {"seed": 0, "group": groups.setdefault(static, len(groups))}
        row |= {
            path: " ".join(map(str, value)) if isinstance(value, list) else value
            for path, value in options.items()
            if "." in path or path in spec.swept or any(path in values for values in spec.variants.values())
        }
        rows += [row | {"seed": options["seed"] + i} for i in range(spec.seeds)]
    return pl.DataFrame(rows, infer_schema_length=None).with_row_index("agent").cast({"agent": pl.Int64})


def swept_columns(spec: SweepSpec) -> list[str]:
    """The columns of `make_trials` in which configurations differ."""
    return ["variant"] if spec.variants else list(spec.swept)


class Group:
    """Trials that differ in their hyperparameters and seeds only.

    Attributes:
        trials: their rows of `make_trials`.
        options: those of the first trial. The others share its environment, config and budget.
    """

    def __init__(self, spec: SweepSpec, trials: pl.DataFrame) -> None:
        """Builds the agent and its trainer.

        Raises:
            ArgumentError: static values do not fit each other or the environment.
        """
        self.number, self.trials, self.spec = trials["group"][0], trials, spec
        self.options = spec.configuration(trials["configuration"][0])
        self.env, self.env_params = make_env(self.options.task)
        self.agent, trainer = build(spec.experiment, self.env, self.env_params, self.options)
        if self.options.execution.keep_best:
            budget = self.options.budget
            check_evaluates(trainer, budget.total_steps, budget.log_every, budget.eval_every)
        self.trainer = trace(spec.experiment, trainer, self.options)
        self._programs: dict[tuple[int, int], Program | HostProgram] = {}

    def inputs(self, trials: pl.DataFrame) -> tuple[Array, Hparams]:
        """The keys `[A]` and hyperparameters `[A]` of some trials."""
        keys, _, _ = key_streams(trials["seed"].to_list())
        hparams = [self.spec.configuration(number).hparams for number in trials["configuration"]]
        return keys, jax.tree.map(lambda *values: np.array(values), *hparams)

    def program(self, size: int, devices: Sequence[jax.Device]) -> Program | HostProgram:
        """The program that trains `size` agents at once; it is made once."""
        if (size, len(devices)) not in self._programs:
            self._programs[size, len(devices)] = make_program(
                self.trainer,
                *self.inputs(pad(self.trials, size)),
                devices=devices,
                freeze_diverged=True,
                sequential=self.options.execution.sequential,
            )
            # All programs of the group share the constants on the devices.
            self.trainer = self.trainer._replace(constants=self._programs[size, len(devices)].constants)
        return self._programs[size, len(devices)]

    @cached_property
    def _evaluate(self) -> Any:
        budget = self.options.budget
        measure = measure_of(self.agent, self.env, self.env_params, budget.eval_episodes, budget.eval_max_steps)
        return measure.evaluate

    def while_training(self, trials: pl.DataFrame) -> EvaluateAt:
        """Evaluates some trials in the middle of their run."""
        return evaluation_while_training(self._evaluate, trials["seed"].to_list())

    def evaluate(self, trials: pl.DataFrame, agent_states: PyTree, program: Program | HostProgram) -> Evaluation:
        """Evaluations `[A, episodes]` of some trials, each as a run of its own ends with."""
        _, keys, _ = key_streams(trials["seed"].to_list())
        return self._evaluate(agent_states, keys, program.mesh)


def pad(trials: pl.DataFrame, size: int) -> pl.DataFrame:
    """The first `size` trials; the last one is repeated if there are fewer."""
    return pl.concat([trials.head(size), *[trials.tail(1)] * (size - len(trials))])


def make_groups(spec: SweepSpec, max_groups: int) -> list[Group]:
    """All groups of a sweep.

    Raises:
        ArgumentError: there are more than `max_groups`, or static values do not fit.
    """
    groups = make_trials(spec).partition_by("group", maintain_order=True)
    if len(groups) > max_groups:
        swept = ", ".join(path for path in swept_columns(spec) if not path.startswith("hparams."))
        rule = f"must be at least {len(groups)}: every combination of {swept} that is drawn needs a program of its own"
        raise ArgumentError("max_groups", rule, max_groups)
    with errors_in(spec.source):
        return [Group(spec, trials) for trials in groups]


def check_effective(spec: SweepSpec, groups: Sequence[Group]) -> None:
    """Checks that every field that differs from the experiment's default has an effect.

    A fixed or drawn field needs an effect in some configuration. A field of a grid or a variant needs one wherever it
    is set: without it, the sweep repeats the same agents.

    Raises:
        ArgumentError: a field has no effect.
    """
    default, reasons = flatten(spec.experiment.defaults), dict[str, list[str]]()
    swept = {path: table for path, table in spec.swept.items() if len(table.get("values", "several")) > 1}
    everywhere = spec.search in ("grid", "list")
    for group in groups:
        observation = observation_of(group.env, group.env_params)
        for configuration in group.trials["configuration"].unique(maintain_order=True):
            options, drawn = spec.configuration(configuration), spec.draws[configuration]
            value = flatten(options)
            for path, reason in spec.experiment.ignored(options, observation).items():
                if path in swept or value[path] != default[path]:
                    found = reasons.setdefault(path, [])
                    found.append(reason)
                    repeats = everywhere and path in (drawn if spec.variants else swept)
                    if repeats or len(found) == len(spec.draws):
                        table = swept.get(path, {"values": [value[path]]})
                        limits = (f"{table[key]:g}" for key in ("low", "high") if key in table)
                        given = ", ".join(map(str, table.get("values", ()))) or " to ".join(limits)
                        why = reason if repeats else found[0]
                        raise ArgumentError(path, f"has no effect with {why}", got=given, source=spec.source)
