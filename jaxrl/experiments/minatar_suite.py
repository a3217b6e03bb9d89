"""DQN, Rainbow, PQN and PPO on all five games of MinAtar, each with one setting for all games.

Trains one sweep over games and seeds for each algorithm, in OUT/dqn, OUT/rainbow, …, and compares them in tables and
pictures. The commands evaluate and play take these directories, with --agent.
"""

import dataclasses
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from annotated_types import Gt, Interval

from jaxrl.arguments import ArgumentError
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line, fail
from jaxrl.cli.parse import parse
from jaxrl.experiments import dqn_minatar, ppo_minatar, pqn_minatar, rainbow_minatar
from jaxrl.formatting import FEW_SEEDS, format_count, markdown_table
from jaxrl.plots.comparisons import draw_games, draw_scores
from jaxrl.sweeps import SweepSpec
from jaxrl.sweeps.aggregates import (
    Estimate,
    estimate,
    interquartile_mean,
    mean_of_games,
    median_of_games,
    performance_profile,
)
from jaxrl.sweeps.comparison import Comparison, ComparisonOptions, Picture, compare
from jaxrl.sweeps.published import Published, published_above, published_table

Algorithm = Literal["dqn", "rainbow", "pqn", "ppo"]
EXPERIMENTS = {
    "dqn": dqn_minatar.experiment,
    "rainbow": rainbow_minatar.experiment,
    "pqn": pqn_minatar.experiment,
    "ppo": ppo_minatar.experiment,
}


def own_settings(algorithm: str, steps: int) -> dict[str, Any]:
    """Where an algorithm that trains for some steps differs from its command: by path, for all games."""
    decay = {"hparams.learning_rate_decay_steps": steps}
    every: dict[str, dict[str, Any]] = {
        "dqn": decay,
        "rainbow": {},
        "pqn": decay | {"config.conv_features": 32, "config.hidden_sizes": [256]},
        "ppo": decay,
    }
    return every[algorithm]


Game = Literal["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"]
GAMES: tuple[Game, ...] = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
GAME = pl.col("env").str.strip_suffix("-MinAtar")
LABEL = pl.col("algorithm") + " on " + GAME

# Of two numbers, the lowest and the highest of several.
PUBLISHED = (
    Published(
        "DQN (Young & Tian 2019)",
        {"Asterix": (17,), "Breakout": (10,), "Freeway": (50,), "Seaquest": (20,), "SpaceInvaders": (44,)},
        "original; 5M frames, 30 seeds; read off its plot",
        algorithm="DQN",
    ),
    Published(
        "AC(λ) (Young & Tian 2019)",
        {"Asterix": (19,), "Breakout": (17.5,), "Freeway": (47,), "Seaquest": (16,), "SpaceInvaders": (185,)},
        "the same",
    ),
    Published(
        "PPO (pgx)",
        {"Asterix": (22, 25), "Breakout": (50,), "Freeway": (63,), "Seaquest": (54,), "SpaceInvaders": (145, 152)},
        "20M steps, minimal actions, sticky 0.1, no cap",
        algorithm="PPO",
    ),
    Published(
        "PPO (gymnax-blines)",
        {"Asterix": (15,), "Breakout": (28,), "Freeway": (58,), "SpaceInvaders": (131,)},
        "not sticky, 1000-step cap, minimal actions",
        algorithm="PPO",
    ),
)
DQN_RETURNS = {game: returns[0] for game, returns in PUBLISHED[0].returns.items()}
"""What is 1 in normalised scores."""
STATISTICS = {"IQM": interquartile_mean, "median": median_of_games, "mean": mean_of_games}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SuiteOptions(ComparisonOptions):
    games: tuple[Game, ...] = GAMES
    """The games to learn."""
    algorithms: tuple[Algorithm, ...] = ("dqn", "rainbow", "pqn", "ppo")
    """The algorithms to train."""
    total_steps: Annotated[int, Gt(0)] = 5_000_000
    """Environment steps of one agent, except Rainbow's."""
    rainbow_steps: Annotated[int, Gt(0)] = 1_000_000
    """Environment steps of one agent of Rainbow, which is slower than the others."""
    eval_every: Annotated[int, Interval(ge=0, lt=2**31)] = 500_000
    """Environment steps between evaluations while training, 0 for none."""
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Random seed; with several seeds, the first."""
    num_seeds: Annotated[int, Interval(gt=0, lt=2**31)] = 5
    """Seeds of each game, trained side by side: seed, seed + 1, …"""


@errors_in_one_line()
def main() -> None:
    options = parse(SuiteOptions, __doc__, prog="python -m jaxrl.experiments.minatar_suite")
    for name in ("games", "algorithms"):
        if not getattr(options, name):
            raise ArgumentError(name, "must name at least one", got="none")
    prepare_jax()
    specs = {EXPERIMENTS[name].algorithm: (make_spec(options, name), name) for name in options.algorithms}
    *others, last = specs
    title = f"{', '.join(others)} and {last} on MinAtar" if others else f"{last} on MinAtar"
    published = {f"{game}-MinAtar": score for game, score in DQN_RETURNS.items()}
    curves = partial(draw_games, reference=published, reference_name=f"published {PUBLISHED[0].name}")
    pictures = (
        Picture("minatar_suite", "learning curves", curves),
        Picture("profiles", "normalised scores over all games", draw_normalised),
    )
    suite = Comparison("minatar_suite", title, specs, LABEL, pictures, aggregate_table, beside_published)
    if problems := compare(suite, options, screen()):
        fail("; ".join(problems), 1)


def make_spec(options: SuiteOptions, algorithm: str) -> SweepSpec:
    """The sweep of one algorithm over games and seeds."""
    steps = options.rainbow_steps if algorithm == "rainbow" else options.total_steps
    fields = {
        "env": {"values": [f"{game}-MinAtar" for game in options.games]},
        "total_steps": steps,
        "seed": options.seed,
        "eval_every": options.eval_every,
        "log_every": min(25_000, options.eval_every or 25_000),  # evaluations follow whole rows of metrics
    }
    return SweepSpec(
        EXPERIMENTS[algorithm], "grid", seeds=options.num_seeds, fields=fields | own_settings(algorithm, steps)
    )


def normalised_scores(trials: pl.DataFrame) -> dict[str, list[np.ndarray]]:
    """The scores of the runs of each game, for each algorithm: 0 for no return, 1 for the published one of DQN."""
    scores = trials.select("algorithm", GAME, score=pl.col("eval_return") / GAME.replace_strict(DQN_RETURNS))
    return {
        algorithm: [runs["score"].to_numpy() for runs in rows.partition_by("env", maintain_order=True)]
        for (algorithm,), rows in scores.partition_by("algorithm", as_dict=True, maintain_order=True).items()
    }


def draw_normalised(trials: pl.DataFrame, curves: pl.DataFrame, title: str, subtitle: str, picture: Path) -> None:
    """Draws the statistics of normalised scores over all games, and their profiles."""
    scores = normalised_scores(trials)
    thresholds = np.linspace(0, 1.05 * max(1.0, *(x.max() for games in scores.values() for x in games)), 201)
    statistics = {
        label: {name: estimate(statistic, games) for name, games in scores.items()}
        for label, statistic in STATISTICS.items()
    }
    profile = performance_profile(thresholds)
    profiles = {name: estimate(profile, games, resamples=2_000) for name, games in scores.items()}
    with_interval = all(found.interval is not None for found in profiles.values())
    subtitle = f"dashed: published {PUBLISHED[0].name}" + "; 95 % intervals of a stratified bootstrap" * with_interval
    draw_scores(statistics, profiles, thresholds, f"{title}: scores over all games", subtitle, picture)


def aggregate_table(trials: pl.DataFrame) -> pl.DataFrame:
    """The statistics of normalised scores over all games, and the cost, as text: a row for each algorithm."""
    rows = []
    for algorithm, games in normalised_scores(trials).items():
        own = trials.filter(algorithm=algorithm)
        steps = max(own["env_steps"].to_list())
        minutes = sum(own.unique(("group", "chunk"))["seconds"].to_list()) / 60
        runs = f"{sum(map(len, games))} in {format_count(len(games), 'game')}"
        statistics = [as_text(estimate(each, games)) for each in STATISTICS.values()]
        rows.append([algorithm, f"{steps:,}", runs, *statistics, f"{minutes:,.1f}"])
    columns = ["over all games", "environment steps", "runs", *(f"{name} score" for name in STATISTICS), "minutes"]
    return pl.DataFrame(rows, columns, orient="row")


def as_text(found: Estimate) -> str:
    """A statistic with its interval: "1.29 (0.99 to 1.81)"."""
    interval = "" if found.interval is None else " ({:.2f} to {:.2f})".format(*found.interval)
    return f"{found.value:.2f}{interval}"


def beside_published(trials: pl.DataFrame) -> str:
    """What the scores are, and our returns beside published ones, in Markdown."""
    ours, rules = {}, {}
    for (name,), rows in trials.partition_by("algorithm", as_dict=True, maintain_order=True).items():
        ours[name] = {game: list(x) for game, x in rows.group_by(GAME, maintain_order=True).agg("eval_return").rows()}
        steps, seeds = max(rows["env_steps"].to_list()), rows["seed"].n_unique()
        rules[name] = f"original; {steps:,} steps, {format_count(seeds, 'seed')}; final evaluations"
    return f"""\
A score is an evaluation return divided by the published one of DQN in the same game. The second table has the
interquartile mean (IQM) of all runs of all games, and the median and the mean over games of the games' means, with
95 % intervals of a stratified bootstrap (Agarwal et al. 2021), but none of fewer than {FEW_SEEDS} runs of a game.

Beside published returns (original rules: 6 actions, sticky 0.1, ramping, no cap):

{markdown_table(published_table(PUBLISHED, ours, rules))}

{published_above(PUBLISHED, ours)}
Seaquest changed after its figures of 2019. Scores under different rules are not comparable.
"""


if __name__ == "__main__":
    main()
