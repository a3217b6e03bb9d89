"""DQN and PQN with their default settings on all five games of MinAtar.

Trains one run after another and draws them in one picture. Each run's directory is one of dqn_minatar or pqn_minatar.
"""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval

from jaxrl.arguments import UsageError
from jaxrl.cli import study
from jaxrl.cli.command import errors_in_one_line, prepare_jax
from jaxrl.cli.parse import parse
from jaxrl.experiments import dqn_minatar, pqn_minatar
from jaxrl.plots.learning_curve import draw_mean, mean_text, over_steps, show_range
from jaxrl.runs import checks, run_directory
from jaxrl.runs.options import default_hint

EXPERIMENTS = {"dqn": dqn_minatar.experiment, "pqn": pqn_minatar.experiment}
Game = Literal["Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"]
COLUMNS = 3
"""Panels side by side."""
GAMES: tuple[Game, ...] = ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders")
PUBLISHED = """
Published, for comparison (original: 6 actions, sticky 0.1, ramping, no cap):

| | Asterix | Breakout | Freeway | Seaquest | Space Invaders | rules |
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
    out: Annotated[Path | None, default_hint("runs/minatar_suite/DATE-TIME", "DIR")] = None
    """The suite's directory."""
    resume: bool = False
    """Continue the suite in --out, or begin it if there is none yet."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Also keep the results, and how they were made, in this directory."""


def main() -> None:
    with errors_in_one_line():
        options = parse(
            SuiteOptions,
            __doc__,
            prog="python -m jaxrl.experiments.minatar_suite",
        )
        prepare_jax()
        checks.check_options(options)
        directory = options.out or run_directory.default_directory("minatar_suite")
        runs = {
            f"{algorithm}_{game.lower()}": game_run(options, algorithm, game, directory)
            for game in options.games
            for algorithm in options.algorithms
        }
        if not runs:
            raise UsageError("--games and --algorithms must name at least one each")
        suite = study.Study("minatar_suite", "DQN and PQN on MinAtar", runs, draw, PUBLISHED)
        study.carry_out(suite, directory, options.out, options.resume, options.record)


def game_run(options: SuiteOptions, algorithm: str, game: Game, directory: Path) -> study.Run:
    experiment, out = EXPERIMENTS[algorithm], directory / f"{algorithm}_{game.lower()}"
    shared = {name: getattr(options, name) for name in ("total_steps", "seed", "num_seeds")}
    its_options = dataclasses.replace(experiment.defaults, env=f"{game}-MinAtar", **shared)
    its_options = study.options_in(its_options, out, options.resume)
    return study.Run(f"{experiment.algorithm} on {game}", experiment, its_options)


def draw(directory: Path, found: list[dict[str, Any]], picture: Path) -> None:
    """Draws the training returns, a panel a game, in rows that a page is wide enough for."""
    from matplotlib.figure import Figure

    games = list(dict.fromkeys(result["env"] for result in found))
    rows = -(-len(games) // COLUMNS)
    columns = -(-len(games) // rows)
    height = 1.3 + 2.5 * rows
    figure = Figure(figsize=(max(6.0, 3.0 * columns), height), dpi=120)
    figure.set_layout_engine("constrained", rect=(0, 0.3 / height, 1, 1 - 0.9 / height))  # words stand around
    seeds = f"; {found[0]['num_seeds']} seeds" if found[0]["num_seeds"] > 1 else ""
    figure.text(0.01, 1 - 0.1 / height, "DQN and PQN on MinAtar", va="top", fontsize="large", fontweight="bold")
    figure.text(0.01, 1 - 0.36 / height, found[0]["rules"] + seeds, va="top", color="gray", fontsize=9)
    panels = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for panel, game in zip(panels, games, strict=False):
        draw_game(panel, directory, [result for result in found if result["env"] == game])
    for panel in panels[: len(games) : columns]:
        panel.set_ylabel("episode return")
    for panel in panels[len(games) :]:
        panel.remove()
    note = (
        "training returns over environment steps; in brackets the evaluation at the end. "
        "Dots: the rows in which any episode ended, where they are few."
    )
    figure.text(0.01, 0.1 / height, note, color="gray", fontsize=8)
    figure.savefig(picture)


def draw_game(panel: Any, directory: Path, results: list[dict[str, Any]]) -> None:
    """Draws all learners of one game."""
    seen = [0.0]
    for result in results:
        color = {"DQN": "tab:blue", "PQN": "tab:orange"}[result["algorithm"]]
        label = f"{result['algorithm']} ({mean_text(result['eval_return_per_seed'])})"
        steps, returns = study.smooth_returns(directory, result)
        if len(steps):
            draw_mean(panel, steps, returns, color, label)
            seen += [returns.min(), returns.max()]
        else:
            panel.plot([], [], color=color, label=f"{label}: no episode ended")
    over_steps(panel)
    show_range(panel, max(result["env_steps"] for result in results), min(seen), max(seen))
    panel.set_title(results[0]["env"].removesuffix("-MinAtar"), loc="left", fontweight="bold", fontsize=10)
    panel.tick_params(labelsize=9)
    panel.legend(loc="best", frameon=False, fontsize=8)


if __name__ == "__main__":
    main()
