"""The agents of a sweep, in groups that one compiled program can train."""

import dataclasses
import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxrl.arguments import UsageError
from jaxrl.envs import vectorize
from jaxrl.random import key_streams
from jaxrl.runs import checks
from jaxrl.runs.options import Options, flatten
from jaxrl.sweeps.spec import Spec, draw, with_values
from jaxrl.training.evaluation import Evaluation, evaluate_agents
from jaxrl.training.program import Program
from jaxrl.types import Array, Hparams, PyTree


@dataclasses.dataclass(frozen=True)
class Member:
    """One agent of a sweep."""

    number: int
    configuration: int
    options: Options
    """Its own, its seed among them: those of a run that would train it alone."""


class Group:
    """Agents that differ in traced values only.

    Attributes:
        number: of the group.
        members: in the order of their numbers.
        options: of the first of them; all have its world, its config and its number of steps.
    """

    def __init__(self, spec: Spec, number: int, members: Sequence[Member]) -> None:
        """Builds the agent and its trainer.

        Raises:
            UsageError: the static values do not fit each other or the world.
        """
        self.number, self.members, self.options = number, tuple(members), members[0].options
        self.env, self.env_params = checks.make_env(self.options.env, self.options.protocol, self.options.env_options)
        self.agent, self.trainer = checks.build(spec.experiment, self.env, self.env_params, self.options)
        self._programs: dict[tuple[int, int], Program] = {}

    def inputs(self, members: Sequence[Member]) -> tuple[Array, Hparams]:
        """The keys `[A]` and hyperparameters `[A]` of some members."""
        keys, _, _ = key_streams([member.options.seed for member in members])
        records = [member.options.hparams for member in members]
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
                *self.inputs(fill_up(self.members, size)),
                devices=devices,
                freeze_diverged=True,
                sequential=self.options.sequential,
            )
        return self._programs[size, len(devices)]

    @cached_property
    def _evaluate(self) -> Any:
        worlds = vectorize(self.env, self.env_params, self.options.eval_episodes)
        return evaluate_agents(self.agent.policy, worlds, self.options.eval_max_steps)

    def evaluate(self, members: Sequence[Member], agent_states: PyTree, program: Program) -> Evaluation:
        """Evaluations `[A, episodes]` of some members, each as its own run would end with."""
        _, keys, _ = key_streams([member.options.seed for member in members])
        return self._evaluate(agent_states, keys, program.mesh)


def check_idle(spec: Spec, groups: Sequence[Group]) -> None:
    """Checks that what the file changes in the experiment's defaults has an effect.

    A field that is drawn at random, or fixed, needs to have one in some configuration; one of a grid in all of them,
    which would repeat the same agents otherwise.

    Raises:
        UsageError: a field has none.
    """
    default, found = flatten(spec.experiment.defaults), dict[str, list[str]]()
    swept = {dimension.path: dimension for dimension in spec.dimensions if len(dimension.values) != 1}
    for each in groups:
        idle_in = checks.idle_in(spec.experiment, each.env, each.env_params)
        for member in each.members:
            value = flatten(member.options)
            for path, reason in idle_in(member.options).items():
                if path in swept or value[path] != default[path]:
                    found.setdefault(path, []).append(reason)
    for path, reasons in found.items():
        if len(reasons) == spec.configurations * spec.seeds or (spec.search == "grid" and path in swept):
            given = swept[path].shown if path in swept else flatten(spec.options)[path]
            raise UsageError(f"{path} has no effect with {reasons[0]}, got {given}")


def fill_up(members: Sequence[Member], size: int) -> list[Member]:
    """The first `size` members; where there are fewer, with repetitions of the last."""
    return [*members[:size], *[members[-1]] * (size - len(members))]


def group(spec: Spec, max_groups: int) -> list[Group]:
    """All agents of a sweep, by the static values that they share.

    Raises:
        UsageError: they would be more than `max_groups`, or static values do not fit.
    """
    members: dict[str, list[Member]] = {}
    for configuration, values in enumerate(draw(spec)):
        options = with_values(spec.options, values)
        static = json.dumps({path: value for path, value in values.items() if path.startswith("config.")})
        for i in range(spec.seeds):
            own = dataclasses.replace(options, seed=options.seed + i)
            member = Member(configuration * spec.seeds + i, configuration, own)
            members.setdefault(static, []).append(member)
    if len(members) > max_groups:
        swept = [dimension.path for dimension in spec.dimensions if dimension.path.startswith("config.")]
        raise UsageError(
            f"{', '.join(swept)}: {len(members)} different values were drawn, each of which needs a program of its "
            f"own, and --max-groups is {max_groups}"
        )
    return [Group(spec, number, agents) for number, agents in enumerate(members.values())]
