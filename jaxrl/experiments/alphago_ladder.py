"""From AlphaGo to MuZero at about equally many games of self-play, on a solved board: mistakes and Elo ratings.

Trains each stage in OUT/STAGE, and lets all of them meet, with their search and with their policy alone.
"""

import dataclasses
import json
import shutil
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
import polars as pl
from annotated_types import Gt, Interval
from rich.console import Console

from jaxrl import games
from jaxrl.agents.alphago import with_cloned_policy
from jaxrl.arguments import ArgumentError
from jaxrl.cli.command import prepare_jax, screen
from jaxrl.cli.errors import errors_in_one_line
from jaxrl.cli.parse import parse
from jaxrl.experiments import (
    alphago_connect_four,
    alphago_zero_connect_four,
    alphazero_connect_four,
    muzero_connect_four,
)
from jaxrl.formatting import markdown_table, screen_table
from jaxrl.games.matches import action_of
from jaxrl.plots.ladder import draw_ladder
from jaxrl.random import key_stream
from jaxrl.replay import load_dataset, save_dataset
from jaxrl.runs import Budget, Execution, Experiment, Task, provenance, run_directory
from jaxrl.runs.load import load_run
from jaxrl.runs.options import EnvOptions, default_hint, with_values
from jaxrl.runs.recording import game_player, record_dataset
from jaxrl.runs.task import make_env
from jaxrl.runs.train import train

NAME = "alphago_ladder"
Name = Literal["muzero", "alphazero", "alphago_zero", "alphago"]
NETWORK = {"config.conv_features": 32, "config.hidden_sizes": [128]}
SELF_PLAY = NETWORK | {"config.num_envs": 128, "config.batch_size": 512, "config.replay_capacity": 40_000}
GATE = {"config.gate_every": 3, "config.gate_games": 100}
CLONING = {"config.cloning_steps": 1500, "config.cloning_batch_size": 256}
POOL = {"config.num_envs": 32, "config.pool_size": 4, "config.pool_every": 25, "hparams.learning_rate": 2e-3}
PRIOR = {"config.prior": "improved"}  # with which its search makes fewer mistakes here than with the cloned one
LEARNED = {"config.state_size": 64, "config.target_steps": 8, "config.conv_features": 32}
LEARNED |= {"config.num_envs": 128, "config.batch_size": 256, "config.replay_capacity": 80_000}
STAGES: dict[Name, tuple[Experiment, dict[str, Any]]] = {
    "muzero": (muzero_connect_four.experiment, LEARNED),
    "alphazero": (alphazero_connect_four.experiment, SELF_PLAY),
    "alphago_zero": (alphago_zero_connect_four.experiment, SELF_PLAY | GATE),
    "alphago": (alphago_connect_four.experiment, NETWORK | CLONING | POOL | PRIOR),
}
"""The experiment of each stage, and where it differs from its defaults. AlphaGo plays as many games as AlphaZero."""
AGAINST_CLONED = "AlphaGo's policy against the cloned one, drawing moves from the first position: wins, draws, losses"
EXPERTS = "experts.npz"
RESULTS = "ladder.json"
PICTURE = "ladder.png"


@dataclasses.dataclass(frozen=True)
class LadderOptions:
    env: str = "game:connect_four"
    """A game that can be solved."""
    env_options: EnvOptions = ("rows=3", "columns=5", "length=3", "random_moves=8")
    """Options of the game."""
    stages: tuple[Name, ...] = tuple(STAGES)
    """The stages to train."""
    moves: Annotated[int, Interval(gt=0, lt=2**31)] = 300_000
    """Moves of AlphaZero's self-play. AlphaGo plays as many games, so more moves: its rows go on after a game."""
    num_simulations: Annotated[int, Interval(ge=2, lt=2**16)] = 8
    """Simulations of each search, of all stages."""
    expert_games: Annotated[int, Gt(0)] = 500
    """Games of the experts that AlphaGo clones, who play perfectly but for random moves."""
    expert_noise: Annotated[float, Interval(ge=0, le=1)] = 0.2
    """Probability of a random move of the experts."""
    match_games: Annotated[int, Interval(ge=2, lt=2**20)] = 400
    """Games between each two players, half with each colour."""
    opening_moves: Annotated[int, Interval(ge=0, le=1000)] = 3
    """Random moves before each of them."""
    seed: Annotated[int, Interval(ge=0, lt=2**31)] = 0
    """Random seed."""
    out: Path = Path("runs") / NAME
    """Output directory. Stages that are there already are not trained again, and others continue."""
    record: Annotated[Path | None, default_hint("nowhere", "DIR")] = None
    """Also copy the results, with a README.md, to this directory."""


class Ladder(NamedTuple):
    """What was found.

    Attributes:
        names: of the players.
        counts: wins, draws and losses of each player against each other, int `[P, P, 3]`.
        mistakes: the mistake rates of the stages, by the names of their players.
        facts: what else is known of the runs.
    """

    names: list[str]
    counts: np.ndarray
    mistakes: dict[str, float]
    facts: dict[str, Any]


@errors_in_one_line()
def main() -> None:
    options = parse(LadderOptions, __doc__, prog=f"python -m jaxrl.experiments.{NAME}")
    if not options.stages or len(options.stages) != len(set(options.stages)):
        raise ArgumentError("stages", "must be one or more different ones", got=" ".join(options.stages) or "none")
    run_directory.check_record(options.record, options.out)
    for path, option in ((options.out, "out"), (options.record, "record")):
        if path is not None:
            run_directory.make_directory(path, option)
    prepare_jax()
    console = screen()
    if not climb(options, console):
        return
    ladder = measure(options)
    report(ladder, options, console)


def climb(options: LadderOptions, console: Console) -> bool:
    """Trains all stages; whether none was interrupted.

    Raises:
        ArgumentError: a stage that is there already was trained with other options.
    """
    task = Task(options.env, env_options=options.env_options)
    env, _ = make_env(task)
    for name in (stage for stage in STAGES if stage in options.stages):
        directory, steps = options.out / name, options.moves
        experiment, values = STAGES[name]
        values = {"config.num_simulations": options.num_simulations} | values
        if name != "alphago":
            values["config.play_simulations"] = options.num_simulations
        else:
            values["config.dataset"] = str(write_experts(options, task))
            steps = games_played(options.out / "alphazero", options.moves // env.game.max_moves) * env.game.max_moves
        values["hparams.learning_rate_decay_steps"] = float(steps)
        every = dataclasses.replace(
            with_values(experiment.defaults, values), task=task, budget=Budget(steps, seed=options.seed),
            execution=Execution(out=directory, resume=True),
        )  # fmt: skip
        if (directory / run_directory.SUMMARY).exists():
            run_directory.check_out(experiment, every)  # of the same options
            continue
        if train(experiment, every, console)[1] is None:
            console.print(f"continue with the same command, --out {options.out}", soft_wrap=True)
            return False
    return True


def write_experts(options: LadderOptions, task: Task) -> Path:
    """The file of the experts' games, which is written if it is not there.

    Raises:
        ArgumentError: the file holds games that were played with other options.
    """
    path = options.out / EXPERTS
    own = {"seed": options.seed, "expert_games": options.expert_games, "expert_noise": options.expert_noise}
    if path.exists():
        there = load_dataset(path).about
        for name, value in own.items():
            if there.get(name, value) != value:
                raise ArgumentError(name, f"must be {there[name]}, as in {path}", value)
    else:
        expert = game_player("perfect", task, options.expert_noise)
        transitions, about = record_dataset(expert, None, 100, options.seed, options.expert_games)
        save_dataset(path, transitions, about | own)
    return path


def games_played(directory: Path, otherwise: int) -> int:
    """How many games a run played, by its metrics."""
    metrics = directory / run_directory.METRICS
    return int(pl.read_csv(metrics)["episodes"].sum()) if metrics.exists() else otherwise


def measure(options: LadderOptions) -> Ladder:
    """Loads all stages, and lets their players meet each other, a random and a greedy one."""
    env, _ = make_env(Task(options.env, env_options=options.env_options))
    players: dict[str, games.Player] = {name: games.make_player(name, env.game) for name in ("random", "greedy")}
    mistakes: dict[str, float] = {}
    facts: dict[str, Any] = {}
    for name in reversed([stage for stage in STAGES if stage in options.stages]):
        trained = load_run(options.out / name)
        summary = json.loads((options.out / name / run_directory.SUMMARY).read_text())
        outputs: Any = trained.agent.outputs
        title = trained.experiment.algorithm
        if name == "alphago":
            cloned = with_cloned_policy(trained.agent_state)
            players[f"{title}: cloned policy"] = games.policy_player(partial(outputs, cloned))
            facts[AGAINST_CLONED] = summary["counts_against_cloned_policy_per_seed"][0]
        players[f"{title}: policy"] = games.policy_player(partial(outputs, trained.agent_state))
        players[f"{title}: search"] = partial(trained.agent.policy, trained.agent_state)
        mistakes[f"{title}: policy"] = summary["mistake_rate"]
        mistakes[f"{title}: search"] = summary["mistake_rate_search"]
        played = summary["env_steps"] // env.game.max_moves  # of each row, AlphaGo learns from the first game
        facts[f"games of {title}"] = played if name == "alphago" else games_played(options.out / name, 0)
    counts = all_matches(env.game, list(players.values()), options)
    return Ladder(list(players), counts, mistakes, facts)


def all_matches(game: games.BoardGame, players: list[games.Player], options: LadderOptions) -> np.ndarray:
    """Wins, draws and losses of each player against each other, int `[P, P, 3]`, as one program."""
    openings_key, key = jax.random.split(key_stream(options.seed, "match"))
    openings = games.random_openings(game, openings_key, -(-options.match_games // 2), options.opening_moves)

    @jax.jit
    def meet(i: jax.Array, j: jax.Array, key: jax.Array) -> jax.Array:
        def player(number: jax.Array) -> games.Player:
            return lambda given, key: jax.lax.switch(number, [partial(move, x) for x in players], given, key)

        return games.play_match(game, player(i), player(j), key, openings).counts.sum(0)

    counts = np.zeros((len(players), len(players), 3), int)
    for number, (i, j) in enumerate(zip(*np.triu_indices(len(players), 1), strict=True)):
        counts[i, j] = meet(i, j, jax.random.fold_in(key, number))
        counts[j, i] = counts[i, j][::-1]
    return counts


def move(player: games.Player, given: Any, key: jax.Array) -> jax.Array:
    """A player's actions, all of one type."""
    return action_of(player(given, key)).astype(np.int32)


def report(ladder: Ladder, options: LadderOptions, console: Console) -> None:
    """Prints and writes the ratings, the mistakes and the relations between the stages."""
    points = ladder.counts[..., 0] + ladder.counts[..., 1] / 2
    ratings = games.elo_ratings(points, anchor=ladder.names.index("random"), prior_draws=1.0)
    rows = [
        (name, f"{ladder.mistakes[name]:.2%}" if name in ladder.mistakes else "–", f"{elo:.0f} ± {width:.0f}")
        for name, elo, width in zip(ladder.names, *ratings, strict=True)
    ]
    table = pl.DataFrame(rows, ["player", "mistakes", "Elo"], orient="row")
    relations = pl.DataFrame(relate(ladder), ["match", "wins, draws, losses", "score"], orient="row")
    for frame in (table, relations):
        console.print(screen_table(frame))
    found = {
        "players": ladder.names, "elo": ratings.elo.tolist(), "interval": ratings.interval.tolist(),
        "counts": ladder.counts.tolist(), "mistakes": ladder.mistakes, **ladder.facts,
    }  # fmt: skip
    run_directory.write_json(options.out / RESULTS, found)
    title = f"From AlphaGo to MuZero: {options.env} {' '.join(options.env_options)}"
    subtitle = f"{options.moves:,} moves of self-play, searches of {options.num_simulations} simulations, one seed"
    draw_ladder(ladder.names, ladder.mistakes, ratings, title, subtitle, options.out / PICTURE)
    console.print(f"picture: {options.out / PICTURE}", soft_wrap=True)
    if options.record is not None:
        text = page(title, subtitle, ladder, table, relations)  # names the commit, without what is written below
        options.record.mkdir(parents=True, exist_ok=True)
        for name in (RESULTS, PICTURE):
            shutil.copyfile(options.out / name, options.record / name)
        (options.record / "README.md").write_text(text)


def relate(ladder: Ladder) -> list[tuple[str, str, str]]:
    """The matches between neighbours on the ladder, and of each search with its own policy."""
    own = [x for x in ladder.names if x.endswith(": search")]
    pairs = [(x, x.replace("search", "policy")) for x in own] + list(zip(own[1:], own, strict=False))
    if "AlphaGo: policy" in ladder.names:
        pairs.insert(0, ("AlphaGo: policy", "AlphaGo: cloned policy"))
    rows = []
    for first, second in pairs:
        counts = ladder.counts[ladder.names.index(first), ladder.names.index(second)]
        score, number = counts[0] + counts[1] / 2, counts.sum()
        low, high = games.binomial_interval(score, number)
        text = f"{score / number:.1%} ({low:.1%} to {high:.1%})"
        rows.append((f"{first} against {second}", ", ".join(map(str, counts)), text))
    return rows


def page(title: str, subtitle: str, ladder: Ladder, table: pl.DataFrame, relations: pl.DataFrame) -> str:
    """The page of the record, in Markdown."""
    about = provenance.describe(f"jaxrl.experiments.{NAME}")
    facts = "\n".join(f"- {name}: {value}" for name, value in ladder.facts.items())
    return f"""# {title}

```
{about["command"]}
```

{subtitle}.
Mistakes are moves for which a better one is known: of the policy in all positions, of the search in 20,000 of them.
Elo ratings are relative to the random player, with 95 % intervals, from all matches between the players; a draw is half
a point, and one draw more between each two players keeps ratings finite. Each opening is played with both colours, so
two players without mistakes score 50 %, whatever the opening is worth. Strong players differ in mistakes, not in Elo.

{markdown_table(table)}

{markdown_table(relations)}

![mistakes and Elo ratings]({PICTURE})

{facts}

On {about["machine"]["device"]}, at commit {about["commit"] or "none"}.
"""


if __name__ == "__main__":
    main()
