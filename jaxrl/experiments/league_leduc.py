"""A league in Leduc poker: main agents, exploiters, and prioritised games against all earlier players.

It learns from the rules, so steps are iterations: those of all learners together.
"""

from jaxrl.agents.league import LeagueHparams
from jaxrl.cli.command import main
from jaxrl.recipes.exact_games import LEAGUE_PICTURE, PICTURE, League, build_league, ignored_by_league, report_league
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="league_leduc",
    algorithm="league",
    build=build_league,
    defaults=Options(
        task=Task("game:leduc_poker"),
        hparams=LeagueHparams(magnet_floor=0.1),
        config=League(copy_every=60, num_steps=1),
        budget=Budget(18_000, log_every=180),
        execution=Execution(sequential=True),
    ),
    report=report_league,
    pictures=(PICTURE, LEAGUE_PICTURE),
    ignored=ignored_by_league,
)

if __name__ == "__main__":
    main(experiment)
