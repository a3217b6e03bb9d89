"""DQN and PQN with their default settings on all five games of MinAtar.

Trains one sweep over games and seeds for each algorithm, in OUT/dqn and OUT/pqn, and draws both in one picture. The
commands evaluate and play take these directories, with --agent.
"""

import dataclasses
from typing import Annotated, Literal

import polars as pl
from annotated_types import Gt, Interval

from jaxrl.arguments import ArgumentError, check
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line, fail
from jaxrl.cli.parse import parse
from jaxrl.experiments import dqn_minatar, pqn_minatar
from jaxrl.plots.comparisons import draw_games
from jaxrl.sweeps import SweepSpec
from jaxrl.sweeps.comparison import Comparison, ComparisonOptions, compare

EXPERIMENTS = {"dqn": dqn_minatar.experiment, "pqn": pqn_minatar.experiment}
Game = Literal["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"]
GAMES: tuple[Game, ...] = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
LABEL = pl.col("algorithm") + " on " + pl.col("env").str.strip_suffix("-MinAtar")
PUBLISHED = """
Published, for comparison (original: 6 actions, sticky 0.1, ramping, no cap):

| | Asterix | Breakout | Freeway | Seaquest | Space Invaders | rules |
|---|---|---|---|---|---|---|
| DQN (Young & Tian 2019) | 17 | 10 | 50 | 20 | 44 | original; 5M frames, 30 seeds; read off its plot |
| AC(λ) (the same) | 19 | 17.5 | 47 | 16 | 185 | the same |
| PPO (pgx) | 22–25 | 50 | 63 | 54 | 145–152 | 20M steps, minimal actions, sticky 0.1, no cap |
| PPO (gymnax-blines) | 15 | 28 | 58 | – | 131 | not sticky, 1000-step cap, minimal actions |

Seaquest changed after its figures of 2019. Scores under different rules are not comparable.
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuiteOptions(ComparisonOptions):
    games: tuple[Game, ...] = GAMES
    """The games to learn."""
    algorithms: tuple[Literal["dqn", "pqn"], ...] = ("dqn", "pqn")
    """The algorithms to train."""
    total_steps: Annotated[int, Gt(0)] = 3_000_000
    """Environment steps of one agent."""
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Random seed; with several seeds, the first."""
    num_seeds: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Seeds of each game, trained side by side: seed, seed + 1, …"""


@errors_in_one_line()
def main() -> None:
    options = parse(SuiteOptions, __doc__, prog="python -m jaxrl.experiments.minatar_suite")
    check(options)
    for name in ("games", "algorithms"):
        if not getattr(options, name):
            raise ArgumentError(name, "must name at least one", got="none")
    prepare_jax()
    specs = {EXPERIMENTS[name].algorithm: (make_spec(options, name), name) for name in options.algorithms}
    suite = Comparison("minatar_suite", "DQN and PQN on MinAtar", specs, LABEL, draw_games, PUBLISHED)
    if problems := compare(suite, options, screen()):
        fail("; ".join(problems), 1)


def make_spec(options: SuiteOptions, algorithm: str) -> SweepSpec:
    """The sweep of one algorithm over games and seeds."""
    envs = {"values": [f"{game}-MinAtar" for game in options.games]}
    fields = {"env": envs, "total_steps": options.total_steps, "seed": options.seed}
    return SweepSpec(EXPERIMENTS[algorithm], "grid", seeds=options.num_seeds, fields=fields)


if __name__ == "__main__":
    main()
