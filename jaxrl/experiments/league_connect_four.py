"""A league in Connect Four, on 4 × 5 cells: main agents, exploiters, and prioritised games against earlier players."""

from jaxrl.agents.board_league import BoardLeagueHparams
from jaxrl.cli.command import main
from jaxrl.recipes.exact_games import LEAGUE_PICTURE
from jaxrl.recipes.leagues import BoardLeague, build_board_league, ignored_by_board_league, report_board_league
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="league_connect_four",
    algorithm="league",
    build=build_board_league,
    defaults=Options(
        task=Task("game:connect_four", env_options=("rows=4", "columns=5", "random_moves=16")),
        hparams=BoardLeagueHparams(gae_lambda=1.0),
        config=BoardLeague(copy_every=20),
        budget=Budget(3_000_000),
    ),
    report=report_board_league,
    pictures=(LEAGUE_PICTURE,),
    ignored=ignored_by_board_league,
)

if __name__ == "__main__":
    main(experiment)
