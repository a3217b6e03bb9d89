"""PQN learns MinAtar's Breakout."""

from jaxrl.agents import PQNHparams
from jaxrl.cli.command import main
from jaxrl.recipes.deep_q import PQN, build_pqn, ignored_by_pqn
from jaxrl.runs import Budget, Experiment, Options, Task

experiment = Experiment(
    name="pqn_minatar",
    algorithm="PQN",
    build=build_pqn,
    defaults=Options(
        task=Task("Breakout-MinAtar"),
        hparams=PQNHparams(learning_rate=1e-3, epsilon_end=0.01, epsilon_decay_steps=200_000),
        config=PQN(),
        budget=Budget(1_500_000),
    ),
    ignored=ignored_by_pqn,
)

if __name__ == "__main__":
    main(experiment)
