"""CFR+ on Leduc poker, or another solver on another small game, measured by NashConv."""

from jaxrl.cli.command import main
from jaxrl.game_theory import MirrorDescentHparams
from jaxrl.recipes.exact_games import PICTURE, GameSolving, build_solver, ignored_by_solvers, report
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="cfr_leduc",
    algorithm="CFR+",
    build=build_solver,
    defaults=Options(
        task=Task("game:leduc_poker"),
        hparams=MirrorDescentHparams(),
        config=GameSolving(),
        budget=Budget(1000, log_every=10),
        execution=Execution(sequential=True),
    ),
    report=report,
    pictures=(PICTURE,),
    ignored=ignored_by_solvers,
)

if __name__ == "__main__":
    main(experiment)
