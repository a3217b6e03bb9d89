"""DQN and PQN with their default settings on all five games of MinAtar.

Trains one run after another and draws them in one picture. Each run's directory is one of dqn_minatar or pqn_minatar.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from annotated_types import Gt, Interval

from jaxrl.cli import checks, run_directory, study
from jaxrl.cli.train import errors_in_one_line, prepare_jax
from jaxrl.experiments import dqn_minatar, pqn_minatar
from jaxrl.training.report import figure_over_steps

EXPERIMENTS = {"dqn": dqn_minatar.experiment, "pqn": pqn_minatar.experiment}
Game = Literal["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"]
GAMES: tuple[Game, ...] = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
PUBLISHED = """
Published, for comparison (original: 6 actions, sticky 0.1, ramping, no cap):

| | Asterix | Breakout | Freeway | Seaquest | Space Invaders | protocol |
|---|---|---|---|---|---|---|
| DQN (Young & Tian 2019) | 17 | 10 | 50 | 20 | 44 | original; 5M frames, 30 seeds; read off its plot |
| AC(λ) (the same) | 19 | 17.5 | 47 | 16 | 185 | the same |
| PPO (pgx) | 22–25 | 50 | 63 | 54 | 145–152 | 20M steps, minimal actions, sticky 0.1, no cap |
| PPO (gymnax-blines) | 15 | 28 | 58 | – | 131 | not sticky, 1000-step cap, minimal actions |

Seaquest changed after its figures of 2019. Scores under different protocols are not comparable.
"""


@dataclasses.dataclass(frozen=True)
class SuiteOptions:
    games: tuple[Game, ...] = GAMES
    """The games."""
    algorithms: tuple[Literal["dqn", "pqn"], ...] = ("dqn", "pqn")
    """The learners."""
    total_steps: Annotated[int, Gt(0)] = 3_000_000
    """Environment steps of one agent."""
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Where all randomness comes from; with several seeds, the first of them."""
    num_seeds: Annotated[int, Interval(gt=0, lt=2**31)] = 1
    """Seeds trained side by side in one program: seed, seed + 1, …"""
    out: Path | None = None
    """The suite's directory; unless given, runs/minatar_suite/DATE-TIME."""
    resume: bool = False
    """Continue the suite in --out."""
    record: Path | None = None
    """Also keep the results, and how they were made, in this directory."""


def main() -> None:
    options = tyro.cli(
        SuiteOptions,
        description=__doc__,
        prog="python -m jaxrl.experiments.minatar_suite",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    prepare_jax()
    with errors_in_one_line():
        checks.check_options(options)
        directory = options.out or run_directory.default_directory("minatar_suite")
        runs = {
            f"{algorithm}_{game.lower()}": game_run(options, algorithm, game, directory)
            for game in options.games
            for algorithm in options.algorithms
        }
        if not runs:
            raise checks.UsageError("--games and --algorithms must name at least one each")
        suite = study.Study("minatar_suite", "DQN and PQN on MinAtar", runs, draw, PUBLISHED)
        study.carry_out(suite, directory, options.out, options.resume, options.record)


def game_run(options: SuiteOptions, algorithm: str, game: Game, directory: Path) -> study.Run:
    experiment, out = EXPERIMENTS[algorithm], directory / f"{algorithm}_{game.lower()}"
    shared = {name: getattr(options, name) for name in ("total_steps", "seed", "num_seeds")}
    its_options = dataclasses.replace(experiment.defaults, env=f"{game}-MinAtar", **shared)
    its_options = study.options_in(its_options, out, options.resume)
    return study.Run(f"{experiment.algorithm} on {game}", experiment, its_options)


def draw(directory: Path, found: list[dict[str, Any]], picture: Path) -> None:
    """Draws the training returns, a panel a game."""
    games = list(dict.fromkeys(result["env"] for result in found))
    seeds = f"; {found[0]['num_seeds']} seeds" if found[0]["num_seeds"] > 1 else ""
    figure, axes = figure_over_steps("DQN and PQN on MinAtar", found[0]["protocol"] + seeds, "episode return")
    figure.set_layout_engine("none")
    figure.set_size_inches(3.4 * len(games) + 0.6, 4)
    panels = [axes] + [figure.add_axes((0, 0, 1, 1), label=game) for game in games[1:]]
    left = 0.6 / figure.get_figwidth()
    width = (1 - left) / len(games)
    for i, (panel, game) in enumerate(zip(panels, games, strict=True)):
        panel.set_position((left + i * width, 0.13, 0.82 * width, 0.66))
        for result in found:
            if result["env"] == game:
                color = {"DQN": "tab:blue", "PQN": "tab:orange"}[result["algorithm"]]
                label = f"{result['algorithm']}, evaluation {result['eval_return_mean']:.1f}"
                panel.plot(*study.smooth_returns(directory, result), color=color, label=label)
        panel.xaxis.set_major_formatter(axes.xaxis.get_major_formatter())
        panel.set_xlabel("environment steps")
        panel.set_ylim(0, 1.35 * panel.get_ylim()[1])  # room for the legend
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.2)
        panel.text(0.03, 0.97, game, transform=panel.transAxes, va="top", fontweight="bold")
        panel.legend(loc="upper left", bbox_to_anchor=(0, 0.94), frameon=False, fontsize=8)
    figure.savefig(picture)


if __name__ == "__main__":
    main()
