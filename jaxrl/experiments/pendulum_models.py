"""PETS and MBPO, which learn a model, beside SAC, which does not, on Pendulum-v1: returns by real steps.

Trains one sweep over seeds for each, in OUT/pets, OUT/mbpo and OUT/sac. The commands evaluate and play take these
directories, with --agent.
"""

import dataclasses
from functools import partial
from typing import Annotated, Literal

import polars as pl
from annotated_types import Gt, Interval

from jaxrl.arguments import ArgumentError
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line, fail
from jaxrl.cli.parse import parse
from jaxrl.experiments import mbpo_pendulum, pets_pendulum, sac_pendulum
from jaxrl.plots.comparisons import draw_games
from jaxrl.runs import Experiment
from jaxrl.sweeps import SweepSpec
from jaxrl.sweeps.comparison import Comparison, ComparisonOptions, Picture, compare

Algorithm = Literal["mbpo", "pets", "sac"]
EXPERIMENTS: dict[Algorithm, Experiment] = {
    "mbpo": mbpo_pendulum.experiment,
    "pets": pets_pendulum.experiment,
    "sac": sac_pendulum.experiment,
}
OPTIMUM = -137.5
"""The mean return of the best policy, by a dense dynamic program (tests/planning/pendulum.py)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelsOptions(ComparisonOptions):
    algorithms: tuple[Algorithm, ...] = ("mbpo", "pets", "sac")
    """The algorithms to train."""
    sac_steps: Annotated[int, Gt(0)] = 20_000
    """Environment steps of SAC; the others have those of their commands."""
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Random seed; with several seeds, the first."""
    num_seeds: Annotated[int, Interval(gt=0, lt=2**31)] = 3
    """Seeds of each algorithm: seed, seed + 1, …"""


@errors_in_one_line()
def main() -> None:
    options = parse(ModelsOptions, __doc__, prog="python -m jaxrl.experiments.pendulum_models")
    if not options.algorithms:
        raise ArgumentError("algorithms", "must name at least one", got="none")
    prepare_jax()
    specs = {EXPERIMENTS[name].algorithm: (make_spec(options, name), name) for name in options.algorithms}
    title = "With a learned model, and without"
    curves = partial(draw_games, reference={"Pendulum-v1": OPTIMUM}, reference_name="the optimum")
    picture = Picture("pendulum_models", "evaluation returns by real steps", curves)
    comparison = Comparison("pendulum_models", title, specs, pl.col("algorithm"), [picture])
    if problems := compare(comparison, options, screen()):
        fail("; ".join(problems), 1)


def make_spec(options: ModelsOptions, algorithm: Algorithm) -> SweepSpec:
    """The sweep of one algorithm over seeds. PETS, which plans in evaluations too, has few of them."""
    own: dict[str, dict[str, int]] = {
        "mbpo": {"eval_every": 200, "eval_episodes": 64},
        "pets": {"eval_every": 1_000, "eval_episodes": 16},
        "sac": {"eval_every": 1_000, "eval_episodes": 64, "total_steps": options.sac_steps},
    }
    fields = {"env": {"values": ["Pendulum-v1"]}, "seed": options.seed} | own[algorithm]
    return SweepSpec(EXPERIMENTS[algorithm], "grid", seeds=options.num_seeds, fields=fields)


if __name__ == "__main__":
    main()
