"""Neural fictitious self-play in Kuhn poker, or Leduc by --env: best responses by DQN, and their average."""

from jaxrl.agents.nfsp import NFSPHparams
from jaxrl.cli.command import main
from jaxrl.recipes.exact_games import NFSP, PICTURE, build_nfsp, ignored_by_nfsp, report
from jaxrl.runs import Budget, Execution, Experiment, Options, Task

experiment = Experiment(
    name="nfsp_kuhn",
    algorithm="NFSP",
    build=build_nfsp,
    defaults=Options(
        task=Task("game:kuhn_poker"),
        hparams=NFSPHparams(learning_rate=1e-3, epsilon_decay_steps=1e6),
        config=NFSP(),
        budget=Budget(1_200_000, log_every=20_000),
        execution=Execution(sequential=True),
    ),
    report=report,
    pictures=(PICTURE,),
    ignored=ignored_by_nfsp,
)

if __name__ == "__main__":
    main(experiment)
