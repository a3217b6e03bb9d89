"""Behaviour cloning imitates recorded transitions of MinAtar's Breakout, without stepping it."""

from jaxrl.agents import BehaviourCloningHparams
from jaxrl.cli.command import main
from jaxrl.experiments import bc_cartpole
from jaxrl.recipes.imitation import BehaviourCloning
from jaxrl.runs import Budget, Options, Task

experiment = bc_cartpole.experiment._replace(
    name="bc_minatar",
    defaults=Options(
        task=Task("Breakout-MinAtar"),
        hparams=BehaviourCloningHparams(),
        config=BehaviourCloning(hidden_sizes=(128,), activation="relu", conv_features=16),
        budget=Budget(25_000, log_every=1_000),
    ),
)

if __name__ == "__main__":
    main(experiment)
