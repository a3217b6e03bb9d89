"""Dyna-Q, Dyna-Q+ or prioritised sweeping in a Grid World: Q-learning that plans with a model of what it has seen."""

from jaxrl.agents import PrioritisedSweepingHparams
from jaxrl.cli.command import main
from jaxrl.recipes.tabular import ERROR, VALUES, report
from jaxrl.recipes.tabular_dyna import Dyna, build_dyna, ignored_by_dyna
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="dyna_gridworld",
    algorithm="Dyna",
    build=build_dyna,
    defaults=Options(
        task=Task("GridWorld", env_options=("map=four_rooms",)),
        hparams=PrioritisedSweepingHparams(learning_rate=1.0),
        config=Dyna(num_envs=1, rollout_length=1),
        budget=Budget(5_000, log_every=50),
    ),
    report=report,
    pictures=(VALUES, ERROR),
    ignored=ignored_by_dyna,
)

if __name__ == "__main__":
    main(experiment)
